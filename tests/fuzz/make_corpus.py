#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the seeds of the decoder and metadata fuzzers from tests/proto/golden/, and those of the session fuzzer that
negotiate: a random walk takes hours to find a producer, its token and a second table.

Numbers below are the choices that session.cpp makes, in its order; FuzzedDataProvider takes them from the end."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "proto" / "golden"
REQUEST, REPLY, WORKER_REQUEST, WORKER_REPLY, SNAPSHOT, JSON, TABLE = range(7)
REPLIES = ("hello_reply", "error_reply", "image_reply", "token_reply", "snapshot_reply", "done", "image_revoked", "goodbye",
           "capabilities_reply", "refreshed", "why_reply", "image_replaced", "channel_reply", "channel_lost")
WORKER_REQUESTS = ("worker_allocate", "worker_prove", "worker_read", "worker_write", "worker_blit")
WORKER_REPLIES = ("worker_hello", "worker_image", "worker_proof", "worker_pixels", "worker_done")
DIRECTION = {**dict.fromkeys(REPLIES, REPLY), **dict.fromkeys(WORKER_REQUESTS, WORKER_REQUEST),
             **dict.fromkeys(WORKER_REPLIES, WORKER_REPLY), "snapshot": SNAPSHOT, "capabilities": TABLE}
HEADER_BYTES, REGISTER_TAIL_BYTES = 16, 2 + 6 + 8


def bytes_of(dump):
    return b"".join(bytes.fromhex(line[6:54]) for line in dump.splitlines())


def write(folder, name, data):
    (HERE / "corpus" / folder).mkdir(parents=True, exist_ok=True)
    (HERE / "corpus" / folder / name).write_bytes(data)


SAID = (5, 1)  # serial, not bent
CONNECT, LISTEN, ALLOCATE, MINT, RELEASE, LATE, DEFINE, FIND, JOIN, MOVE, REFRESH, WHY, PROOFS = (
    0, 16, 3, 8, 13, 17, 20, 21, 22, 24, 25, 26, 27)
EITHER, LINEAR, DISPLAY, MEMFD = range(4)  # make_tables()
NEWEST = (1, 0)
RENDER, CPU_READ, READ, ALL = 4, 1, 1, 7


def participant(table, usage):
    return (1, table, usage, 1, 1, 1)


def client(who, table):
    return ((who, CONNECT, 1, 1, *SAID), (who, LISTEN), (who, DEFINE, table, 1, 1, 1, *SAID), (who, LISTEN))


def late(*fates):
    return tuple((0, LATE, fate) for fate in fates)


def producer():
    """Its image has handle and number 1, its token is the only one."""
    spec = (1, 15, 15, 0, 0, RENDER, 0, 0)
    return (*client(0, EITHER), (0, ALLOCATE, *spec, 1, *participant(EITHER, RENDER), 1, 1, *SAID), *late(*[0] * 4), (0, LISTEN),
            (0, MINT, 1, ALL, 0, 0, 0, *SAID), (0, LISTEN))


def joiner(who, table, usage, fates, rights=READ):
    return (*client(who, table), (who, JOIN, 1, rights, *participant(table, usage), *SAID), *late(*fates), (who, LISTEN))


def ends():
    return ((1, REFRESH, *NEWEST, *SAID), *late(0, 0, 0), (1, LISTEN), (0, LISTEN), (0, MOVE, 1, 1, *SAID), (0, LISTEN),
            (1, WHY, 1, 1, 0, *SAID), (0, RELEASE, 1, 1, *SAID), (1, MINT, *NEWEST, READ, 1, 0, 0, *SAID), (1, LISTEN))


SESSIONS = {
    "joins_as_it_is": (*producer(), *joiner(1, EITHER, RENDER, [0] * 4), *ends()),
    "joins_anew": (*producer(), *joiner(1, LINEAR, RENDER, [0] * 8), *ends()),
    "joins_a_copy": (*producer(), *joiner(1, MEMFD, CPU_READ, [0] * 8), *ends()),
    "joins_in_vain": (*producer(), *joiner(1, MEMFD, CPU_READ, [0, 0, 0, 4, 5, 6, 7, 4, 5, 6, 7]), *ends()),
    "joins_and_crashes": (*producer(), *joiner(1, LINEAR, RENDER, [4, 0, 0, 0, 0, 0, 0]), *ends()),
    "joins_and_goes": (*producer(), *joiner(1, LINEAR, RENDER, []), (1, 1), *late(*[0] * 6)),
    "joins_twice": (*producer(), *joiner(1, LINEAR, RENDER, []), *joiner(2, DISPLAY, RENDER, [0] * 20), *ends()),
}


def main():
    for name, steps in SESSIONS.items():
        write("session", name, bytes(choice for step in steps for choice in step)[::-1])
    for path in sorted(GOLDEN.glob("*.hex")):
        data = bytes_of(path.read_text())
        direction = DIRECTION.get(path.stem, REQUEST)
        head = bytes((direction, 0 if direction in (SNAPSHOT, TABLE) else data[2]))
        write("decoder", path.stem, head + data)
        if path.stem == "register":
            write("metadata", "nv12", b"\1" + data[HEADER_BYTES:-REGISTER_TAIL_BYTES])
    table = bytes_of((GOLDEN / "capabilities.hex").read_text())
    write("decoder", "capabilities_later", bytes((TABLE, 0)) + table + bytes((1, 0, 0, 0, 2, 0, 0, 0, 7, 7)))
    for path in sorted(GOLDEN.glob("image_desc*.json")):
        write("decoder", path.stem, bytes((JSON, 0)) + re.sub(rb"\s+", b" ", path.read_bytes()))


if __name__ == "__main__":
    main()
