# SPDX-License-Identifier: Apache-2.0
"""Maildirs that other programs touch while IMAP clients look, and that other servers kept before."""

import glob
import imaplib
import json
import mailbox
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from suite import Suite, SuiteCase, eventually, message, need, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"


class Idle:
    """An IMAP session in IDLE; `wait` gives the first line that matches, and how long it took."""

    def __init__(self, client, folder="INBOX"):
        self.client = client
        client.select(folder)
        client.send(b"X1 IDLE\r\n")
        assert client.readline().startswith(b"+")
        client.sock.settimeout(10)

    def wait(self, pattern, seconds=10):
        start = time.monotonic()
        self.client.sock.settimeout(seconds)
        while True:
            line = self.client.readline()
            if not line:
                raise EOFError("connection closed")
            if re.search(pattern, line):
                return line, time.monotonic() - start

    def done(self):
        self.client.send(b"DONE\r\n")
        while not self.client.readline().startswith(b"X1 OK"):
            pass
        self.client.sock.settimeout(30)


def maildir_of(suite, user):
    return [m for m in suite.maildirs() if f"/{user}/" in m and m.endswith("/Maildir")][0]


def uids(client, folder="INBOX"):
    client.select(folder, readonly=True)
    return client.uid("search", None, "ALL")[1][0].split()


