# SPDX-License-Identifier: Apache-2.0
"""What pop3d does. ACCEPTANCE 21."""

import poplib

from suite import SuiteCase, eventually, subjects, tls_context

ALICE, BOB = "alice@example.test", "bob@example.test"


class Maildrop(SuiteCase):
    def test_nothing_is_asked_before_tls(self):
        with self.suite.raw("pop3") as raw:
            raw.line()
            raw.send(b"USER alice@example.test\r\n")
            self.assertTrue(raw.line().startswith("-ERR"))
            raw.send(b"CAPA\r\n")
            lines = []
            while not lines or lines[-1] != ".":
                lines.append(raw.line())
            self.assertIn("STLS", lines)
            self.assertFalse([x for x in lines if x.startswith(("USER", "SASL"))], lines)

    def test_capa_under_tls(self):
        client = poplib.POP3("127.0.0.1", self.ports["pop3"], timeout=20)
        client.stls(context=tls_context())
        capabilities = client.capa()
        client.quit()
        for name in ("TOP", "UIDL", "SASL", "RESP-CODES", "PIPELINING", "USER"):
            self.assertIn(name, capabilities)
        self.assertIn("PLAIN", capabilities["SASL"])
        self.assertNotIn("STLS", capabilities)

    def test_a_dropped_link_keeps_mail_and_quit_removes_it(self):
        body = ".\r\n..\r\n.leading\r\nlast\r\n"
        for number in range(3):
            self.suite.deliver(f"pop-{number}", body=body)
        client = self.suite.pop3()
        self.assertEqual(client.stat()[0], 3)
        uidl = client.uidl()[1]
        self.assertTrue((b"\r\n".join(client.retr(2)[1]) + b"\r\n").endswith(body.encode()))
        self.assertEqual(client.top(1, 1)[1][-1], b".")
        client.dele(1)
        client.close()  # no QUIT

        def again():
            other = self.suite.pop3()
            self.assertEqual(other.uidl()[1], uidl)
            return other
        client = eventually(again)
        with self.assertRaisesRegex(poplib.error_proto, r"-ERR \[IN-USE\]"):
            self.suite.pop3()
        client.dele(1)
        self.assertEqual(client.stat()[0], 2)
        client.rset()
        self.assertEqual(client.stat()[0], 3)
        client.dele(1)
        client.quit()
        with self.suite.imap() as imap:
            self.assertEqual(sorted(subjects(imap).values()), ["pop-1", "pop-2"])
        client = self.suite.pop3()
        self.assertEqual([row.split()[1] for row in client.uidl()[1]],
                         [row.split()[1] for row in uidl[1:]])
        client.quit()

    def test_last_is_refused_and_the_session_lives(self):
        client = self.suite.pop3(BOB)
        with self.assertRaises(poplib.error_proto):
            client._shortcmd("LAST")
        self.assertEqual(client.noop()[:3], b"+OK")
        client.quit()

    def test_pipelined_retr_of_everything_stays_in_order(self):
        for number in range(50):
            self.suite.deliver(f"pipe-{number}", to=BOB, body=f"number {number}\r\n" * 2000)
        with self.suite.raw("pop3s", tls=True) as raw:
            raw.line()
            raw.send(f"USER {BOB}\r\nPASS {self.suite.passwords[BOB]}\r\n".encode())
            raw.line(), raw.line()
            raw.send(b"".join(b"RETR %d\r\n" % n for n in range(1, 51)) + b"QUIT\r\n")
            for number in range(50):
                self.assertTrue(raw.line().startswith("+OK"))
                lines = 0
                while (line := raw.line()) != ".":
                    lines += line == f"number {number}"
                self.assertEqual(lines, 2000)
            self.assertTrue(raw.line().startswith("+OK"))
