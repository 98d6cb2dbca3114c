# SPDX-License-Identifier: Apache-2.0
"""What pop3d does when something is wrong: lost stores, vanished and damaged messages, clients that
do not read, commands in front of their time. ACCEPTANCE 21."""

import base64
import os
import poplib
import signal
import socket
import ssl

from suite import SuiteCase, eventually, tls_context

ALICE, BOB = "alice@example.test", "bob@example.test"


class Logins(SuiteCase):
    def login(self, *lines):
        """The last answer after sending `lines` one by one under TLS."""
        with self.suite.raw("pop3s", tls=True) as raw:
            answers = [raw.line()]
            for line in lines:
                raw.send(line + b"\r\n")
                answers.append(raw.line())
            return answers

    def plain(self, user, password, authorization=""):
        return base64.b64encode(f"{authorization}\0{user}\0{password}".encode())

    def test_sasl_plain_with_and_without_initial_response(self):
        good = self.plain(ALICE, self.suite.passwords[ALICE])
        self.assertTrue(self.login(b"AUTH PLAIN " + good, b"STAT")[-1].startswith("+OK"))
        answers = self.login(b"AUTH PLAIN", good, b"STAT")
        self.assertEqual(answers[1].rstrip(), "+")
        self.assertTrue(answers[-1].startswith("+OK"))

    def test_sasl_login(self):
        encode = base64.b64encode
        answers = self.login(b"AUTH LOGIN", encode(ALICE.encode()),
                             encode(self.suite.passwords[ALICE].encode()), b"STAT")
        self.assertEqual(answers[1:3], ["+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6"])
        self.assertTrue(answers[-1].startswith("+OK"))

    def test_another_s_maildrop_is_not_opened(self):
        bad = self.plain(ALICE, self.suite.passwords[ALICE], authorization=BOB)
        self.assertTrue(self.login(b"AUTH PLAIN " + bad)[-1].startswith("-ERR"))

    def test_wrong_passwords_and_unknown_names_look_the_same_and_end_the_session(self):
        with self.suite.raw("pop3s", tls=True) as raw:
            raw.line()
            answers = []
            for name in (ALICE, "nobody@example.test", "nobody"):
                raw.send(f"USER {name}\r\nPASS wrong\r\n".encode())
                answers.append((raw.line(), raw.line()))
            self.assertEqual(len(set(answers)), 1, answers)
            self.assertTrue(answers[0][1].startswith("-ERR [AUTH]"), answers)
            self.assertEqual(raw.line(), "", "the third wrong password closes the connection")

    def test_a_cancelled_exchange_leaves_the_session(self):
        answers = self.login(b"AUTH PLAIN", b"*", b"AUTH PLAIN", b"!!!", b"USER x")
        self.assertTrue(answers[2].startswith("-ERR") and answers[4].startswith("-ERR"), answers)
        self.assertTrue(answers[5].startswith("+OK"), answers)

    def test_commands_behind_stls_in_clear_are_never_answered(self):
        with socket.create_connection(("127.0.0.1", self.ports["pop3"]), timeout=20) as link:
            link.recv(512)
            link.sendall(b"STLS\r\nUSER mallory@example.test\r\nCAPA\r\n")
            heard = b""
            try:
                while piece := link.recv(4096):
                    heard += piece
            except ConnectionResetError:
                pass
            self.assertNotIn(b"send PASS", heard)
            self.assertNotIn(b"UIDL", heard)

    def test_old_tls_is_refused(self):
        context = tls_context()
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", self.ports["pop3s"]), timeout=20) as link:
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(link)

    def test_a_thousand_wrong_commands_close_the_connection(self):
        with self.suite.raw("pop3") as raw:
            raw.send(b"XYZZY\r\n" * 1000)
            lines = []
            try:
                while line := raw.line():
                    lines.append(line)
            except ConnectionResetError:
                pass
            self.assertLess(len(lines), 100)


