#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each public header alone, as every language and compiler that may meet it.

usage: tests/libclient/headers.py

.h as C99 and C11, where padding is an error, and as C++17, 20 and 23; .hpp as C++17, 20 and 23. With gcc and clang,
warnings are errors. Nothing is linked.
"""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

HEADERS = Path(__file__).resolve().parent.parent.parent / "libclient/include"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
# Macros are only compiled where they are used.
USE = """#include <dmabroker/base.h>
static const uint32_t used[] = {DMABROKER_VERSION, DMABROKER_FOURCC('A', 'B', '2', '4'), DMABROKER_FORMAT_BUFFER};
uint32_t use(void);
uint32_t use(void) { return used[0] + used[1] + used[2]; }
"""
C, CPP = ["c99", "c11"], ["c++17", "c++20", "c++23"]


def compilers():
    return [found for name in ("gcc", "clang-19", "clang") if (found := shutil.which(name))][:2]


def problem(compiler, standard, header):
    language = "c++" if standard in CPP else "c"
    more = ["-Wpadded", "-Wstrict-prototypes"] if language == "c" else ["-Wold-style-cast"]
    command = [compiler, "-x", language, f"-std={standard}", "-fsyntax-only", *WARNINGS, *more, "-I", HEADERS, "-"]
    done = subprocess.run(command, input=f"#include <dmabroker/{header.name}>\n{USE}", text=True, capture_output=True)
    return f"{header.name} as {standard} with {compiler}:\n{done.stderr}" if done.returncode else None


def main():
    passed = failed = 0
    for header, standard, compiler in itertools.product(sorted((HEADERS / "dmabroker").iterdir()), C + CPP, compilers()):
        if header.suffix == ".hpp" and standard in C:
            continue
        found = problem(compiler, standard, header)
        passed, failed = passed + (not found), failed + bool(found)
        if found:
            print(found)
    skipped = 2 - len(compilers())
    if skipped:
        print("SKIP compilers: gcc and clang are wanted, only one is installed")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
