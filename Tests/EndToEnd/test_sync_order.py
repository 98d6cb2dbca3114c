# SPDX-License-Identifier: Apache-2.0
"""The order of writes, syncs and answers, read from msgstored's system calls: before anything is
answered with success, what makes it durable was synced behind its last write. The proof for a power
cut where the write order of a block device cannot be recorded."""

import os
import re
import signal
import subprocess
import time
import unittest

from suite import Suite, eventually, message, need, subjects

ALICE, BOB = "alice@example.test", "bob@example.test"
CALLS = ("write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,syncfs,sync_file_range,linkat,renameat,"
         "renameat2,unlinkat,mkdirat,ftruncate,openat,symlinkat,io_uring_enter,mmap,fallocate")
LINE = re.compile(r"^(?:\[pid\s+)?(\d+)\]?\s+(\d+\.\d+) (.*)$")
LARGE = ("L" * 76 + "\r\n") * 4_500


class Trace:
    """msgstored's calls in the order of their ends: (begin, end, name, arguments, result)."""

    def __init__(self, text):
        self.calls = []
        open_calls = {}
        for line in text.splitlines():
            found = LINE.match(line)
            if not found:
                continue
            thread, at, rest = found.group(1), float(found.group(2)), found.group(3)
            if rest.endswith("<unfinished ...>"):
                open_calls[thread] = (at, rest[:-len("<unfinished ...>")])
                continue
            begin = at
            resumed = re.match(r"<\.\.\. \w+ resumed>(.*)$", rest)
            if resumed:
                if thread not in open_calls:
                    continue
                begin, start = open_calls.pop(thread)
                rest = start + resumed.group(1)
            call = re.match(r"(\w+)\((.*)\)\s+= (-?\d+).* <(\d+\.\d+)>$", rest)
            if call:
                self.calls.append((begin, begin + float(call.group(4)), call.group(1),
                                   call.group(2), int(call.group(3))))

    def between(self, start, end):
        """Calls of an operation: those that began in time, but only syncs that ended in time."""
        return [c for c in self.calls if start <= c[0] <= end
                and (c[1] <= end or "sync" not in c[2])]


def paths(arguments):
    """Paths of descriptors and names in strace -y's arguments."""
    return [re.sub(r"\(deleted\)$", "", p) for p in re.findall(r"<(/[^>]*)>", arguments)]


def target(arguments):
    """The directories whose names change."""
    return re.findall(r"(?:AT_FDCWD|\d+)<([^>]*)>, \"[^\"]*\"", arguments)


class Disk:
    """Which files and directories have changes that no sync covers."""

    def __init__(self):
        self.dirty = {}   # path -> the call
        self.written = set()
        self.synced = set()

    def run(self, calls):
        for _, _, name, arguments, result in calls:
            if result < 0:
                continue
            places = paths(arguments)
            if name in ("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate"):
                if places and places[0].startswith("/"):
                    self.touch(places[0], name)
            elif name in ("linkat", "renameat", "renameat2", "unlinkat", "mkdirat"):
                places = target(arguments)
                for directory in places[-1:] if name == "linkat" else places:
                    self.touch(directory + "/", name)
            elif name in ("fsync", "fdatasync"):
                for place in places[:1]:
                    self.sync(place)
                    self.sync(place + "/")
            elif name == "syncfs":
                self.dirty = {}
                self.synced.add("syncfs")
        return self

    def touch(self, place, name):
        self.dirty[place] = name
        self.written.add(place)

    def sync(self, place):
        if place in self.dirty:
            del self.dirty[place]
        self.synced.add(place)

    def is_durable(self, ending):
        """Something there was written, and nothing of it is unsynced."""
        return (any(p.endswith(ending) or ending in p for p in self.written)
                and not any(ending in p for p in self.dirty))


def problems(calls, kind):
    """Why an operation of this kind could not be answered with success, if so."""
    disk = Disk().run(calls)
    found = []
    if kind == "log":
        # The record is everything: file, name and row may follow.
        if not disk.is_durable("/.log/segment-"):
            found.append(f"no synced record: {sorted(disk.written)} {disk.dirty}")
    elif kind == "file":
        files = [p for p in disk.written if "/cur/" in p or "/.staging/" in p or "/#" in p]
        if not files:
            found.append(f"no file was written: {sorted(disk.written)}")
        found += [f"{p} is not synced" for p in files if p in disk.dirty]
        if not disk.is_durable("/cur/") or any(p.endswith("/cur/") for p in disk.dirty):
            found.append(f"the name is not synced: {disk.dirty}")
    elif kind == "names":
        if not any(p.endswith("/cur/") for p in disk.written):
            found.append(f"nothing was linked: {sorted(disk.written)}")
        found += [f"{p} is not synced" for p, call in disk.dirty.items()
                  if p.endswith("/cur/") and call in ("linkat",)]
    if kind != "log" and not disk.is_durable("/index.sqlite-wal"):
        found.append(f"the rows are not synced: {sorted(disk.written)} {disk.dirty}")
    return found


