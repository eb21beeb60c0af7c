#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The binary interface of libdmabroker as it is, compared with golden/abi.txt.

usage: tests/libclient/abi.py [--write] BUILD

Every structure of the public headers with the offset, size and type of each field, every enumerator and constant,
every function, and every exported symbol with its version. `sizes` of a structure are all that `struct_size` ever was: older callers pass
them. A structure may grow at its end, in place of nothing that was; padding is refused, for it would become a field
without a change of size. --write records what is there.
"""

import difflib
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent
HEADERS = SOURCE / "libclient/include"
GOLDEN = Path(__file__).resolve().parent / "golden/abi.txt"

STRUCT = re.compile(r"typedef struct (\w+) \{(.*?)\} \1;", re.S)
ENUM = re.compile(r"enum (\w+) \{(.*?)\};", re.S)
FUNCTION = re.compile(r"DMABROKER_API ([^;#]*?\bdmabroker_\w+\([^;]*\));", re.S)
CONSTANT = re.compile(r"^#define (DMABROKER_\w+) +(\S.*)$", re.M)
NO_CONSTANT = re.compile(r"DMABROKER_(API|VERSION.*|\w+_INIT)$")


def header_text():
    names = sorted((HEADERS / "dmabroker").glob("*.h"))
    texts = [re.sub(r"/\*.*?\*/", "", name.read_text(), flags=re.S).replace("\\\n", " ") for name in names]
    return names, "\n".join(texts)


def fields_of(body):
    """(type, name) of each; arrays keep their brackets in the type."""
    for declaration in filter(None, (part.strip() for part in body.split(";"))):
        first, *others = declaration.split(",")
        kind, name = re.match(r"(.*[\s*])(\w+(?:\[\w+\])?)$", first.strip(), re.S).groups()
        for each in [name, *(other.strip() for other in others)]:
            bare, _, count = each.partition("[")
            yield " ".join(kind.split()) + ("[" + count if count else ""), bare


def program(text, names):
    """A C program that prints what only a compiler knows."""
    lines = ["#include <stdio.h>", *(f"#include <dmabroker/{name.name}>" for name in names), "int main(void) {"]
    for struct, body in STRUCT.findall(text):
        lines.append(f'printf("struct {struct} %zu\\n", sizeof(struct {struct}));')
        for kind, field in fields_of(body):
            at, size = f"offsetof(struct {struct}, {field})", f"sizeof(((struct {struct}*)0)->{field})"
            lines.append(f'printf("    %zu %zu {field} {kind}\\n", {at}, {size});')
    for enum, body in ENUM.findall(text):
        for name in re.findall(r"(DMABROKER_\w+)\s*(?:=[^,]*)?(?:,|$)", body.strip()):
            lines.append(f'printf("value {name} %lld of {enum}\\n", (long long){name});')
    for name, value in CONSTANT.findall(text):
        if not NO_CONSTANT.match(name):
            lines.append(f'printf("constant {name} %llu\\n", (unsigned long long)({value.strip()}));')
    return "\n".join([*lines, "return 0; }"])


def compiled(text, names):
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder) / "abi.c", Path(folder) / "abi"
        source.write_text(program(text, names))
        subprocess.run(["cc", "-I", HEADERS, "-o", binary, source], check=True)
        return subprocess.run([binary], check=True, capture_output=True, text=True).stdout.splitlines()


def functions(text):
    return sorted("function " + " ".join(prototype.split()) for prototype in FUNCTION.findall(text))


def symbols(library):
    listed = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library], check=True, capture_output=True, text=True)
    return sorted("symbol " + line.split()[2].replace("@@", "@") for line in listed.stdout.splitlines() if " A " not in line)


def padding(lines):
    """A sentence per gap between the fields of a structure, or behind them."""
    struct, total, end = None, 0, 0
    for line in [*lines, "struct end 0"]:
        words = line.split()
        if words[0] == "struct":
            if struct and end != total:
                yield f"{struct} has {total - end} bytes of padding at its end"
            struct, total, end = words[1], int(words[2]), 0
        elif line.startswith("    "):
            if int(words[0]) != end:
                yield f"{struct} has {int(words[0]) - end} bytes of padding before {words[2]}"
            end = int(words[0]) + int(words[1])


def known_sizes():
    found = re.findall(r"^struct (\w+) \d+ sizes (.*)$", GOLDEN.read_text() if GOLDEN.exists() else "", re.M)
    return {struct: [int(size) for size in sizes.split()] for struct, sizes in found}


def with_sizes(lines):
    """Of structures with a struct_size: what it was before, and what it is."""
    known = known_sizes()
    for line, following in zip(lines, [*lines[1:], ""]):
        if line.startswith("struct") and following.split()[2:3] == ["struct_size"]:
            _, struct, size = line.split()
            line += " sizes " + " ".join(str(each) for each in sorted({*known.get(struct, []), int(size)}))
        yield line


def main():
    write = "--write" in sys.argv
    build = Path(sys.argv[-1])
    if platform.machine() not in ("x86_64", "aarch64"):
        print("skipped: the golden file is of 64-bit machines\n0 passed, 0 failed, 1 skipped")
        return 0
    names, text = header_text()
    lines = compiled(text, names)
    gaps = list(padding(lines))
    found = [*with_sizes(lines), *functions(text), *symbols(build / "libclient/libdmabroker.so")]
    if write:
        GOLDEN.write_text("\n".join(found) + "\n")
    golden = GOLDEN.read_text().splitlines()
    changes = [line for line in difflib.unified_diff(golden, found, "golden/abi.txt", "as built", lineterm="", n=1)]
    print("\n".join([*gaps, *changes]))
    failed = bool(gaps) + bool(changes)
    print(f"{2 - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
