# SPDX-License-Identifier: Apache-2.0
"""One line for every outcome, with one id, and `mailctl log`, which follows it over all daemons."""

import json
import os
import re
import signal
import subprocess
import time

from suite import SuiteCase, eventually, message, tls_context


class Log(SuiteCase):
    configuration = """
[server]
trusted_proxies = ["127.0.0.1"]
[smtpd]
xclient_on = true
"""

    def log(self, *arguments, check=True):
        result = self.suite.mailctl("log", *arguments, "--json", check=check)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def submit(self, subject, *recipients):
        """A message by alice; its id."""
        with self.suite.smtp("smtps", tls="implicit", user="alice@example.test") as client:
            client.mail("alice@example.test")
            for recipient in recipients:
                client.rcpt(recipient)
            code, text = client.data(message(subject, sender="alice@example.test"))
            self.assertEqual(code, 250, text)
        return re.search(rb"id=([0-9A-Z]{13})", text)[1].decode()

    def test_one_id_leads_through_all_daemons(self):
        number = self.submit("way", "alice@example.test", "bob@example.test")
        events = eventually(lambda: [
            e for e in [self.log("message", number)]
            if e[-1]["event"] == "session end"])[0]
        self.assertEqual(
            [(e["daemon"], e["event"]) for e in events if e["event"] != "accepted"],
            [("smtpd", "login"), ("msgstored", "delivered"), ("msgstored", "delivered"),
             ("smtpd", "session end")])
        accepted = [e for e in events if e["event"] == "accepted"]
        self.assertEqual(len(accepted), 1)
        self.assertEqual(accepted[0]["msgid"], "<way@test.example>")
        self.assertEqual(accepted[0]["rcpts"], "2")
        self.assertEqual({e["to"] for e in events if e["event"] == "delivered"},
                         {"alice@example.test", "bob@example.test"})
        self.assertEqual(len({e["session"] for e in events}), 1)
        # The same by its Message-ID and for people.
        self.assertEqual(self.log("message", "<way@test.example>"), events)
        text = self.suite.mailctl("log", "message", number.lower()).stdout
        self.assertEqual(len(text.splitlines()), len(events))
        self.assertRegex(text, rf"smtpd +{number} accepted from <alice@example.test>")
        # The id is in the message itself.
        imap = self.suite.imap("bob@example.test")
        imap.select("INBOX")
        found = imap.search(None, "HEADER", "Subject", "way")[1][0].split()
        self.assertEqual(len(found), 1)
        self.assertIn(number.encode(), imap.fetch(found[0], "(BODY.PEEK[])")[1][0][1])
        imap.logout()

    def test_by_address_refusals_are_shown_too(self):
        with self.suite.smtp() as client:
            client.ehlo()
            client.mail("dora@elsewhere.example")
            self.assertEqual(client.rcpt("missing@example.test")[0], 550)
        events = self.log("message", "missing@example.test")
        self.assertEqual([e["event"] for e in events], ["rejected"])
        self.assertEqual(events[0]["reason"], "unknown-user")
        self.assertEqual(self.log("message", "dora@elsewhere.example"), events)
        result = self.suite.mailctl("log", "message", "0123456789ABC", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("mailctl log tail", result.stderr)

    def test_every_session_ends_with_one_line(self):
        self.suite.deliver("ends")
        self.suite.imap().logout()
        self.suite.pop3().quit()
        with self.suite.raw("smtp") as wire:
            wire.reply()
        with self.suite.raw("imaps", tls=True) as wire:
            wire.line()

        def sessions():
            events = self.log("tail", "--lines", "100000")
            ends = {}
            for event in events:
                if event["event"] == "session end":
                    ends[event["session"]] = ends.get(event["session"], 0) + 1
            begun = {e["session"] for e in events
                     if e["event"] in ("accepted", "login", "rejected", "auth failed")}
            return begun and begun <= set(ends) and ends
        ends = eventually(sessions)
        self.assertTrue(ends)
        self.assertEqual(set(ends.values()), {1})
        daemons = {e["daemon"] for e in self.log("tail", "--lines", "100000")
                   if e["event"] == "session end"}
        self.assertEqual(daemons, {"smtpd", "imapd", "pop3d"})

    def test_nothing_a_client_says_forges_a_line(self):
        evil = 'x\x1b[2J" rip=192.0.2.1\u0085'
        with self.suite.raw("smtp") as wire:
            wire.reply()
            wire.command(f"EHLO {evil}")
            wire.command("EHLO a.example")
            wire.command('MAIL FROM:<"a b\\" rip=192.0.2.7 reason=x"@elsewhere.example>')
            wire.command("RCPT TO:<evil-nobody@example.test>")
            wire.command("XCLIENT NAME=spike.example HELO=a+20rip=192.0.2.9+0D+0Asmtpd:+20x")
            wire.command("QUIT")
        imap_user = 'mallory" rip=192.0.2.8\x1b[2J'
        with self.suite.raw("imaps", tls=True) as wire:
            wire.line()
            literal = imap_user.encode()
            wire.send(b"a LOGIN {%d+}\r\n%s wrong\r\n" % (len(literal), literal))
            wire.line()
        events = eventually(lambda: [
            e for e in self.log("tail", "--lines", "100000")
            if "192.0.2." in json.dumps(e)] or None)
        self.assertTrue(events)
        for event in events:
            self.assertEqual(event.get("rip", "127.0.0.1"), "127.0.0.1", event)
        lines = [line for line in self.suite.log_text().splitlines() if "192.0.2." in line]
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r"^(smtpd|imapd): [a-z ]+: rip=127\.0\.0\.1 ")
            self.assertNotRegex(line, r"[^\x20-\x7e]")
        for line in self.suite.mailctl("log", "tail", "--lines", "1000").stdout.splitlines():
            self.assertNotIn("\x1b", line)
            self.assertRegex(line, r"^20[0-9-]+T[0-9:.]+Z  (smtpd|imapd|pop3d|msgstored) ")

    def test_tail_filters_and_follows(self):
        self.suite.imap("bob@example.test").logout()
        events = self.log("tail", "--account", "bob@example.test", "--daemon", "imapd")
        self.assertTrue(events)
        self.assertEqual({(e["daemon"], e["account"]) for e in events},
                         {("imapd", "bob@example.test")})
        self.assertEqual(self.log("tail", "--since", "2020-01-01", "--lines", "1")[0],
                         self.log("tail", "--lines", "1")[0])
        with self.assertRaises(AssertionError):
            self.suite.mailctl("log", "tail", "--daemon", "nosuch")
        following = subprocess.Popen(
            [os.path.join(self.suite.bin, "mailctl"), "--config", self.suite.config_path(), "log",
             "tail", "--follow", "--lines", "0", "--daemon", "msgstored", "--json"],
            stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(0.5)
            self.suite.deliver("followed")
            line = json.loads(following.stdout.readline())
            self.assertEqual(line["event"], "delivered")
        finally:
            following.send_signal(signal.SIGTERM)
            following.wait(10)
            following.stdout.close()

    def test_errors_shows_warnings_and_errors_only(self):
        with self.suite.smtp("submission") as client:
            client.starttls(context=tls_context())
            client.ehlo()
            client.docmd("AUTH", "PLAIN AG1hbGxvcnlAZXhhbXBsZS50ZXN0AHdyb25n")
        events = self.log("errors", "--since", "10m")
        self.assertTrue(any(e["event"] == "auth failed" for e in events))
        self.assertLessEqual({e["level"] for e in events}, {"warn", "error"})
