# SPDX-License-Identifier: Apache-2.0
"""What smtpd says and refuses. ACCEPTANCE 1, 3, 6, 7, 8, 9, 15."""

import base64
import smtplib
import ssl
import statistics
import subprocess
import time

from suite import SuiteCase, eventually, message, need, subjects, tls_context

ALICE, BOB = "alice@example.test", "bob@example.test"


class Surface(SuiteCase):
    def extensions(self, client):
        client.ehlo("client.example")
        return client.ehlo_resp.decode().split("\n")

    def test_ehlo_in_clear_lists_exactly_what_is_there(self):
        with self.suite.smtp() as client:
            lines = self.extensions(client)
        self.assertRegex(lines[0], r"^\S+ Hello client\.example")
        self.assertEqual(set(lines[1:]), {
            "SIZE 26214400", "8BITMIME", "PIPELINING", "SMTPUTF8", "ENHANCEDSTATUSCODES",
            "CHUNKING", "STARTTLS", "HELP"})
        self.assertEqual(lines[-1], "HELP")

    def test_the_banner_says_esmtp(self):
        with self.suite.raw("smtp") as raw:
            self.assertRegex(raw.line(), r"^220 \S+ ESMTP")

    def test_submission_offers_auth_only_under_tls(self):
        with self.suite.smtp("submission") as client:
            self.assertFalse([x for x in self.extensions(client) if x.startswith("AUTH")])
            client.starttls(context=tls_context())
            lines = self.extensions(client)
            self.assertIn("AUTH PLAIN LOGIN", lines)
            self.assertNotIn("STARTTLS", lines)

    def test_submission_rules(self):
        with self.suite.raw("submission") as raw:
            raw.reply()
            raw.command("EHLO c")
            self.assertTrue(raw.command("AUTH PLAIN AGEAYg==")[0].startswith("538 5.7.11"))
            self.assertTrue(raw.command(f"MAIL FROM:<{ALICE}>")[0].startswith("530 5.7.0"))
        with self.suite.smtp("submission", tls="starttls") as client:
            client.ehlo()
            self.assertEqual(client.docmd("MAIL", f"FROM:<{ALICE}>")[0], 530)
            client.login(ALICE, self.suite.passwords[ALICE])
            self.assertEqual(client.docmd("MAIL", f"FROM:<{BOB}>")[0], 553)
            self.assertEqual(client.docmd("MAIL", f"FROM:<{ALICE}>"), (250, b"2.1.0 OK"))

    def test_smtps_speaks_tls_first(self):
        with self.suite.raw("smtps") as raw:
            raw.socket.settimeout(2)
            raw.send(b"EHLO c\r\n")
            try:
                self.assertFalse(raw.file.readline().startswith(b"220"))
            except OSError:
                pass
        with self.suite.smtp("smtps", tls="implicit") as client:
            self.assertEqual(client.ehlo()[0], 250)

    def test_old_tls_is_refused_and_new_accepted(self):
        openssl = need("openssl")
        for port, extra in (("smtps", ()), ("imaps", ()), ("pop3s", ()),
                            ("submission", ("-starttls", "smtp"))):
            for version, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
                result = subprocess.run(
                    [openssl, "s_client", "-connect", f"127.0.0.1:{self.ports[port]}", version,
                     "-cipher", "DEFAULT@SECLEVEL=0", *extra],
                    input=b"", capture_output=True, timeout=20)
                shook = b"Cipher is (NONE)" not in result.stdout and b"BEGIN CERT" in result.stdout
                self.assertEqual(shook, works, f"{port} {version}")

    def test_wrong_password_and_unknown_user_look_and_take_the_same(self):
        def attempt(user):
            with self.suite.smtp("smtps", tls="implicit") as client:
                client.ehlo()
                began = time.monotonic()
                code, text = client.docmd(
                    "AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0wrong".encode()).decode())
                return time.monotonic() - began, code, text
        known = [attempt(ALICE) for _ in range(5)]
        unknown = [attempt("nobody@example.test") for _ in range(5)]
        self.assertEqual({(code, text) for _, code, text in known + unknown},
                         {(535, known[0][2])})
        self.assertTrue(known[0][2].startswith(b"5.7.8"))
        medians = [statistics.median(t for t, _, _ in tries) for tries in (known, unknown)]
        self.assertLess(max(medians) / min(medians), 1.5, medians)

    def test_auth_login_prompts_exactly(self):
        with self.suite.smtp("smtps", tls="implicit") as client:
            client.ehlo()
            self.assertEqual(client.docmd("AUTH", "LOGIN"), (334, b"VXNlcm5hbWU6"))
            self.assertEqual(client.docmd(base64.b64encode(ALICE.encode()).decode()),
                             (334, b"UGFzc3dvcmQ6"))
            password = self.suite.passwords[ALICE].encode()
            self.assertEqual(client.docmd(base64.b64encode(password).decode()),
                             (235, b"2.7.0 Authentication succeeded"))


