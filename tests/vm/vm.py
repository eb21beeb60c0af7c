#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a command in a virtual machine that has DRM devices: the launcher behind `./dev vm`.

The guest boots Debian's own kernel on this machine's root file system (virtiofs, writes go to a
tmpfs inside the guest), so it runs the binaries that were just built and needs no image. KVM is
not needed. The command's output comes back over a virtio-serial port while it runs, see agent.py;
the kernel's console goes to a file that is shown only if the machine dies early.

Everything this starts dies with it: each child has a parent-death signal, and lives in one
private folder that is removed at the end.
"""

import argparse
import os
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Debian 13's own, and Debian 12's, whose name is a link to the other on 13.
VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
TIMED_OUT = 124
BROKEN = 125

# Belongs to this machine or this login, and would mislead a program in the guest.
NOT_PASSED = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "TMPDIR",
              "VK_ICD_FILENAMES", "VK_DRIVER_FILES", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID")

# Folders that are fresh in the guest; what is needed from below them is bound back in.
FRESH = ("/tmp", "/run", "/dev/shm")


class Broken(Exception):
    """The machine itself failed, not the command."""


class BootFailed(Broken):
    """The same, before the command began: it may be tried again."""


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./dev vm", description="run a command in the test VM")
    parser.add_argument("--kernel", required=True, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--virgl", action="store_true", help="give virtio-gpu a 3D driver")
    parser.add_argument("--systemd", action="store_true", help="run the command as a unit of systemd")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS",
                        help="then the machine is killed, and the status is 124")
    parser.add_argument("--out", type=Path, default=os.environ.get("DMABROKER_VM_OUT"), metavar="FOLDER",
                        help="a folder the guest can write to ($DMABROKER_VM_OUT there)")
    parser.add_argument("--memory", default="3G", help="size of the guest's memory")
    parser.add_argument("--console", action="store_true", help="show the kernel's console at the end")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args()
    if options.out:
        options.out = options.out.resolve()
        options.out.mkdir(parents=True, exist_ok=True)
    return options


# --- what the guest reads -----------------------------------------------------------------

def guest_environment(options):
    environment = {key: value for key, value in os.environ.items() if key not in NOT_PASSED}
    environment.update(HOME="/tmp/home", XDG_RUNTIME_DIR="/run/user/0", USER="root", LOGNAME="root",
                       DMABROKER_VM="systemd" if options.systemd else "virgl" if options.virgl else "plain")
    environment.pop("DMABROKER_VM_OUT", None)
    if options.out:
        environment["DMABROKER_VM_OUT"] = str(options.out)
    return environment


def kept_folders():
    """The repository and the current folder, where they lie below a folder that is fresh in the guest."""
    wanted = {str(HERE.parents[1]), os.getcwd()}
    if build := os.environ.get("DMABROKER_BUILD"):
        wanted.add(os.path.realpath(build))
    return sorted(folder for folder in wanted if folder.startswith(tuple(f"{top}/" for top in FRESH)))


def write_job(folder, options):
    job = [os.getcwd(), *(f"{key}={value}" for key, value in guest_environment(options).items()), "", *options.command]
    (folder / "job").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in job))
    words = {
        "KERNEL": options.kernel,
        "HERE": HERE,
        "OUT": options.out or "",
        "KEEP": " ".join(kept_folders()),
        "SYSTEMD": "yes" if options.systemd else "",
    }
    (folder / "guest").write_text("".join(f"{key}={shlex.quote(str(value))}\n" for key, value in words.items()))
    if options.systemd:
        write_units(folder / "units")


UNIT_TARGET = """[Unit]
Description=The test VM's command
DefaultDependencies=no
Wants=dmabroker-vm.service systemd-journald.socket
"""

UNIT_SERVICE = """[Unit]
Description=The test VM's command
DefaultDependencies=no
After=systemd-journald.socket

[Service]
ExecStart=/usr/bin/python3 -I -S {agent} /run/dmabroker-vm/job
"""


def write_units(folder):
    """Our target, and masks for the host's own units: under emulation each would cost a second."""
    system = folder / "system"
    system.mkdir(parents=True)
    kept = ("systemd-journald", "dmabroker")
    for unit in Path("/lib/systemd/system").iterdir():
        masked = unit.suffix in (".service", ".socket", ".mount", ".automount", ".timer", ".path", ".swap")
        if masked and "@" not in unit.name and not unit.name.startswith(kept):
            (system / unit.name).symlink_to("/dev/null")
    generators = folder / "system-generators"
    generators.mkdir()
    for generator in Path("/lib/systemd/system-generators").iterdir():
        (generators / generator.name).symlink_to("/dev/null")
    (system / "dmabroker-vm.target").write_text(UNIT_TARGET)
    (system / "dmabroker-vm.service").write_text(UNIT_SERVICE.format(agent=HERE / "agent.py"))


# --- the machine --------------------------------------------------------------------------

