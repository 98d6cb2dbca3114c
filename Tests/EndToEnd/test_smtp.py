# SPDX-License-Identifier: Apache-2.0
"""What smtpd says and refuses. ACCEPTANCE 1, 3, 6, 7, 8, 9, 15."""

import base64
import email
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
            "CHUNKING", "DSN", "STARTTLS", "HELP"})
        self.assertEqual(lines[-1], "HELP")

    def test_ehlo_inside_tls_and_behind_auth_lists_more(self):
        with self.suite.smtp(tls="starttls") as client:
            lines = self.extensions(client)
            for word in ("REQUIRETLS", "BINARYMIME", "LIMITS RCPTMAX=100", "DSN"):
                self.assertIn(word, lines)
            for word in ("STARTTLS", "DELIVERBY", "MT-PRIORITY", "FUTURERELEASE"):
                self.assertNotIn(word, lines)
        with self.suite.smtp("submission", tls="starttls", user=ALICE) as client:
            lines = self.extensions(client)
            self.assertIn("DELIVERBY", lines)
            self.assertIn("MT-PRIORITY", lines)
            self.assertEqual(lines[-1], "HELP")

    def test_the_banner_says_esmtp(self):
        with self.suite.raw("smtp") as raw:
            self.assertRegex(raw.line(), r"^220 \S+ ESMTP")

    def test_submission_offers_auth_only_under_tls(self):
        with self.suite.smtp("submission") as client:
            self.assertFalse([x for x in self.extensions(client) if x.startswith("AUTH")])
            client.starttls(context=tls_context())
            lines = self.extensions(client)
            self.assertIn("AUTH PLAIN LOGIN SCRAM-SHA-256", lines)
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


class Reports(SuiteCase):
    """DSN, RFC 3461."""

    def received(self, user, subject):
        """The messages with this subject, once there is one."""
        with self.suite.imap(user) as client:
            eventually(lambda: subject in subjects(client).values(), 5)
            found = client.fetch("1:*", "(BODY.PEEK[])")[1]
            texts = [item[1].decode() for item in found if isinstance(item, tuple)]
            return [text for text in texts if f"\r\nSubject: {subject}\r\n" in text[:2000]]

    def test_bad_parameters_are_501_and_unoffered_ones_555(self):
        with self.suite.smtp() as client:
            client.ehlo()
            self.assertEqual(client.docmd("MAIL FROM:<a@elsewhere.example> RET=BAD")[0], 501)
            self.assertEqual(client.docmd("MAIL FROM:<a@elsewhere.example> ENVID=+1")[0], 501)
            self.assertEqual(client.docmd("MAIL FROM:<a@elsewhere.example> HOLDFOR=60")[0], 555)
            self.assertEqual(client.docmd("MAIL FROM:<a@elsewhere.example> MT-PRIORITY=3")[0], 555)
            client.mail("a@elsewhere.example")
            for notify in ("NEVER,FAILURE", "ALWAYS", ""):
                code, text = client.docmd(f"RCPT TO:<{ALICE}> NOTIFY={notify}")
                self.assertEqual((code, text[:5]), (501, b"5.5.4"))

    def test_who_asked_for_it_is_told_of_success(self):
        with self.suite.smtp("submission", tls="starttls", user=ALICE) as client:
            client.sendmail(
                ALICE, [BOB], message("told", sender=ALICE, to=BOB),
                mail_options=["RET=HDRS", "ENVID=QQ+2B314"],
                rcpt_options=["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;Old+2B{BOB}"])
        report, = self.received(ALICE, "Successful Mail Delivery Report")
        self.assertIn("Return-Path: <>\r\n", report)
        self.assertIn("Original-Envelope-Id: QQ+314\r\n", report)
        self.assertIn(f"Original-Recipient: rfc822; Old+{BOB}\r\n", report)
        self.assertIn(f"Final-Recipient: rfc822; {BOB}\r\nAction: delivered\r\n", report)
        self.assertIn("Subject: told\r\n", report)
        self.assertNotIn("Hello.", report)
        parsed = email.message_from_string(report)
        self.assertEqual(parsed.get_content_type(), "multipart/report")
        self.assertEqual([part.get_content_type() for part in parsed.get_payload()],
                         ["text/plain", "message/delivery-status", "text/rfc822-headers"])
        kept, = self.received(BOB, "told")
        self.assertIn("X-Martlet-Envelope: RET=HDRS\r\n\tENVID=QQ+2B314\r\n", kept)
        self.assertIn(f"\r\nOriginal-Recipient: rfc822;Old+{BOB}\r\n", kept)

    def test_a_stranger_makes_no_report(self):
        with self.suite.smtp() as client:
            client.sendmail(BOB, [ALICE], message("forged", sender=BOB),
                            rcpt_options=["NOTIFY=SUCCESS"])
        with self.suite.smtp("submission", tls="starttls", user=ALICE) as client:
            client.sendmail(ALICE, [BOB], message("last", sender=ALICE))
        self.assertTrue(self.received(BOB, "last"))
        self.assertFalse(self.received(BOB, "Successful Mail Delivery Report"))


