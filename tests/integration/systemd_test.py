#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Installs what was built and runs it as the system service, under a real systemd. Only for the test VM.

usage: systemd_test.py BUILD_FOLDER
"""
import grp
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile
import time

SOCKETS = ["dmabroker.socket", "dmabroker-manager.socket"]
CLIENTS, MANAGER = "/run/dmabroker/0", "/run/dmabroker/0.manager"
CTL = "/usr/local/bin/dmabrokerctl"
DEADLINE = 60  # the emulated machine is slow
NOBODY = 65534


def call(*command, user=None):
    """Exit status and output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE, check=False, user=user,
                          stdin=subprocess.DEVNULL)
    return done.returncode, (done.stdout + done.stderr).strip()


def must(*command, user=None):
    status, output = call(*command, user=user)
    assert status == 0, f"{' '.join(command)}: status {status}: {output}"
    return output


def property_of(unit, name):
    return must("systemctl", "show", "--value", "--property", name, unit)


def until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE} s"
        time.sleep(0.1)


def broker_pid():
    return int(property_of("dmabroker.service", "MainPID"))


def status_of(pid, field):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(field + ":"))


class Checks:
    """In this order, on one service."""

    def the_units_are_well_formed(self):
        for scope in ("--system", "--user"):
            units = pathlib.Path("/usr/local/lib/systemd") / scope.removeprefix("--")
            paths = sorted(map(str, units.glob("dmabroker*")))
            assert len(paths) == 3, paths
            complaints = [line for line in call("systemd-analyze", scope, "--man=no", "verify", *paths)[1].splitlines()
                          if "dmabroker" in line]
            assert not complaints, complaints

    def the_sockets_are_there_before_the_broker(self):
        must("systemctl", "start", *SOCKETS)
        assert stat.S_IMODE(os.stat(CLIENTS).st_mode) == 0o666
        assert stat.S_IMODE(os.stat(MANAGER).st_mode) == 0o600
        assert broker_pid() == 0

    def the_first_client_starts_it(self):
        devices = must(CTL, "devices", user=NOBODY)
        assert property_of("dmabroker.service", "ActiveState") == "active"
        for word in ("memfd", "udmabuf", "dma_heap", "gbm"):
            assert word in devices, devices

    def it_has_few_rights(self):
        pid = broker_pid()
        assert int(status_of(pid, "Uid")) != 0
        assert int(status_of(pid, "CapEff"), 16) == 0
        assert status_of(pid, "NoNewPrivs") == "1"
        assert status_of(pid, "Seccomp") == "2"

    def users_share_an_image(self):
        kinds = {}
        for backend in ("memfd", "udmabuf", "dma_heap", "gbm"):
            shown = json.loads(must(CTL, "--json", "alloc", "--size", "64x64", "--format", "XR24", "--usage", "cpu_read",
                                    "--backend", backend, "--lease", "60", user=NOBODY))
            kinds[backend] = shown["image"]["kind"]
            with tempfile.TemporaryDirectory() as folder:
                must(CTL, "get", shown["token"], f"{folder}/image.png")
        assert kinds == {"memfd": "memfd", "udmabuf": "dma_buf", "dma_heap": "dma_buf", "gbm": "dma_buf"}, kinds

    def only_the_manager_sees_all(self):
        must(CTL, "list")
        assert call(CTL, "--socket", MANAGER, "list", user=NOBODY)[0] != 0

    def it_comes_back_after_a_crash(self):
        pid = broker_pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: broker_pid() not in (0, pid), "restart")
        must(CTL, "alloc", "--size", "8x8", "--format", "XR24", user=NOBODY)

    def it_stops_cleanly_and_starts_again(self):
        must("systemctl", "stop", "dmabroker.service")
        assert property_of("dmabroker.service", "Result") == "success"
        assert property_of("dmabroker.service", "ActiveState") == "inactive"
        must(CTL, "list", user=NOBODY)
        assert broker_pid() != 0


def install(build):
    """Into this machine's throw-away root. A full machine has these groups from udev."""
    must("meson", "install", "-C", build, "--no-rebuild", "--quiet")
    for name in ("video", "render"):
        if name not in {group.gr_name for group in grp.getgrall()}:
            must("groupadd", "--system", name)
    must("systemctl", "daemon-reload")


def main():
    if os.path.exists("/sys/class/dmi/id/sys_vendor") and "QEMU" not in pathlib.Path("/sys/class/dmi/id/sys_vendor").read_text():
        sys.exit("this installs into the running system: it belongs into the test VM (./dev vm --systemd)")
    install(sys.argv[1])
    checks, passed, failed = Checks(), 0, 0
    for name in [name for name in vars(Checks) if not name.startswith("_")]:
        try:
            getattr(checks, name)()
            passed += 1
            print("ok  ", name, flush=True)
        except Exception as error:  # any exception is this check's failure, not the end of the others
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
    if failed:
        print(call("journalctl", "--no-pager", "--lines", "40", "-u", "dmabroker*")[1])
        print(call("systemctl", "status", "--no-pager", "dmabroker.service")[1])
    must("systemctl", "stop", *SOCKETS, "dmabroker.service")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
