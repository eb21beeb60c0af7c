#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the demo as a user would and checks what it leaves: a picture with something in it, and nothing else.

usage: demo_test.py BUILD_FOLDER SOURCE_FOLDER
"""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib


def distinct_rows(png):
    """How many different pixel rows an 8-bit, non-interlaced PNG has (before unfiltering: enough to tell a picture)."""
    data, at, packed = png.read_bytes(), 8, b""
    width, height = struct.unpack(">II", data[16:24])
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    pixels = zlib.decompress(packed)
    row = len(pixels) // height
    return width, height, len({pixels[i * row:(i + 1) * row] for i in range(height)})


def main():
    build, source = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        png = pathlib.Path(folder) / "demo.png"
        done = subprocess.run([f"{source}/tools/demo/demo", build, "--out", str(png)], capture_output=True, text=True,
                              timeout=300, check=False, stdin=subprocess.DEVNULL)
        checks = {"the demo succeeds": done.returncode == 0, "it writes a picture": png.exists()}
        if png.exists():
            width, height, rows = distinct_rows(png)
            checks["the picture has content"] = width >= 100 and height >= 100 and rows > 50
            checks["nothing else is left"] = os.listdir(folder) == ["demo.png"]
    for name, held in checks.items():
        print("ok  " if held else "FAIL", name)
    if not all(checks.values()):
        print(done.stdout, done.stderr, sep="\n")
    failed = sum(not held for held in checks.values())
    print(f"{len(checks) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