class Trouble(SuiteCase):
    may_restart = True

    def files(self, subject):
        """The Maildir files that hold a message."""
        found = []
        for maildir in self.suite.maildirs():
            for folder in ("cur", "new"):
                for name in os.listdir(os.path.join(maildir, folder)):
                    path = os.path.join(maildir, folder, name)
                    with open(path, "rb") as file:
                        if f"Subject: {subject}\r\n".encode() in file.read(4096):
                            found.append(path)
        return found

    def fresh(self):
        """A session with an empty maildrop."""
        client = eventually(self.suite.pop3)
        for number in range(1, client.stat()[0] + 1):
            client.dele(number)
        client.quit()

    def test_a_message_removed_by_imap_is_an_error_and_the_others_are_not(self):
        self.fresh()
        for number in range(5):
            self.suite.deliver(f"gone-{number}")
        client = self.suite.pop3()
        with self.suite.imap() as imap:
            imap.select("INBOX")
            imap.store("2,4", "+FLAGS", "(\\Deleted)")
            imap.expunge()
        for number in (2, 4):
            with self.assertRaisesRegex(poplib.error_proto, "removed"):
                client.retr(number)
        for number in (1, 3, 5):
            self.assertIn(f"Subject: gone-{number - 1}".encode(), client.retr(number)[1])
        client.dele(2)
        client.dele(1)
        client.quit()
        client = self.suite.pop3()
        self.assertEqual(client.stat()[0], 2)
        client.quit()

    def test_pipelined_retr_over_removed_messages_stays_in_order(self):
        self.fresh()
        for number in range(40):
            self.suite.deliver(f"hole-{number}")
        with self.suite.raw("pop3s", tls=True) as raw:
            raw.line()
            raw.send(f"USER {ALICE}\r\nPASS {self.suite.passwords[ALICE]}\r\n".encode())
            raw.line(), raw.line()
            with self.suite.imap() as imap:
                imap.select("INBOX")
                imap.store("1,2,10:20,40", "+FLAGS", "(\\Deleted)")
                imap.expunge()
            wanted = list(range(1, 41)) + [3, 5, 30, 29, 40]
            raw.send(b"".join(b"RETR %d\r\n" % n for n in wanted) + b"NOOP\r\n")
            for number in wanted:
                answer = raw.line()
                if number in (1, 2, 40) or 10 <= number <= 20:
                    self.assertTrue(answer.startswith("-ERR"), (number, answer))
                    continue
                self.assertTrue(answer.startswith("+OK"), (number, answer))
                lines = []
                while (line := raw.line()) != ".":
                    lines.append(line)
                self.assertIn(f"Subject: hole-{number - 1}", lines)
            self.assertEqual(raw.line(), "+OK")

    def test_a_message_whose_file_became_short_never_looks_complete(self):
        self.fresh()
        self.suite.deliver("short", body="0123456789\r\n" * 20_000)
        # Files follow the answer within a second.
        self.assertTrue(eventually(lambda: self.files("short")))
        path, = self.files("short")
        with open(path, "rb") as file:
            octets = file.read()
        os.truncate(path, 100_000)
        try:
            with self.suite.raw("pop3s", tls=True) as raw:
                raw.line()
                raw.send(f"USER {ALICE}\r\nPASS {self.suite.passwords[ALICE]}\r\nRETR 1\r\n".encode())
                raw.line(), raw.line()
                lines = []
                try:
                    while line := raw.line():
                        lines.append(line)
                        if len(lines) == 1 and line.startswith("-ERR"):
                            break
                except (ConnectionError, ssl.SSLError):
                    pass
                self.assertNotIn(".", lines)
        finally:
            with open(path, "wb") as file:
                file.write(octets)
        client = eventually(self.suite.pop3)
        self.assertEqual(len(client.retr(1)[1]) > 20_000, True)
        client.quit()

    def test_the_same_octets_by_imap_and_pop3(self):
        self.fresh()
        body = ".\r\n..x\r\n\r\n" + "y" * 900 + "\r\n.\r\n" + "\u00e9\r\n" * 9_000 + "end"
        with self.suite.smtp() as client:
            client.sendmail("carol@elsewhere.example", [ALICE],
                            ("Subject: octets\r\n\r\n" + body).encode())
        with self.suite.imap() as imap:
            imap.select("INBOX", readonly=True)
            by_imap = imap.fetch("1", "(BODY.PEEK[])")[1][0][1]
        with self.suite.raw("pop3s", tls=True) as raw:
            raw.line()
            raw.send(f"USER {ALICE}\r\nPASS {self.suite.passwords[ALICE]}\r\nRETR 1\r\n".encode())
            raw.line(), raw.line()
            self.assertEqual(raw.line(), f"+OK {len(by_imap)} octets")
            octets = b""
            while (line := raw.file.readline()) != b".\r\n":
                octets += line[1:] if line.startswith(b".") else line
        self.assertEqual(octets, by_imap)

    def test_pop3_sets_no_flag(self):
        self.fresh()
        self.suite.deliver("flags")
        client = self.suite.pop3()
        client.retr(1)
        client.quit()
        with self.suite.imap() as imap:
            imap.select("INBOX", readonly=True)
            self.assertNotIn(b"\\Seen", imap.fetch("1", "(FLAGS)")[1][0])

    def test_a_client_that_asks_for_much_and_reads_nothing_costs_little(self):
        self.fresh()
        self.suite.deliver("big", body=("x" * 76 + "\r\n") * 120_000)
        before = self.suite.rss("pop3d")
        links = []
        try:
            for _ in range(1):  # one maildrop, one session: the lock forbids more
                raw = self.suite.raw("pop3s", tls=True)
                links.append(raw)
                raw.line()
                raw.send(f"USER {ALICE}\r\nPASS {self.suite.passwords[ALICE]}\r\n".encode())
                raw.line(), raw.line()
                raw.send(b"RETR 1\r\n" * 100)
            client = self.suite.pop3(BOB)
            for _ in range(200):
                client.noop()
            client.quit()
            self.assertLess(self.suite.rss("pop3d") - before, 8 << 20)
        finally:
            for raw in links:
                raw.close()

    def test_a_store_that_dies_is_a_temporary_error_and_deletes_nothing(self):
        self.fresh()
        for number in range(3):
            self.suite.deliver(f"kept-{number}")
        client = self.suite.pop3()
        client.dele(1)
        os.kill(self.suite.pid("msgstored"), signal.SIGKILL)
        with self.assertRaisesRegex(poplib.error_proto, r"-ERR \[SYS/TEMP\]"):
            client.retr(2)
        client.close()
        client = eventually(self.suite.pop3, seconds=30)
        self.assertEqual(client.stat()[0], 3)
        client.dele(1)
        os.kill(self.suite.pid("msgstored"), signal.SIGKILL)
        with self.assertRaisesRegex(poplib.error_proto, r"-ERR \[SYS/TEMP\]"):
            client.quit()
        client = eventually(self.suite.pop3, seconds=30)
        self.assertEqual(client.stat()[0], 3)
        client.quit()