class Submissions(SuiteCase):
    def submit(self, text, **options):
        with self.suite.smtp("submission", tls="starttls", user=ALICE) as client:
            client.sendmail(ALICE, [BOB], text, **options)
        with self.suite.imap(BOB) as client:
            self.assertTrue(eventually(lambda: subjects(client)))
            found = client.fetch("*", "(BODY.PEEK[])")[1]
            return next(item[1] for item in found if isinstance(item, tuple))

    def test_bcc_is_taken_out_and_what_is_missing_added(self):
        octets = self.submit("Subject: bare\r\nBcc: secret@far.example,\r\n\tx@y\r\n\r\nBcc: y\r\n")
        self.assertNotIn(b"secret", octets)
        self.assertTrue(octets.endswith(b"\r\n\r\nBcc: y\r\n"))
        for field in (b"\r\nDate: ", b"\r\nMessage-ID: <", b"\r\nFrom: <alice@example.test>\r\n"):
            self.assertIn(field, octets)
        self.assertRegex(octets, rb"with ESMTPSA \(TLSv1\.[23]\)")

    def test_a_foreign_author_is_refused(self):
        for header in (f"From: {BOB}", f"From: {ALICE}, {BOB}", f"From: {ALICE}\r\nSender: {BOB}"):
            with self.suite.smtp("submission", tls="starttls", user=ALICE) as client:
                with self.assertRaises(smtplib.SMTPDataError) as caught:
                    client.sendmail(ALICE, [BOB], f"{header}\r\n\r\nx\r\n")
                self.assertEqual(caught.exception.smtp_code, 550)

    def test_binary_parts_arrive_as_base64(self):
        binary = bytes(range(256)) + b"\r\n--b\n\r" * 50
        head = (f"From: {ALICE}\r\nSubject: binary\r\nMIME-Version: 1.0\r\n"
                "Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\ntext\r\n--bb\r\n"
                "Content-Type: application/x-y\r\nContent-Transfer-Encoding: binary\r\n\r\n")
        text = head.encode() + binary + b"\r\n--bb--\r\n"
        with self.suite.smtp("submission", tls="starttls", user=ALICE) as client:
            self.assertEqual(client.docmd(f"MAIL FROM:<{ALICE}> BODY=BINARYMIME REQUIRETLS")[0], 250)
            self.assertEqual(client.docmd(f"RCPT TO:<{BOB}>")[0], 250)
            self.assertEqual(client.docmd("DATA")[0], 503)
            client.send(b"BDAT %d\r\n" % (len(text) - 7) + text[:-7])
            self.assertEqual(client.getreply()[0], 250)
            client.send(b"BDAT 7 LAST\r\n" + text[-7:])
            self.assertEqual(client.getreply()[0], 250)
        with self.suite.imap(BOB) as client:
            self.assertTrue(eventually(lambda: subjects(client)))
            found = client.fetch("*", "(BODY.PEEK[])")[1]
            parsed = email.message_from_bytes(found[0][1])
        self.assertEqual(parsed.get_payload()[1].get_payload(decode=True), binary)

    def test_international_addresses_are_one_however_they_are_spelled(self):
        self.suite.mailctl("domain", "add", "b\u00fccher.test")
        self.suite.mailctl("account", "add", "jos\u00e9@xn--bcher-kva.test", "--generate")
        for spelling in ("jos\u00e9@b\u00fccher.test", "jos\u00e9@B\u00dcCHER.test",
                         "jos\u00e9@xn--bcher-kva.test"):
            with self.suite.smtp() as client:
                client.ehlo()
                self.assertEqual(client.docmd("MAIL FROM:<a@elsewhere.example>")[0], 250)
                client.command_encoding = "utf-8"
                self.assertEqual(client.rcpt(spelling)[0], 553)
                client.rset()
                client.sendmail("a@elsewhere.example", [spelling], message("spelled"),
                                mail_options=["SMTPUTF8"])


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