class SyncOrder(unittest.TestCase):
    def setUp(self):
        need("strace")
        self.suite = Suite()
        self.addCleanup(self.suite.close)
        self.windows = []

    def trace(self):
        """Attaches strace to msgstored; ended by `end`."""
        self.output = os.path.join(self.suite.directory, "trace")
        self.tracer = subprocess.Popen(
            ["strace", "-f", "-ttt", "-T", "-y", "-s", "0", "-e", f"trace={CALLS}", "-o", self.output, "-p",
             str(self.suite.pid("msgstored"))], stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.tracer.kill)
        line = self.tracer.stderr.readline()
        if "attached" not in line:
            self.skipTest(f"strace cannot attach: {line}")

    def end(self):
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.wait(20)
        self.tracer.stderr.close()
        with open(self.output) as file:
            return Trace(file.read())

    def timed(self, what, kind, work):
        start = time.time()
        result = work()
        self.windows.append((what, kind, start, time.time()))
        time.sleep(0.1)
        return result

    def operate(self):
        suite = self.suite
        with suite.smtp() as client:
            def send(name, to, body):
                self.assertEqual(client.sendmail("a@elsewhere.example", to,
                                                 message(name, body=body)), {})
            for number in range(3):
                self.timed("SMTP to one", "log",
                           lambda n=number: send(f"one-{n}", [ALICE], "x\r\n"))
            self.timed("SMTP to two", "log", lambda: send("two", [ALICE, BOB], "x\r\n"))
            # Files of what the log has follow within a second: not in the next one's time.
            time.sleep(1.5)
            self.timed("large SMTP", "file", lambda: send("large", [ALICE], LARGE))
            self.timed("large SMTP to two", "file", lambda: send("both", [ALICE, BOB], LARGE))
        with suite.imap() as client:
            def ask(call, *arguments):
                kind, data = call(*arguments)
                self.assertEqual(kind, "OK", data)
            ask(client.create, "Files")
            ask(client.select, "INBOX")
            self.timed("APPEND", "log", lambda: ask(
                client.append, "Files", r"(\Seen)", None, message("small").encode()))
            self.timed("large APPEND", "file", lambda: ask(
                client.append, "Files", None, None, message("large", body=LARGE).encode()))
            self.timed("STORE", "rows", lambda: ask(
                client.uid, "STORE", "1", "+FLAGS", r"(\Flagged)"))
            self.timed("STORE of a keyword", "rows", lambda: ask(
                client.uid, "STORE", "1:3", "+FLAGS", "work"))
            self.timed("COPY", "names", lambda: ask(client.uid, "COPY", "1:2", "Files"))
            self.timed("MOVE", "names", lambda: ask(client.uid, "MOVE", "3", "Files"))
            ask(client.uid, "STORE", "2", "+FLAGS", r"(\Deleted)")
            self.timed("EXPUNGE", "rows", lambda: ask(client.uid, "EXPUNGE", "2"))

    def test_success_is_said_behind_the_sync_that_makes_it_true(self):
        # Opened once, so that no window has the making of an account in it.
        for user in (ALICE, BOB):
            with self.suite.imap(user) as client:
                client.select("INBOX")
        self.suite.deliver("first")
        self.suite.deliver("first", BOB)
        self.trace()
        self.operate()
        trace = self.end()
        self.assertGreater(len(trace.calls), 50, "nothing was traced")
        counts = {}
        for what, kind, start, end in self.windows:
            calls = trace.between(start, end)
            self.assertEqual(problems(calls, kind), [], what)
            # The check sees it when a sync is missing, comes too early or fails.
            syncs = [c for c in calls if c[2] in ("fsync", "fdatasync", "syncfs")]
            self.assertGreater(len(syncs), 0, what)
            without = [c for c in calls if c not in syncs]
            self.assertNotEqual(problems(without, kind), [], f"{what} without its syncs")
            self.assertNotEqual(problems(syncs + without, kind), [], f"{what}, synced before")
            failed = [c if c not in syncs else (*c[:4], -1) for c in calls]
            self.assertNotEqual(problems(failed, kind), [], f"{what}, failed syncs")
            counts.setdefault(what, len(syncs))
        print("      syncs before the answer: " +
              ", ".join(f"{what} {count}" for what, count in counts.items()), flush=True)
