#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one command inside the test VM and speaks to vm.py outside.

All goes through one virtio-serial port, as frames: one letter, a 32-bit length, the bytes.
`b` says that the command begins, `o` is its standard output, `e` its standard error, `x` its exit
status as a decimal number. The launcher answers the last with one byte, so nothing is lost when
the machine then powers off.
"""

import json
import os
import selectors
import signal
import struct
import subprocess
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
    frame = kind + struct.pack("<I", len(data)) + data
    while frame:
        frame = frame[os.write(port, frame):]


def forward(port, child):
    """Copies until the command has ended and its pipes are empty or, held open by a stray, silent."""
    selector = selectors.DefaultSelector()
    for pipe, kind in ((child.stdout, b"o"), (child.stderr, b"e")):
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_READ, kind)
    ended = selector.register(os.pidfd_open(child.pid), selectors.EVENT_READ)
    while selector.get_map():
        ready = selector.select(0.5 if child.returncode is not None else None)
        if not ready:
            break
        for key, _ in ready:
            if key is ended:
                child.wait()
                selector.unregister(key.fileobj)
                continue
            data = os.read(key.fd, 65536)
            if data:
                send(port, key.data, data)
            else:
                selector.unregister(key.fileobj)
    return child.wait()


def run(port, job):
    try:
        child = subprocess.Popen(
            job["command"], cwd=job["folder"], env=job["environment"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        send(port, b"e", f"vm: {job['command'][0]}: {error.strerror}\n".encode())
        return 126 if isinstance(error, PermissionError) else 127
    status = forward(port, child)
    return status if status >= 0 else 128 - status


def power_off():
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("o")
    signal.pause()


def main():
    port = open_port()
    with open(sys.argv[1]) as file:
        job = json.load(file)
    send(port, b"b", b"")
    send(port, b"x", str(run(port, job)).encode())
    os.read(port, 1)
    power_off()


main()
