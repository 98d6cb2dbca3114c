# SPDX-License-Identifier: Apache-2.0
"""Messages made to hurt, and large ones for slow readers: bounded time and memory in imapd and msgstored."""

import os
import re
import socket
import time

from suite import SuiteCase, eventually
from test_imap_dialogues import ALICE, Session

MEGABYTE = 1 << 20


def repeated(unit, octets):
    """`octets` octets of repetitions, without all of them in memory."""
    block = unit * max(1, MEGABYTE // len(unit))
    while octets > 0:
        part = block[:octets]
        yield part
        octets -= len(part)


def depth(levels):
    text = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(levels))
    return b"Subject: deep\r\n" + text + b"Content-Type: text/plain\r\n\r\nbottom\r\n"


def messages():
    return b"".join(b"Content-Type: message/rfc822\r\n\r\n" for _ in range(10000)) + b"Subject: inside\r\n\r\nx\r\n"


BOMBS = {
    "10,000 multiparts in each other": [depth(10000)],
    "10,000 messages in each other": [messages()],
    "a million headers": [b"Subject: many\r\n", *repeated(b"X-A: b\r\n", 8 * 1000000), b"\r\nx\r\n"],
    "a header line of 24 MB": [b"Subject: ", *repeated(b"x", 24 * MEGABYTE), b"\r\n\r\nx\r\n"],
    "addresses without end": [b"To: ", *repeated(b"<a@b.example>, (((", 20 * MEGABYTE), b"\r\n\r\nx\r\n"],
    "parameters without end": [b"Content-Type: text/plain; ", *repeated(b"a*0=b; ", 20 * MEGABYTE), b"\r\n\r\nx\r\n"],
    "encoded words without end": [b"Subject: ", *repeated(b"=?utf-8?Q?=C3=BC?= ", 20 * MEGABYTE), b"\r\n\r\nx\r\n"],
    "half a million parts": [b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", *repeated(b"--b\r\n\r\nx\r\n", 5000000)],
    "boundaries that never end": [b"Content-Type: multipart/mixed; boundary=\"", *repeated(b"b", 100000), b"\"\r\n\r\n",
                                  *repeated(b"--b\r\n--", 8 * MEGABYTE)],
    "nothing but line ends": [*repeated(b"\r\n", 20 * MEGABYTE)],
    "a header without an end": [b"Subject: x\r\n", *repeated(b" y\r\n", 20 * MEGABYTE)],
    "HTML without end": [b"Content-Type: text/html\r\n\r\n", *repeated(b"<div><!-- &#", 20 * MEGABYTE)],
    "base64 of nothing": [b"Content-Transfer-Encoding: base64\r\n\r\n", *repeated(b"=\r\n", 20 * MEGABYTE)],
}
ITEMS = ("ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[HEADER.FIELDS (SUBJECT TO)]", "BODY.PEEK[1]", "BODY.PEEK[1.1.1.1.1]",
         "BINARY.SIZE[1]", "PREVIEW", "BODY.PEEK[TEXT]<0.100>")


class Bombs(SuiteCase):
    def test_each_item_of_each_bomb_is_answered_in_time(self):
        most = {}
        with Session(self.suite) as session:
            session.raw.socket.settimeout(60)
            session.ok("CREATE Bombs")
            for number, (name, pieces) in enumerate(BOMBS.items()):
                count = sum(map(len, pieces))
                session.raw.send(b"x APPEND Bombs {%d+}\r\n" % count)
                for piece in pieces:
                    session.raw.send(piece)
                session.raw.send(b"\r\n")
                self.assertRegex(session.until("x")[-1], " OK ", name)
            session.ok("SELECT Bombs")
            for number, name in enumerate(BOMBS):
                for item in ITEMS:
                    started = time.monotonic()
                    answer = session.do(f"FETCH {number + 1} ({item})")[-1]
                    took = time.monotonic() - started
                    self.assertRegex(answer, r" OK | NO \[UNKNOWN-CTE\]", (name, item))
                    self.assertLess(took, 10, (name, item))
                    most[took] = (name, item)
            started = time.monotonic()
            session.ok("SEARCH OR SUBJECT nowhere TEXT nowhere")
            searched = time.monotonic() - started
            self.assertLess(searched, 120)
        print("    slowest:", max(most.items()), f"SEARCH of all: {searched:.1f} s")
        for daemon, limit in (("imapd", 200), ("msgstored", 400)):
            rss = self.suite.rss(daemon)
            print(f"    {daemon}: {rss >> 20} MiB")
            self.assertLess(rss, limit * MEGABYTE, daemon)


class Large(SuiteCase):
    configuration = """
[smtpd]
max_message_size = "128 MiB"
"""
    SIZE = 100 * MEGABYTE

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with Session(cls.suite) as session:
            session.raw.socket.settimeout(120)
            head = b"Subject: large\r\n\r\n"
            session.raw.send(b"x APPEND INBOX {%d+}\r\n" % cls.SIZE + head)
            for piece in repeated(b"0123456789abcdef" * 4 + b"\r\n", cls.SIZE - len(head)):
                session.raw.send(piece)
            session.raw.send(b"\r\n")
            assert " OK " in session.until("x")[-1]

    def watched(self):
        return {daemon: self.suite.rss(daemon) for daemon in ("imapd", "msgstored")}

    def fetch(self, raw, slow=False):
        """All of the message, and the most memory meanwhile."""
        before, most = self.watched(), {}
        raw.send(b"y FETCH 1 BODY.PEEK[]\r\n")
        line = raw.file.readline()
        while b"{" not in line:
            line = raw.file.readline()
        left = int(re.search(rb"\{(\d+)\}", line)[1])
        self.assertEqual(left, self.SIZE)
        count = 0
        while left > 0:
            left -= len(raw.file.read(min(left, MEGABYTE)))
            count += 1
            if slow:
                time.sleep(0.02)
            if count % 10 == 0:
                for daemon, rss in self.watched().items():
                    most[daemon] = max(most.get(daemon, 0), rss - before[daemon])
        while not raw.file.readline().startswith(b"y OK"):
            pass
        return most

    def test_a_message_of_100_mb_grows_neither_process(self):
        for tls, slow in ((True, False), (True, True)):
            with Session(self.suite) as session:
                session.raw.socket.settimeout(120)
                session.ok("SELECT INBOX")
                most = self.fetch(session.raw, slow)
                print(f"    TLS, slow={slow}: " + ", ".join(f"{name} {rss >> 10} KiB" for name, rss in most.items()))
                for daemon, rss in most.items():
                    self.assertLess(rss, 4 * MEGABYTE, (daemon, slow))

    def test_a_message_of_100_mb_with_compression(self):
        from test_compress import compress
        with Session(self.suite) as session:
            session.raw.socket.settimeout(120)
            compress(session)
            session.ok("SELECT INBOX")
            most = self.fetch(session.raw)
            print("    compressed: " + ", ".join(f"{name} {rss >> 10} KiB" for name, rss in most.items()))
            for daemon, rss in most.items():
                self.assertLess(rss, 4 * MEGABYTE, daemon)

    def test_pipelined_fetches_that_nobody_reads_are_bounded(self):
        with Session(self.suite) as session:
            session.ok("SELECT INBOX")
            before = self.watched()
            session.raw.socket.settimeout(5)
            try:
                for number in range(5000):
                    session.raw.send(b"p%d FETCH 1 BODY.PEEK[]\r\n" % number)
            except OSError:
                pass
            time.sleep(1)
            for daemon, rss in self.watched().items():
                self.assertLess(rss - before[daemon], 4 * MEGABYTE, daemon)
