# SPDX-License-Identifier: Apache-2.0
"""A client's view of a mailbox as RFC 9051 and RFC 7162 say it must be, written from the RFCs alone:
every response is checked against it before it changes it."""

import re
import threading

SYSTEM = {"\\Seen": "S", "\\Flagged": "F", "\\Answered": "R", "\\Deleted": "T", "\\Draft": "D"}
LETTERS = {letter: flag for flag, letter in SYSTEM.items()}


class Violation(AssertionError):
    """The server said what it may not say, or did not say what it must."""


def sequence(text):
    """The numbers of a set without `*`."""
    numbers = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        low, high = sorted((int(first), int(last or first)))
        numbers.extend(range(low, high + 1))
    return numbers


def numbers(values):
    """A set of numbers in short form."""
    return ",".join(str(value) for value in sorted(values))


class Shared:
    """What is true of a mailbox for all sessions together."""

    def __init__(self):
        self.lock = threading.Lock()
        self.tokens = {}       # (mailbox, validity, uid) -> token: no UID ever has other content
        self.states = {}       # (mailbox, validity, uid, modseq) -> flags
        self.highest = {}      # mailbox -> HIGHESTMODSEQ that somebody was told
        self.next = {}         # mailbox -> UIDNEXT that somebody was told
        self.removable = set()  # (mailbox, uid) that somebody wanted to be gone
        self.lost = set()      # tokens that POP3 or an outside program removed
        self.sent = set()      # tokens of messages that were accepted
        self.commands = 0

    def same(self, table, key, value, what):
        with self.lock:
            known = table.setdefault(key, value)
        if known != value:
            raise Violation(f"{what}: {key} was {known}, is {value}")

    def rises(self, table, key, value):
        with self.lock:
            table[key] = max(value, table.get(key, 0))


class View:
    """What one client knows after each response."""

    def __init__(self, shared, mailbox):
        self.shared = shared
        self.mailbox = mailbox
        self.uids = []        # by number; None: not told yet
        self.flags = {}
        self.modseqs = {}
        self.validity = None
        self.modseq = 0       # what a later QRESYNC may name
        self.floor_modseq = shared.highest.get(mailbox, 0)
        self.floor_next = shared.next.get(mailbox, 0)
        self.earlier = []     # VANISHED (EARLIER)

    # Responses

    def exists(self, count):
        if count < len(self.uids):
            raise Violation(f"EXISTS {count} after {len(self.uids)}")
        self.uids += [None] * (count - len(self.uids))

    def expunge(self, number):
        if not 1 <= number <= len(self.uids):
            raise Violation(f"EXPUNGE {number} of {len(self.uids)}")
        self.forget(self.uids.pop(number - 1))

    def vanished(self, uids):
        for uid in uids:
            if uid in self.flags or uid in self.uids:
                self.uids.remove(uid)
                self.forget(uid)
            else:
                self.uids.pop(self.place(uid))

    def place(self, uid):
        """Where a message must be that was counted and never named."""
        low = max((n + 1 for n, known in enumerate(self.uids) if known and known < uid), default=0)
        if low == len(self.uids) or self.uids[low] is not None:
            raise Violation(f"VANISHED {uid}, which nobody was told of, of {self.uids}")
        return low

    def forget(self, uid):
        self.flags.pop(uid, None)
        self.modseqs.pop(uid, None)

    def fetch(self, number, text):
        if not 1 <= number <= len(self.uids):
            raise Violation(f"FETCH {number} of {len(self.uids)}")
        uid = re.search(r"[( ]UID (\d+)", text)
        if uid:
            self.learn(number, int(uid[1]))
        known = self.uids[number - 1]
        flags = re.search(r"[( ]FLAGS \(([^)]*)\)", text)
        modseq = re.search(r"[( ]MODSEQ \((\d+)\)", text)
        token = re.search(r"X-Token: (\S+)", text)
        if known is None:
            return
        if modseq:
            modseq = int(modseq[1])
            if modseq < self.modseqs.get(known, 0):
                raise Violation(f"MODSEQ of {known} fell to {modseq}")
            self.modseqs[known] = modseq
            self.shared.rises(self.shared.highest, self.mailbox, modseq)
        if flags:
            now = frozenset(flag for flag in flags[1].split() if flag != "\\Recent")
            self.flags[known] = now
            if modseq:
                self.shared.same(
                    self.shared.states, (self.mailbox, self.validity, known, modseq), now,
                    "flags at a MODSEQ")
        if token:
            self.shared.same(
                self.shared.tokens, (self.mailbox, self.validity, known), token[1], "content")

    def learn(self, number, uid):
        known = self.uids[number - 1]
        if known is not None and known != uid:
            raise Violation(f"number {number} was UID {known}, is {uid}")
        self.uids[number - 1] = uid
        below = next((u for u in reversed(self.uids[:number - 1]) if u is not None), 0)
        above = next((u for u in self.uids[number:] if u is not None), 1 << 32)
        if not below < uid < above:
            raise Violation(f"UIDs do not rise: {below}, {uid}, {above}")

    def code(self, text):
        """A response code of an OK while the mailbox is being selected, or later."""
        if found := re.search(r"\[UIDVALIDITY (\d+)\]", text):
            if self.validity not in (None, int(found[1])):
                raise Violation(f"UIDVALIDITY changed to {found[1]}")
            self.validity = int(found[1])
        if found := re.search(r"\[UIDNEXT (\d+)\]", text):
            if int(found[1]) < self.floor_next:
                raise Violation(f"UIDNEXT {found[1]} after {self.floor_next}")
            self.shared.rises(self.shared.next, self.mailbox, int(found[1]))
        if found := re.search(r"\[HIGHESTMODSEQ (\d+)\]", text):
            if int(found[1]) < self.floor_modseq:
                raise Violation(f"HIGHESTMODSEQ {found[1]} after {self.floor_modseq}")
            self.modseq = max(self.modseq, int(found[1]))
            self.shared.rises(self.shared.highest, self.mailbox, int(found[1]))


