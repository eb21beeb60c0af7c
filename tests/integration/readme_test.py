#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pastes the README, block by block, into two shells of a machine that has only Debian's packages.

usage: readme_test.py BUILD_FOLDER SOURCE_FOLDER

That machine is a sandbox with an empty /usr/local, an empty home and this build, which `./dev install` installs there. The
rules by which the README is read:
- a block `sh` is pasted line by line into the first shell, in a fresh folder; each line, all of it, must succeed;
- where the paragraph before it says "second shell", it goes into another one; what begins with ./dev is run in the clone;
- "waits for Enter": the block goes on while the next one runs, then Enter is pressed;
- a block `text` is what the block before it printed: its lines begin with the same words, in that order;
- blocks `cpp` are the installed examples. What a link names exists.
./dev demo has a test of its own.
"""
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ETC = ("alternatives", "debian_version", "drirc", "dpkg", "egl", "glvnd", "group", "ld.so.conf", "ld.so.conf.d", "os-release",
       "passwd", "vulkan")
BLOCK = re.compile(r"([^\n]+)\n\n```(\w+)\n(.*?)```\n", re.S)
PATIENCE = 120  # seconds for one line


# --- the machine --------------------------------------------------------------------------

def sandbox(build, source, root):
    for name in ("etc", "local", "home", "run"):
        (root / name).mkdir()
    for name in ETC:
        path = pathlib.Path("/etc") / name
        if path.is_dir():
            shutil.copytree(path, root / "etc" / name, symlinks=True)
        elif path.exists():
            shutil.copy(path, root / "etc" / name)
    links = [word for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32") if os.path.islink(f"/{name}")
             for word in ("--symlink", os.readlink(f"/{name}"), f"/{name}")]
    return ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--uid", "0", "--gid", "0", "--clearenv",
            "--ro-bind", "/usr", "/usr", *links, "--bind", root / "local", "/usr/local", "--bind", root / "etc", "/etc",
            "--ro-bind", "/var/lib/dpkg", "/var/lib/dpkg", "--dir", "/var/cache/ldconfig", "--ro-bind", "/sys", "/sys",
            "--proc", "/proc", "--dev-bind", "/dev", "/dev", "--tmpfs", "/tmp", "--bind", root / "home", "/root",
            "--bind", root / "run", "/run/user/0", "--ro-bind", source, source, "--bind", build, build, "--chdir", "/root",
            "--setenv", "PATH", PATH, "--setenv", "HOME", "/root", "--setenv", "XDG_RUNTIME_DIR", "/run/user/0"]


# --- two shells ---------------------------------------------------------------------------

class Shell:
    """Reads what is pasted from its standard input, as do the programs that it runs."""

    def __init__(self, folder):
        self.process = subprocess.Popen(["bash", "-o", "pipefail"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        cwd=folder)
        self.seen = ""

    def paste(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def read_until(self, pattern):
        """Returns the match in what was printed, and what came before it."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.seen)):
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no {pattern} in {PATIENCE} s but: {self.seen}")
            if not (more := os.read(self.process.stdout.fileno(), 65536)):
                raise EOFError(self.seen)
            self.seen += more.decode(errors="replace")
        before, self.seen = self.seen[:match.start()], self.seen[match.end():]
        return match, before

    def run(self, line):
        """Returns its exit status and what it printed."""
        self.paste(f"{line}\necho \"[status $?]\"\n")
        match, printed = self.read_until(r"\[status (\d+)\]\n")
        return int(match[1]), printed


# --- the README ---------------------------------------------------------------------------

