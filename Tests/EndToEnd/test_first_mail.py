# SPDX-License-Identifier: Apache-2.0
"""Mail flows through the whole suite; every client reads the same octets. ACCEPTANCE 2."""

import email
import hashlib
import os
import re
import subprocess
import tempfile
import time

from suite import SuiteCase, eventually, need, subjects, tls_context

ALICE, BOB = "alice@example.test", "bob@example.test"


def run(*command, **more):
    return subprocess.run(command, capture_output=True, timeout=60, **more)


class FirstMail(SuiteCase):
    def swaks(self, *arguments):
        result = run(need("swaks"), "--server", "127.0.0.1", *arguments, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def test_1_swaks_submits_with_starttls_and_auth(self):
        out = self.swaks("--port", str(self.ports["submission"]), "--tls", "--auth", "PLAIN",
                         "--auth-user", ALICE, "--auth-password", self.suite.passwords[ALICE],
                         "--from", ALICE, "--to", BOB, "--header", "Subject: submitted-587")
        self.assertRegex(out, r"250 2\.0\.0 Message accepted for delivery id=\w+")
        self.assertIn("235 2.7.0 Authentication succeeded", out)

    def test_2_swaks_submits_with_implicit_tls_and_auth_login(self):
        out = self.swaks("--port", str(self.ports["smtps"]), "--tlsc", "--auth", "LOGIN",
                         "--auth-user", ALICE, "--auth-password", self.suite.passwords[ALICE],
                         "--from", ALICE, "--to", BOB, "--header", "Subject: submitted-465")
        self.assertIn("334 VXNlcm5hbWU6", out)
        self.assertIn("334 UGFzc3dvcmQ6", out)

    def test_3_swaks_delivers_from_outside(self):
        self.swaks("--port", str(self.ports["smtp"]), "--from", "carol@elsewhere.example",
                   "--to", ALICE, "--header", "Subject: from-outside")

    def test_4_bob_has_the_submitted_messages_and_alice_the_one_from_outside(self):
        with self.suite.imap(BOB) as bob, self.suite.imap(ALICE) as alice:
            self.assertEqual(sorted(subjects(bob).values()), ["submitted-465", "submitted-587"])
            self.assertEqual(list(subjects(alice).values()), ["from-outside"])

    def test_5_every_client_reads_the_same_octets(self):
        with self.suite.imap() as client:
            client.select()
            octets = client.fetch("1", "(BODY.PEEK[])")[1][0][1]
        self.assertTrue(octets.startswith(b"Return-Path: <carol@elsewhere.example>\r\n"))
        self.assertIn(b"\r\nReceived: from ", octets)
        digest = hashlib.sha256(octets).hexdigest()

        pop = self.suite.pop3()
        popped = b"\r\n".join(pop.retr(1)[1]) + b"\r\n"
        pop.quit()
        self.assertEqual(hashlib.sha256(popped).hexdigest(), digest, "poplib")

        user = f"{ALICE}:{self.suite.passwords[ALICE]}"
        for url in (f"imaps://127.0.0.1:{self.ports['imaps']}/INBOX;UID=1",
                    f"pop3s://127.0.0.1:{self.ports['pop3s']}/1"):
            got = run(need("curl"), "-sk", "--user", user, url)
            self.assertEqual(got.returncode, 0, got.stderr)
            self.assertEqual(hashlib.sha256(got.stdout).hexdigest(), digest, url)

        files = [os.path.join(folder, "cur", name) for folder in self.suite.maildirs()
                 if "alice" in folder for name in os.listdir(os.path.join(folder, "cur"))]
        self.assertEqual(len(files), 1)
        with open(files[0], "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), digest, "Maildir")

    def test_6_the_imap_session_of_the_manual_works(self):
        command = ["openssl", "s_client", "-quiet", "-crlf", "-starttls", "imap", "-connect",
                   f"127.0.0.1:{self.ports['imap']}"]
        script = (f"a login {ALICE} {self.suite.passwords[ALICE]}\n"
                  "b select INBOX\nc search all\n"
                  "d fetch 1 (FLAGS BODY[HEADER.FIELDS (FROM SUBJECT)])\ne logout\n")
        need("openssl")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        time.sleep(1)
        out, _ = process.communicate(script.encode(), timeout=30)
        text = out.decode()
        for expected in ("* 1 EXISTS", " RECENT", "* SEARCH 1", "Subject: from-outside",
                         "e OK"):
            self.assertIn(expected, text)


class Clients(SuiteCase):
    """Other people's programs read and keep in step. ACCEPTANCE 20, 21."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for number in range(12):
            cls.suite.deliver(f"message-{number}", body=f"This is number {number}.\r\n.\r\n" * 20)

    def folder(self):
        folder = tempfile.TemporaryDirectory(prefix="martlet-client-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def certificate(self, folder):
        import ssl
        pem = ssl.get_server_certificate(("127.0.0.1", self.ports["imaps"]))
        path = os.path.join(folder, "cert.pem")
        with open(path, "w") as file:
            file.write(pem)
        return path

    def write(self, folder, name, text):
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def mbsync(self, folder, config):
        result = run(need("mbsync"), "-c", config, "-a", "-V", text=True,
                     env={**os.environ, "HOME": folder})
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def test_mbsync_twice_changes_nothing_the_second_time(self):
        folder = self.folder()
        config = self.write(folder, "mbsyncrc", f"""
IMAPAccount a
Host localhost
Port {self.ports['imaps']}
User {ALICE}
Pass "{self.suite.passwords[ALICE]}"
SSLType IMAPS
CertificateFile {self.certificate(folder)}

IMAPStore far
Account a

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Near
Expunge None
SyncState *
""")
        os.mkdir(os.path.join(folder, "mail"))
        self.mbsync(folder, config)

        def state():
            found = {}
            for root, _, files in os.walk(os.path.join(folder, "mail")):
                for name in files:
                    if name not in (".uidvalidity", ".mbsyncstate"):
                        path = os.path.join(root, name)
                        found[path] = open(path, "rb").read()
            return found

        first = state()
        inbox = [name for name in first if "/INBOX/" in name]
        self.assertEqual(len(inbox), 12)
        self.mbsync(folder, config)
        self.assertEqual(state(), first)

    def test_mutt_reads_a_message(self):
        folder = self.folder()
        rc = self.write(folder, "muttrc", f"""
set imap_user="{ALICE}"
set imap_pass="{self.suite.passwords[ALICE]}"
set folder="imaps://127.0.0.1:{self.ports['imaps']}/"
set spoolfile="imaps://127.0.0.1:{self.ports['imaps']}/INBOX"
set certificate_file="{self.certificate(folder)}"
set ssl_verify_host=no ssl_verify_dates=no ssl_usesystemcerts=no
set confirmappend=no delete=no move=no mbox_type=mbox sort=mailbox-order
set header_cache="" copy=no
push "<first-entry><copy-message>{folder}/copy<enter>y<exit>"
""")
        result = run(need("script"), "-qec",
                     f"timeout --foreground -k 5 30 {need('mutt')} -n -F {rc}", "/dev/null",
                     env={**os.environ, "TERM": "vt100", "HOME": folder}, stdin=subprocess.DEVNULL)
        copy = os.path.join(folder, "copy")
        self.assertTrue(os.path.exists(copy), result.stdout[-800:])
        text = open(copy).read()
        self.assertIn("Subject: message-", text)
        self.assertIn("This is number", text)

    def fetchmail(self, protocol, port):
        folder = self.folder()
        rc = self.write(folder, "fetchmailrc", f"""
poll 127.0.0.1 protocol {protocol} port {port}
  user "{ALICE}" password "{self.suite.passwords[ALICE]}" ssl
  keep fetchall no rewrite mda "cat >> {folder}/out"
""")
        result = run(need("fetchmail"), "-f", rc, "--nosslcertck", "-v",
                     "--idfile", f"{folder}/ids", "--pidfile", f"{folder}/pid",
                     env={**os.environ, "HOME": folder, "FETCHMAILHOME": folder}, text=True)
        self.assertEqual(result.returncode, 0, result.stdout[-1500:] + result.stderr)
        text = open(f"{folder}/out").read()
        for number in range(12):
            self.assertIn(f"This is number {number}.\n.\n", text)

    def test_fetchmail_reads_all_by_pop3(self):
        self.fetchmail("pop3", self.ports["pop3s"])

    def test_fetchmail_reads_all_by_imap(self):
        self.fetchmail("imap", self.ports["imaps"])

    def test_offlineimap_copies_everything(self):
        folder = self.folder()
        config = self.write(folder, "offlineimaprc", f"""
[general]
accounts = a
metadata = {folder}/meta
ui = basic
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {folder}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {self.ports['imaps']}
ssl = yes
sslcacertfile = {self.certificate(folder)}
ssl_version = tls1_2
tls_level = tls_compat
cert_fingerprint = {self.fingerprint()}
remoteuser = {ALICE}
remotepass = {self.suite.passwords[ALICE]}
""")
        result = run(need("offlineimap"), "-c", config, "-o", text=True,
                     env={**os.environ, "HOME": folder})
        self.assertEqual(result.returncode, 0, result.stdout[-1500:] + result.stderr[-1500:])
        inbox = os.path.join(folder, "mail", "INBOX")
        count = sum(len(os.listdir(os.path.join(inbox, box))) for box in ("new", "cur"))
        self.assertEqual(count, 12)

    def fingerprint(self):
        import ssl
        pem = ssl.get_server_certificate(("127.0.0.1", self.ports["imaps"]))
        return hashlib.sha512(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def test_msmtp_submits(self):
        result = run(need("msmtp"), "--host=127.0.0.1", f"--port={self.ports['submission']}",
                     "--tls=on", "--tls-starttls=on", "--tls-certcheck=off", "--auth=plain",
                     f"--user={BOB}", f"--passwordeval=echo {self.suite.passwords[BOB]}",
                     f"--from={BOB}", BOB,
                     input=f"From: {BOB}\nTo: {BOB}\nSubject: by-msmtp\n\nHello\n".encode(),
                     env={**os.environ, "HOME": self.folder()})
        self.assertEqual(result.returncode, 0, result.stderr)
        with self.suite.imap(BOB) as bob:
            self.assertIn("by-msmtp", subjects(bob).values())

    def test_curl_submits_and_searches(self):
        user = f"{BOB}:{self.suite.passwords[BOB]}"
        text = f"From: {BOB}\r\nTo: {BOB}\r\nSubject: by-curl\r\n\r\nHello\r\n"
        sent = run(need("curl"), "-sk", "--ssl-reqd", "--user", user, "--mail-from", BOB,
                   "--mail-rcpt", BOB, "-T", "-", f"smtp://127.0.0.1:{self.ports['submission']}",
                   input=text.encode())
        self.assertEqual(sent.returncode, 0, sent.stderr)
        found = run("curl", "-sk", "--user", user,
                    f"imaps://127.0.0.1:{self.ports['imaps']}/INBOX?SUBJECT%20by-curl", text=True)
        self.assertRegex(found.stdout, r"\* SEARCH \d+")
