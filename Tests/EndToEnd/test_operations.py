# SPDX-License-Identifier: Apache-2.0
"""Honest replies when the store is away, reload, drain, metrics. ACCEPTANCE 4, 22, 23."""

import os
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
import unittest

from suite import BIN, DAEMONS, Suite, SuiteCase, eventually, message, need, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"


class StoreAway(unittest.TestCase):
    def test_without_the_store_data_is_451_and_later_the_same_message_is_250(self):
        folder = tempfile.mkdtemp(prefix="martlet-bin-")
        self.addCleanup(shutil.rmtree, folder)
        for program in (*DAEMONS, "mailctl"):
            shutil.copy2(os.path.join(BIN, program), folder)
        suite = Suite(bin=folder)
        self.addCleanup(suite.close)
        with suite.smtp() as client:
            client.ehlo()
            client.mail("a@elsewhere.example")
            self.assertEqual(client.rcpt(ALICE)[0], 250)
            os.rename(folder + "/msgstored", folder + "/away")
            os.kill(suite.pid("msgstored"), signal.SIGKILL)
            time.sleep(0.3)
            code, text = client.data(message("waiting"))
            self.assertEqual((code, text[:5]), (451, b"4.3.0"))
            os.rename(folder + "/away", folder + "/msgstored")

            def again():
                return client.sendmail("a@elsewhere.example", [ALICE], message("waiting")) == {}
            self.assertTrue(eventually(again, 15))
        with suite.imap() as imap:
            self.assertEqual(list(subjects(imap).values()), ["waiting"])

    def test_one_unwritable_mailbox_of_two_gets_it_later_or_neither_does(self):
        if os.geteuid() == 0:
            chattr = need("chattr")
        suite = Suite()
        self.addCleanup(suite.close)
        suite.deliver("warm", to=BOB)
        box = [m for m in suite.maildirs() if "/bob/" in m and m.endswith("Maildir")][0] + "/cur"
        if os.geteuid() == 0:
            if subprocess.run([chattr, "+i", box], capture_output=True).returncode != 0:
                raise unittest.SkipTest("this file system has no immutable attribute")
            undo = lambda: subprocess.run([chattr, "-i", box], check=True)
        else:
            os.chmod(box, 0o500)
            undo = lambda: os.chmod(box, 0o700)
        accepted = []

        def send(subject):
            with suite.smtp() as client:
                client.sendmail("a@elsewhere.example", [ALICE, BOB], message(subject))
            accepted.append(subject)

        def found(user):
            with suite.imap(user) as client:
                return [s for s in subjects(client).values() if s != "warm"]
        try:
            # Nobody knows yet that it cannot be stored: the log may answer for it.
            try:
                send("first")
            except smtplib.SMTPDataError as error:
                self.assertEqual(error.smtp_code, 451)
            self.assertEqual(found(BOB), [])
            self.assertEqual(found(ALICE), accepted)
            # Now it is known.
            with self.assertRaises(smtplib.SMTPDataError) as caught:
                send("second")
            self.assertEqual(caught.exception.smtp_code, 451)
            self.assertEqual(found(ALICE), accepted)
        finally:
            undo()
        self.assertTrue(eventually(lambda: found(BOB) == accepted, 15), found(BOB))
        send("third")
        for user in (ALICE, BOB):
            self.assertEqual(found(user), accepted)


class Reload(unittest.TestCase):
    def test_reload_applies_to_new_sessions_and_a_broken_file_changes_nothing(self):
        suite = Suite()
        self.addCleanup(suite.close)
        path = suite.config_path()
        text = open(path).read()
        changed = re.sub(r"(?m)^max_message_size.*$", "", text)
        changed = re.sub(r"(?m)^\[smtpd\]$", "[smtpd]\nmax_message_size = 1000000", changed)
        self.assertIn("max_message_size = 1000000", changed)
        with suite.smtp() as running:
            running.ehlo()
            running.mail("a@elsewhere.example")
            running.rcpt(ALICE)
            running.docmd("DATA")
            with open(path, "w") as file:
                file.write(changed)
            suite.mailctl("reload")
            with suite.smtp() as fresh:
                fresh.ehlo()
                self.assertEqual(fresh.esmtp_features["size"], "1000000")
            running.send(b"Subject: in-flight\r\n\r\nx\r\n.\r\n")
            self.assertEqual(running.getreply()[0], 250)
        with open(path, "w") as file:
            file.write(changed + "\n[smtpd.tls]\nmin_version = TLS9\n")
        self.assertNotEqual(suite.mailctl("reload", check=False).returncode, 0)
        checked = suite.mailctl("config", "check", check=False)
        self.assertEqual(checked.returncode, 78)
        self.assertRegex(checked.stdout + checked.stderr, r"mail\.toml:\d+:\d+")
        with suite.smtp() as fresh:
            fresh.ehlo()
            self.assertEqual(fresh.esmtp_features["size"], "1000000")

    def test_sigterm_lets_a_data_in_flight_finish(self):
        suite = Suite()
        self.addCleanup(suite.close)
        client = suite.smtp()
        self.addCleanup(client.close)
        client.ehlo()
        client.mail("a@elsewhere.example")
        client.rcpt(ALICE)
        client.docmd("DATA")
        os.kill(suite.pid("smtpd"), signal.SIGTERM)
        time.sleep(0.5)
        client.send(b"Subject: drained\r\n\r\nx\r\n.\r\n")
        self.assertEqual(client.getreply()[0], 250)
        self.assertEqual(client.getreply(), (421, b"4.3.2 Service shutting down"))
        with suite.imap() as imap:
            self.assertIn("drained", subjects(imap).values())


