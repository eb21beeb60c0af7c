#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the seeds of the decoder and metadata fuzzers from tests/proto/golden/."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "proto" / "golden"
REQUEST, REPLY, WORKER_REQUEST, WORKER_REPLY, SNAPSHOT, JSON = range(6)
REPLIES = ("hello_reply", "error_reply", "image_reply", "token_reply", "snapshot_reply", "done", "image_revoked", "goodbye",
           "capabilities_reply", "refreshed", "why_reply", "image_replaced")
WORKER_REQUESTS = ("worker_allocate", "worker_prove", "worker_read", "worker_write", "worker_blit")
WORKER_REPLIES = ("worker_hello", "worker_image", "worker_proof", "worker_pixels", "worker_done")
DIRECTION = {**dict.fromkeys(REPLIES, REPLY), **dict.fromkeys(WORKER_REQUESTS, WORKER_REQUEST),
             **dict.fromkeys(WORKER_REPLIES, WORKER_REPLY), "snapshot": SNAPSHOT}
ONE_DESCRIPTOR = ("allocate", "register", "image_reply", "snapshot_reply", "worker_allocate", "worker_image", "worker_prove",
                  "worker_read", "worker_pixels")
DESCRIPTORS = {**dict.fromkeys(ONE_DESCRIPTOR, 1), "worker_write": 2, "worker_blit": 2}
HEADER_BYTES, REGISTER_TAIL_BYTES = 8, 2 + 6 + 8


def bytes_of(dump):
    return b"".join(bytes.fromhex(line[6:54]) for line in dump.splitlines())


def write(folder, name, data):
    (HERE / "corpus" / folder).mkdir(parents=True, exist_ok=True)
    (HERE / "corpus" / folder / name).write_bytes(data)


def main():
    for path in sorted(GOLDEN.glob("*.hex")):
        data = bytes_of(path.read_text())
        head = bytes((DIRECTION.get(path.stem, REQUEST), DESCRIPTORS.get(path.stem, 0)))
        write("decoder", path.stem, head + data)
        if path.stem == "register":
            write("metadata", "nv12", b"\1" + data[HEADER_BYTES:-REGISTER_TAIL_BYTES])
    for path in sorted(GOLDEN.glob("image_desc*.json")):
        write("decoder", path.stem, bytes((JSON, 0)) + re.sub(rb"\s+", b" ", path.read_bytes()))


if __name__ == "__main__":
    main()
