#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program outside the tree finds the installed library, through CMake and through pkg-config.

usage: tests/libclient/package.py BUILD

Installs into a folder of its own, builds consumer/ there both ways and runs it. What is not installed on this machine is
skipped.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
CONSUMER = SOURCE / "consumer"


def run(*command, **kwargs):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, **kwargs)


def installed(build, folder):
    """The prefix below the folder, as a packager has it."""
    run("meson", "install", "-C", build, "--no-rebuild", "--destdir", folder)
    return next(folder.rglob("dmabroker.pc")).parent.parent


def configured(library, folder, version):
    """Whether CMake takes the installed library as one of that version."""
    prefix = library.parent.parent if library.parent.name == "lib" else library.parent
    asked = ["cmake", "-S", CONSUMER, "-B", folder / "cmake", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DVERSION={version}"]
    return subprocess.run(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def by_cmake(library, folder):
    for version in ("0.0", "0.1.1", "0.2", "1.1"):
        assert not configured(library, folder, version), f"CMake takes it for {version}"
    for version in ("", "0.1", "0.1.0"):
        assert configured(library, folder, version), f"CMake does not take it for '{version}'"
    run("cmake", "--build", folder / "cmake")
    return folder / "cmake" / "consumer"


def by_pkg_config(library, folder):
    asked = ["pkg-config", f"--define-variable=prefix={library.parent.parent if library.parent.name == 'lib' else library.parent}",
             "--cflags", "--libs", "dmabroker"]
    flags = subprocess.run(asked, check=True, capture_output=True, text=True, env={"PKG_CONFIG_PATH": str(library / "pkgconfig"), "PATH": "/usr/bin:/bin"})
    run("cc", "-o", folder / "consumer", CONSUMER / "consumer.c", *flags.stdout.split())
    return folder / "consumer"


def main():
    passed = skipped = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = installed(Path(sys.argv[1]).resolve(), folder / "root")
        for tool, build in (("cmake", by_cmake), ("pkg-config", by_pkg_config)):
            if not shutil.which(tool):
                print(f"SKIP {tool}: not installed")
                skipped += 1
                continue
            run(build(library, folder), env={"LD_LIBRARY_PATH": str(library)})
            passed += 1
    print(f"{passed} passed, 0 failed, {skipped} skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
