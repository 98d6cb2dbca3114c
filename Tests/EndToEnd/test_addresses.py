# SPDX-License-Identifier: Apache-2.0
"""Aliases, catch-all, alias domains, rights to send, disabled accounts, quota; through mailctl,
SMTP, IMAP and POP3."""

import imaplib
import json
import os
import smtplib
import subprocess

from suite import SuiteCase, eventually, need, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"


class Addresses(SuiteCase):
    # Mail about quota would be counted with the mail of the tests.
    configuration = "[msgstored]\nquota_mail = []\n"

    def mailctl(self, *arguments, code=0, input=None):
        result = self.suite.mailctl(*arguments, check=False, input=input)
        self.assertEqual(result.returncode, code, (arguments, result.stdout, result.stderr))
        return result

    def json(self, *arguments):
        return [json.loads(line)
                for line in self.mailctl(*arguments, "--json").stdout.splitlines()]

    def account(self, address):
        made = self.json("account", "add", address, "--generate")[0]
        self.suite.passwords[address] = made["password"]
        return address

    def rcpt(self, address, size=None):
        with self.suite.smtp() as client:
            client.ehlo("client.example")
            client.docmd("MAIL", "FROM:<x@elsewhere.example>" + (f" SIZE={size}" if size else ""))
            return client.docmd("RCPT", f"TO:<{address}>")

    def has(self, user, subject):
        def look():
            with self.suite.imap(user) as client:
                return subject in subjects(client).values()
        return eventually(look)

    def tearDown(self):
        for row in self.json("alias", "list"):
            self.mailctl("alias", "remove", row["alias"])

    # Aliases

    def test_an_alias_reaches_all_and_is_removed_again(self):
        carol = self.account("carol@example.test")
        self.mailctl("alias", "add", "Team@example.test", ALICE, carol)
        self.mailctl("alias", "add", "all@example.test", "team@example.test", BOB)
        swaks = need("swaks")
        sent = subprocess.run(
            [swaks, "--server", "127.0.0.1", "--port", str(self.suite.ports["smtp"]),
             "--from", "x@elsewhere.example", "--to", "all+list@example.test",
             "--header", "Subject: to all of you"], capture_output=True, text=True, timeout=60)
        self.assertEqual(sent.returncode, 0, sent.stdout)
        for user in (ALICE, BOB, carol):
            self.assertTrue(self.has(user, "to all of you"), user)
        steps = self.json("alias", "check", "all@example.test")[0]
        self.assertEqual(steps["accounts"], [ALICE, carol, BOB])
        shown = self.mailctl("alias", "check", "all@example.test").stdout
        self.assertIn("  team@example.test  (alias)\n", shown)
        self.mailctl("alias", "remove", "all@example.test", BOB)
        self.assertEqual(self.json("alias", "list", "example.test")[0]["targets"],
                         ["team@example.test"])
        self.mailctl("alias", "remove", "team@example.test")
        self.assertEqual(self.rcpt("all@example.test")[0], 550)
        self.assertIn("refused", self.mailctl("alias", "check", "all@example.test", code=1).stderr)

    def test_what_cannot_be_is_refused_with_a_reason(self):
        self.mailctl("alias", "add", "one@example.test", ALICE)
        self.mailctl("alias", "add", "two@example.test", "one@example.test")
        loop = self.mailctl("alias", "add", "one@example.test", "two@example.test", code=65)
        self.assertIn("loop", loop.stderr)
        remote = self.mailctl("alias", "add", "x@example.test", "x@gmail.example", code=65)
        self.assertIn("not on this server", remote.stderr)
        self.assertIn("neither an account nor an alias",
                      self.mailctl("alias", "add", "x@example.test", "no@example.test",
                                   code=67).stderr)
        self.assertIn("mailctl domain add nowhere.test",
                      self.mailctl("alias", "add", "x@nowhere.test", ALICE, code=68).stderr)
        self.mailctl("alias", "remove", "no@example.test", code=67)

    def test_catch_all(self):
        self.assertEqual(self.rcpt("anybody@example.test")[0], 550)
        self.mailctl("domain", "catch-all", "example.test", BOB)
        self.suite.deliver("for nobody", to="anybody@example.test")
        self.assertTrue(self.has(BOB, "for nobody"))
        self.assertEqual(self.json("domain", "show", "example.test")[0]["catch_all"], [BOB])
        self.mailctl("domain", "catch-all", "example.test", "--remove")
        self.assertEqual(self.rcpt("anybody@example.test")[0], 550)

    def test_an_alias_domain(self):
        self.mailctl("domain", "alias", "example.net", "example.test")
        self.suite.deliver("other domain", to="Alice+x@EXAMPLE.net")
        self.assertTrue(self.has(ALICE, "other domain"))
        self.assertEqual(self.rcpt("nobody@example.net")[0], 550)
        self.suite.passwords["alice@example.net"] = self.suite.passwords[ALICE]
        with self.suite.imap("alice@example.net") as client:
            self.assertIn("other domain", subjects(client).values())
        self.assertIn("stands for",
                      self.mailctl("account", "add", "x@example.net", "--generate", code=77).stderr
                      + self.mailctl("domain", "show", "example.net").stdout)
        self.mailctl("domain", "remove", "example.net")
        self.assertEqual(self.rcpt("alice@example.net")[0], 550)

    def test_postmaster_is_always_somebody(self):
        for address in ("postmaster@example.test", "abuse@example.test", "Postmaster"):
            self.assertEqual(self.rcpt(address)[0], 250, address)
        self.suite.deliver("for the postmaster", to="postmaster@example.test")
        first = self.json("alias", "check", "postmaster@example.test")[0]["accounts"]
        self.assertEqual(len(first), 1)
        self.assertTrue(self.has(first[0], "for the postmaster"))

    def test_files_of_postfix_are_imported(self):
        path = os.path.join(self.suite.directory, "aliases")
        with open(path, "w") as file:
            file.write("# comment\npostmaster: root\nroot:\talice, bob\n"
                       "staff: alice,\n  bob\nprogram: \"|/usr/bin/x -y\"\n"
                       "away: away@gmail.example\n\"with blank\": alice\n"
                       "ring1: ring2\nring2: ring1\n")
        result = self.mailctl("alias", "import", path, "--domain", "example.test", code=1)
        self.assertIn(f"{path}:6: ", result.stderr)
        self.assertIn(f"{path}:7: away@gmail.example is not on this server", result.stderr)
        self.assertIn("loop", result.stderr)
        known = {row["alias"]: row["targets"] for row in self.json("alias", "list")}
        self.assertEqual(known["root@example.test"], [ALICE, BOB])
        self.assertEqual(known["staff@example.test"], [ALICE, BOB])
        self.assertEqual(known["with blank@example.test"], [ALICE])
        self.assertNotIn("away@example.test", known)
        virtual = os.path.join(self.suite.directory, "virtual")
        with open(virtual, "w") as file:
            file.write("example.test  anything\nsales@example.test alice@example.test,"
                       "bob@example.test\n@example.test bob@example.test\n")
        result = self.mailctl("alias", "import", virtual, "--json")
        self.assertEqual(json.loads(result.stdout), {"imported": 2, "problems": []})
        self.assertEqual(self.json("alias", "check", "zzz@example.test")[0]["accounts"], [BOB])

    # Rights

    def sends_as(self, user, sender):
        with self.suite.smtp("submission", tls="starttls", user=user) as client:
            return client.docmd("MAIL", f"FROM:<{sender}>")[0]

    def test_who_may_send_as_whom(self):
        self.mailctl("alias", "add", "office@example.test", ALICE)
        self.assertEqual(self.sends_as(ALICE, "office@example.test"), 250)
        self.assertEqual(self.sends_as(ALICE, "alice+shop@example.test"), 250)
        self.assertEqual(self.sends_as(BOB, "office@example.test"), 553)
        self.mailctl("sender", "add", BOB, "office@example.test", "@shop.example")
        self.assertEqual(self.sends_as(BOB, "office@example.test"), 250)
        self.assertEqual(self.sends_as(BOB, "any@shop.example"), 250)
        self.assertEqual(self.json("account", "show", BOB)[0]["senders"],
                         ["office@example.test", "@shop.example"])
        self.mailctl("account", "set", BOB, "senders=")
        self.assertEqual(self.sends_as(BOB, "office@example.test"), 553)

    def test_a_disabled_account(self):
        dora = self.account("dora@example.test")
        with self.suite.imap(dora) as client:
            client.select("INBOX")
            self.mailctl("account", "disable", dora, "--login")
            with self.assertRaises((imaplib.IMAP4.error, OSError)):
                for _ in range(3):
                    if client.select("Sent")[0] != "OK":
                        raise imaplib.IMAP4.error("refused")
        with self.assertRaises(imaplib.IMAP4.error):
            self.suite.imap(dora)
        with self.assertRaises(smtplib.SMTPAuthenticationError):
            self.suite.smtp("submission", tls="starttls", user=dora)
        self.suite.deliver("while away", to=dora)
        self.mailctl("account", "disable", dora)
        self.assertEqual(self.rcpt(dora), (550, b"5.2.1 Mailbox disabled"))
        self.assertRegex(
            self.suite.log_text(), f"imapd: auth failed: .*reason=disabled .*account={dora}\n")
        self.mailctl("account", "enable", dora)
        self.assertTrue(self.has(dora, "while away"))

    def test_a_renamed_account(self):
        erin = self.account("erin@example.test")
        self.suite.deliver("before", to=erin)
        self.mailctl("alias", "add", "e@example.test", erin)
        self.assertTrue(self.has(erin, "before"))
        new = "erika@example.test"
        self.mailctl("account", "rename", erin, new, "--keep-alias")
        self.suite.passwords[new] = self.suite.passwords[erin]
        self.suite.deliver("after", to=erin)
        self.suite.deliver("by alias", to="e@example.test")
        for subject in ("before", "after", "by alias"):
            self.assertTrue(self.has(new, subject), subject)
        with self.assertRaises(imaplib.IMAP4.error):
            self.suite.imap(erin)
        self.mailctl("account", "rename", new, ALICE, code=73)

    # Quota

    def test_a_full_account_is_refused_everywhere_and_recovers(self):
        full = self.account("full@example.test")
        self.mailctl("quota", "set", full, "95KB", "--messages", "50")
        self.assertEqual(self.rcpt(full, size=200_000), (552, b"5.2.2 Mailbox full"))
        self.assertEqual(self.rcpt(full, size=10_000)[0], 250)
        text = "Subject: large\r\n\r\n" + ("x" * 70 + "\r\n") * 600
        with self.suite.smtp() as client:
            client.sendmail("x@elsewhere.example", [full], text)
            client.sendmail("x@elsewhere.example", [full], text)
            # Without SIZE= RCPT cannot know, the end of DATA does.
            client.ehlo()
            client.docmd("MAIL", "FROM:<x@elsewhere.example>")
            self.assertEqual(client.docmd("RCPT", f"TO:<{full}>")[0], 250)
            self.assertEqual(client.data(text), (552, b"5.2.2 Mailbox full"))
            # Nobody gets what one of them cannot get.
            with self.assertRaises(smtplib.SMTPDataError):
                client.mail("x@elsewhere.example")
                client.rcpt(full)
                client.rcpt(BOB)
                code, reply = client.data(text)
                if code != 250:
                    raise smtplib.SMTPDataError(code, reply)
        with self.suite.imap(full) as client:
            self.assertEqual(client.select("INBOX"), ("OK", [b"2"]))
            status, reply = client.append("INBOX", None, None, text.encode())
            self.assertEqual((status, reply[0][:11]), ("NO", b"[OVERQUOTA]"))
            status, reply = client.copy("1", "Trash")
            self.assertEqual((status, reply[0][:11]), ("NO", b"[OVERQUOTA]"))
            row = self.json("quota", "show", full)[0]
            self.assertEqual((row["messages"], row["quota"]), (2, 95_000))
            client.store("1", "+FLAGS", "\\Deleted")
            client.expunge()
            self.assertEqual(client.copy("1", "Trash")[0], "OK")
        self.assertEqual(self.rcpt(full, size=90_000)[0], 552)
        self.mailctl("quota", "set", full, "none")
        self.assertEqual(self.rcpt(full, size=90_000)[0], 250)
        self.assertIn("quota warning", self.suite.log_text())

    def test_imap_clients_see_their_quota(self):
        user = self.account("quota@example.test")
        self.suite.deliver("one", to=user)
        with self.suite.imap(user) as client:
            self.assertIn("QUOTA=RES-STORAGE", client.capabilities)
            self.assertIn("QUOTA=RES-MESSAGE", client.capabilities)
            self.assertEqual(client.getquotaroot("INBOX"), ("OK", [[b"INBOX"], [None]]))
            self.assertEqual(client.getquota('""')[0], "NO")
            self.mailctl("account", "set", user, "quota=10KiB", "messages=3")
            self.assertEqual(client.getquotaroot("Sent"),
                             ("OK", [[b'"Sent" ""'], [b'"" (STORAGE 1 10 MESSAGE 1 3)']]))
            self.mailctl("quota", "set", user, "none")
            self.assertEqual(client.getquota('""'), ("OK", [b'"" (MESSAGE 1 3)']))
            self.assertEqual(client.getquota("other")[0], "NO")
            self.assertEqual(client.setquota('""', "(STORAGE 1)")[0], "NO")
            client.select("INBOX")
            client.store("1", "+FLAGS", "\\Deleted")
            status = client.status("INBOX", "(SIZE DELETED DELETED-STORAGE)")[1][0].decode()
            size = status.split("SIZE ")[1].split()[0]
            self.assertIn(f"DELETED 1 DELETED-STORAGE {size})", status)

    def test_quota_of_a_domain_and_recount(self):
        self.mailctl("quota", "set", "example.test", "1GiB", "--messages", "1000000")
        row = self.json("account", "show", ALICE)[0]
        self.assertEqual((row["quota"], row["quota_own"]), (1 << 30, False))
        self.mailctl("account", "set", ALICE, "quota=5GB")
        self.assertEqual(self.json("account", "show", ALICE)[0]["quota"], 5_000_000_000)
        self.mailctl("account", "set", ALICE, "quota=default")
        self.mailctl("quota", "set", "example.test", "default", "--messages", "default")
        self.assertEqual(self.json("account", "show", ALICE)[0]["quota"], 0)
        counted = self.json("quota", "recount")[-1]
        self.assertEqual(counted["corrected"], 0)
        before = {row["address"]: row["messages"] for row in self.json("account", "list")}
        self.assertEqual(before[ALICE], self.json("account", "show", ALICE)[0]["messages"])
