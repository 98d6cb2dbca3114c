# SPDX-License-Identifier: Apache-2.0
"""COMPRESS=DEFLATE and INPROGRESS over real connections, and large messages over slow ones."""

import os
import re
import signal
import threading
import time
import zlib

from suite import SuiteCase, eventually
from test_imap_dialogues import ALICE, Session


class Deflated:
    """What a socket file is, over DEFLATE."""

    def __init__(self, file):
        self.file, self.inflater, self.octets = file, zlib.decompressobj(-15), b""
        self.received = 0

    def more(self):
        packed = self.file.read1(65536)
        assert packed, "connection ended"
        self.received += len(packed)
        self.octets += self.inflater.decompress(packed)

    def close(self):
        self.file.close()

    def readline(self):
        while b"\n" not in self.octets:
            self.more()
        line, _, self.octets = self.octets.partition(b"\n")
        return line + b"\n"

    def read(self, count):
        while len(self.octets) < count:
            self.more()
        octets, self.octets = self.octets[:count], self.octets[count:]
        return octets


def compress(session):
    """Turns compression on for a session."""
    session.ok("COMPRESS DEFLATE")
    raw, deflater = session.raw, zlib.compressobj(9, zlib.DEFLATED, -15)
    plain = raw.send
    raw.send = lambda octets: plain(deflater.compress(octets) + deflater.flush(zlib.Z_SYNC_FLUSH))
    raw.file = Deflated(raw.file)
    session.plain = plain
    return session


class Compression(SuiteCase):
    configuration = "[imapd]\nmax_clients_per_user = 200\n"

    def test_everything_works_and_is_smaller(self):
        text = b"Subject: words\r\n\r\n" + b"All work and no play makes Jack a dull boy.\r\n" * 50000
        noise = b"Subject: noise\r\n\r\n" + os.urandom(300000).hex().encode() + b"\r\n"
        with Session(self.suite) as session:
            self.assertIn("COMPRESS=DEFLATE", session.ok("CAPABILITY")[0])
            self.assertRegex(session.do("COMPRESS LZ4")[-1], " NO ")
            compress(session)
            self.assertNotIn("COMPRESS=DEFLATE", session.ok("CAPABILITY")[0])
            self.assertRegex(session.do("COMPRESS DEFLATE")[-1], r"NO \[COMPRESSIONACTIVE\]")
            session.ok("CREATE Packed")
            session.append("Packed", text)
            session.append("Packed", noise)
            session.ok("SELECT Packed")
            before = session.raw.file.received
            lines = session.ok("FETCH 1:2 (UID BODY.PEEK[])")
            self.assertIn(text.decode(), lines[0])
            self.assertIn(noise.decode(), lines[1])
            self.assertLess(session.raw.file.received - before, len(text) // 20 + len(noise) * 0.6)
            for _ in range(20):  # rests between commands
                session.ok("NOOP")
                time.sleep(0.01)
            session.raw.send(b"i IDLE\r\n")
            self.assertTrue(session.response().startswith("+ "))
            with Session(self.suite) as other:
                other.append("Packed", b"Subject: x\r\n\r\nx\r\n")
            self.assertEqual(session.response(), "* 3 EXISTS")
            session.raw.send(b"DONE\r\n")
            session.until("i")
            session.ok("LOGOUT")

    def test_plain_octets_end_it_and_bombs_are_bounded(self):
        with Session(self.suite) as session:
            compress(session)
            session.plain(b"a NOOP\r\n")
            with self.assertRaises(AssertionError):
                session.response()
        with Session(self.suite) as session:
            self.assertRegex("".join(session.do("COMPRESS DEFLATE\r\nx NOOP")), "BAD Nothing may follow")
        before = self.suite.rss("imapd")
        with Session(self.suite) as session:
            compress(session)
            deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
            bomb = b"".join(deflater.compress(b"a" * (1 << 20)) for _ in range(500))
            session.plain(bomb + deflater.compress(b"\r\n") + deflater.flush(zlib.Z_SYNC_FLUSH))
            self.assertRegex(session.response(), r"^\* BYE Command line too long")
        self.assertLess(self.suite.rss("imapd") - before, 4 << 20)

    def test_idle_sessions_with_compression_are_small(self):
        def idle(count, packed):
            sessions = []
            for _ in range(count):
                session = Session(self.suite)
                if packed:
                    compress(session)
                session.ok("SELECT INBOX")
                session.ok("FETCH 1:* (FLAGS ENVELOPE)")
                session.raw.send(b"i IDLE\r\n")
                session.response()
                sessions.append(session)
            return sessions
        with Session(self.suite) as session:
            for number in range(50):
                session.append("INBOX", b"Subject: %d\r\n\r\nx\r\n" % number)
        warm = idle(5, True)
        start = self.suite.rss("imapd")
        plain = idle(30, False)
        middle = self.suite.rss("imapd")
        packed = idle(30, True)
        end = self.suite.rss("imapd")
        print(f"    memory of an idle session: {(middle - start) // 30} octets, compressed {(end - middle) // 30}")
        self.assertLess(end - middle, 30 * (40 << 10) + (middle - start))
        for session in warm + plain + packed:
            session.close()


class Progress(SuiteCase):
    def test_a_client_that_waits_long_is_told(self):
        with Session(self.suite) as session:
            session.ok("CREATE Target")
            session.append("INBOX", b"Subject: x\r\n\r\nx\r\n")
            session.ok("SELECT INBOX")
            store = self.suite.pid("msgstored")
            os.kill(store, signal.SIGSTOP)
            timer = threading.Timer(11.5, os.kill, (store, signal.SIGCONT))
            timer.start()
            try:
                lines = session.ok("COPY 1 Target")
            finally:
                timer.cancel()
                os.kill(store, signal.SIGCONT)
            self.assertRegex(lines[0], r'^\* OK \[INPROGRESS \("t\d+" NIL NIL\)\]')
            self.assertRegex(lines[-1], "COPYUID")
