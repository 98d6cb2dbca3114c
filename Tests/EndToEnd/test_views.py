# SPDX-License-Identifier: Apache-2.0
"""Many sessions on one mailbox, with deliveries, POP3 and an outside program among them: each
session's view is checked against the model after every response, and all against each other and the
Maildir at the end. MARTLET_VIEW_SECONDS and MARTLET_VIEW_SESSIONS make it long; MARTLET_SEED repeats."""

import os
import re
import threading
import time

from imap_model import LETTERS, Client, Shared, Violation, numbers, sequence
from suite import SuiteCase, eventually
from view_actors import Actor, Collector, Outsider, Postman, letter

ALICE = "alice@example.test"
BOXES = ("INBOX", "Other")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "\\Draft", "$one", "two")


class IMAPActor(Actor):
    kind = "plain"

    def begin(self):
        self.kept = {}
        self.read_only = False
        self.client = Client(self.shared, self.test.suite.raw("imaps", tls=True), self.name)
        self.ok(self.client.do(f"LOGIN {ALICE} {self.test.suite.passwords[ALICE]}"))
        if self.kind != "plain":
            self.client.condstore = True
            self.ok(self.client.do(f"ENABLE {self.kind}"))
        if self.kind == "QRESYNC":
            self.client.qresync = True
        self.select()

    def context(self):
        client = getattr(self, "client", None)
        if client is None:
            return ""
        view = client.view.uids if client.view else None
        return f"\n{self.name} {self.kind} knows {view}\n" + "\n".join(client.history[-30:])

    def ok(self, answer):
        if answer[0] != "OK":
            raise Violation(f"{answer}")
        return answer

    def select(self):
        mailbox = "INBOX" if self.random.random() < 0.85 else "Other"
        self.read_only = self.random.random() < 0.1
        kept = self.kept.get(mailbox)
        options = ""
        if kept and self.kind == "QRESYNC":
            options = f" (QRESYNC ({kept['validity']} {kept['modseq']}"
            if kept["flags"] and self.random.random() < 0.5:
                options += f" {numbers(kept['flags'])}"
            options += "))"
        if not self.client.select(mailbox, self.read_only, options):
            raise Violation("SELECT failed")
        view = self.client.view
        if options:
            self.resynchronized(view, kept, options.count(" ") > 3)
        self.client.learn()

    def resynchronized(self, view, kept, only_known):
        """What was kept, with what QRESYNC told, is the mailbox as it is."""
        after = {uid: flags for uid, flags in kept["flags"].items() if uid not in view.earlier}
        after.update(view.flags)
        count = len(view.uids)
        if not count:
            return
        told = dict(view.flags)
        status, _, lines = self.client.do(f"FETCH 1:{count} (UID FLAGS MODSEQ)")
        if status != "OK":
            return
        for uid in view.uids[:count]:
            if uid not in after:
                if only_known and uid not in kept["flags"]:
                    continue
                raise Violation(f"QRESYNC did not tell of {uid}; told {told}")
            # What changed since the answer has come by FETCH too, so the latest is compared
            if after[uid] != view.flags[uid] and not self.changed_since(view, uid):
                raise Violation(f"QRESYNC: flags of {uid} {after[uid]} are {view.flags[uid]}")
        for uid in after:
            if uid not in view.uids:
                raise Violation(f"QRESYNC did not tell that {uid} is gone")

    def changed_since(self, view, uid):
        return view.modseqs.get(uid, 0) > view.modseq

    def turn(self):
        self.client.learn() if self.client.view else None
        name = self.random.choices(
            [name for name, _ in self.acts], [weight for _, weight in self.acts])[0]
        self.done[name] = self.done.get(name, 0) + 1
        if self.client.view is None:
            self.select()
        getattr(self, name)()
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * 0.05)

    acts = (("fetch", 10), ("uid_fetch", 6), ("store", 12), ("uid_store", 6), ("copy", 3),
            ("move", 3), ("append", 8), ("expunge", 4), ("uid_expunge", 3), ("search", 6),
            ("idle", 4), ("noop", 6), ("check", 1), ("close", 2), ("unselect", 1),
            ("reselect", 2), ("content", 5), ("status", 2))

    def some(self, by_uid=False):
        """A few messages of the view: (set, UIDs)."""
        uids = self.client.view.uids
        if not uids:
            return None
        picks = sorted(self.random.sample(range(len(uids)), min(len(uids), self.random.choice(
            (1, 1, 2, 5)))))
        chosen = [uids[pick] for pick in picks]
        if None in chosen:
            return None
        return numbers(chosen if by_uid else [pick + 1 for pick in picks]), chosen

    def fetch(self, by_uid=False):
        if not (some := self.some(by_uid)):
            return
        status, text, lines = self.client.do(f"{'UID ' * by_uid}FETCH {some[0]} (UID FLAGS)")
        if status == "BAD":
            raise Violation(text)
        if status == "OK" and not by_uid:
            told = {int(m[1]) for line in lines if (m := re.match(r"\* (\d+) FETCH", line))}
            if missing := set(sequence(some[0])) - told:
                raise Violation(f"FETCH was OK without {missing}")

    def uid_fetch(self):
        self.fetch(by_uid=True)

    def content(self):
        if some := self.some(by_uid=True):
            self.client.do(
                f"UID FETCH {some[0]} (UID BODY.PEEK[HEADER.FIELDS (X-TOKEN)])")

    def store(self, by_uid=False):
        if not (some := self.some(by_uid)):
            return
        view = self.client.view
        sign = self.random.choice(("+", "+", "-", ""))
        flags = self.random.sample(FLAGS, self.random.choice((1, 1, 2)))
        if "\\Deleted" in flags and sign != "-":
            self.shared.removable.update((view.mailbox, uid) for uid in some[1])
        silent = self.random.random() < 0.4
        unchanged = self.client.condstore and self.random.random() < 0.4
        since = self.random.choice((view.modseq, max(view.modseqs.values(), default=0)))
        before = {uid: view.flags.get(uid) for uid in some[1]}
        status, text, lines = self.client.do(
            f"{'UID ' * by_uid}STORE {some[0]} {f'(UNCHANGEDSINCE {since}) ' * unchanged}"
            f"{sign}FLAGS{'.SILENT' * silent} ({' '.join(flags)})")
        if status == "BAD":
            raise Violation(text)
        if self.read_only:
            if status == "OK":
                raise Violation("STORE in a mailbox that is read-only")
            return
        if status != "OK" or not silent:
            return
        modified = re.search(r"\[MODIFIED ([\d:,]+)\]", text)
        modified = set(sequence(modified[1])) if modified else set()
        told = {view.uids[int(m[1]) - 1] for line in lines
                if (m := re.match(r"\* (\d+) FETCH \(.*FLAGS \(", line))
                and int(m[1]) <= len(view.uids)}
        for number, uid in zip(sequence(some[0]), some[1]):
            # RFC 9051 §6.4.6: a client takes for granted what it asked for, if nobody says more
            if number in modified or uid in told or uid not in view.flags:
                continue
            old = before[uid] or frozenset()
            view.flags[uid] = (old | set(flags) if sign == "+" else
                               old - set(flags) if sign == "-" else frozenset(flags))

    def uid_store(self):
        self.store(by_uid=True)

    def copy(self, move=False):
        if not (some := self.some(by_uid=True)):
            return
        view = self.client.view
        target = self.random.choice(BOXES)
        # A copy has the flag \Deleted of what it was made of
        marked = {uid for uid in some[1] if (view.mailbox, uid) in self.shared.removable}
        if move:
            if self.read_only:
                return
            self.shared.removable.update((view.mailbox, uid) for uid in some[1])
        command = "MOVE" if move else "COPY"
        status, text, lines = self.client.do(f"UID {command} {some[0]} {target}")
        if status == "BAD":
            raise Violation(text)
        for line in lines + [text]:
            if found := re.search(r"\[COPYUID (\d+) (\S+) (\S+)\]", line):
                source, copies = sequence(found[2]), sequence(found[3])
                if len(source) != len(copies) or copies != sorted(copies):
                    raise Violation(line)
                for uid, copied in zip(source, copies):
                    if uid in marked or not move and (view.mailbox, uid) in self.shared.removable:
                        self.shared.removable.add((target, copied))
                    token = self.shared.tokens.get((view.mailbox, view.validity, uid))
                    if token:
                        self.shared.same(
                            self.shared.tokens, (target, int(found[1]), copied), token, "copy")

    def move(self):
        self.copy(move=True)

    def append(self):
        token = self.token()
        octets = letter(token)
        target = self.random.choice(BOXES) if self.random.random() < 0.2 else "INBOX"
        flags = self.random.choice(("", "(\\Seen) ", "($one \\Flagged) "))
        next_uid = self.shared.next.get(target, 0)
        client = self.client
        client.tag += 1
        client.shared.commands += 1
        client.send(f"t{client.tag} APPEND {target} {flags}{{{len(octets)}+}}")
        client.raw.send(octets + b"\r\n")
        status, text, _ = self.ok(client.finish("APPEND"))
        found = re.search(r"APPENDUID (\d+) (\d+)", text)
        if int(found[2]) < next_uid:
            raise Violation(f"APPENDUID {found[2]} after UIDNEXT {next_uid}")
        self.shared.sent.add(token)
        self.shared.same(
            self.shared.tokens, (target, int(found[1]), int(found[2])), token, "appended")

    def expunge(self):
        self.client.do("EXPUNGE")

    def uid_expunge(self):
        if some := self.some(by_uid=True):
            self.client.do(f"UID EXPUNGE {some[0]}")

    def search(self):
        flag, key = self.random.choice((
            ("\\Seen", "SEEN"), ("\\Flagged", "FLAGGED"), ("\\Deleted", "DELETED"),
            ("$one", "KEYWORD $one")))
        by_uid = self.random.random() < 0.5
        status, text, lines = self.ok(self.client.do(f"{'UID ' * by_uid}SEARCH {key}"))
        view = self.client.view
        found = next(line for line in lines if line.startswith("* SEARCH"))
        found = {int(number) for number in re.sub(r"\(.*", "", found[8:]).split()}
        wanted = {uid if by_uid else number + 1 for number, uid in enumerate(view.uids)
                  if flag in view.flags.get(uid, ())}
        unknown = {uid if by_uid else number + 1 for number, uid in enumerate(view.uids)
                   if uid not in view.flags}
        # Of a UID SEARCH some may have been told to be gone behind the result
        here = set(view.uids) if by_uid else set(range(1, len(view.uids) + 1))
        if wrong := ((found & here) ^ wanted) - unknown:
            if None not in view.uids:
                raise Violation(f"SEARCH {key}: {wrong} of {found} against {wanted}")

    def idle(self):
        client = self.client
        client.tag += 1
        client.send(f"t{client.tag} IDLE")
        line = client.response()
        while not line.startswith("+"):
            client.untagged(line, "IDLE")
            line = client.response()
        time.sleep(self.random.random() * 0.3)
        client.send("DONE")
        self.ok(client.finish("IDLE"))

    def noop(self):
        self.ok(self.client.do("NOOP"))

    def check(self):
        self.ok(self.client.do("CHECK"))

    def keep(self):
        view = self.client.view
        self.client.learn()
        if view.modseq and None not in view.uids:
            self.kept[view.mailbox] = {
                "validity": view.validity, "modseq": view.modseq, "flags": dict(view.flags)}

    def close(self):
        self.kept.pop(self.client.view.mailbox, None)
        self.ok(self.client.do("CLOSE"))
        self.client.view = None

    def unselect(self):
        self.keep()
        self.ok(self.client.do("UNSELECT"))
        self.client.view = None

    def reselect(self):
        self.keep()
        self.select()

    def status(self):
        mailbox = self.random.choice(BOXES)
        floor = self.shared.next.get(mailbox, 0), self.shared.highest.get(mailbox, 0)
        items = "UIDNEXT HIGHESTMODSEQ" if self.client.condstore else "UIDNEXT"
        _, _, lines = self.ok(self.client.do(f"STATUS {mailbox} ({items})"))
        line = next(line for line in lines if line.startswith("* STATUS"))
        for item, low in zip(items.split(), floor):
            if int(re.search(rf"{item} (\d+)", line)[1]) < low:
                raise Violation(f"{line} after {low}")

    def end(self):
        # From here on nobody changes anything but with what is under way
        if self.client.view is None or self.client.view.mailbox != "INBOX":
            self.client.select("INBOX")
            self.client.learn()


