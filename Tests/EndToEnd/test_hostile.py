# SPDX-License-Identifier: Apache-2.0
"""Random and mutated lines to every port and every door: no crash, no growth, no hang."""

import os
import random
import socket
import struct
import time

from suite import DAEMONS, SuiteCase, eventually, tls_context

LINES = int(os.environ.get("MARTLET_LINES", "100000"))
GROWTH = 24 << 20

SMTP = [b"EHLO c", b"HELO c", b"MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME", b"RCPT TO:<alice@example.test>",
        b"DATA", b"BDAT 3 LAST", b"RSET", b"NOOP", b"VRFY x", b"HELP", b"AUTH PLAIN AGEAYg==", b"AUTH LOGIN",
        b"EXPN x", b"XCLIENT ADDR=1.2.3.4", b".", b"Subject: x"]
IMAP = [b"a CAPABILITY", b"a LOGIN \"x\" {3}", b"a LOGIN x y", b"a AUTHENTICATE PLAIN AGEAYg==", b"a ID (\"a\" \"b\")",
        b"a NOOP", b"a SELECT INBOX", b"a FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (FROM)]<0.10>)",
        b"a UID SEARCH OR NOT SUBJECT x (FROM y)", b"a STORE 1 +FLAGS.SILENT (\\Seen)", b"DONE", b"a LIST \"\" *",
        b"a APPEND INBOX (\\Seen) {10+}", b"a ENABLE CONDSTORE", b"a STATUS INBOX (MESSAGES)"]
POP3 = [b"CAPA", b"USER x", b"PASS y", b"AUTH PLAIN AGEAYg==", b"STAT", b"LIST 1", b"UIDL", b"RETR 1", b"TOP 1 1",
        b"DELE 1", b"RSET", b"NOOP", b"LAST", b"APOP x y"]


def mutate(rng, line):
    line = bytearray(line)
    for _ in range(rng.randrange(4)):
        kind = rng.randrange(6)
        at = rng.randrange(len(line) + 1)
        if kind == 0:
            line[at:at] = bytes([rng.randrange(256)])
        elif kind == 1 and line:
            del line[rng.randrange(len(line))]
        elif kind == 2 and line:
            line[rng.randrange(len(line))] = rng.randrange(256)
        elif kind == 3:
            line[at:at] = bytes([rng.choice(b"({[\"\\<>%*:,\0")]) * rng.choice((1, 2, 50, 300))
        elif kind == 4:
            line = line[:at]
        else:
            line[at:at] = rng.choice((b"{99999999999}", b"{5}", b"4294967296", b"-1", b"\xff\xfe"))
    return bytes(line)


