# SPDX-License-Identifier: Apache-2.0
"""IMAP as real clients speak it, octet by octet, and where it is easily got wrong."""

import base64
import os
import re
import socket
import time

from suite import SuiteCase, message

ALICE = "alice@example.test"
BOB = "bob@example.test"


class Session:
    """A logged-in raw session that understands literals."""

    def __init__(self, suite, user=ALICE, login=True):
        self.raw = suite.raw("imaps", tls=True)
        self.greeting = self.raw.line()
        self.count = 0
        if login:
            answer = self.do(f"LOGIN {user} {suite.passwords[user]}")
            assert " OK " in answer[-1], answer

    def response(self):
        """One response line with its literals inside."""
        octets = b""
        while True:
            line = self.raw.file.readline()
            assert line, f"connection ended after {octets[-200:]!r}"
            octets += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                return octets[:-2].decode("utf-8", "surrogateescape")
            octets += self.raw.file.read(int(literal[1]))

    def until(self, tag):
        lines = [self.response()]
        while not lines[-1].startswith(tag + " "):
            lines.append(self.response())
        return lines

    def do(self, command):
        self.count += 1
        tag = f"t{self.count}"
        self.raw.send(f"{tag} {command}\r\n".encode("utf-8", "surrogateescape"))
        return self.until(tag)

    def ok(self, command):
        lines = self.do(command)
        assert re.match(r"t\d+ OK", lines[-1]), (command, lines[-3:])
        return lines

    def append(self, box, octets, flags=""):
        self.count += 1
        tag = f"t{self.count}"
        self.raw.send(f"{tag} APPEND {box} {flags}{{{len(octets)}+}}\r\n".encode())
        self.raw.send(octets + b"\r\n")
        answer = self.until(tag)
        assert " OK " in answer[-1], answer
        return int(re.search(r"APPENDUID \d+ (\d+)", answer[-1])[1])

    def close(self):
        self.raw.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def letter(number, body="Hello.\r\n"):
    return message(f"letter-{number}", body=body).encode()