class CondstoreActor(IMAPActor):
    kind = "CONDSTORE"


class ResyncActor(IMAPActor):
    kind = "QRESYNC"


class Views(SuiteCase):
    configuration = """
[imapd]
max_clients_per_user = 200
[imapd.limits]
connections_per_ip_per_minute = 100000
clients_per_ip = 1000
[smtpd.limits]
connections_per_ip_per_minute = 100000
"""

    def test_every_view_is_right(self):
        seconds = float(os.environ.get("MARTLET_VIEW_SECONDS", 10))
        sessions = int(os.environ.get("MARTLET_VIEW_SESSIONS", 16))
        seed = os.environ.get("MARTLET_SEED", "1")
        self.shared = Shared()
        self.failed = threading.Event()
        with self.suite.imap() as client:
            client.create("Other")
        self.maildir = next(path for path in self.suite.maildirs()
                            if "/alice/" in path and path.endswith("Maildir"))
        named = self.suite.raw("imaps", tls=True)
        kinds = [IMAPActor, CondstoreActor]
        if "QRESYNC" in named.line():
            kinds += [ResyncActor, ResyncActor]
        named.close()
        actors = [kinds[n % len(kinds)](self, f"s{n}", seed) for n in range(sessions)]
        actors += [Postman(self, "post", seed), Collector(self, "pop", seed),
                   Outsider(self, "out", seed)]
        self.deadline = time.monotonic() + seconds
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join(seconds + 60)
        failures = [actor.failure for actor in actors if actor.failure]
        self.assertFalse(failures, f"seed {seed}\n" + "\n".join(failures[:3]))
        self.assertFalse([actor.name for actor in actors if actor.is_alive()], "hung")
        imap = [actor for actor in actors if isinstance(actor, IMAPActor)]
        self.settle(imap)
        self.account_for_all(imap[0].client)
        for actor in imap:
            actor.client.raw.close()
        done = {}
        for actor in actors:
            for act, count in actor.done.items():
                done[act] = done.get(act, 0) + count
        print(f"      {self.shared.commands} commands, {len(self.shared.states)} states: {done}")
        self.assertGreater(self.shared.commands, sessions * seconds)

    def settle(self, actors):
        """All sessions, a new one and the file names say the same."""
        def truth():
            client = Client(self.shared, self.suite.raw("imaps", tls=True), "truth")
            client.do(f"LOGIN {ALICE} {self.suite.passwords[ALICE]}")
            client.select("INBOX", read_only=True)
            client.learn()
            client.raw.close()
            return {uid: client.view.flags[uid] for uid in client.view.uids}

        def views():
            for actor in actors:
                actor.client.do("NOOP")
                actor.client.learn()
            return [actor for actor in actors
                    if {u: actor.client.view.flags[u] for u in actor.client.view.uids} != now]

        deadline = time.monotonic() + 8
        while True:
            now = truth()
            wrong = views()
            if not wrong and now == truth() or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        for actor in wrong:
            view = actor.client.view
            has = {uid: view.flags[uid] for uid in view.uids}
            different = {uid: (sorted(has.get(uid, "-")), sorted(now.get(uid, "-")))
                         for uid in has.keys() | now.keys() if has.get(uid) != now.get(uid)}
            self.fail(f"{actor.name} {actor.kind} differs (it, mailbox): {different}"
                      + actor.context())
        system = sorted("".join(sorted(letter for letter, flag in LETTERS.items() if flag in flags))
                        for flags in now.values())

        def letters():
            found = [name.partition(":2,")[2] for folder in ("cur", "new")
                     for name in os.listdir(os.path.join(self.maildir, folder))]
            return sorted("".join(sorted(set(name) & set(LETTERS))) for name in found) == system
        self.assertTrue(eventually(letters, 5), "file names have other flags than the sessions")

    def account_for_all(self, client):
        """No message is missing that nobody wanted to be gone."""
        here = set()
        for mailbox in BOXES:
            self.assertTrue(client.select(mailbox, read_only=True))
            validity = client.view.validity
            client.do("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (X-TOKEN)])"
                      if client.view.uids else "NOOP")
            here |= {(mailbox, uid) for uid in client.view.uids}
            for uid in client.view.uids:
                self.shared.lost.add(self.shared.tokens[mailbox, validity, uid])
        for (mailbox, _, uid), token in self.shared.tokens.items():
            if (mailbox, uid) not in here and token not in self.shared.lost:
                self.assertIn((mailbox, uid), self.shared.removable, f"{token} is gone")
        known = set(self.shared.tokens.values()) | self.shared.lost
        unseen = self.shared.sent - known
        # They went before anybody asked for their content: somebody wanted that of as many UIDs
        named = {(mailbox, uid) for mailbox, _, uid in self.shared.tokens}
        self.assertLessEqual(len(unseen), len(self.shared.removable - named), unseen)
