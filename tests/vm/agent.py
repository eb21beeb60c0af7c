#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one command inside the test VM and speaks to vm.py outside.

All goes through one virtio-serial port, as frames: one letter, a 32-bit length, the bytes.
`b` says that the command begins, `o` is its standard output, `e` its standard error, `x` its exit
status as a decimal number. The launcher answers the last with one byte, so nothing is lost when
the machine then powers off.

Imports little: json and subprocess alone would cost two seconds
under emulation.
"""

import os
import select
import signal
import sys

PORT = "dmabroker"


def open_port():
    """The node has no stable name without udev: sysfs tells which one is ours."""
    folder = "/sys/class/virtio-ports"
    for name in os.listdir(folder):
        with open(f"{folder}/{name}/name") as file:
            if file.read().strip() == PORT:
                return os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC)
    raise SystemExit("no virtio-serial port")


def send(port, kind, data):
    frame = kind + len(data).to_bytes(4, "little") + data
    while frame:
        frame = frame[os.write(port, frame):]


def read_job(path):
    """The folder, then NAME=VALUE words up to an empty one, then the command; each ends with a zero byte."""
    with open(path, "rb") as file:
        folder, *words = file.read().split(b"\0")[:-1]
    end = words.index(b"")
    return folder, dict(word.split(b"=", 1) for word in words[:end]), words[end + 1:]


def become(folder, environment, command, output, error):
    """In the child: never returns."""
    try:
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(error, 2)
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    except OSError as reason:
        os.write(2, b"vm: %s: %s\n" % (command[0], reason.strerror.encode()))
        os._exit(126 if isinstance(reason, PermissionError) else 127)


def forward(port, ended, pipes):
    """Copies until the command has ended and its pipes are empty or, held open by a stray, silent."""
    poll = select.poll()
    for source in (ended, *pipes):
        poll.register(source, select.POLLIN)
    running, opened = True, len(pipes)
    while running or opened:
        ready = poll.poll(None if running else 500)
        if not ready:
            return
        for source, _ in ready:
            data = os.read(source, 65536) if source in pipes else b""
            if data:
                send(port, pipes[source], data)
                continue
            poll.unregister(source)
            if source == ended:
                running = False
            else:
                opened -= 1


def reap(codes):
    """As the first process we inherit orphans: none may stay a zombie."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        codes[pid] = os.waitstatus_to_exitcode(status)


def run(port, job):
    output, output_end = os.pipe()
    error, error_end = os.pipe()
    child = os.fork()
    if child == 0:
        become(*job, output_end, error_end)
    os.close(output_end)
    os.close(error_end)
    ended = os.pidfd_open(child)
    codes = {}
    signal.signal(signal.SIGCHLD, lambda *_: reap(codes))
    reap(codes)  # those from before the handler
    forward(port, ended, {output: b"o", error: b"e"})
    reap(codes)
    return codes[child] if codes[child] >= 0 else 128 - codes[child]


def power_off():
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("o")
    select.select([], [], [])


def main():
    port = open_port()
    job = read_job(sys.argv[1])
    send(port, b"b", b"")
    send(port, b"x", str(run(port, job)).encode())
    os.read(port, 1)
    power_off()


main()
