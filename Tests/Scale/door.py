# SPDX-License-Identifier: Apache-2.0
"""Asks msgstored as a front daemon does: docs/wire.md."""

import os
import socket
import struct

DELIVER, CONTROL = 1, 4


def string(octets):
    octets = octets.encode() if isinstance(octets, str) else octets
    return struct.pack(">I", len(octets)) + octets


def address(text):
    local, domain = text.rsplit("@", 1)
    return string(local) + string(domain)


class Refused(Exception):
    """A reply `failure`; args[0] is its number."""


class Door:
    """One connection; one question at a time."""

    def __init__(self, path, door):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(900)
        self.socket.connect(path)
        self.number = 0
        self.sessions = {}
        self.frame(0, 0, 0, b"MRTL" + struct.pack(">HB", 1, door) + string("scale"))
        self.answer()

    def close(self):
        self.socket.close()

    def frame(self, kind, opcode, request, payload):
        self.socket.sendall(struct.pack(">IBBHI", 8 + len(payload), kind, 0, opcode, request) + payload)

    def exactly(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, 1 << 20))
            if not part:
                raise ConnectionError("msgstored closed the door")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def answer(self):
        length, kind, _, opcode, request = struct.unpack(">IBBHI", self.exactly(12))
        return kind, opcode, request, self.exactly(length - 8)

    def ask(self, opcode, payload):
        """The parts and the reply's payload."""
        self.number += 1
        self.frame(1, opcode, self.number, payload)
        parts = []
        while True:
            kind, code, request, body = self.answer()
            if kind == 4:
                continue
            if request != self.number:
                raise ConnectionError(f"an answer to {request}, not to {self.number}")
            if kind == 3:
                parts.append(body)
            elif code == 0x8001:
                raise Refused(body[0])
            else:
                return parts, body

    # Control door

    def session(self, account):
        if account not in self.sessions:
            _, body = self.ask(0x0570, address(account))
            self.sessions[account] = body[:8]
        return self.sessions[account]

    def leave(self, account):
        self.ask(0x0102, self.sessions.pop(account))

    def status(self, account, mailbox="INBOX"):
        _, body = self.ask(0x0306, self.session(account) + string(mailbox))
        names = ("messages", "unseen", "deleted", "size", "uidnext", "uidvalidity", "modseq")
        return dict(zip(names, struct.unpack(">IIIQIIQ", body)))

    def open(self, account, mailbox="INBOX"):
        """The mailbox's id and the UIDs in it."""
        parts, body = self.ask(0x0307, self.session(account) + string(mailbox) + b"\0")
        uids = []
        for part in parts:
            (count,) = struct.unpack_from(">I", part)
            uids += [struct.unpack_from(">I", part, 4 + 32 * at)[0] for at in range(count)]
        return body[:8], uids

    def shut(self, account, mailbox):
        self.ask(0x0308, self.session(account) + mailbox)

    def header(self, account, mailbox, uid):
        parts, _ = self.ask(
            0x030E, self.session(account) + mailbox + struct.pack(">II", 1, uid) + b"\1")
        return parts[0]

    def flag(self, account, mailbox, uid, add):
        self.ask(0x030B, self.session(account) + mailbox + struct.pack(">III", 1, uid, uid)
                 + (b"\1" if add else b"\2") + struct.pack(">QI", 4, 0) + b"\0")

    def store_status(self):
        _, body = self.ask(0x0506, b"")
        (length,) = struct.unpack_from(">I", body)
        names = ("started", "accounts", "domains", "databases", "sessions", "deliveries")
        return dict(zip(names, struct.unpack_from(">qIIIIQ", body, 4 + length)))

    # Deliver door

    def deliver(self, accounts, message):
        self.ask(0x0203, struct.pack(">QQ", int.from_bytes(os.urandom(7), "big"), 1) + b"\0"
                 + struct.pack(">I", len(accounts)) + b"".join(map(address, accounts))
                 + b"\0" + string(message))
