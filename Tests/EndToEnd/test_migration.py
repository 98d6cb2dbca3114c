# SPDX-License-Identifier: Apache-2.0
"""Mail that moves in and out: Maildir, mbox, another server over IMAP; mailboxes and messages."""

import hashlib
import imaplib
import json
import mailbox
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from dovecot import Dovecot
from suite import Suite, eventually, need

FOLDERS = {"": "INBOX", ".Archive.2024": "Archive/2024", ".Entw&APw-rfe": "Entwürfe"}


def text(number, eol="\r\n"):
    lines = [f"From: a{number}@x.test", "To: b@x.test", f"Subject: message {number}",
             f"Message-ID: <{number}@x.test>", "Date: Sat, 21 Nov 2020 02:52:39 +0000", "",
             "From here on", ">From there", f"line {number}", ""]
    lines += [f"text {number} {i}" for i in range(number % 40)]
    if number % 97 == 7:
        lines += ["x" * 70] * 6000  # over 256 KiB: goes through a staged file
    return eol.join(lines + [""]).encode()


def make_maildir(path, count):
    """A Maildir as Dovecot has it: flags, keywords, folders, LF and CRLF."""
    random.seed(7)
    for folder in FOLDERS:
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(path, folder, part))
    with open(os.path.join(path, "dovecot-keywords"), "w") as file:
        file.write("0 $Junk\n1 work\n")
    for number in range(count):
        folder = random.choice(list(FOLDERS))
        flags = "".join(sorted(random.sample("DFRST", number % 4)))
        if not folder:
            flags += random.choice(["", "a", "b", "ab"])
        name = os.path.join(path, folder, "cur", f"{1600000000 + number}.M{number}P1.host:2,{flags}")
        with open(name, "wb") as file:
            file.write(text(number, "\n" if number % 2 else "\r\n"))
        os.utime(name, (1600000000 + number, 1600000000 + number))


def read_maildir(path):
    """{(folder, seconds): (octets with CRLF, flags, keywords)}"""
    found = {}
    for folder in FOLDERS:
        table = {}
        keywords = os.path.join(path, folder, "dovecot-keywords")
        if os.path.exists(keywords):
            with open(keywords) as file:
                for line in file:
                    number, name = line.split()
                    table[chr(97 + int(number))] = name
        cur = os.path.join(path, folder, "cur")
        for name in os.listdir(cur):
            with open(os.path.join(cur, name), "rb") as file:
                octets = file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            letters = name.split(":2,")[1]
            key = (folder, int(os.stat(os.path.join(cur, name)).st_mtime))
            assert key not in found, key
            found[key] = (hashlib.sha256(octets).hexdigest(),
                          {c for c in letters if c.isupper()},
                          {table[c] for c in letters if c.islower()})
    return found