class Client:
    """One IMAP connection that has at most one command under way."""

    #: RFC 9051 §7.5.1: these answer with numbers, so none may change meanwhile.
    fixed = ("FETCH", "STORE", "SEARCH")

    def __init__(self, shared, raw, name):
        self.shared = shared
        self.raw = raw
        self.name = name
        self.view = None
        self.tag = 0
        self.history = []
        self.found = []
        self.condstore = False
        self.qresync = False
        self.response()  # greeting

    def response(self):
        octets = b""
        while True:
            line = self.raw.file.readline()
            if not line.endswith(b"\r\n"):
                raise Violation(f"connection ended after {(octets + line)[-200:]!r}")
            octets += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                text = octets[:-2].decode("utf-8", "surrogateescape")
                self.history.append("S " + text[:300])
                return text
            octets += self.raw.file.read(int(literal[1]))

    def send(self, text):
        self.history.append("C " + text[:300])
        self.raw.send(text.encode("utf-8", "surrogateescape") + b"\r\n")

    def do(self, command):
        """Sends a command and reads to its end: (OK/NO/BAD, text, untagged)."""
        self.tag += 1
        self.shared.commands += 1
        del self.history[:-60]
        self.send(f"t{self.tag} {command}")
        return self.finish(command)

    def finish(self, command):
        untagged = []
        while True:
            line = self.response()
            if line.startswith(f"t{self.tag} "):
                status, _, text = line.partition(" ")[2].partition(" ")
                if self.view and not command.startswith(("SELECT", "EXAMINE")):
                    self.view.code(text)
                return status, text, untagged
            untagged.append(line)
            self.untagged(line, command)

    def untagged(self, line, command):
        if line.startswith("* BYE"):
            raise Violation(line)
        if "[CLOSED]" in line:
            self.view = self.opening
            return
        view = self.view
        if line.startswith("* SEARCH") or line.startswith("* ESEARCH"):
            return
        if view is None:
            return
        if line.startswith("* OK"):
            view.code(line)
        elif found := re.match(r"\* VANISHED (\(EARLIER\) )?(\S+)$", line):
            if not self.qresync:
                raise Violation(f"not enabled: {line}")
            if found[1]:
                view.earlier += sequence(found[2])
            else:
                self.may_shrink(command, line)
                view.vanished(sequence(found[2]))
        elif found := re.match(r"\* (\d+) (EXISTS|EXPUNGE|FETCH)(.*)$", line, re.S):
            number, kind = int(found[1]), found[2]
            if kind == "EXISTS":
                view.exists(number)
            elif kind == "EXPUNGE":
                if self.qresync:
                    raise Violation(f"not with QRESYNC: {line}")
                self.may_shrink(command, line)
                view.expunge(number)
            else:
                view.fetch(number, found[3])

    def may_shrink(self, command, line):
        if command.split(" ")[0] in self.fixed:
            raise Violation(f"{line} while {command} is answered")

    def select(self, mailbox, read_only=False, options=""):
        """SELECT with a new view; the old one ends with CLOSED or where the answer begins."""
        self.opening = View(self.shared, mailbox)
        if self.view is None:
            self.view = self.opening
        status, text, _ = self.do(f"{'EXAMINE' if read_only else 'SELECT'} {mailbox}{options}")
        if status != "OK":
            self.view = None
            return False
        if self.view is not self.opening:
            raise Violation("no CLOSED before the next mailbox")
        self.view.code(text)
        return True

    def learn(self):
        """Asks who is behind numbers that were only counted."""
        view = self.view
        unknown = [index + 1 for index, uid in enumerate(view.uids) if uid not in view.flags]
        if unknown:
            status, text, _ = self.do(f"FETCH {unknown[0]}:{unknown[-1]} (UID FLAGS)")
            if status == "BAD":
                raise Violation(f"FETCH of counted messages: {text}")