class Refusals(SuiteCase):
    def test_unknown_recipient_is_550_at_rcpt(self):
        with self.suite.smtp() as client:
            client.ehlo()
            client.mail("a@elsewhere.example")
            code, text = client.rcpt("nobody@example.test")
            self.assertEqual((code, text[:5]), (550, b"5.1.1"))

    def test_relaying_is_refused(self):
        with self.suite.smtp(source="127.0.0.2") as client:
            client.ehlo()
            client.mail("a@elsewhere.example")
            self.assertEqual(client.rcpt("x@far.example"),
                             (554, b"5.7.1 Client host rejected: Access denied"))
            for trick in ("x%far.example@example.test", "far.example!x@example.test",
                          '"x@far.example"@example.test'):
                self.assertGreaterEqual(client.rcpt(trick)[0], 500, trick)

    def test_declared_and_real_sizes_are_limited_and_the_session_lives(self):
        with self.suite.smtp() as client:
            client.ehlo()
            code, text = client.docmd("MAIL", "FROM:<a@elsewhere.example> SIZE=99999999")
            self.assertEqual((code, text[:5]), (552, b"5.3.4"))
            client.mail("a@elsewhere.example")
            client.rcpt(ALICE)
            code, text = client.data(message("big", body=("x" * 998 + "\r\n") * 27_000))
            self.assertEqual((code, text[:5]), (552, b"5.3.4"))
            client.sendmail("a@elsewhere.example", [ALICE], message("after-big"))

    def test_the_101st_recipient_is_452(self):
        with self.suite.smtp() as client:
            client.ehlo()
            client.mail("a@elsewhere.example")
            codes = [client.rcpt(f"alice+{n}@example.test")[0] for n in range(101)]
            self.assertEqual(codes, [250] * 100 + [452])

    def test_smuggled_messages_are_refused_whole(self):
        ends = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r",
                b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\r\n.\r\r\n"]
        for end in ends:
            with self.suite.raw("smtp") as raw:
                raw.reply()
                raw.command("EHLO c")
                raw.command("MAIL FROM:<a@elsewhere.example>")
                raw.command(f"RCPT TO:<{ALICE}>")
                self.assertTrue(raw.command("DATA")[0].startswith("354"))
                raw.send(b"Subject: smuggler\r\n\r\nx" + end
                         + b"MAIL FROM:<evil@elsewhere.example>\r\nRCPT TO:<" + ALICE.encode()
                         + b">\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\nNOOP\r\n")
                first = raw.reply()[0]
                rest = raw.reply()[0]
                if b"\0" in end:  # NUL is no line end: one message or a refusal, never two
                    self.assertTrue(rest.startswith("250 2.0.0 OK"), (end, first, rest))
                else:
                    self.assertTrue(first.startswith("5"), (end, first, rest))
        with self.suite.imap() as client:
            self.assertNotIn("smuggled", subjects(client).values())

    def test_input_behind_starttls_is_not_obeyed(self):
        for port, hello, start in (("smtp", b"EHLO c\r\n", b"STARTTLS\r\nNOOP injected\r\n"),
                                   ("imap", b"", b"a STARTTLS\r\nb NOOP\r\n"),
                                   ("pop3", b"", b"STLS\r\nNOOP\r\n")):
            with self.suite.raw(port) as raw:
                raw.line()
                if hello:
                    raw.send(hello)
                    raw.reply()
                raw.send(start)
                answer = raw.line()
                try:
                    secure = tls_context().wrap_socket(raw.socket)
                    secure.settimeout(2)
                    self.assertEqual(secure.recv(100), b"", f"{port}: {answer}")
                except (ssl.SSLError, OSError):
                    pass