class Reader:
    def __init__(self, source):
        self.source = source
        self.text = (source / "README.md").read_text()
        self.folder = pathlib.Path("/root/fresh")
        self.folder.mkdir()
        self.shells = {name: Shell(self.folder) for name in ("first", "second")}
        self.shells["clone"] = Shell(source)
        self.printed = ""
        self.waiting = False
        self.counts = [0, 0]

    def check(self, name, held, more=""):
        self.counts[not held] += 1
        print("ok  " if held else "FAIL", name, *([] if held else [more]), sep=" ", flush=True)

    def run_line(self, shell, line):
        status, printed = self.shells[shell].run(line)
        self.printed += printed
        self.check(line, status == 0, f"(exit status {status}):\n{printed}")

    def start(self, block):
        """What waits for Enter has written the files that it names before somebody reads them."""
        self.shells["first"].paste(block)
        self.shells["first"].read_until(r"\n")
        for name in re.findall(r"tee (\S+)", block):
            while not (self.folder / name).stat().st_size:
                time.sleep(0.01)
        self.waiting = True

    def press_enter(self):
        """What would be pasted before the program has ended would be its input, too."""
        pid = self.shells["first"].process.pid
        self.shells["first"].paste("\n")
        while pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text():
            time.sleep(0.01)
        self.waiting = False

    def paste(self, before, block):
        if block == "./dev demo\n":
            return
        if "waits for Enter" in before:
            self.start(block)
            return
        shell = "clone" if block.startswith("./dev") else "second" if "second shell" in before else "first"
        self.printed = ""
        for line in block.splitlines():
            self.run_line(shell, line)
        if self.waiting:
            self.press_enter()

    def compare(self, shown):
        lines = iter(line.split()[:1] for line in self.printed.splitlines())
        self.check("prints what is shown", all(line.split()[:1] in lines for line in shown.splitlines()), self.printed)

    def read(self):
        programs = [path.read_text() for path in pathlib.Path(self.source, "tools/examples").glob("*.cpp")]
        for before, kind, block in BLOCK.findall(self.text):
            if kind == "sh":
                self.paste(before, block)
            elif kind == "text":
                self.compare(block)
            else:
                self.check("a program is as in tools/examples: " + block.splitlines()[1], kind == "cpp" and block in programs)
        self.check("every block was read", self.text.count("```") == 2 * len(BLOCK.findall(self.text)))
        for path in re.findall(r"\]\(([^):]+)\)", self.text):
            self.check(f"{path} exists", (self.source / path).exists())

    def look_at_what_was_made(self):
        picture = (self.folder / "picture.ppm").read_bytes()
        self.check("the consumer saw the producer's picture",
                   picture.startswith(b"P6\n640 480\n255\n\0\0\x3c") and len(picture) == 15 + 640 * 480 * 3)
        for name in ("copy.png", "picture.png"):
            self.check(f"{name} is a picture", (self.folder / name).read_bytes().startswith(b"\x89PNG"))

    def paste_the_start_twice(self):
        while pathlib.Path("/run/user/0/dmabroker/0.lock").exists():  # the one that was killed is about to go
            time.sleep(0.01)
        line = re.search(r"broker=.*--background.*", self.text)[0]
        self.run_line("first", line)
        status, printed = self.shells["first"].run(line)
        self.check("a second start fails and says why", status != 0 and "another dmabrokerd serves" in printed, printed)


def inside(source):
    reader = Reader(source)
    reader.read()
    reader.look_at_what_was_made()
    reader.paste_the_start_twice()
    print("{} passed, {} failed, 0 skipped".format(*reader.counts))
    return 1 if reader.counts[1] else 0


def main():
    build, source = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    if sys.argv[3:] == ["--inside"]:
        return inside(source)
    with tempfile.TemporaryDirectory() as folder:
        machine = sandbox(build, source, pathlib.Path(folder))
        if build != source / "build":
            reason = f"./dev builds in {source}/build, this build is {build}"
        elif subprocess.run([*machine, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            reason = "bubblewrap cannot make a sandbox here"
        else:
            return subprocess.run([*machine, "python3", __file__, build, source, "--inside"], check=False).returncode
    print(f"SKIP readme: {reason}\n0 passed, 0 failed, 1 skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