class Hostile(SuiteCase):
    def torment(self, port, commands, tls):
        rng = random.Random(port + str(tls))
        sent = 0
        deadline = time.monotonic() + 240
        while sent < LINES:
            self.assertLess(time.monotonic(), deadline, f"{port}: only {sent} lines in time")
            plain = socket.create_connection(("127.0.0.1", self.ports[port]), timeout=10)
            link = tls_context().wrap_socket(plain) if tls else plain
            with link:
                try:
                    link.recv(1000)
                    for _ in range(20):
                        lines = [mutate(rng, rng.choice(commands)) if rng.random() < 0.8 else
                                 rng.randbytes(rng.randrange(200)) for _ in range(50)]
                        link.sendall(b"".join(x + rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))
                                              for x in lines))
                        sent += len(lines)
                        link.settimeout(0.001)
                        try:
                            while link.recv(65536):
                                pass
                            break
                        except (TimeoutError, OSError) as error:
                            if isinstance(error, ConnectionError):
                                break
                        link.settimeout(10)
                except OSError:
                    sent += 1

    def test_ports(self):
        before = {}
        for warm in (True, False):
            for port, commands, tls in (("smtp", SMTP, False), ("submission", SMTP, False),
                                        ("smtps", SMTP, True), ("imap", IMAP, False),
                                        ("imaps", IMAP, True), ("pop3", POP3, False),
                                        ("pop3s", POP3, True)):
                if warm:
                    with self.suite.raw(port, tls) as raw:
                        raw.line()
                else:
                    self.torment(port, commands, tls)
            if warm:
                before = {daemon: self.suite.rss(daemon) for daemon in DAEMONS}
        for daemon in DAEMONS:
            self.assertEqual(self.suite.pid(daemon), self.pids[daemon], f"{daemon} died")
            # Passwords that still wait for their 19 MiB hash are not growth.
            eventually(lambda: self.suite.rss(daemon) - before[daemon] < GROWTH, 30, 0.5)
            self.assertLess(self.suite.rss(daemon) - before[daemon], GROWTH, daemon)
        self.suite.deliver("still-alive")
        self.suite.imap().logout()
        self.suite.pop3().quit()

    def test_doors(self):
        doors = ("deliver", "mailbox", "queue", "control")
        before = self.suite.rss("msgstored")
        hello = struct.pack(">IHB", 0x4D52544C, 1, 0) + struct.pack(">I", 4) + b"test"
        for number, door in enumerate(doors, 1):
            path = self.suite.socket_path(door)
            rng = random.Random(door)
            frames = 0
            while frames < LINES // 4:
                link = socket.socket(socket.AF_UNIX)
                link.settimeout(5)
                link.connect(path)
                with link:
                    try:
                        if rng.random() < 0.9:
                            payload = hello[:6] + bytes([number]) + hello[7:]
                            link.sendall(struct.pack(">IBBHI", 8 + len(payload), 0, 0, 0, 0) + payload)
                        for _ in range(50):
                            payload = rng.randbytes(rng.choice((0, 1, 8, 9, 12, 40, 300)))
                            length = rng.choice((8 + len(payload),) * 9 + (0, 3, 0xFFFFFFFF, 1 << 21))
                            link.sendall(struct.pack(">IBBHI", length, rng.choice((1, 1, 1, 0, 2, 9)),
                                                     rng.choice((0, 0, 0, 1, 128)), rng.randrange(80),
                                                     rng.randrange(1 << 32)) + payload)
                            frames += 1
                    except OSError:
                        frames += 1
        self.assertEqual(self.suite.pid("msgstored"), self.pids["msgstored"], "msgstored died")
        self.assertLess(self.suite.rss("msgstored") - before, GROWTH)
        self.suite.deliver("doors-still-open")

    def test_slow_and_silent_clients_do_not_keep_others_out(self):
        held = []
        try:
            for _ in range(80):
                held.append(socket.create_connection(("127.0.0.1", self.ports["smtp"]), timeout=5))
                held.append(socket.create_connection(("127.0.0.1", self.ports["imap"]), timeout=5))
            began = time.monotonic()
            self.suite.deliver("through-the-crowd")
            self.suite.imap().logout()
            self.assertLess(time.monotonic() - began, 2)
        finally:
            for link in held:
                link.close()

    def test_a_client_that_reads_nothing_does_not_grow_imapd(self):
        body = ("w" * 76 + "\r\n") * 20_000
        for number in range(5):
            self.suite.deliver(f"unread-{number}", to="bob@example.test", body=body)
        with self.suite.raw("imaps", tls=True) as raw:
            raw.line()
            raw.tagged("a", f"LOGIN bob@example.test {self.suite.passwords['bob@example.test']}")
            raw.tagged("b", "SELECT INBOX")
            before = self.suite.rss("imapd")
            raw.socket.settimeout(1)
            try:
                for number in range(200):
                    raw.send(b"c%d FETCH 1:5 (BODY.PEEK[])\r\n" % number)
            except OSError:
                pass
            time.sleep(2)
            self.assertLess(self.suite.rss("imapd") - before, 12 << 20)