class Chunks(SuiteCase):
    def start(self, raw):
        raw.reply()
        raw.command("EHLO c")

    def test_pipelined_bdat_is_stored_to_the_octet(self):
        body = b"Subject: chunks\r\n\r\n.\r\n..\r\n8-bit \xff\xe9\r\n.end\r\n"
        with self.suite.raw("smtp") as raw:
            self.start(raw)
            raw.send(b"MAIL FROM:<a@elsewhere.example> BODY=8BITMIME\r\nRCPT TO:<%s>\r\nBDAT %d\r\n"
                     % (ALICE.encode(), len(body)) + body + b"BDAT 0 LAST\r\nQUIT\r\n")
            replies = [raw.reply()[0] for _ in range(5)]
            self.assertEqual([r[:3] for r in replies], ["250", "250", "250", "250", "221"])
        with self.suite.imap() as client:
            client.select()
            octets = client.fetch("1", "(BODY.PEEK[])")[1][0][1]
            self.assertTrue(octets.endswith(body))

    def test_data_between_chunks_is_503_and_rset_clears(self):
        with self.suite.raw("smtp") as raw:
            self.start(raw)
            raw.command("MAIL FROM:<a@elsewhere.example>")
            raw.command(f"RCPT TO:<{ALICE}>")
            raw.send(b"BDAT 3\r\nabc")
            self.assertTrue(raw.reply()[0].startswith("250"))
            self.assertTrue(raw.command("DATA")[0].startswith("503 5.5.1"))
            self.assertTrue(raw.command("RSET")[0].startswith("250"))
            self.assertTrue(raw.command("BDAT 0 LAST")[0].startswith("503"))

    def test_a_chunk_over_the_size_is_552_and_the_stream_stays_in_step(self):
        with self.suite.raw("smtp") as raw:
            self.start(raw)
            raw.command("MAIL FROM:<a@elsewhere.example>")
            raw.command(f"RCPT TO:<{ALICE}>")
            raw.send(b"BDAT 30000000 LAST\r\n")
            chunk = b"x" * 1_000_000
            for _ in range(30):
                raw.send(chunk)
            self.assertTrue(raw.reply()[0].startswith("552 5.3.4"))
            self.assertTrue(raw.command("NOOP")[0].startswith("250"))

    def test_200_000_chunks_of_one_octet_do_not_grow_smtpd(self):
        with self.suite.raw("smtp") as raw:
            self.start(raw)
            raw.command("MAIL FROM:<a@elsewhere.example>")
            raw.command(f"RCPT TO:<{ALICE}>")
            before = self.suite.rss("smtpd")
            for _ in range(400):
                raw.send(b"BDAT 1\r\nx" * 500)
                for _ in range(500):
                    self.assertTrue(raw.line().startswith("250"))
            self.assertLess(self.suite.rss("smtpd") - before, 5 << 20)

    def test_a_large_message_arrives_whole(self):
        body = "".join(f"{n:07} " + "y" * 60 + "\r\n" for n in range(100_000))
        self.suite.deliver("large", body=body, to=BOB)
        with self.suite.imap(BOB) as client:
            client.select()
            octets = client.fetch("1", "(BODY.PEEK[])")[1][0][1]
            self.assertTrue(octets.endswith(body.encode()))