class Machine:
    """The processes of one VM and their folder. Leaving the `with` block ends and removes all."""

    def __init__(self, options):
        self.options = options
        self.children = []

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="dmabroker-vm-"))
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.kill()
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *command, log, **more):
        """Its own session, so that Ctrl-C reaches only us, who then end it in order."""
        with open(self.folder / log, "wb") as file:
            child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                                     stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                     start_new_session=True, **more)
        self.children.append(child)
        return child

    def log(self, name, lines=25):
        text = (self.folder / name).read_text(errors="replace") if (self.folder / name).exists() else ""
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])

    def start_virtiofsd(self):
        program = next((path for path in VIRTIOFSD if os.path.exists(path)), None)
        if not program:
            raise Broken("virtiofsd is not installed: run ./dev setup")
        path = self.folder / "fs"
        if "/libexec/" in program:
            # Overlayfs does not enter what it is told to be a mount point (EREMOTE), and init mounts over those.
            arguments = ["--shared-dir=/", "--cache=always", "--sandbox=chroot", "--no-announce-submounts"]
        else:  # The default sandbox fails where pivot_root does.
            arguments = ["-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"]
        child = self.start(program, f"--socket-path={path}", *arguments, log="virtiofsd.log")
        deadline = time.monotonic() + 30
        while not path.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                raise Broken(f"virtiofsd did not start\n{self.log('virtiofsd.log')}")
            time.sleep(0.01)
        return path

    def start_xvfb(self):
        read, write = os.pipe()
        child = self.start("Xvfb", "-displayfd", write, "-nolisten", "tcp", "-screen", "0", "640x480x24",
                           log="xvfb.log", pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            child.wait()
            raise Broken(f"Xvfb did not start\n{self.log('xvfb.log')}")
        return f":{number}"

    def display(self):
        """The arguments and environment for the two kinds of virtio-gpu."""
        environment = dict(os.environ)
        if not self.options.virgl:
            return ["-display", "none", "-device", "virtio-gpu-pci"], environment
        environment.update(DISPLAY=self.start_xvfb(), LIBGL_ALWAYS_SOFTWARE="1", SDL_VIDEODRIVER="x11")
        return ["-display", "sdl,gl=on", "-device", "virtio-gpu-gl-pci"], environment

    def start_qemu(self, filesystem, port):
        memory = self.options.memory
        display, environment = self.display()
        kernel = next((self.options.kernel / "boot").glob("vmlinuz-*"))
        # QEMU's threaded emulator loses the race with a kernel that patches its own code while another
        # processor runs it ("Oops: int3"): boot on one, init starts the others. See also boot_and_run().
        words = (f"console=ttyS0 root=rootfs rootfstype=virtiofs rw init={HERE}/init quiet panic=-1 "
                 f"mitigations=off maxcpus=1 dmabroker_vm={self.folder}")
        self.qemu = self.start(
            # -cpu Nehalem: emulating newer vector instructions is five times slower, measured with llvmpipe.
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2", "-m", memory,
            "-no-reboot", "-nic", "none", "-vga", "none", "-monitor", "none", "-parallel", "none",
            "-serial", f"file:{self.folder}/console",
            "-object", f"memory-backend-memfd,id=mem,size={memory},share=on", "-numa", "node,memdev=mem",
            "-chardev", f"socket,id=fs,path={filesystem}", "-device", "vhost-user-fs-pci,chardev=fs,tag=rootfs",
            "-chardev", f"socket,id=port,path={port}",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=dmabroker",
            *display, "-kernel", kernel, "-append", words, log="qemu.log", env=environment)

    def run(self, deadline):
        self.began = False
        write_job(self.folder, self.options)
        path = self.folder / "port"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            self.start_qemu(self.start_virtiofsd(), path)
            self.wait_readable(listener, deadline)
            channel, _ = listener.accept()
        with channel:
            status = self.stream(channel, deadline)
        self.finish()
        return status

    def finish(self):
        """A clean end keeps the guest's last writes to the kept folder; a stuck one is killed."""
        try:
            self.qemu.wait(10)
        except subprocess.TimeoutExpired:
            pass

    def wait_readable(self, source, deadline):
        while not select.select([source], [], [], 0.2)[0]:
            if self.qemu.poll() is not None:
                raise Broken(f"qemu ended early\n{self.log('qemu.log')}")
            if time.monotonic() > deadline:
                raise TimeoutError

    def receive(self, channel, size, deadline):
        data = b""
        while len(data) < size:
            self.wait_readable(channel, deadline)
            part = channel.recv(size - len(data))
            if not part:
                kind = Broken if self.began else BootFailed
                raise kind(f"the machine went down before the command ended; its console:\n{self.log('console')}")
            data += part
        return data

    def stream(self, channel, deadline):
        outputs = {b"o": sys.stdout.buffer, b"e": sys.stderr.buffer}
        while True:
            kind, size = struct.unpack("<cI", self.receive(channel, 5, deadline))
            data = self.receive(channel, size, deadline)
            if kind == b"x":
                channel.send(b"\n")
                return int(data)
            if kind == b"b":
                self.began = True
                continue
            outputs[kind].write(data)
            outputs[kind].flush()


def boot_and_run(options, attempts=3):
    deadline = time.monotonic() + options.timeout
    for attempt in range(1, attempts + 1):
        with Machine(options) as machine:
            try:
                return machine.run(deadline)
            except BootFailed as reason:
                if attempt == attempts:
                    raise
                print(f"vm: booting again, attempt {attempt} ended early:\n{reason}", file=sys.stderr)
            except TimeoutError:
                print(f"vm: killed after {options.timeout:g} s; its console:\n{machine.log('console')}",
                      file=sys.stderr)
                return TIMED_OUT
            finally:
                if options.console:
                    print(machine.log("console", 1000), file=sys.stderr)


def end_on_signal(number, _):
    raise SystemExit(128 + number)


def main():
    options = parse_arguments()
    if os.geteuid() != 0:  # virtiofsd serves files of every owner, so it must be root.
        os.execvp("sudo", ["sudo", "-E", "--", sys.executable, *sys.argv])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_on_signal)
    try:
        return boot_and_run(options)
    except Broken as reason:
        print(f"vm: {reason}", file=sys.stderr)
        return BROKEN
    except BrokenPipeError:
        return 128 + signal.SIGPIPE


sys.exit(main())