class Numbers(SuiteCase):
    def test_metrics_are_clean_and_carry_the_names(self):
        promtool = need("promtool")
        self.suite.deliver("counted")
        with self.suite.smtp("smtps", tls="implicit", user=ALICE) as client:
            client.sendmail(ALICE, [BOB], message("counted-too", ALICE, BOB))
        with self.suite.smtp() as client:
            client.ehlo()
            client.mail("a@elsewhere.example")
            client.rcpt("nobody@example.test")
        self.suite.imap().logout()
        self.suite.pop3().quit()
        for daemon in DAEMONS:
            text = self.suite.metrics(daemon)
            checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True,
                                     capture_output=True)
            self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""), daemon)
            for line in text.splitlines():
                self.assertNotRegex(line.split(" ")[0], r"alice|bob|nobody|carol", line)
            self.assertEqual(self.suite.health(daemon)[0], 200)
        text = self.suite.metrics("smtpd")
        for name, labels in {
                "smtpd_connections_total": "listener,ip", "smtpd_connections_active": "listener",
                "smtpd_tls_connections_total": "listener,version",
                "smtpd_messages_received_total": "listener,recipient_domain",
                "smtpd_messages_rejected_total": "listener,reason,recipient_domain",
                "smtpd_messages_size_bytes_bucket": "listener,le",
                "smtpd_auth_attempts_total": "listener,mechanism,result",
                "smtpd_command_duration_seconds_bucket": "command,le",
                "smtpd_delivery_duration_seconds_bucket": "result,le"}.items():
            found = re.search(rf"(?m)^{name}\{{([^}}]*)\}} ", text)
            self.assertTrue(found, name)
            self.assertEqual(re.findall(r'(\w+)="', found[1]), labels.split(","), name)

    def test_one_id_is_in_the_logs_of_both_daemons(self):
        with self.suite.smtp() as client:
            client.ehlo()
            client.mail("carol@elsewhere.example")
            client.rcpt(ALICE)
            text = client.data(message("traced"))[1].decode()
        trace = re.search(r"id=(\w+)", text)[1]

        def seen():
            log = self.suite.log_text()
            return all(re.search(rf"{daemon}[^\n]*{trace}", log) for daemon in ("smtpd", "msgstored"))
        self.assertTrue(eventually(seen, 5), trace)

    def test_passwords_are_not_in_the_log(self):
        with self.assertRaises(smtplib.SMTPAuthenticationError):
            client = self.suite.smtp("smtps", tls="implicit")
            client.login(ALICE, "a-wrong-password-7")
        log = self.suite.log_text()
        self.assertNotIn("a-wrong-password-7", log)
        for password in self.suite.passwords.values():
            self.assertNotIn(password, log)


class Accounts(SuiteCase):
    def test_accounts_are_added_changed_listed_and_removed(self):
        mailctl = self.suite.mailctl
        mailctl("domain", "add", "example.net")
        mailctl("account", "add", "dave@example.net", "--password-stdin", input="first-secret\n")
        self.assertIn("dave@example.net", mailctl("account", "list").stdout)
        self.suite.passwords["dave@example.net"] = "first-secret"
        self.suite.imap("dave@example.net").logout()
        mailctl("account", "password", "dave@example.net", "--password-stdin",
                input="second-secret\n")
        with self.assertRaises(Exception):
            self.suite.imap("dave@example.net")
        self.suite.passwords["dave@example.net"] = "second-secret"
        self.suite.imap("dave@example.net").logout()
        self.assertEqual(mailctl("account", "add", "x@exmaple.net", "--password-stdin",
                                 input="abc-secret\n", check=False).returncode, 68)
        mailctl("account", "remove", "dave@example.net", "--yes")
        self.assertNotIn("dave@example.net", mailctl("account", "list").stdout)
        self.assertIn("smtpd", mailctl("status").stdout)