class OtherPrograms(SuiteCase):
    def setUp(self):
        with self.suite.imap() as client:
            client.select("INBOX")
            client.store("1:*", "+FLAGS.SILENT", r"\Deleted")
            client.expunge()
        self.maildir = maildir_of(self.suite, "alice")
        self.client = self.suite.imap()
        self.addCleanup(self.client.logout)

    def test_a_file_dropped_flagged_and_removed_reaches_idle_within_a_second(self):
        idle = Idle(self.client)
        lf = message("dropped").replace("\r\n", "\n")
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(lf)
        self.addCleanup(os.unlink, file.name)
        subprocess.run(["cp", file.name, f"{self.maildir}/new/{int(time.time())}.77_1.host"],
                       check=True)
        _, seconds = idle.wait(rb"^\* 1 EXISTS")
        self.assertLess(seconds, 1)
        name, = os.listdir(f"{self.maildir}/cur")
        self.assertRegex(name, r",U=\d+:2,$")
        os.rename(f"{self.maildir}/cur/{name}", f"{self.maildir}/cur/{name}FS")
        line, seconds = idle.wait(rb"^\* 1 FETCH")
        self.assertLess(seconds, 1)
        self.assertIn(rb"\Flagged", line)
        self.assertIn(rb"\Seen", line)
        os.unlink(f"{self.maildir}/cur/{name}FS")
        _, seconds = idle.wait(rb"^\* 1 EXPUNGE|VANISHED")
        self.assertLess(seconds, 1)
        idle.done()
        self.assertEqual(subjects(self.client), {})

    def test_a_file_still_being_written_is_read_whole_in_the_end(self):
        idle = Idle(self.client)
        text = message("slow", body="line\r\n" * 50_000)
        with open(f"{self.maildir}/new/{int(time.time())}.78_1.host", "w", newline="") as file:
            file.write(text[:2_000])
            file.flush()
            time.sleep(0.4)
            file.write(text[2_000:])
        time.sleep(0.5)
        idle.done()

        def whole():
            self.client.select("INBOX", readonly=True)
            found = self.client.uid("fetch", "1:*", "(RFC822.SIZE BODY.PEEK[])")[1]
            found = [item for item in found if isinstance(item, tuple)]
            return (len(found) == 1 and found[0][1] == text.encode()
                    and b"RFC822.SIZE %d " % len(text) in found[0][0])
        self.assertTrue(eventually(whole, 5))

    def test_pythons_mailbox_module_adds_flags_and_removes(self):
        idle = Idle(self.client)
        box = mailbox.Maildir(self.maildir, factory=None)
        box.add(mailbox.MaildirMessage(message("first").replace("\r\n", "\n")))
        idle.wait(rb"^\* 1 EXISTS")
        box.add(mailbox.MaildirMessage(message("second").replace("\r\n", "\n")))
        idle.wait(rb"^\* 2 EXISTS")
        key = [k for k in box.keys() if box[k]["Subject"] == "first"][0]
        changed = box[key]
        changed.add_flag("R")
        box[key] = changed
        line, seconds = idle.wait(rb"FETCH.*Answered|EXPUNGE|EXISTS")
        self.assertLess(seconds, 1)
        time.sleep(0.3)
        box = mailbox.Maildir(self.maildir, factory=None)
        key = [k for k in box.keys() if box[k]["Subject"] == "second"][0]
        box.remove(key)
        idle.wait(rb"EXPUNGE")
        time.sleep(0.3)
        idle.done()
        self.assertEqual(list(subjects(self.client).values()), ["first"])

    def test_mutt_flags_and_deletes_under_an_idling_client(self):
        mutt = need("mutt")
        for number in (1, 2, 3):
            self.suite.deliver(f"m{number}")
        idle = Idle(self.client)
        home = tempfile.mkdtemp(prefix="martlet-mutt-")
        self.addCleanup(shutil.rmtree, home)
        with open(home + "/muttrc", "w") as file:
            # Flag the first, delete the second, leave.
            file.write("set delete=yes quit=yes move=no mbox_type=Maildir maildir_trash=no\n"
                       f"set mark_old=no wait_key=no sort=mailbox-order folder={home} spoolfile={self.maildir}\n"
                       'push "<first-entry><flag-message><first-entry><next-entry>'
                       '<delete-message><sync-mailbox><quit>"\n')
        result = subprocess.run(
            [need("script"), "-qec",
             f"timeout --foreground -k 5 30 {mutt} -n -F {home}/muttrc -f {self.maildir}",
             "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            env={**os.environ, "TERM": "vt100", "HOME": home})
        self.assertEqual(result.returncode, 0, result.stdout[-800:])
        idle.wait(rb"EXPUNGE|FETCH")
        time.sleep(1)
        idle.done()

        def done():
            self.client.select("INBOX", readonly=True)
            return (len(subjects(self.client)) == 2
                    and self.client.search(None, "FLAGGED")[1][0] != b"")
        self.assertTrue(eventually(done, 5))

    def test_our_own_changes_cause_no_comparison(self):
        time.sleep(3)
        idle = Idle(self.client)
        before = self.comparisons()
        for number in range(20):
            self.suite.deliver(f"own{number}")
        idle.wait(rb"^\* 20 EXISTS")
        idle.done()
        self.client.select("INBOX")
        self.client.store("1:*", "+FLAGS", r"\Seen")
        self.client.select("INBOX")
        self.client.store("1:10", "+FLAGS", r"\Deleted")
        self.client.expunge()
        time.sleep(3)
        self.assertEqual(self.comparisons(), before)

    def comparisons(self):
        return int(re.search(r"(?m)^msgstored_folder_comparisons_total (\d+)",
                             self.suite.metrics("msgstored"))[1])


class Dovecot:
    """A Maildir kept by the real Dovecot; its imap process speaks on a pipe, no server runs."""

    def __init__(self, folder):
        self.program = next(filter(os.path.exists, ("/usr/lib/dovecot/imap",
                                                    "/usr/libexec/dovecot/imap")), None)
        if not self.program:
            raise unittest.SkipTest("dovecot-imapd is not installed")
        self.folder = folder
        self.maildir = folder + "/home/Maildir"
        os.makedirs(folder + "/home")
        os.makedirs(folder + "/run")
        # Dovecot keeps no mail as root.
        who = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.conf = folder + "/dovecot.conf"
        with open(self.conf, "w") as file:
            file.write(f"base_dir = {folder}/run\nstate_dir = {folder}/run\n"
                       f"mail_home = {folder}/home\nmail_location = maildir:{self.maildir}\n"
                       f"mail_uid = {who.pw_uid}\nmail_gid = {who.pw_gid}\n"
                       "first_valid_uid = 1\nfirst_valid_gid = 1\nssl = no\n"
                       "namespace inbox {\n  inbox = yes\n  separator = /\n}\n")
        os.chmod(folder, 0o755)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{who.pw_uid}:{who.pw_gid}", folder], check=True)
        self.user = who.pw_name

    def imap(self):
        os.environ["USER"] = self.user
        return imaplib.IMAP4_stream(f"exec {self.program} -c {self.conf} 2>>{self.folder}/log")


def state_of(client, folder):
    """What a client keeps of a mailbox: it downloads again if any of it changes."""
    client.select(f'"{folder}"', readonly=True)
    state = {"validity": client.response("UIDVALIDITY")[1][0],
             "next": client.response("UIDNEXT")[1][0]}
    rows = client.uid("fetch", "1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE)")[1]
    messages = {}
    for row in rows:
        if row is None:
            continue
        uid = int(re.search(rb"UID (\d+)", row)[1])
        flags = frozenset(imaplib.ParseFlags(row)) - {rb"\Recent"}
        date = time.mktime(imaplib.Internaldate2tuple(row))
        messages[uid] = (flags, date, int(re.search(rb"RFC822.SIZE (\d+)", row)[1]))
    state["messages"] = messages
    return state


class FromDovecot(unittest.TestCase):
    FOLDERS = ("INBOX", "Sent", "Lists/swift", "Gel&APY-scht")

    def fill(self, dovecot):
        client = dovecot.imap()
        for folder in self.FOLDERS[1:]:
            client.create(f'"{folder}"')
        client.create("Drafts")
        for number in range(300):
            folder = self.FOLDERS[number % 4]
            flags = [r"\Seen", r"\Flagged", "$Forwarded", "NonJunk", r"\Answered", ""][number % 6]
            client.append(f'"{folder}"', f"({flags})", 1_600_000_000 + number * 1_000,
                          message(f"d{number}", body="x\r\n" * (number % 50)).encode())
        for folder in self.FOLDERS:
            client.select(f'"{folder}"')
            client.store("3,7,11", "+FLAGS.SILENT", r"\Deleted")
            client.store("20:30", "+FLAGS.SILENT", "late-keyword")
            client.expunge()
        for folder in ("INBOX", "Lists/swift"):
            client.subscribe(f'"{folder}"')
        # Delivered by a program that knows no sizes, with LF, seen by Dovecot once.
        client.logout()
        with open(dovecot.maildir + "/new/1700000000.4711_1.host", "w") as file:
            file.write(message("procmail").replace("\r\n", "\n"))
        if os.geteuid() == 0:
            shutil.chown(dovecot.maildir + "/new/1700000000.4711_1.host", dovecot.user)
        client = dovecot.imap()
        states = {folder: state_of(client, folder) for folder in self.FOLDERS}
        subscribed = {row.split(b'"/" ')[1].strip(b'"') for row in client.lsub()[1]}
        client.logout()
        return states, subscribed

    def test_a_maildir_of_dovecot_shows_the_same_numbers_and_nothing_is_downloaded_again(self):
        folder = tempfile.mkdtemp(prefix="martlet-dovecot-")
        self.addCleanup(shutil.rmtree, folder, True)
        dovecot = Dovecot(folder)
        before, subscribed = self.fill(dovecot)
        self.assertEqual(len(before["INBOX"]["messages"]), 73)
        suite = Suite()
        self.addCleanup(suite.close)
        suite.deliver("warm", to=BOB)  # msgstored runs
        target = maildir_of(suite, "alice")
        os.rename(target, target + ".unused")
        shutil.copytree(dovecot.maildir, target, symlinks=True)
        subprocess.run(["chown", "-R", f"{os.geteuid()}:{os.getegid()}", target], check=True)
        with suite.imap(ALICE) as client:
            for name in self.FOLDERS:
                self.assertEqual(state_of(client, name), before[name], name)
            found = {row.split(b'"/" ')[1].strip(b'"') for row in client.lsub()[1]}
            self.assertTrue(subscribed <= found, (subscribed, found))
            self.assertNotIn(b"Sent", found)
            self.assertEqual(len(set(subjects(client).values())), 73)
            client.append("INBOX", "", None, message("next").encode())
            self.assertEqual(int(uids(client)[-1]), int(before["INBOX"]["next"]))


class IndexRemoved(unittest.TestCase):
    """`rm index.sqlite*` under clients that keep state."""

    def remove_index(self, suite, user="alice"):
        removed = 0
        for path in glob.glob(os.path.dirname(maildir_of(suite, user)) + "/*.sqlite*"):
            os.unlink(path)
            removed += 1
        self.assertGreater(removed, 0)

    def body_octets(self, suite):
        found = re.findall(r"fetched=(\d+)", suite.log_text())
        return sum(map(int, found))

    def test_mbsync_downloads_nothing_again(self):
        mbsync = need("mbsync")
        suite = Suite()
        self.addCleanup(suite.close)
        home = tempfile.mkdtemp(prefix="martlet-mbsync-")
        self.addCleanup(shutil.rmtree, home)
        for number in range(20):
            suite.deliver(f"s{number}")
        with open(home + "/mbsyncrc", "w") as file:
            file.write(f"""
IMAPStore far
Host localhost
Port {suite.ports['imaps']}
User {ALICE}
Pass {suite.passwords[ALICE]}
SSLType IMAPS
SSLVersions TLSv1.3
CertificateFile {glob.glob(suite.directory + '/**/fullchain.pem', recursive=True)[0]}

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Expunge Both
SyncState *
""")
        os.mkdir(home + "/mail")

        def sync():
            return subprocess.run([mbsync, "-c", home + "/mbsyncrc", "-V", "all"],
                                  capture_output=True, text=True, timeout=60,
                                  env={**os.environ, "HOME": home})
        first = sync()
        self.assertEqual(first.returncode, 0, first.stderr)
        local = sorted(os.listdir(home + "/mail/INBOX/new") + os.listdir(home + "/mail/INBOX/cur"))
        self.assertEqual(len(local), 20)
        with suite.imap() as client:
            client.select("INBOX")
            client.store("5", "+FLAGS", r"\Flagged")
        for round in range(2):
            self.remove_index(suite)
            again = sync()
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertNotIn("UIDVALIDITY", again.stderr)
        names = os.listdir(home + "/mail/INBOX/new") + os.listdir(home + "/mail/INBOX/cur")
        self.assertEqual(len(names), 20)
        self.assertEqual({n.split(":")[0] for n in names}, {n.split(":")[0] for n in local})
        self.assertEqual(sum("F" in n.split(":2,")[-1] for n in names if ":2," in n), 1)

    def test_a_client_with_condstore_and_one_in_idle_see_the_same_messages(self):
        suite = Suite()
        self.addCleanup(suite.close)
        for number in range(10):
            suite.deliver(f"q{number}")
        client = suite.imap()
        watcher = suite.imap()
        client.select("INBOX")
        client.store("2:4", "+FLAGS", r"(\Seen $Label1)")
        client.store("6", "+FLAGS", r"\Deleted")
        client.expunge()
        before = state_of(client, "INBOX")
        modseq = int(re.search(rb"\d+", client.response("HIGHESTMODSEQ")[1][0])[0])
        idle = Idle(watcher)
        self.remove_index(suite)
        suite.deliver("after")
        idle.wait(rb"^\* 10 EXISTS")
        idle.done()
        after = state_of(client, "INBOX")
        self.assertEqual(after["validity"], before["validity"])
        last = max(after["messages"])
        self.assertGreaterEqual(last, int(before["next"]))
        self.assertEqual({u: m for u, m in after["messages"].items() if u != last},
                         before["messages"])
        # A client that was away asks for what changed: every message once, with the flags it has.
        client.select("INBOX", readonly=True)
        new = int(re.search(rb"\d+", client.response("HIGHESTMODSEQ")[1][0])[0])
        self.assertGreater(new, modseq)
        rows = client.uid("fetch", "1:*", f"(UID FLAGS) (CHANGEDSINCE {modseq})")[1]
        told = {int(re.search(rb"UID (\d+)", row)[1]):
                frozenset(imaplib.ParseFlags(row)) - {rb"\Recent"} for row in rows}
        self.assertEqual({u: f for u, f in told.items() if u != last},
                         {u: m[0] for u, m in before["messages"].items()})
        client.logout()
        watcher.logout()

    def test_the_store_is_down_while_all_databases_are_removed(self):
        suite = Suite()
        self.addCleanup(suite.close)
        for number in range(5):
            suite.deliver(f"r{number}")
        with suite.imap() as client:
            client.select("INBOX")
            client.store("1", "+FLAGS", r"(\Flagged $Work)")
            before = state_of(client, "INBOX")
        suite.stop()
        self.remove_index(suite)
        suite.start()
        with suite.imap() as client:
            after = state_of(client, "INBOX")
        self.assertEqual(after["messages"], before["messages"])
        self.assertEqual(after["validity"], before["validity"])
        report = suite.mailctl("index", "check", ALICE, "--json")
        self.assertEqual(json.loads(report.stdout)["findings"], [])

    def test_every_database_of_the_suite_is_removed_and_comes_back(self):
        suite = Suite()
        self.addCleanup(suite.close)
        suite.deliver("kept")
        suite.mailctl("alias", "add", "info@example.test", ALICE)
        with suite.imap() as client:
            before = state_of(client, "INBOX")
        suite.stop()
        removed = [path for path in glob.glob(suite.directory + "/**/*.sqlite*", recursive=True)
                   if not os.unlink(path)]
        self.assertTrue(any("directory.sqlite" in path for path in removed), removed)
        suite.start()
        with suite.imap() as client:  # the password is the old one
            self.assertEqual(state_of(client, "INBOX")["messages"], before["messages"])
        suite.deliver("by-alias", to="info@example.test")
        with suite.imap() as client:
            self.assertEqual(sorted(subjects(client).values()), ["by-alias", "kept"])
        self.assertIn("directory.backup", suite.log_text())

    def test_index_commands(self):
        suite = Suite()
        self.addCleanup(suite.close)
        for number in range(5):
            suite.deliver(f"c{number}")
        maildir = maildir_of(suite, "alice")
        with suite.imap() as client:
            before = state_of(client, "INBOX")
        self.assertIn("agree", suite.mailctl("index", "check", ALICE).stdout)
        suite.mailctl("index", "rebuild", "--all")
        suite.mailctl("index", "optimize", "--all", "--json")
        name = sorted(os.listdir(maildir + "/cur"))[0]
        os.utime(f"{maildir}/cur/{name}", (1_000_000, 1_000_000))
        with open(maildir + "/1700000000.4712_1.host", "w") as file:
            file.write("Subject: stray\n\nx\n")
        bad = suite.mailctl("index", "check", ALICE, check=False)
        self.assertEqual(bad.returncode, 1)
        self.assertIn("date-differs", bad.stdout)
        self.assertIn("orphan-file", bad.stdout)
        self.assertIn("--repair", bad.stdout)
        suite.mailctl("index", "check", ALICE, "--repair")
        self.assertIn("agree", suite.mailctl("index", "check", ALICE).stdout)
        with suite.imap() as client:
            self.assertEqual(state_of(client, "INBOX")["messages"], before["messages"])
            self.assertEqual(list(subjects(client, "lost+found").values()), ["stray"])
        for words in (["index", "check"], ["index", "check", ALICE, "--all"]):
            self.assertEqual(suite.mailctl(*words, check=False).returncode, 64)
        self.assertEqual(
            suite.mailctl("index", "rebuild", "no@example.test", check=False).returncode, 67)


if __name__ == "__main__":
    unittest.main()