class Migration(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.suite = Suite()

    @classmethod
    def tearDownClass(cls):
        cls.suite.close()

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-migration-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.account = f"user{random.randrange(10**9)}@example.test"
        result = self.mailctl("account", "add", self.account, "--generate", "--json")
        self.suite.passwords[self.account] = json.loads(result.stdout)["password"]

    def mailctl(self, *arguments, **options):
        return self.suite.mailctl(*arguments, **options)

    def json(self, *arguments, **options):
        result = self.mailctl("--json", *arguments, **options)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def start(self, *arguments):
        return subprocess.Popen(
            [os.path.join(self.suite.bin, "mailctl"), "--config", self.suite.config_path(),
             *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL)

    def messages(self, account=None):
        return sum(box["messages"] for box in self.json("mailbox", "stats", account or self.account))

    # Maildir

    def test_a_maildir_comes_back_as_it_was(self):
        source, target = os.path.join(self.folder, "in"), os.path.join(self.folder, "out")
        make_maildir(source, 300)
        before = read_maildir(source)
        counted = self.json("import", "maildir", "--account", self.account, source, "--dry-run")[0]
        self.assertEqual((counted["imported"], self.messages()), (300, 0))
        done = self.json("import", "maildir", "--account", self.account, source)[0]
        self.assertEqual((done["imported"], done["already"]), (300, 0))
        again = self.json("import", "maildir", "--account", self.account, source)[0]
        self.assertEqual((again["imported"], again["already"]), (0, 300))
        self.assertEqual(read_maildir(source), before)
        self.json("export", "maildir", "--account", self.account, target)
        self.assertEqual(read_maildir(target), before)
        second = self.json("export", "maildir", "--account", self.account, target)[0]
        self.assertEqual((second["exported"], second["already"]), (0, 300))
        # Without its journal every message is recognised by its content.
        journal = os.path.join(self.folder, "journal")
        compared = self.json("import", "maildir", "--account", self.account, source, "--compare",
                             "--journal", journal)[0]
        self.assertEqual((compared["imported"], compared["already"]), (0, 300))

    def test_flags_that_changed_come_with_sync(self):
        source = os.path.join(self.folder, "in")
        make_maildir(source, 40)
        self.json("import", "maildir", "--account", self.account, source)
        cur = os.path.join(source, "cur")
        name = sorted(os.listdir(cur))[0]
        os.rename(os.path.join(cur, name), os.path.join(cur, name.split(":")[0] + ":2,FSb"))
        done = self.json("import", "maildir", "--account", self.account, source, "--sync")[0]
        self.assertEqual((done["imported"], done["flags"]), (0, 1))
        target = os.path.join(self.folder, "out")
        self.json("export", "maildir", "--account", self.account, target)
        self.assertEqual(read_maildir(target), read_maildir(source))

    def test_an_import_that_is_killed_goes_on(self):
        source = os.path.join(self.folder, "in")
        count = 1500
        make_maildir(source, count)
        kills = 0
        for attempt in range(200):
            run = self.start("import", "maildir", "--account", self.account, source)
            try:
                run.wait(0.3 + 0.15 * (attempt % 5))
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                kills += 1
                run.stdout.close()
                continue
            self.assertEqual(run.returncode, 0)
            run.stdout.close()
            break
        self.assertGreater(kills, 0, "it was never killed in the middle")
        self.assertEqual(self.messages(), count)
        target = os.path.join(self.folder, "out")
        self.mailctl("export", "maildir", "--account", self.account, target)
        self.assertEqual(read_maildir(target), read_maildir(source))

    def test_memory_stays_small(self):
        count = int(os.environ.get("MARTLET_IMPORT", "20000"))
        source = os.path.join(self.folder, "in")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(source, part))
        for number in range(count):
            with open(os.path.join(source, "new", f"{1500000000 + number}.x.host"), "wb") as file:
                file.write(b"Subject: %d\n\n%s" % (number, b"small\n" * (number % 100)))
        peak = 0
        began = time.monotonic()
        run = self.start("import", "maildir", "--account", self.account, source)
        store = 0
        while run.poll() is None:
            try:
                with open(f"/proc/{run.pid}/statm") as statm:
                    peak = max(peak, int(statm.read().split()[1]) * 4096)
                store = max(store, self.suite.rss("msgstored"))
            except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
                pass
            time.sleep(0.05)
        done = json.loads(run.stdout.read())
        run.stdout.close()
        seconds = time.monotonic() - began
        self.assertEqual(done["imported"], count)
        print(f"      {count} messages, {count / seconds:.0f}/s, mailctl {peak >> 20} MiB, "
              f"msgstored {store >> 20} MiB")
        self.assertLess(peak, 64 << 20)
        self.assertLess(store, 256 << 20)

    # mbox

    def test_mbox_files_of_python(self):
        path = os.path.join(self.folder, "old.mbox")
        box = mailbox.mbox(path)
        letters = {"R": "\\Seen", "A": "\\Answered", "F": "\\Flagged", "T": "\\Draft"}
        wanted = []
        for number in range(50):
            message = mailbox.mboxMessage(text(number, "\n"))
            flags = random.sample(sorted(letters), number % 4)
            message.set_flags("".join(flags) + "O")
            message.set_from("a@x.test", time.gmtime(1_500_000_000 + number))
            box.add(message)
            wanted.append(({letters[flag] for flag in flags}, 1_500_000_000 + number))
        box.close()
        done = self.json("import", "mbox", "--account", self.account, "--mailbox", "Old/mbox",
                         path, "--format", "mboxo")[0]
        self.assertEqual(done["imported"], 50)
        again = self.json("import", "mbox", "--account", self.account, "--mailbox", "Old/mbox",
                          path, "--format", "mboxo")[0]
        self.assertEqual((again["imported"], again["already"]), (0, 50))
        found = self.json("message", "find", self.account, "--mailbox", "Old/mbox")
        self.assertEqual(
            [({f for f in m["flags"].split() if f}, m["date"]) for m in found],
            [(flags, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(date)))
             for flags, date in wanted])
        target = os.path.join(self.folder, "out")
        self.json("export", "mbox", "--account", self.account, "--mailbox", "Old/mbox", target)
        written = mailbox.mbox(os.path.join(target, "Old", "mbox.mbox"))
        self.assertEqual(len(written), 50)
        for number, message in enumerate(written):
            self.assertEqual({letters[f] for f in message.get_flags() if f in letters},
                             wanted[number][0])
            body = message.get_payload().replace(">From here", "From here").replace(
                ">>From there", ">From there")
            self.assertEqual(body.encode(), text(number, "\n").split(b"\n\n", 1)[1])
        written.close()
        # And in again, into another mailbox: the same octets.
        self.json("import", "mbox", "--account", self.account, "--mailbox", "Again",
                  os.path.join(target, "Old", "mbox.mbox"))
        self.assertEqual(self.octets("Old/mbox"), self.octets("Again"))

    def octets(self, name):
        with self.suite.imap(self.account) as client:
            client.select(f'"{name}"', readonly=True)
            _, parts = client.fetch("1:*", "(INTERNALDATE FLAGS BODY.PEEK[])")
            return [(p[0].split(b"INTERNALDATE")[1].split(b"BODY")[0], p[1])
                    for p in parts if isinstance(p, tuple)]

    # Another server

    def fill(self, client, count):
        client.create("Archive/2023")
        client.create("Sent-old")
        for number in range(count):
            name = ("INBOX", "Archive/2023", "Sent-old")[number % 3]
            flags = ("\\Seen", "\\Flagged work", "")[number % 3]
            client.append(name, f"({flags})",
                          imaplib.Time2Internaldate(1_550_000_000 + number), text(number))
        client.select("Archive/2023")
        client.store("1:3", "+FLAGS", "\\Deleted")
        client.expunge()

    def view(self, client, boxes=("INBOX", "Archive/2023", "Sent-old")):
        """Everything that a client sees of mailboxes."""
        found = {}
        for name in boxes:
            client.select(f'"{name}"', readonly=True)
            validity = client.response("UIDVALIDITY")[1][0]
            _, parts = client.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
            rows = []
            for part in parts:
                if not isinstance(part, tuple):
                    continue
                flags = set(imaplib.ParseFlags(part[0])) - {b"\\Recent"}
                uid = int(part[0].split(b"UID ")[1].split()[0].rstrip(b")"))
                rows.append((uid, flags, imaplib.Internaldate2tuple(part[0]),
                             hashlib.sha256(part[1]).hexdigest()))
            found[name] = (validity, rows)
        return found

    def import_imap(self, *more, port, user, password, **options):
        path = os.path.join(self.folder, "password")
        with open(path, "w") as file:
            file.write(password + "\n")
        return ("import", "imap", "--account", self.account, "--host", "127.0.0.1", "--port",
                str(port), "--user", user, "--password-file", path, "--no-verify", *more)

    def test_an_account_of_our_own_imapd_with_its_uids(self):
        self.fill(self.suite.imap(), 120)
        words = self.import_imap(
            "--keep-uid", port=self.suite.ports["imaps"], user="alice@example.test",
            password=self.suite.passwords["alice@example.test"])
        kills = 0
        for attempt in range(100):
            run = self.start(*words)
            try:
                run.wait(0.25 + 0.1 * (attempt % 4))
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                kills += 1
                run.stdout.close()
                continue
            self.assertEqual(run.returncode, 0)
            run.stdout.close()
            break
        with self.suite.imap() as there, self.suite.imap(self.account) as here:
            self.assertEqual(self.view(here), self.view(there))
        again = self.json(*words)[0]
        self.assertEqual(again["imported"], 0)
        # What came since, and what was flagged since.
        with self.suite.imap() as there:
            there.append("Sent-old", "(\\Seen)", None, text(1000))
            there.select("Sent-old")
            there.store("1", "+FLAGS", "(\\Answered later)")
        more = self.json(*words, "--sync")[0]
        self.assertEqual((more["imported"], more["flags"]), (1, 1))
        with self.suite.imap() as there, self.suite.imap(self.account) as here:
            self.assertEqual(self.view(here), self.view(there))
        # A lost journal is no harm: UIDs and octets say what is here.
        lost = self.json(*words, "--journal", os.path.join(self.folder, "journal"))[0]
        self.assertEqual((lost["imported"], lost["renumbered"]), (0, 0))

    def test_a_uid_that_was_given_out_here_is_not_lost(self):
        self.suite.deliver("one", to="bob@example.test")
        with self.suite.imap("bob@example.test") as there:
            eventually(lambda: there.select("INBOX")[1][0] == b"1")
        words = self.import_imap(
            "--keep-uid", "--folder", "INBOX", port=self.suite.ports["imaps"],
            user="bob@example.test", password=self.suite.passwords["bob@example.test"])
        self.assertEqual(self.json(*words)[0]["imported"], 1)
        self.suite.deliver("mine", to=self.account)
        self.suite.deliver("two", to="bob@example.test")
        with self.suite.imap("bob@example.test") as there, self.suite.imap(self.account) as here:
            for client in (there, here):
                self.assertTrue(eventually(lambda: client.select("INBOX")[1][0] == b"2"))
        done = self.json(*words)[0]
        self.assertEqual((done["imported"], done["renumbered"]), (1, 1))
        subjects = {m["subject"] for m in self.json("message", "find", self.account)}
        self.assertEqual(subjects, {"one", "mine", "two"})

    def test_an_account_of_dovecot_with_its_uids(self):
        with Dovecot(self.folder) as dovecot:
            client = dovecot.client()
            self.fill_dovecot(client)
            words = self.import_imap("--keep-uid", "--starttls", port=dovecot.port,
                                     user="old", password="secret")
            wrong = self.mailctl(*[w for w in words if w != "--no-verify"], check=False)
            self.assertEqual(wrong.returncode, 76, wrong.stderr)
            self.assertIn("certificate", wrong.stderr)
            done = self.json(*words)[0]
            self.assertEqual(done["imported"], 87)
            boxes = ("INBOX", "Archive.2023", "Sent-old")
            there = self.view(client, boxes)
            there["Archive/2023"] = there.pop("Archive.2023")
            with self.suite.imap(self.account) as here:
                self.assertEqual(self.view(here), there)

    def fill_dovecot(self, client):
        client.create("Archive.2023")
        client.create("Sent-old")
        for number in range(90):
            name = ("INBOX", "Archive.2023", "Sent-old")[number % 3]
            flags = ("\\Seen", "\\Flagged work", "")[number % 3]
            client.append(name, f"({flags})",
                          imaplib.Time2Internaldate(1_550_000_000 + number), text(number))
        client.select("Archive.2023")
        client.store("1:3", "+FLAGS", "\\Deleted")
        client.expunge()

    def test_mbsync_downloads_nothing_again(self):
        self.fill(self.suite.imap(), 30)
        mbsync = need("mbsync")
        local = os.path.join(self.folder, "local")
        os.makedirs(local)

        def sync(account):
            config = os.path.join(self.folder, "mbsyncrc")
            with open(config, "w") as file:
                file.write(f"""
IMAPStore far
Host localhost
Port {self.suite.ports["imaps"]}
User {account}
Pass {self.suite.passwords[account]}
SSLType IMAPS
CertificateFile {self.suite.state["certificate"]}

MaildirStore near
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
SyncState *
Sync Pull
""")
            result = subprocess.run([mbsync, "-c", config, "-a"], capture_output=True, text=True,
                                    timeout=120, env={**os.environ, "HOME": self.folder})
            self.assertEqual(result.returncode, 0, result.stderr)

        def files():
            return {os.path.join(root, name) for root, _, names in os.walk(local)
                    for name in names if root.endswith(("cur", "new"))}

        sync("alice@example.test")
        before = files()
        self.assertGreater(len(before), 20)
        self.mailctl(*self.import_imap(
            "--keep-uid", port=self.suite.ports["imaps"], user="alice@example.test",
            password=self.suite.passwords["alice@example.test"]))
        sync(self.account)
        self.assertEqual(files(), before)

    def test_a_hostile_server_ends_the_import_only(self):
        answers = [
            b"* OK hello\r\n* CAPABILITY IMAP4rev1\r\n" + b"* LIST () \"/\" {99999999999}\r\n",
            b"* OK [CAPABILITY IMAP4rev1] \x1b]0;title\x07\r\n" + b"A" * (3 << 20),
            b"* BYE \x1b[2Jgo away\r\n", b"SSH-2.0-x\r\n", b"", b"* OK" + b"(" * 100_000 + b"\r\n",
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n" + b"+ \r\n" * 3
            + b"* LIST (" + b"((((((((((" * 1000 + b"\r\n",
        ]
        for answer in answers:
            listener = socket.create_server(("127.0.0.1", 0))

            def serve():
                client, _ = listener.accept()
                with client:
                    client.settimeout(10)
                    try:
                        client.sendall(answer)
                        client.shutdown(socket.SHUT_WR)
                        while client.recv(65536):
                            pass
                    except OSError:
                        pass

            thread = threading.Thread(target=serve)
            thread.start()
            words = self.import_imap("--insecure", port=listener.getsockname()[1], user="x",
                                     password="y")
            result = self.mailctl(*words, check=False)
            thread.join()
            listener.close()
            self.assertIn(result.returncode, (69, 76, 77), (answer[:60], result.stderr))
            self.assertNotIn("\x1b", result.stderr)

    # Mailboxes and messages

    def test_mailboxes_and_messages(self):
        self.mailctl("mailbox", "create", self.account, "Projects/Ä", "--use", "archive")
        names = [box["mailbox"] for box in self.json("mailbox", "list", self.account)]
        self.assertIn("Projects/Ä", names)
        self.mailctl("mailbox", "rename", self.account, "Projects/Ä", "Done")
        saved = self.json("message", "save", self.account, "Done", "--flags", "\\Seen work",
                          "--date", "1500000000", input="Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"
                          "From: \x1b[31mred\x07 <r@x.test>\n\nbody \x1b[2J\n")[0]
        uid = str(saved["uid"])
        shown = self.mailctl("message", "show", self.account, "Done", uid).stdout
        self.assertTrue(shown.endswith("\n\nbody \x1b[2J\n"), repr(shown))
        header = self.mailctl("message", "show", self.account, "Done", uid, "--header").stdout
        self.assertNotIn("body", header)
        found = self.json("message", "find", self.account, "--subject", "GRÜß")
        self.assertEqual([m["uid"] for m in found], [saved["uid"]])
        self.assertEqual(found[0]["flags"], "\\Seen work")
        for words, count in ((("--text", "BODY"), 1), (("--text", "nothing"), 0),
                             (("--since", "2017-07-14"), 1), (("--since", "2017-07-15"), 0),
                             (("--before", "2017-07-15"), 1), (("--unseen",), 0),
                             (("--seen", "--keyword", "WORK"), 1), (("--from", "RED"), 1)):
            result = self.mailctl("message", "find", self.account, *words, check=False)
            self.assertEqual(len(result.stdout.splitlines()), count, words)
            self.assertNotIn("\x1b", result.stdout)
        flags = self.json("message", "flags", self.account, "Done", uid, "+\\Flagged",
                          "-\\Seen", "--", "-work")[0]
        self.assertEqual(flags["flags"], "\\Flagged")
        moved = self.json("message", "move", self.account, "Done", uid, "INBOX")[0]
        self.assertEqual(self.messages(), 1)
        self.mailctl("message", "remove", self.account, "INBOX", str(moved["uid"]), "--yes")
        self.assertEqual(self.messages(), 0)
        self.mailctl("mailbox", "remove", self.account, "Done", "--yes")
        gone = self.mailctl("mailbox", "stats", self.account, "Done", check=False)
        self.assertEqual(gone.returncode, 66)
        self.assertIn("mailctl mailbox list", gone.stderr)
