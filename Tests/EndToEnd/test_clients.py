# SPDX-License-Identifier: Apache-2.0
"""Mail programs that people use, each doing what people do with them: list, read, search, flag, move,
delete, send, see new mail. What they did is looked at through imaplib afterwards. The programs that only
fetch mail are in test_fetchers.py, Thunderbird is in test_thunderbird.py."""

import fcntl
import os
import pty
import re
import ssl
import struct
import subprocess
import tempfile
import termios
import threading
import time

from suite import SuiteCase, eventually, message, need, subjects

ALICE = "alice@example.test"
BOB = "bob@example.test"
COUNT = 6


class Terminal:
    """A program with a screen of its own, that reads keys."""

    def __init__(self, arguments, environment):
        self.shown = b""
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execvpe(arguments[0], arguments, {**os.environ, "TERM": "xterm", **environment})
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.status = None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            try:
                octets = os.read(self.file, 65536)
            except OSError:
                return
            if not octets:
                return
            self.shown += octets

    def keys(self, text, pause=0.3):
        os.write(self.file, text.encode())
        time.sleep(pause)

    def shows(self, text, seconds=20):
        if not eventually(lambda: re.search(text, self.text()), seconds):
            raise AssertionError(f"{text!r} is not shown: {self.end()}")

    def text(self):
        """What was shown, without what places and colours it."""
        plain = re.sub(rb"\x1b(\[[0-9;?! ]*[a-zA-Z]|\][^\x1b]*\x1b\\|[()].|[=>])", b" ", self.shown)
        return re.sub(r"\s+", " ", plain.decode(errors="replace"))

    def end(self):
        return self.text()[-2000:]

    def ends(self, seconds=20):
        def check():
            if self.status is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.status = status if pid else None
            return self.status is not None
        return eventually(check, seconds)

    def close(self):
        if self.status is None and not self.ends(0.1):
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.file)


