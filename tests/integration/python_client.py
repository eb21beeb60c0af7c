#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client written from proto/PROTOCOL.md alone, with nothing but Python's standard library.

usage: python_client.py DMABROKERD

Starts that broker on a private socket. One connection allocates an image, draws into it and mints
tokens; another opens one, maps it and compares. The last line is `N passed, N failed, N skipped`.
"""

import array
import hashlib
import ctypes
import fcntl
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

PACKET_BYTES, PACKET_FDS, HEADER = 65536, 253, "<HHIQ"
HELLO, HELLO_REPLY, ERROR_REPLY, ALLOCATE, IMAGE_REPLY, OPEN, REGISTER, MINT_TOKEN, TOKEN_REPLY = range(1, 10)
REVOKE_TOKEN, REVOKE_IMAGE, SET_LEASE, RELEASE, INSPECT, SNAPSHOT_REPLY, DONE, IMAGE_REVOKED, GOODBYE = range(10, 19)
FIND_CAPABILITIES, DEFINE_CAPABILITIES, CAPABILITIES_REPLY, JOIN = range(19, 23)
WHY, WHY_REPLY = 26, 27
CANCEL, OPEN_CHANNEL, CHANNEL_REPLY, CHANNEL_LOST = 30, 31, 32, 33
FEATURE_RESUME = 1
EVENTS = (IMAGE_REVOKED, GOODBYE, 29, CHANNEL_LOST)
READ, WRITE, MANAGE = 1, 2, 4
CPU_READ, CPU_WRITE, SAMPLE = 1, 2, 4
API_OTHER, KIND_MEMFD = 9, 3
MEMFD, READ_ONLY_DESCRIPTOR, PROTECTION_NONE = 3, 2, 1
BACKEND_MEMFD, BACKEND_CLIENT = 1, 7
INVALID_ARGUMENT, NO_BACKEND = 4, 16
BAD_SIZE, UNKNOWN_FORMAT, BAD_LAYOUT, BAD_DESCRIPTOR, NOT_FOUND = 5, 6, 8, 9, 10
TOKEN_EXPIRED, TOKEN_REVOKED, TOKEN_USED, DENIED, UNSUPPORTED, VIOLATION, ALREADY_REGISTERED = 11, 12, 13, 14, 3, 1, 21
FOREVER = 2**64 - 1
F_ADD_SEALS, SHRINK_GROW_SEAL = 1033, 2 | 4 | 1
XR24 = int.from_bytes(b"XR24", "little")
COLOUR = "BBBBBB8HIIHH"
UNSPECIFIED = (2, 2, 2, 1, *[0] * 14)  # right for every format
BLOB = int.from_bytes(b"BLOB", "little")  # a buffer


class BrokerError(Exception):
    def __init__(self, code, reason):
        super().__init__(f"error {code}: {reason}")
        self.code = code


class Closed(Exception):
    pass


# --- encoding: the table of the section "Encoding" ----------------------------------------------

class Writer:
    def __init__(self):
        self.bytes = b""

    def put(self, format, *values):
        self.bytes += struct.pack("<" + format, *values)
        return self

    def text(self, text):
        encoded = text.encode()
        self.bytes += struct.pack("<H", len(encoded)) + encoded
        return self

    def raw(self, data):
        self.bytes += data
        return self

    def record(self, record):
        return self.put("I", len(record.bytes)).raw(record.bytes)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def get(self, format):
        values = struct.unpack_from("<" + format, self.data, self.at)
        self.at += struct.calcsize("<" + format)
        return values[0] if len(values) == 1 else values

    def raw(self, size):
        if self.at + size > len(self.data):
            raise ValueError("packet too short")
        self.at += size
        return self.data[self.at - size:self.at]

    def text(self):
        return self.raw(self.get("H")).decode()

    def record(self):
        """A reader of the next record; what it leaves is of a later version."""
        return Reader(self.raw(self.get("I")))

    def list(self, read, count="I"):
        return [read(self.record()) for _ in range(self.get(count))]

    def end(self):
        """Behind the message are only sections, and none of them is known."""
        while self.at != len(self.data):
            tag, _, size = self.get("HHI")
            if tag == 0:
                raise ValueError("bytes after the message")
            self.raw(size)


def read_device_id(r):
    r = r.record()
    return r.get("Q"), r.raw(16), r.raw(16), r.get("I")


def write_device_id(w, device):
    return w.record(Writer().put("Q", device[0]).raw(device[1]).raw(device[2]).put("I", device[3]))


def read_desc(r):
    r, desc = r.record(), {}
    desc["kind"], desc["backend"], desc["rung"] = r.get("BBB")
    desc["width"], desc["height"], desc["format"] = r.get("III")
    desc["modifier"], desc["usage"] = r.get("QI")
    desc["colour"] = r.record().get(COLOUR)
    desc["device"] = read_device_id(r)
    desc["opaque"] = r.record().get("IIIIBB")
    desc["planes"] = [r.get("BIQ") for _ in range(r.get("H"))]
    desc["memories"] = [r.get("Q") for _ in range(r.get("H"))]
    return desc


def write_desc(w, desc):
    r = Writer().put("BBB", desc["kind"], desc["backend"], desc["rung"])
    r.put("IIIQI", desc["width"], desc["height"], desc["format"], desc["modifier"], desc["usage"])
    r.record(Writer().put(COLOUR, *desc["colour"]))
    write_device_id(r, desc["device"])
    r.record(Writer().put("IIIIBB", *desc["opaque"]))
    r.put("H", len(desc["planes"]))
    for plane in desc["planes"]:
        r.put("BIQ", *plane)
    r.put("H", len(desc["memories"]))
    for size in desc["memories"]:
        r.put("Q", size)
    return w.record(r)


# --- a connection ---------------------------------------------------------------------------------

class Image:
    """One hold: its descriptors belong to it."""

    def __init__(self, reader, fds):
        r = reader.record()
        self.handle, self.id, self.source = r.get("IQQ")
        self.rights, self.protection = r.get("IB")
        self.contents_written, has_fds = r.get("BB")
        self.desc = read_desc(r)
        own = len(self.desc["memories"]) if has_fds else 0
        self.fds, others = fds[:own], [fd for twin in r.list(self.read_twin) for fd in fds[own:own + twin]]
        del fds[:own + len(others)]
        for fd in others:
            os.close(fd)
        if len(self.fds) != own:
            raise ValueError("wrong number of descriptors")

    @staticmethod
    def read_twin(r):
        """The same pixels as another kind of memory, which this client has no use for: how many descriptors."""
        r.get("B"), r.record(), [r.get("BIQ") for _ in range(r.get("H"))]
        return len([r.get("Q") for _ in range(r.get("H"))])

    def map(self, write):
        access = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        return mmap.mmap(self.fds[0], self.desc["memories"][0], mmap.MAP_SHARED, access)

    def close(self):
        while self.fds:
            os.close(self.fds.pop())


class Client:
    def __init__(self, path, name="python", greet=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.serial, self.events, self.channel = 0, [], None
        if greet:
            self.hello(name)

    def close(self):
        self.socket.close()
        if self.channel:
            self.channel.close()

    def open_channel(self):
        """The socket that takes requests with descriptors; the ordinary one takes none."""
        reader, fds = self.request(OPEN_CHANNEL, expect=CHANNEL_REPLY)
        reader.end()
        self.channel = socket.socket(fileno=fds[0])

    def send(self, opcode, body=b"", fds=(), serial=None):
        if fds and not self.channel:
            self.open_channel()
        if serial is None:
            self.serial += 1
            serial = self.serial
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        to = self.channel if fds else self.socket
        to.sendmsg([struct.pack(HEADER, opcode, len(fds), 0, serial), body], rights)
        return serial

    def receive(self):
        room = socket.CMSG_SPACE(PACKET_FDS * array.array("i").itemsize)
        data, control, flags, _ = self.socket.recvmsg(PACKET_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        fds = array.array("i")
        for level, kind, content in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("truncated packet")
        if not data:
            raise Closed()
        opcode, fd_count, reserved, serial = struct.unpack_from(HEADER, data)
        if reserved or fd_count != len(fds):
            raise ValueError("a header that lies")
        if serial == 0 and opcode not in EVENTS:  # of a later version
            for fd in fds:
                os.close(fd)
            return self.receive()
        return opcode, serial, Reader(data[struct.calcsize(HEADER):]), list(fds)

    def request(self, opcode, body=b"", fds=(), expect=DONE):
        """Sends, waits for the reply of that serial, keeps the events that come before it."""
        wanted = self.send(opcode, body, fds)
        while True:
            got, serial, reader, received = self.receive()
            if serial == 0:
                self.events.append((got, reader))
                if got == GOODBYE:
                    raise BrokerError(*(reader.get("H"), reader.text()))
                continue
            if serial != wanted:
                raise ValueError(f"serial {serial} instead of {wanted}")
            if got == ERROR_REPLY:
                code, reason, self.last_request = reader.get("H"), reader.text(), reader.get("Q")
                reader.end()
                raise BrokerError(code, reason)
            if got != expect:
                raise ValueError(f"opcode {got} instead of {expect}")
            return reader, received

    def hello(self, name, magic=0x42414D44, oldest=1, newest=1, features=0, resume=bytes(16), more=b""):
        body = Writer().put("IHHQ", magic, oldest, newest, features).raw(resume).text(name).bytes + more
        reader, _ = self.request(HELLO, body, expect=HELLO_REPLY)
        self.version, self.features, self.id, self.manager = reader.get("HQQB")
        self.resume, self.resumed, self.last_serial = reader.raw(16), reader.get("B"), reader.get("Q")
        self.server = reader.text()
        reader.end()

    def image_request(self, opcode, body, fds=()):
        reader, received = self.request(opcode, body, fds, IMAGE_REPLY)
        image = Image(reader, received)
        image.request = reader.get("Q")
        image.others = [Image(reader, received) for _ in range(reader.get("I"))]
        reader.end()
        return image

    @staticmethod
    def allocation(width, height, format=XR24, label="", lease=0, contents=False, participants=(), count=1, usage=CPU_READ | CPU_WRITE):
        spec = Writer().put("III", width, height, format).put("H", 0).put("IIB", usage, 1 << BACKEND_MEMFD, 1)
        spec.record(Writer().put(COLOUR, *UNSPECIFIED)).text("")
        body = Writer().record(spec).put("H", count).text(label).put("QB", lease, contents).put("HI", 0, len(participants))
        for participant in participants:
            body.record(participant)
        return body.bytes

    def allocate(self, width, height, contents=None, **options):
        body = self.allocation(width, height, contents=contents is not None, **options)
        return self.image_request(ALLOCATE, body, () if contents is None else (contents,))

    def open(self, token, rights=READ, usage=CPU_READ):
        return self.image_request(OPEN, Writer().raw(token).put("II", rights, usage).bytes)

    def register(self, desc, fds, label=""):
        return self.image_request(REGISTER, write_desc(Writer(), desc).text(label).put("Q", 0).bytes, fds)

    def mint(self, image, rights=READ, one_shot=False, enforced=False, lifetime=0):
        body = Writer().put("IIBBQ", image.handle, rights, one_shot, enforced, lifetime).bytes
        reader, _ = self.request(MINT_TOKEN, body, expect=TOKEN_REPLY)
        token = reader.raw(16)
        assert reader.get("I") == rights
        reader.end()
        return token

    def release(self, image):
        image.close()
        self.send(RELEASE, struct.pack("<I", image.handle))

    def state(self, table):
        """Asks whether the table is known, and sends it if not. True: it was known."""
        encoded, digest = table
        reader, _ = self.request(FIND_CAPABILITIES, digest, expect=CAPABILITIES_REPLY)
        if reader.get("B"):
            return True
        half = len(encoded) // 2
        for at, part in ((0, encoded[:half]), (half, encoded[half:])):
            assert self.define(digest, len(encoded), at, part) == (at == half)
        return False

    def define(self, digest, size, offset, part):
        body = digest + struct.pack("<III", size, offset, len(part)) + part
        reader, _ = self.request(DEFINE_CAPABILITIES, body, expect=CAPABILITIES_REPLY)
        return bool(reader.get("B"))

    def join(self, token, participant, rights=READ):
        return self.image_request(JOIN, Writer().raw(token).put("I", rights).record(participant).bytes)

    def why(self, request=0, image=0):
        reader, _ = self.request(WHY, struct.pack("<QQ", request, image), expect=WHY_REPLY)
        return read_decision(reader)

    def inspect(self, image=0):
        reader, fds = self.request(INSPECT, struct.pack("<Q", image), expect=SNAPSHOT_REPLY)
        size = reader.get("Q")
        reader.end()
        data = os.pread(fds[0], size + 1, 0)
        os.close(fds[0])
        assert len(data) == size
        return read_snapshot(Reader(data))


def table(rows, name="python", more=b""):
    """A capability table for API `other`: canonical, with its digest. `more`: of a later version."""
    device = write_device_id(Writer(), (0, bytes(16), bytes(16), 0)).text("").text(name).text("1").put("B", 1)
    body = Writer().record(device).put("B", API_OTHER).record(Writer().put("IIB", 0, 0, 0)).put("I", len(rows))
    for kind, format, modifier in sorted(rows):
        body.record(Writer().put("BIQBBIII", kind, format, modifier, 1, 0, CPU_READ | SAMPLE, 0, 0).raw(more))
    return body.bytes, hashlib.sha256(body.bytes).digest()


def participant(name, digest=bytes(32), usage=1, minimum_rung=1):
    body = Writer().text(name).raw(digest).put("IHHB", usage, 0, 0, minimum_rung).record(Writer().put("IIB", 0, 0, 0))
    return body.put("IIBB", 0, 0, 0, 0)


def read_decision(r):
    message, r = r, r.record()
    decision = {"request": r.get("Q"), "image": r.get("Q"), "pid": r.get("I"), "label": r.text(), "age": r.get("Q"),
                "size": r.get("II"), "formats": [r.get("I") for _ in range(r.get("I"))], "usage": r.get("I"),
                "outcome": r.text(), "rung": r.get("B")}
    decision["participants"] = r.list(lambda p: {"name": p.text(), "pid": p.get("I"), "api": p.get("B"), "device": p.text(),
                                                 "pairs": p.get("I"), "any": p.get("B"),
                                                 "modifiers": [p.get("Q") for _ in range(p.get("H"))], "wants": p.text()})
    decision["common"] = [r.get("Q") for _ in range(r.get("I"))]
    decision["removals"] = r.list(lambda removal: (removal.text(), removal.get("BBIQ"), removal.text()))
    decision["culprits"] = [r.text() for _ in range(r.get("I"))]
    decision["nearest"] = r.text()
    decision["candidates"] = r.list(lambda c: (c.get("B"), c.text(), c.get("B"), c.text()))
    message.end()
    return decision


def read_image_info(r):
    return {"id": r.get("Q"), "owner": r.get("Q"), "uid": r.get("I"), "label": r.text(), "desc": read_desc(r),
            "holders": r.list(lambda h: h.get("QII")), "tokens": r.get("I"), "lease": r.get("Q"), "age": r.get("Q"),
            "request": r.get("Q"), "source": r.get("Q"), "copying": r.record().get("QQQ")}


def read_exporter(r):
    r = r.record()
    device = r.record()
    device = read_device_id(device), device.text(), device.text(), device.text(), device.get("B")
    return device, r.get("B"), r.text(), r.text()


def read_proof(r):
    key = r.record()
    return (key.get("B"), key.text(), key.get("B"), key.text(), key.get("IQIB")), (r.get("B"), r.text(), r.get("QI"))


def read_snapshot(r):
    snapshot = {"server": r.text(), "pid": r.get("I"), "uptime": r.get("Q"), "open_fds": r.get("I"), "pool": r.record().get("QI")}
    snapshot["clients"] = r.list(lambda c: {"id": c.get("Q"), "pid": c.get("I"), "uid": c.get("I"), "name": c.text(),
                                            "manager": c.get("B"), "bytes": c.get("Q"), "images": c.get("I"), "fds": c.get("I")})
    snapshot["images"] = r.list(read_image_info)
    snapshot["exports"] = r.list(lambda e: (read_exporter(e), e.list(lambda row: row.get("BIQBBIII"))))
    snapshot["proofs"] = r.list(read_proof)
    r.end()
    return snapshot


# --- the checks -----------------------------------------------------------------------------------

class Checks:
    def __init__(self, path):
        self.path = path
        self.open_clients = []

    def client(self, **options):
        client = Client(self.path, **options)
        self.open_clients.append(client)
        return client

    def close(self):
        while self.open_clients:
            self.open_clients.pop().close()

    @staticmethod
    def refused(code, action, *arguments, **options):
        try:
            action(*arguments, **options)
        except BrokerError as error:
            assert error.code == code, f"{error}, expected {code}"
            assert len(str(error)) > 12, "the reason is empty"
            return
        raise AssertionError(f"accepted, expected error {code}")

    @staticmethod
    def ends(client):
        """The connection ends, with or without goodbye."""
        try:
            while True:
                opcode, serial, _, _ = client.receive()
                assert (opcode, serial) == (GOODBYE, 0), f"opcode {opcode}"
        except (Closed, ConnectionError):
            pass

    @staticmethod
    def pattern(image):
        """Bytes that differ everywhere, in the visible part of each row."""
        _, stride, offset = image.desc["planes"][0]
        rows = {}
        for y in range(image.desc["height"]):
            rows[offset + y * stride] = bytes((7 * x + 13 * y + x * y) & 0xFF for x in range(4 * image.desc["width"]))
        return rows

    def drawn(self, client, **options):
        image = client.allocate(33, 7, label="test", **options)
        with image.map(write=True) as memory:
            for at, row in self.pattern(image).items():
                memory[at:at + len(row)] = row
        return image

    def compare(self, image):
        with image.map(write=False) as memory:
            for at, row in self.pattern(image).items():
                assert memory[at:at + len(row)] == row, f"pixels differ at byte {at}"

    def hello_agrees_on_version_1(self):
        client = self.client()
        assert (client.version, client.manager) == (1, 0)
        assert client.server.startswith("dmabroker"), client.server

    def the_manager_socket_says_so(self):
        client = Client(self.path + ".manager")
        self.open_clients.append(client)
        assert client.manager == 1

    def an_image_crosses_to_another_connection(self):
        painter, viewer = self.client(name="painter"), self.client(name="viewer")
        image = self.drawn(painter)
        assert image.rights == READ | WRITE | MANAGE and image.desc["kind"] == MEMFD
        assert (image.desc["width"], image.desc["height"], image.desc["format"]) == (33, 7, XR24)
        seen = viewer.open(painter.mint(image, READ | WRITE), READ | WRITE, CPU_READ | CPU_WRITE)
        assert seen.id == image.id and seen.desc == image.desc
        assert seen.rights == READ | WRITE and seen.protection == PROTECTION_NONE
        self.compare(seen)
        with seen.map(write=True) as theirs, image.map(write=False) as ours:
            theirs[0] = 0xA5
            assert ours[0] == 0xA5, "not the same memory"
        seen.close()
        image.close()

    def a_reader_gets_a_descriptor_that_cannot_write(self):
        painter, viewer = self.client(), self.client()
        image = self.drawn(painter)
        seen = viewer.open(painter.mint(image, READ, enforced=True))
        assert seen.rights == READ and seen.protection == READ_ONLY_DESCRIPTOR
        self.compare(seen)
        try:
            seen.map(write=True).close()
            raise AssertionError("a reader mapped the image for writing")
        except PermissionError:
            pass
        seen.close()
        image.close()

    def wrong_tokens_are_not_found(self):
        client = self.client()
        for token in (bytes(16), b"\xff" * 16, os.urandom(16)):
            self.refused(NOT_FOUND, client.open, token)
        client.allocate(1, 1).close()

    def tokens_end_as_they_were_minted(self):
        client = self.client()
        image = client.allocate(4, 4)
        once = client.mint(image, one_shot=True)
        client.open(once).close()
        self.refused(TOKEN_USED, client.open, once)
        short = client.mint(image, lifetime=1)
        time.sleep(0.01)
        self.refused(TOKEN_EXPIRED, client.open, short)
        gone = client.mint(image)
        client.request(REVOKE_TOKEN, gone)
        self.refused(TOKEN_REVOKED, client.open, gone)
        image.close()

    def rights_only_shrink(self):
        owner, reader = self.client(), self.client()
        image = owner.allocate(4, 4)
        seen = reader.open(owner.mint(image, READ))
        self.refused(DENIED, reader.mint, seen, READ | WRITE)
        self.refused(DENIED, reader.open, owner.mint(image, READ), READ | WRITE)
        self.refused(NOT_FOUND, reader.request, REVOKE_IMAGE, struct.pack("<Q", image.id))
        again = self.client().open(reader.mint(seen, READ))
        for hold in (image, seen, again):
            hold.close()

    def revoking_an_image_tells_its_holders(self):
        owner, reader = self.client(), self.client()
        image = self.drawn(owner)
        token = owner.mint(image)
        seen = reader.open(token)
        owner.request(REVOKE_IMAGE, struct.pack("<Q", image.id))
        opcode, serial, body, _ = reader.receive()
        assert (opcode, serial, body.get("I")) == (IMAGE_REVOKED, 0, seen.handle)
        self.compare(seen)
        self.refused(TOKEN_REVOKED, reader.open, token)
        image.close()
        seen.close()

    def a_lease_outlives_its_client(self):
        owner = self.client()
        image = self.drawn(owner, lease=FOREVER)
        token = owner.mint(image, READ | MANAGE)
        image.close()
        owner.close()
        heir = self.client()
        seen = heir.open(token, READ | MANAGE)
        self.compare(seen)
        heir.request(SET_LEASE, struct.pack("<IQ", seen.handle, 0))
        heir.release(seen)
        self.refused(NOT_FOUND, heir.request, INSPECT, struct.pack("<Q", seen.id), expect=SNAPSHOT_REPLY)

    def requests_that_no_image_can_serve_are_refused(self):
        client = self.client()
        self.refused(BAD_SIZE, client.allocate, 0, 1)
        self.refused(BAD_SIZE, client.allocate, 16385, 1)
        self.refused(UNKNOWN_FORMAT, client.allocate, 1, 1, format=0)

    def a_client_registers_its_own_memory(self):
        client, other = self.client(), self.client()
        fd = os.memfd_create("mine", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, 4096)
        desc = {"kind": MEMFD, "backend": BACKEND_CLIENT, "rung": 1, "width": 16, "height": 16, "format": XR24, "modifier": 0,
                "usage": CPU_READ, "colour": UNSPECIFIED, "device": (0, bytes(16), bytes(16), 0), "opaque": (0, 0, 0, 0, 0, 0),
                "planes": [(0, 64, 0)], "memories": [1024]}
        self.refused(BAD_DESCRIPTOR, client.register, desc, [fd])
        fcntl.fcntl(fd, F_ADD_SEALS, SHRINK_GROW_SEAL)
        self.refused(BAD_LAYOUT, client.register, {**desc, "planes": [(0, 64, 4096 - 1024 + 4)], "memories": [4096]}, [fd])
        image = client.register(desc, [fd], "mine")
        assert not image.fds and image.desc["backend"] == BACKEND_CLIENT
        os.pwrite(fd, b"hello", 0)
        seen = other.open(client.mint(image, READ | WRITE), READ | WRITE, CPU_WRITE)
        with seen.map(write=False) as memory:
            assert memory[:5] == b"hello"
        self.refused(ALREADY_REGISTERED, other.register, desc, seen.fds)
        seen.close()
        os.close(fd)

    def initial_contents_are_written_or_left_to_the_client(self):
        client = self.client()
        fd = os.memfd_create("contents", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(fd, bytes(range(64)))
        fcntl.fcntl(fd, F_ADD_SEALS, SHRINK_GROW_SEAL)
        image = client.allocate(4, 4, contents=fd)
        if image.contents_written:
            with image.map(write=False) as memory:
                assert memory[:16] == bytes(range(16))
        image.close()
        os.close(fd)

    def a_buffer_crosses_like_an_image(self):
        owner, reader = self.client(), self.client()
        data = bytes(range(256)) * 100 + b"end"
        buffer = owner.allocate(len(data), 1, format=BLOB)
        (memory, stride, offset), = buffer.desc["planes"]
        assert (memory, offset) == (0, 0) and stride >= len(data) and buffer.desc["memories"][0] >= len(data)
        with buffer.map(write=True) as memory:
            memory[:len(data)] = data
        seen = reader.open(owner.mint(buffer))
        with seen.map(write=False) as memory:
            assert memory[:len(data)] == data
        self.refused(BAD_SIZE, owner.allocate, 64, 64, format=BLOB)
        seen.close()
        buffer.close()

    def a_snapshot_shows_the_client_and_its_image_and_no_token(self):
        client = self.client(name="counted")
        image = client.allocate(10, 10, label="shown")
        client.mint(image)
        snapshot = client.inspect()
        assert [c["name"] for c in snapshot["clients"]] == ["counted"]
        (row,) = snapshot["clients"]
        assert row["images"] == 1
        assert row["pid"] == os.getpid() or os.readlink(f"/proc/{row['pid']}/exe").endswith("later_dmabrokerd"), row["pid"]
        (row,) = snapshot["images"]
        assert (row["id"], row["label"], row["tokens"], row["desc"]) == (image.id, "shown", 1, image.desc)
        assert client.inspect(image.id)["images"][0]["id"] == image.id
        image.close()

    def participants_are_negotiated_with_and_explained(self):
        owner, reader = self.client(), self.client()
        linear = table([(KIND_MEMFD, XR24, 0)])
        assert owner.state(linear) is False
        assert reader.state(linear) is True, "the second client needs one packet"
        image = owner.allocate(16, 16, participants=[participant("painter", linear[1])])
        decision = owner.why(image.request)
        assert (decision["image"], decision["participants"][0]["name"]) == (image.id, "painter"), decision
        seen = reader.join(owner.mint(image), participant("viewer", linear[1]))
        assert (seen.id, seen.source) == (image.id, 0)
        tiled = table([(KIND_MEMFD, XR24, 0x0100000000000002)])
        owner.state(tiled)
        self.refused(NO_BACKEND, owner.allocate, 16, 16, participants=[participant("tiler", tiled[1], minimum_rung=4)])
        decision = owner.why(owner.last_request)
        assert decision["image"] == 0 and decision["culprits"] == ["tiler"], decision
        assert "leave tiler out" in decision["nearest"], decision["nearest"]
        self.refused(NOT_FOUND, reader.why, owner.last_request)

    def tables_that_are_not_what_they_say_are_refused(self):
        client = self.client()
        encoded, digest = table([(KIND_MEMFD, XR24, 0)])
        self.refused(INVALID_ARGUMENT, client.define, bytes(32), len(encoded), 0, encoded)
        self.refused(INVALID_ARGUMENT, client.define, digest, len(encoded), 5, encoded[5:])
        self.refused(INVALID_ARGUMENT, client.define, digest, 2**31, 0, encoded)
        cut = encoded[:-1]
        self.refused(INVALID_ARGUMENT, client.define, hashlib.sha256(cut).digest(), len(cut), 0, cut)
        self.refused(INVALID_ARGUMENT, client.allocate, 16, 16, participants=[participant("nobody", b"\1" * 32)])

    def unknown_opcodes_keep_the_connection(self):
        client = self.client()
        self.refused(UNSUPPORTED, client.request, 4711, b"whatever")
        client.allocate(1, 1).close()

    def violations_end_the_connection(self):
        silent = self.client(greet=False)
        silent.send(INSPECT, struct.pack("<Q", 0))
        self.ends(silent)
        twice = self.client()
        twice.send(HELLO, Writer().put("IHHQ", 0x42414D44, 1, 1, 0).raw(bytes(16)).text("again").bytes)
        self.ends(twice)
        longer = self.client()
        longer.send(INSPECT, struct.pack("<QB", 0, 0))
        self.ends(longer)
        stray = self.client()
        stray.send(INSPECT, struct.pack("<Q", 0), (0,))
        self.ends(stray)
        zero = self.client()
        zero.send(INSPECT, struct.pack("<Q", 0), serial=0)
        self.ends(zero)
        unknown = self.client()
        unknown.send(RELEASE, struct.pack("<I", 12345))
        self.ends(unknown)

    def what_a_later_version_adds_is_skipped_or_refused_by_itself(self):
        later = self.client(greet=False)
        section = struct.pack("<HHI", 900, 0, 3) + b"abc"
        later.hello("later", features=FEATURE_RESUME | 1 << 41, more=section)
        assert later.features & 1 << 41 == 0, later.features
        body = later.allocation(8, 8)
        image = later.image_request(ALLOCATE, body + section)
        opened = later.image_request(OPEN, Writer().raw(later.mint(image)).put("II", READ, CPU_READ).bytes + section * 3)
        assert opened.id == image.id
        self.refused(UNSUPPORTED, later.image_request, ALLOCATE, later.allocation(8, 8, usage=CPU_READ | 1 << 20))
        newer = table([(KIND_MEMFD, XR24, 0), (9, XR24, 0)], more=b"a field")
        assert later.state(newer) is False, "and what the broker knows of it is used"
        seen = later.join(later.mint(image), participant("viewer", newer[1]))
        assert (seen.id, seen.source) == (image.id, 0)
        for hold in (image, opened, seen):
            hold.close()

    def future_versions_are_refused(self):
        client = self.client(greet=False)
        self.refused(2, client.hello, "future", oldest=2, newest=9)
        newer = self.client(greet=False)
        newer.hello("newer", oldest=1, newest=9)
        assert newer.version == 1

    def nothing_is_left_behind(self):
        manager = Client(self.path + ".manager")
        self.open_clients.append(manager)
        deadline = time.monotonic() + 2
        while True:
            snapshot = manager.inspect()
            if not snapshot["images"] and len(snapshot["clients"]) == 1:
                return
            assert time.monotonic() < deadline, f"{len(snapshot['images'])} images, {len(snapshot['clients'])} clients"
            time.sleep(0.02)


def run(path):
    passed = failed = 0
    own = [name for name, value in vars(Checks).items() if name.count("_") >= 2 and not name.startswith("_") and callable(value)]
    for name in own:
        checks = Checks(path)
        try:
            getattr(checks, name)()
            passed += 1
        except Exception as error:  # any exception is this check's failure, not the end of the others
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}")
        finally:
            checks.close()
    return passed, failed


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def listens(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        return probe.connect_ex(path) == 0


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/broker"
        broker = subprocess.Popen([sys.argv[1], "--socket", path, "--no-gpu", "--cache", "", "--log-level", "warning"], preexec_fn=die_with_parent)
        try:
            deadline = time.monotonic() + 30
            while not listens(path) and broker.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            passed, failed = run(path)
        finally:
            broker.terminate()
            status = broker.wait(10)
        if status != 0:
            print(f"FAIL the broker ended with status {status}")
            failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
