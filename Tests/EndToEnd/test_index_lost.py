# SPDX-License-Identifier: Apache-2.0
"""Every SQLite file of the store removed under mail programs that keep what they have: nobody
downloads a message again. mutt with a header and a message cache, and a client that resynchronises with
CONDSTORE (QRESYNC where there is); mbsync and a session in IDLE are in test_foreign.py."""

import glob
import imaplib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from suite import Suite, eventually, message, need, tls_context

ALICE = "alice@example.test"
COUNT = 25


def remove_databases(suite):
    """index.sqlite and search.sqlite of every account, and the directory."""
    found = []
    for pattern in ("mail/*/*/index.sqlite*", "mail/*/*/search.sqlite*", "directory.sqlite*"):
        for path in glob.glob(os.path.join(suite.directory, "state", pattern)):
            os.unlink(path)
            found.append(os.path.basename(path))
    return found


class Session:
    """An IMAP session that counts what it downloads."""

    def __init__(self, suite):
        self.client = imaplib.IMAP4_SSL("127.0.0.1", suite.ports["imaps"],
                                        ssl_context=tls_context(), timeout=30)
        self.client.login(ALICE, suite.passwords[ALICE])

    def command(self, text):
        """Untagged lines with literals in place; the tagged line must be OK."""
        client = self.client
        tag = client._new_tag().decode()
        client.send(f"{tag} {text}\r\n".encode())
        lines = []
        while True:
            line = client.readline()
            found = re.search(rb"\{(\d+)\}\r\n$", line)
            while found:
                line += client.read(int(found.group(1))) + client.readline()
                found = re.search(rb"\{(\d+)\}\r\n$", line[found.end():])
            if line.startswith(tag.encode()):
                if b" OK" not in line:
                    raise AssertionError(line)
                return lines
            if not line:
                raise OSError("closed")
            lines.append(line)

    def close(self):
        try:
            self.client.shutdown()
        except OSError:
            pass


class Cached:
    """What a mail program remembers of a mailbox between sessions."""

    def __init__(self):
        self.validity = None
        self.modseq = 0
        self.bodies = {}
        self.flags = {}
        self.downloads = 0
        self.headers = 0

    def note(self, lines):
        for line in lines:
            uid = re.search(rb"UID (\d+)", line)
            if b" FETCH " not in line or not uid:
                continue
            uid = int(uid.group(1))
            flags = re.search(rb"FLAGS \(([^)]*)\)", line)
            if flags:
                self.flags[uid] = frozenset(
                    f for f in flags.group(1).split() if f.lower() != b"\\recent")

    def fetch_missing(self, session, uids):
        for uid in sorted(set(uids) - set(self.bodies)):
            lines = session.command(f"UID FETCH {uid} (UID FLAGS BODY.PEEK[])")
            self.note(lines)
            self.bodies[uid] = b"".join(lines)
            self.downloads += 1

    def synchronise(self, session):
        """RFC 7162 §3.2.5 where the server knows it, else §3.1.4: flags that have changed since."""
        has_qresync = b"QRESYNC" in b"".join(session.command("CAPABILITY"))
        if has_qresync and self.validity:
            session.command("ENABLE QRESYNC")
            known = ",".join(str(u) for u in sorted(self.bodies)) or "1"
            lines = session.command(
                f"SELECT INBOX (QRESYNC ({self.validity} {self.modseq} {known}))")
        else:
            lines = session.command("SELECT INBOX (CONDSTORE)")
            if self.validity:
                lines += session.command(
                    f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {self.modseq})")
        text = b"".join(lines)
        validity = int(re.search(rb"UIDVALIDITY (\d+)", text).group(1))
        if validity != self.validity:
            self.bodies, self.flags, self.validity = {}, {}, validity
        self.note(lines)
        for gone in re.findall(rb"VANISHED \(EARLIER\) ([\d:,]+)", text):
            for piece in gone.split(b","):
                first, _, last = piece.partition(b":")
                for uid in list(self.bodies):
                    if int(first) <= uid <= int(last or first):
                        del self.bodies[uid]
        modseq = int(re.search(rb"HIGHESTMODSEQ (\d+)", text).group(1))
        if modseq < self.modseq:
            raise AssertionError(f"MODSEQ went back: {self.modseq} -> {modseq}")
        self.modseq = modseq
        found = session.command("UID SEARCH ALL")
        uids = [int(u) for line in found for u in re.findall(rb"\d+", line.partition(b"SEARCH")[2])]
        self.fetch_missing(session, uids)
        for uid in set(self.bodies) - set(uids):
            del self.bodies[uid]
        return uids