class ClientCase(SuiteCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="martlet-client-")
        self.addCleanup(self.folder.cleanup)
        self.home = self.folder.name
        self.password = self.suite.passwords[ALICE]
        with self.suite.imap() as client:
            for mailbox in ("INBOX", "Archive"):
                client.select(mailbox)
                client.store("1:*", "+FLAGS", r"(\Deleted)")
                client.expunge()
            for number in range(COUNT):
                client.append("INBOX", None, None, message(
                    f"m{number}", body=f"This is number-{number}.\r\n" * 20).encode())

    def write(self, name, text):
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def read(self, name):
        try:
            with open(os.path.join(self.home, name), errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def certificate(self):
        return self.write("cert.pem", ssl.get_server_certificate(
            ("127.0.0.1", self.ports["imaps"])))

    def run_client(self, *arguments, input=None, environment=None, timeout=60):
        result = subprocess.run(
            arguments, input=input, capture_output=True, text=True, timeout=timeout,
            env={**os.environ, "HOME": self.home, **(environment or {})},
            stdin=subprocess.DEVNULL if input is None else None)
        self.assertEqual(result.returncode, 0, result.stdout[-2000:] + result.stderr[-2000:])
        return result.stdout + result.stderr

    def terminal(self, *arguments, environment=None):
        terminal = Terminal(arguments, {"HOME": self.home, **(environment or {})})
        self.addCleanup(terminal.close)
        return terminal

    def flags(self, mailbox="INBOX"):
        """Flags of each message by its subject, `\\Recent` left out."""
        with self.suite.imap() as client:
            names = subjects(client, mailbox)
            found = {}
            for uid, subject in names.items():
                _, data = client.uid("fetch", str(uid), "(FLAGS)")
                flags = re.search(rb"FLAGS \(([^)]*)\)", data[0]).group(1).decode().split()
                found[subject] = set(flags) - {"\\Recent"}
            return found

    def expect_worked_on(self, deleted=True):
        """m1 is flagged, m2 is in Archive, m3 is gone, the others are there."""
        def settled():
            inbox, archive = self.flags(), self.flags("Archive")
            return ("\\Flagged" in inbox.get("m1", ()) and "m2" in archive and "m2" not in inbox
                    and ("m3" in inbox) != deleted)
        eventually(settled, 5)
        inbox = self.flags()
        self.assertEqual(set(inbox), {"m0", "m1", "m4", "m5"} | (set() if deleted else {"m3"}))
        self.assertIn("\\Flagged", inbox["m1"])
        self.assertEqual(set(self.flags("Archive")), {"m2"})

    def expect_sent(self, subject, terminal=None):
        def arrived():
            with self.suite.imap(BOB) as bob:
                return subject in subjects(bob).values()
        self.assertTrue(eventually(arrived, 10), 
                        f"{subject} did not arrive {terminal.end() if terminal else ''}")


class OnTheScreen(ClientCase):
    def mutt(self, program, more=""):
        rc = self.write("muttrc", f"""
set imap_user="{ALICE}" imap_pass="{self.password}" smtp_pass="{self.password}"
set folder="imaps://127.0.0.1:{self.ports['imaps']}/"
set spoolfile="imaps://127.0.0.1:{self.ports['imaps']}/INBOX"
set smtp_url="smtps://{ALICE}@127.0.0.1:{self.ports['smtps']}/"
set from="{ALICE}" use_from=yes envelope_from=yes realname=""
set certificate_file="{self.certificate()}"
set ssl_verify_host=no ssl_verify_dates=no
set confirmappend=no delete=yes move=no quit=yes sort=mailbox-order copy=no abort_unmodified=no
set abort_nosubject=no askcc=no editor="true" wait_key=no mark_old=no
set imap_idle=yes timeout=1 mail_check=1 new_mail_command="touch {self.home}/new-mail"
{more}
""")
        terminal = self.terminal(need(program), "-n", "-F", rc)
        terminal.shows("m5")
        # Searched on the server, and read.
        terminal.keys("l=b number-4\n", 1)
        terminal.keys(f"|cat > {self.home}/copy\n", 1)
        self.assertTrue(eventually(lambda: "This is number-4." in self.read("copy")),
                        terminal.end())
        terminal.keys("lall\n", 0.5)
        for subject, keys in (("m1", "F"), ("m2", "s=Archive\n"), ("m3", "d")):
            terminal.keys(f"1\n/~s {subject}\n" if subject != "m0" else "1\n", 0.5)
            terminal.keys(keys, 0.7)
        terminal.keys("$", 1)
        self.expect_worked_on()
        terminal.keys(f"m{BOB}\nby-{program}\n", 1)
        terminal.keys("y", 1)
        self.expect_sent(f"by-{program}", terminal)
        self.suite.deliver(f"new-for-{program}")
        self.assertTrue(
            eventually(lambda: os.path.exists(os.path.join(self.home, "new-mail")), 3),
            "new mail is not seen")
        terminal.keys("q", 0.5)
        self.assertTrue(terminal.ends(), terminal.end())

    def test_mutt(self):
        self.mutt("mutt")

    def test_neomutt(self):
        self.mutt("neomutt")

    def test_alpine(self):
        port = self.ports["imaps"]
        options = f"/ssl/novalidate-cert/user={ALICE}"
        self.write(".pinerc", f"""
personal-name=Alice
user-domain=example.test
smtp-server=127.0.0.1:{self.ports['smtps']}{options}
inbox-path={{127.0.0.1:{port}{options}}}INBOX
folder-collections=Mail {{127.0.0.1:{port}{options}}}[]
default-fcc=""
customized-hdrs=From: {ALICE}
feature-list=enable-full-header-cmd,enable-flag-cmd,enable-aggregate-command-set,
 quit-without-confirm,expunge-without-confirm,expunge-without-confirm-everywhere,
 enable-unix-pipe-cmd,allow-changing-from,no-prompt-for-passwd-save,save-will-quote-leading-froms
initial-keystroke-list=
last-version-used=6.26
""")
        terminal = self.terminal(need("alpine"), "-p", os.path.join(self.home, ".pinerc"), "-i")
        terminal.shows("(?i)password", 20)
        terminal.keys(self.password + "\r", 2)
        if b"preserve" in terminal.shown.lower():
            terminal.keys("n", 1)
        terminal.shows("m5")
        terminal.keys("w", 0.5)
        terminal.keys("m4\r", 1)
        terminal.keys("\r", 1)
        terminal.shows("number-4")
        terminal.keys("<", 1)
        terminal.keys("wm1\r", 1)
        terminal.keys("*", 0.7)
        terminal.keys("\r", 0.7)
        terminal.keys("wm3\r", 1)
        terminal.keys("d", 0.7)
        terminal.keys("wm2\r", 1)
        terminal.keys("s", 0.7)
        terminal.keys("Archive\r", 1.5)
        terminal.keys("q", 2)
        self.assertTrue(terminal.ends(), terminal.end())
        self.expect_worked_on()

    def test_aerc(self):
        certificate = self.certificate()
        user = ALICE.replace("@", "%40")
        self.write(".config/aerc/accounts.conf", f"""
[alice]
source = imaps://{user}:{self.password}@localhost:{self.ports['imaps']}
outgoing = smtps+plain://{user}:{self.password}@localhost:{self.ports['smtps']}
default = INBOX
from = <{ALICE}>
""")
        self.write(".config/aerc/aerc.conf", """
[general]
unsafe-accounts-conf = true
[viewer]
pager = cat
[filters]
text/plain = cat
[compose]
editor = true
""")
        terminal = self.terminal(
            need("aerc"), environment={"SSL_CERT_FILE": certificate, "LANG": "C.UTF-8"})
        terminal.shows("m5", 30)

        def command(text, pause=0.7):
            terminal.keys(":", 0.2)
            terminal.keys(text + "\r", pause)

        command("filter -b number-4", 1)
        command("next")
        command("view")
        terminal.shows("This is number-4")
        command("close")
        for subject, action in (("m1", "flag -t"), ("m2", "move Archive"), ("m3", "delete")):
            command("clear")
            command(f"filter {subject}", 1)
            command("next")
            command(action, 1)
        self.expect_worked_on()
        command(f'compose -H "To: {BOB}" -H "Subject: by-aerc"', 2)
        command("send", 1)
        self.expect_sent("by-aerc", terminal)
        command("quit")
        self.assertTrue(terminal.ends(), terminal.end())


class InBatch(ClientCase):
    def test_s_nail(self):
        user = ALICE.replace("@", "%40")
        base = f"imaps://{user}:{self.password}@localhost:{self.ports['imaps']}"
        options = ["-n", "-#", "-S", "v15-compat=yes", "-S", f"tls-ca-file={self.certificate()}",
                   "-S", f"from={ALICE}"]
        said = self.run_client(
            need("s-nail"), *options, "-f", f"{base}/INBOX", input=(
                "headers\ntype 5\nflag 2\n"
                f"move 3 {base}/Archive\ndelete 4\nquit\n"))
        self.assertIn("m5", said)
        self.assertIn("This is number-4.", said)
        self.expect_worked_on()
        self.run_client(
            need("s-nail"), *options, "-S",
            f"mta=smtps://{user}:{self.password}@localhost:{self.ports['smtps']}", "-S",
            "sendwait", "-s", "by-s-nail", BOB, input="Hello\n")
        self.expect_sent("by-s-nail")

    def test_imapfilter(self):
        self.write(".imapfilter/config.lua", f"""
options.timeout = 20
options.create = false
account = IMAP {{ server = 'localhost', port = {self.ports['imaps']}, username = '{ALICE}',
                  password = '{self.password}', ssl = 'auto' }}
mailboxes, folders = account:list_all()
for _, name in ipairs(mailboxes) do print('mailbox ' .. name) end
inbox = account.INBOX
exist, recent, unseen, uidnext = inbox:check_status()
print('exist ' .. exist)
for _, found in ipairs(inbox:contain_body('number-4')) do
    print(found[1][found[2]]:fetch_body())
end
inbox:contain_subject('m1'):mark_flagged()
inbox:contain_subject('m2'):move_messages(account.Archive)
inbox:contain_subject('m3'):delete_messages()
account:create_mailbox('made-by-imapfilter')
account:subscribe_mailbox('made-by-imapfilter')
account:unsubscribe_mailbox('made-by-imapfilter')
account:delete_mailbox('made-by-imapfilter')
inbox:send_query('UNSEEN SMALLER 100000')
""")
        said = self.run_client(need("imapfilter"), "-v", "-t", self.certificate())
        self.assertIn("mailbox Archive", said)
        self.assertIn(f"exist {COUNT}", said)
        self.assertIn("This is number-4.", said)
        self.expect_worked_on()

    def test_curl(self):
        user = f"{ALICE}:{self.password}"
        base = f"imaps://127.0.0.1:{self.ports['imaps']}"

        def curl(*arguments, input=None):
            return self.run_client(need("curl"), "-sk", "--user", user, *arguments, input=input)

        self.assertIn("Archive", curl(f"{base}/"))
        self.assertIn("This is number-4.", curl(f"{base}/INBOX;MAILINDEX=5"))
        self.assertRegex(curl(f"{base}/INBOX?BODY%20number-4"), r"\* SEARCH 5\b")
        curl(f"{base}/INBOX", "-X", r"STORE 2 +FLAGS (\Flagged)")
        curl(f"{base}/INBOX", "-X", "MOVE 3 Archive")
        curl(f"{base}/INBOX", "-X", r"STORE 3 +FLAGS (\Deleted)")
        curl(f"{base}/INBOX", "-X", "EXPUNGE")
        self.expect_worked_on()
        path = self.write("append.eml", message("by-curl-append"))
        curl("-T", path, f"{base}/INBOX")
        self.assertIn("by-curl-append", self.flags())

    def mbsync(self):
        return self.run_client(need("mbsync"), "-c", os.path.join(self.home, "mbsyncrc"), "-a")

    def maildir(self, mailbox):
        """Paths of a local folder's messages, by subject."""
        found = {}
        for part in ("cur", "new"):
            folder = os.path.join(self.home, "mail", mailbox, part)
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), errors="replace") as file:
                    subject = re.search(r"^Subject: (\S+)", file.read(), re.M).group(1)
                found[subject] = os.path.join(folder, name)
        return found

    def work_on_maildir(self, marks):
        """What a mail program does to a folder between two runs. `marks`: it marks what it deletes."""
        inbox = self.maildir("INBOX")
        self.assertEqual(set(inbox), {f"m{number}" for number in range(COUNT)})
        cur = os.path.join(self.home, "mail", "INBOX", "cur")

        def name(subject, flags):
            return os.path.join(cur, os.path.basename(inbox[subject]).split(":")[0] + ":2," + flags)

        os.rename(inbox["m1"], name("m1", "FS"))
        os.rename(inbox["m2"], os.path.join(self.home, "mail", "Archive", "new", "moved.here"))
        if marks:
            os.rename(inbox["m3"], name("m3", "ST"))
        else:
            os.unlink(inbox["m3"])

    def test_mbsync_both_ways(self):
        self.write("mbsyncrc", f"""
IMAPAccount a
Host localhost
Port {self.ports['imaps']}
User {ALICE}
Pass "{self.password}"
SSLType IMAPS
CertificateFile {self.certificate()}

IMAPStore far
Account a

MaildirStore near
Path {self.home}/mail/
Inbox {self.home}/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns INBOX Archive
Create Near
Expunge Both
SyncState *
""")
        os.mkdir(os.path.join(self.home, "mail"))
        self.mbsync()
        self.work_on_maildir(marks=True)
        self.mbsync()
        self.expect_worked_on()
        # And what others do comes down.
        with self.suite.imap() as client:
            client.select("INBOX")
            client.store("1", "+FLAGS", r"(\Answered)")
        self.suite.deliver("from-outside")
        self.mbsync()
        self.assertIn("R", self.maildir("INBOX")["m0"].rsplit(",", 1)[1])
        self.assertIn("from-outside", self.maildir("INBOX"))

    def test_offlineimap_both_ways(self):
        import hashlib
        der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(
            ("127.0.0.1", self.ports["imaps"])))
        config = self.write("offlineimaprc", f"""
[general]
accounts = a
metadata = {self.home}/meta
ui = basic
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {self.home}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {self.ports['imaps']}
ssl = yes
ssl_version = tls1_2
tls_level = tls_compat
cert_fingerprint = {hashlib.sha512(der).hexdigest()}
remoteuser = {ALICE}
remotepass = {self.password}
folderfilter = lambda name: name in ('INBOX', 'Archive')
""")
        self.run_client(need("offlineimap"), "-c", config, "-o")
        self.work_on_maildir(marks=False)
        self.run_client(need("offlineimap"), "-c", config, "-o")
        self.expect_worked_on()