class Clients(SuiteCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with Session(cls.suite) as session:
            session.ok("CREATE Twelve")
            for number in range(1, 13):
                session.append("Twelve", letter(number))

    def test_thunderbird(self):
        with Session(self.suite, login=False) as session:
            self.assertIn("SASL-IR", session.greeting)
            session.raw.send(b"1 authenticate PLAIN\r\n")
            self.assertEqual(session.response(), "+ ")
            secret = f"\0{ALICE}\0{self.suite.passwords[ALICE]}".encode()
            session.raw.send(base64.b64encode(secret) + b"\r\n")
            self.assertRegex(session.until("1")[-1], r"^1 OK \[CAPABILITY ")
            self.assertIn('* NAMESPACE (("" "/")) NIL NIL', session.ok("namespace"))
            session.ok('ID ("name" "Thunderbird" "version" "153.7")')
            rows = session.ok('list (subscribed) "" "*" return (special-use)')
            self.assertTrue(any("INBOX" in row for row in rows))
            self.assertEqual(len(session.ok('list "" "INBOX"')), 2)
            session.ok('select "Twelve"')
            self.assertEqual(len(session.ok("UID fetch 1:* (FLAGS)")), 13)
            rows = session.ok(
                "UID fetch 1:12 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc "
                "Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To "
                "Content-Type Reply-To Received)])")
            self.assertEqual(len(rows), 13)
            self.assertIn("Subject: letter-12\r\n", rows[11])
            self.assertTrue(rows[11].endswith("\r\n\r\n)"))
            session.raw.send(b"9 IDLE\r\n")
            self.assertTrue(session.response().startswith("+ "))

    def test_mutt_authzid_and_pipelined_status_with_idle(self):
        with Session(self.suite, login=False) as session:
            secret = f"{ALICE}\0{ALICE}\0{self.suite.passwords[ALICE]}".encode()
            session.ok("AUTHENTICATE PLAIN " + base64.b64encode(secret).decode())
            self.assertEqual(session.ok("ENABLE UTF8=ACCEPT")[0], "* ENABLED UTF8=ACCEPT")
            self.assertIn('* LIST (\\Noselect) "/" ""', session.ok('LIST "" ""'))
            session.ok('LSUB "" "*"')
            session.ok("SELECT Twelve")
            boxes = ["INBOX", "Sent", "Twelve", "Drafts", "Trash"]
            burst = "".join(
                f'p{n} STATUS "{box}" (UIDNEXT UIDVALIDITY UNSEEN RECENT MESSAGES)\r\n'
                for n, box in enumerate(boxes)) + "i IDLE\r\n"
            session.raw.send(burst.encode())
            for number, box in enumerate(boxes):
                self.assertIn(f" {box}" if box == "INBOX" else f'"{box}"',
                              session.until(f"p{number}")[-2])
            self.assertTrue(session.response().startswith("+ "))
            session.raw.send(b"DONE\r\nx NOOP\r\n")
            self.assertRegex(session.until("i")[-1], "^i OK")
            self.assertRegex(session.until("x")[-1], "^x OK")

    def test_mbsync_burst_is_answered_in_order(self):
        with Session(self.suite) as session:
            session.ok("SELECT Twelve")
            uids = [int(re.search(r"UID (\d+)", row)[1])
                    for row in session.ok("UID FETCH 1:12 (UID FLAGS)")[:-1]]
            session.raw.send("".join(
                f"f{uid} UID FETCH {uid} (BODY.PEEK[])\r\n" for uid in uids).encode())
            for number, uid in enumerate(uids, 1):
                lines = session.until(f"f{uid}")
                self.assertEqual(len(lines), 2)
                self.assertIn(f"Subject: letter-{number}\r\n", lines[0])

    def test_aerc_list_status_and_search_charset(self):
        with Session(self.suite) as session:
            rows = session.ok('LIST "" "*" RETURN (STATUS (MESSAGES RECENT UNSEEN))')
            self.assertTrue(any(re.match(r'\* STATUS "Twelve" \(MESSAGES 12 RECENT \d+ UNSEEN 12\)',
                                         row) for row in rows), rows)
            session.ok("SELECT Twelve")
            for _ in range(2):
                self.assertEqual(len(session.ok("UID SEARCH CHARSET UTF-8 ALL")[0].split()), 14)
            rows = session.ok(
                "UID FETCH 1:12 (BODYSTRUCTURE ENVELOPE INTERNALDATE FLAGS UID BODY.PEEK[HEADER])")
            self.assertEqual(len(rows), 13)
            self.assertIn("ENVELOPE (", rows[0])
            self.assertIn("BODYSTRUCTURE (", rows[0])

    def test_offlineimap_alternates_examine_and_select(self):
        with Session(self.suite) as session:
            for _ in range(3):
                self.assertIn("[READ-ONLY]", session.ok("EXAMINE Twelve")[-1])
                self.assertRegex(session.do("STORE 1 +FLAGS (\\Seen)")[-1], r"NO \[READ-ONLY\]")
                self.assertIn("[READ-WRITE]", session.ok("SELECT Twelve")[-1])
            rows = session.ok("FETCH 1:* (FLAGS UID INTERNALDATE)")
            self.assertEqual(len(rows), 13)

    def test_s_nail_and_alpine(self):
        with Session(self.suite) as session:
            session.ok("SELECT Twelve")
            session.ok("FETCH 1:12 (RFC822.SIZE)")
            rows = session.ok("FETCH 1 (RFC822.HEADER)")
            self.assertRegex(rows[0], r"^\* 1 FETCH \(RFC822.HEADER \{\d+\}\r\nFrom: ")
            self.assertEqual(
                session.ok("SEARCH UNANSWERED UNDELETED UNSEEN")[0],
                "* SEARCH " + " ".join(str(n) for n in range(1, 13)))

    def test_apple_mail_idle_in_idle_and_commands_behind_done(self):
        with Session(self.suite) as session:
            session.ok("SELECT Twelve")
            session.raw.send(b"a IDLE\r\n")
            self.assertTrue(session.response().startswith("+ "))
            session.raw.send(b"b IDLE\r\n")
            self.assertRegex(session.response(), "^b BAD")
            session.raw.send(b'DONE\r\nc NAMESPACE\r\nd LIST "" "*" RETURN (SPECIAL-USE)\r\n')
            for tag in ("a", "c", "d"):
                self.assertRegex(session.until(tag)[-1], f"^{tag} OK")


class Messages(SuiteCase):
    def test_large_messages_whole_and_in_pieces(self):
        body = "".join(f"line {n} of a long letter, with some more words\r\n"
                       for n in range(40_000))
        octets = letter("big", body)
        self.assertGreater(len(octets), 1_500_000)
        with Session(self.suite) as session:
            session.ok("CREATE Big")
            uid = session.append("Big", octets)
            session.ok("SELECT Big")
            row = session.ok(f"UID FETCH {uid} (UID RFC822.SIZE BODY.PEEK[] INTERNALDATE)")[0]
            self.assertIn(f"RFC822.SIZE {len(octets)}", row)
            self.assertIn(octets.decode(), row)
            text = octets.split(b"\r\n\r\n", 1)[1].decode()
            self.assertIn(f"BODY[TEXT] {{{len(text)}}}\r\n{text}",
                          session.ok(f"UID FETCH {uid} BODY.PEEK[TEXT]")[0])
            joined, offset = "", 0
            while offset < len(octets):
                row = session.ok(f"UID FETCH {uid} (BODY.PEEK[]<{offset}.65536>)")[0]
                found = re.search(r"BODY\[\]<(\d+)> \{(\d+)\}\r\n", row)
                self.assertEqual(int(found[1]), offset)
                joined += row[found.end():found.end() + int(found[2])]
                offset += 65_536
            self.assertEqual(joined, octets.decode())
            joined, offset = "", 0
            while offset < len(text):
                row = session.ok(f"UID FETCH {uid} (BODY.PEEK[1]<{offset}.262144>)")[0]
                found = re.search(r"BODY\[1\]<\d+> \{(\d+)\}\r\n", row)
                joined += row[found.end():found.end() + int(found[1])]
                offset += 262_144
            self.assertEqual(joined, text)
            self.assertIn("BODY[]<9999999> {0}", session.ok(
                f"UID FETCH {uid} BODY.PEEK[]<9999999.10>")[0].replace('""', "{0}"))

    def test_append_of_every_size_comes_back_the_same(self):
        with Session(self.suite) as session:
            session.ok("CREATE Sizes")
            session.ok("SELECT Sizes")
            for size in (1, 100, 4_095, 16_384, 16_385, 65_536, 131_072, 131_073, 262_144, 262_145,
                         700_000):
                head = b"Subject: size\r\n\r\n"
                octets = head + b"x" * max(0, size - len(head) - 2) + b"\r\n" if size > 20 \
                    else b"x" * size
                uid = session.append("Sizes", octets)
                row = session.ok(f"UID FETCH {uid} (BODY.PEEK[])")[0]
                self.assertIn(f"{{{len(octets)}}}\r\n{octets.decode()}", row)

    def test_bare_line_feeds_are_made_crlf(self):
        with Session(self.suite) as session:
            uid = session.append("INBOX", b"Subject: lf\n\none\ntwo\n")
            session.ok("SELECT INBOX")
            self.assertIn("{25}\r\nSubject: lf\r\n\r\none\r\ntwo\r\n",
                          session.ok(f"UID FETCH {uid} BODY.PEEK[]")[0])

    def test_appends_that_cannot_be_leave_the_session_usable(self):
        with Session(self.suite) as session:
            self.assertRegex(session.do("APPEND Nowhere {5000000}")[-1], r"NO \[TRYCREATE\]")
            self.assertRegex(session.do("APPEND INBOX {99999999}")[-1], r"NO \[TOOBIG\]")
            self.assertRegex(session.do("APPEND Nowhere {5+}\r\nhello")[-1], r"NO \[TRYCREATE\]")
            self.assertRegex(session.do("APPEND INBOX (\\Foo) {5+}\r\nhello")[-1], "BAD")
            self.assertRegex(session.do("APPEND INBOX {5+}\r\nhello nonsense")[-1], "BAD")
            # RFC 3502: all of them or none.
            session.ok("SELECT INBOX")
            before = session.ok("STATUS INBOX (UIDNEXT)")[0]
            self.assertRegex(
                session.do("APPEND INBOX {5+}\r\nhello (\\Foo) {3+}\r\nabc")[-1], "BAD")
            self.assertEqual(session.ok("STATUS INBOX (UIDNEXT)")[0], before)
            session.ok("NOOP")

    def test_seen_is_set_and_told(self):
        with Session(self.suite, BOB) as session:
            uid = session.append("INBOX", letter(1))
            session.ok("SELECT INBOX")
            self.assertNotIn("\\Seen", session.ok(f"UID FETCH {uid} (FLAGS BODY.PEEK[])")[0])
            row = session.ok(f"UID FETCH {uid} BODY[TEXT]")[0]
            self.assertRegex(row, r"FLAGS \([^)]*\\Seen")
            self.assertNotIn("FLAGS", session.ok(f"UID FETCH {uid} BODY[TEXT]")[0])


class States(SuiteCase):
    def test_condstore(self):
        with Session(self.suite) as session, Session(self.suite) as other:
            session.ok("CREATE Cond")
            for number in range(3):
                session.append("Cond", letter(number))
            rows = session.ok("SELECT Cond (CONDSTORE)")
            highest = int(re.search(r"HIGHESTMODSEQ (\d+)", " ".join(rows))[1])
            other.ok("SELECT Cond")
            other.ok("STORE 2 +FLAGS.SILENT (\\Flagged $Mark)")
            told = session.ok("NOOP")
            self.assertTrue(any(re.search(r"^\* 2 FETCH \(UID \d+ FLAGS \(.*\\Flagged.*\$Mark.*\) "
                                          r"MODSEQ \(\d+\)\)", row) for row in told), told)
            rows = session.ok(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {highest})")
            self.assertEqual(len(rows), 2, rows)
            answer = session.do(f"STORE 1:3 (UNCHANGEDSINCE {highest}) +FLAGS.SILENT (\\Seen)")
            self.assertRegex(answer[-1], r"OK \[MODIFIED 2\]")
            self.assertEqual(len(answer), 3, answer)
            self.assertRegex(session.ok("SEARCH MODSEQ 1")[0], r"\* SEARCH 1 2 3 \(MODSEQ \d+\)")

    def test_expunge_copy_and_move_codes(self):
        with Session(self.suite) as session:
            session.ok("CREATE From")
            session.ok("CREATE To")
            for number in range(6):
                session.append("From", letter(number))
            session.ok("SELECT From")
            self.assertRegex(session.ok("COPY 1:3 To")[-1], r"OK \[COPYUID \d+ 1:3 1:3\]")
            rows = session.ok("UID MOVE 4,6 To")
            self.assertRegex(rows[0], r"^\* OK \[COPYUID \d+ 4,6 4:5\]")
            self.assertEqual(rows[1:3], ["* 6 EXPUNGE", "* 4 EXPUNGE"])
            session.ok("STORE 1:2 +FLAGS (\\Deleted)")
            self.assertEqual(session.ok("UID EXPUNGE 2:99")[0], "* 2 EXPUNGE")
            self.assertEqual(session.ok("EXPUNGE")[0], "* 1 EXPUNGE")
            self.assertRegex(session.do("COPY 1 Nowhere")[-1], r"NO \[TRYCREATE\]")
            self.assertRegex(session.do("COPY 9 To")[-1], "BAD")
            session.ok("UID COPY 999 To")

    def test_numbers_mean_what_the_client_knows(self):
        """Another session expunges message 1; this one, not told yet, uses numbers."""
        with Session(self.suite) as session, Session(self.suite) as other:
            for command, check in (
                    ("MOVE 2 Mark", "letter-1"), ("COPY 2 Mark", "letter-1"),
                    ("SEARCH 2 SUBJECT letter-1", None), ("UID SEARCH 2 SUBJECT letter-1", None)):
                session.do("DELETE Moving")
                session.do("DELETE Mark")
                session.ok("CREATE Moving")
                session.ok("CREATE Mark")
                for number in range(4):
                    session.append("Moving", letter(number))
                session.ok("SELECT Moving")
                other.ok("SELECT Moving")
                other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
                other.ok("EXPUNGE")
                rows = session.ok(command)
                if check:
                    session.ok("SELECT Mark")
                    self.assertIn(check, session.ok("FETCH 1 (BODY.PEEK[])")[0])
                else:
                    found = next(row for row in rows if row.startswith("* SEARCH"))
                    self.assertEqual(found, "* SEARCH 2")
                other.ok("UNSELECT")
                session.ok("UNSELECT")

    def test_pipelined_commands_see_what_the_ones_before_them_did(self):
        with Session(self.suite) as session:
            session.ok("CREATE Pipe")
            session.ok("SELECT Pipe")
            burst = b""
            for number in range(20):
                text = letter(number)
                burst += f"p{number} APPEND Pipe {{{len(text)}+}}\r\n".encode() + text + b"\r\n"
                burst += f"q{number} STORE {number + 1} +FLAGS.SILENT (\\Seen)\r\n".encode()
                burst += f"r{number} SEARCH SEEN\r\n".encode()
            session.raw.send(burst)
            for number in range(20):
                self.assertRegex(session.until(f"p{number}")[-1], "OK")
                self.assertRegex(session.until(f"q{number}")[-1], "OK")
                wanted = "* SEARCH " + " ".join(str(n + 1) for n in range(number + 1))
                self.assertEqual(session.until(f"r{number}")[-2], wanted)

    def test_select_that_fails_leaves_nothing_selected(self):
        with Session(self.suite) as session:
            session.ok("SELECT INBOX")
            self.assertRegex(session.do("SELECT Nowhere")[-1], "NO")
            self.assertRegex(session.do("FETCH 1:* FLAGS")[-1], "BAD")

    def test_recent_is_told_to_one_session(self):
        with Session(self.suite, BOB) as first, Session(self.suite, BOB) as second:
            first.ok("SELECT INBOX")
            first.append("INBOX", letter("recent"))
            first.ok("NOOP")
            rows = second.ok("SELECT INBOX")
            self.assertIn("* 0 RECENT", rows)

    def test_names_that_are_not_ascii(self):
        with Session(self.suite) as session:
            session.ok('CREATE "Entw&APw-rfe/&ZeVnLIqe-"')
            self.assertIn('* LIST (\\HasNoChildren) "/" "Entw&APw-rfe/&ZeVnLIqe-"',
                          session.ok('LIST "" "Entw&APw-rfe/%"'))
            self.assertRegex(session.do('CREATE "bad&name"')[-1], r"NO \[CANNOT\]")

    def test_deleted_mailbox_ends_other_sessions_of_it(self):
        with Session(self.suite) as session, Session(self.suite) as other:
            session.ok("CREATE Gone")
            other.ok("SELECT Gone")
            session.ok("DELETE Gone")
            other.raw.send(b"x NOOP\r\n")
            self.assertRegex(other.response(), r"^(x NO|\* BYE)")

    def test_unread_output_is_bounded(self):
        with Session(self.suite) as session:
            session.ok("CREATE Flood")
            uid = session.append("Flood", letter("flood", "x" * 70 + "\r\n" + "y" * 400_000))
            session.ok("SELECT Flood")
            before = self.suite.rss("imapd")
            session.raw.socket.settimeout(5)
            sent = 0
            try:
                for number in range(500):  # 200 MB asked for, nothing read
                    session.raw.send(f"u{number} UID FETCH {uid} (BODY.PEEK[TEXT])\r\n".encode())
                    sent += 1
            except (TimeoutError, socket.timeout, OSError):
                pass
            time.sleep(1)
            self.assertLess(self.suite.rss("imapd") - before, 24 << 20)

    def test_garbage_of_every_kind_harms_no_other_session(self):
        with Session(self.suite) as witness:
            for number in range(200):
                raw = self.suite.raw("imaps", tls=True)
                try:
                    raw.send(os.urandom(300) + b"\r\na LOGIN {5}\r\n\0\0\0\0\0\r\n")
                except OSError:
                    pass
                raw.close()
            witness.ok("NOOP")