class IndexLost(unittest.TestCase):
    def setUp(self):
        self.suite = Suite()
        self.addCleanup(self.suite.close)
        with self.suite.imap() as client:
            for number in range(COUNT):
                client.append("INBOX", r"(\Seen $Kept)" if number % 2 else None, None,
                              message(f"m{number}", body="b" * 500 + "\r\n").encode())
            client.select("INBOX")
            client.uid("STORE", "2,4", "+FLAGS", r"(\Deleted)")
            client.expunge()
        self.suite.mailctl("search", "rebuild", ALICE)
        # Flags are in the file names within seconds.
        places = os.path.join(self.suite.directory, "state/mail/example.test/alice")
        self.assertTrue(eventually(lambda: os.path.exists(f"{places}/search.sqlite") and sum(
            name.endswith(":2,Sa") for name in os.listdir(f"{places}/Maildir/cur")) == COUNT // 2 - 2,
                                   15), os.listdir(f"{places}/Maildir/cur"))

        # An orderly stop empties the delivery log: without an index a crash brings back what was
        # expunged since the log's last checkpoint.
        self.restart(signal.SIGTERM)

    def restart(self, how=signal.SIGKILL):
        pid = self.suite.pid("msgstored")
        os.kill(pid, how)
        self.assertTrue(eventually(lambda: self.suite.pid("msgstored") not in (None, pid) and
                                   self.suite.health("msgstored")[0] == 200, 20))

    def test_a_client_that_resynchronises_downloads_nothing_again(self):
        cached = Cached()
        session = Session(self.suite)
        cached.synchronise(session)
        session.close()
        self.assertEqual(cached.downloads, COUNT - 2)
        flags = dict(cached.flags)
        for how in ("while it runs", "with kill -9"):
            removed = remove_databases(self.suite)
            self.assertIn("index.sqlite", removed)
            if how == "while it runs":  # the directory is made again at the next start
                self.assertIn("directory.sqlite", removed)
                self.assertIn("search.sqlite", removed)
            if how == "with kill -9":
                self.restart()
            session = Session(self.suite)
            uids = cached.synchronise(session)
            self.assertEqual(len(uids), COUNT - 2, how)
            self.assertEqual(cached.downloads, COUNT - 2, f"downloaded again {how}")
            self.assertEqual(cached.flags, flags, how)
            # What comes now is the only news.
            session.close()
        self.suite.deliver("news")
        session = Session(self.suite)
        uids = cached.synchronise(session)
        session.close()
        self.assertEqual(cached.downloads, COUNT - 1)
        self.assertGreater(max(uids), COUNT, "a UID is not given twice")

    def test_mutt_with_its_caches(self):
        mutt = need("mutt")
        need("script")
        home = tempfile.mkdtemp(prefix="martlet-mutt-")
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        os.mkdir(os.path.join(home, "headers"))
        os.mkdir(os.path.join(home, "bodies"))
        host = f"imaps://127.0.0.1:{self.suite.ports['imaps']}/"
        with open(os.path.join(home, "muttrc"), "w") as file:
            file.write("\n".join([
                f'set folder="{host}"', f'set spoolfile="{host}INBOX"',
                f'set imap_user="{ALICE}"', f'set imap_pass="{self.suite.passwords[ALICE]}"',
                f'set header_cache="{home}/headers"', f'set message_cachedir="{home}/bodies"',
                "set message_cache_clean=no", "set ssl_verify_host=no",
                f'set certificate_file="{self.suite.directory}/tls/fullchain.pem"', "set quit=yes",
                "set delete=no", "set move=no", "set wait_key=no", "set imap_qresync=yes",
                "set imap_condstore=yes", "set mark_old=no",
                # Every message is read (piped to nowhere), then mutt ends.
                'push "<tag-pattern>~A<enter><tag-prefix><pipe-message>cat >/dev/null<enter><quit>"',
            ]) + "\n")

        def visit():
            done = subprocess.run(
                ["script", "-qec", f"{mutt} -F {home}/muttrc -d 4", "/dev/null"], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                env={**os.environ, "HOME": home, "TERM": "vt100"})
            text = ""
            for log in glob.glob(os.path.join(home, ".muttdebug*")):
                with open(log, errors="replace") as file:
                    text += file.read()
                os.unlink(log)
            self.assertIn("SELECT", text, f"mutt said: {done.stdout[-500:]!r}")
            bodies = len(re.findall(r"> a\d+ UID FETCH \d+ BODY(?:\.PEEK)?\[\]", text))
            headers = re.findall(r"> a\d+ (?:UID )?FETCH [\d:,*]+ \([^\n]*HEADER", text)
            return bodies, headers

        bodies, headers = visit()
        self.assertEqual(bodies, COUNT - 2)
        self.assertGreater(len(headers), 0)
        bodies, headers = visit()
        self.assertEqual((bodies, headers), (0, []), "mutt's caches work")
        for how in ("while it runs", "with kill -9"):
            self.assertIn("index.sqlite", remove_databases(self.suite))
            if how == "with kill -9":
                self.restart()
            bodies, headers = visit()
            self.assertEqual((bodies, headers), (0, []), f"downloaded again, {how}")
