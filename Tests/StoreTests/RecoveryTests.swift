// SPDX-License-Identifier: Apache-2.0
//
// Lost, damaged and restored indexes; files and folders of other programs; full disks; names that
// want out. docs/store.md.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("recovery")
struct RecoveryTests {
    @Test func `a lost index changes no UID, UIDVALIDITY, flag, keyword, date or id`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(name("Work/Ünï.code"), .none)
        for number in 1...5 {
            try account.add(
                "m\(number)", number % 2 == 0 ? [.seen, .answered] : [.draft],
                keywords: number == 3 ? ["$Forwarded", "work"] : [], date: Int64(number) * 1_000)
        }
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(2, 2)], force: true)
        _ = try account.store(id, 5, .add, .flagged, ["late"])
        try account.add("umlaut", to: name("Work/Ünï.code"))
        let before = try account.snapshot(inbox)
        let other = try account.snapshot(name("Work/Ünï.code"))
        let list = try account.list()
        try account.close()
        box.removeIndex()

        let again = try box.account()
        let after = try again.snapshot(inbox)
        #expect(after.id == before.id)
        #expect(after.uidValidity == before.uidValidity)
        #expect(after.uidNext >= before.uidNext)
        #expect(after.highestModSeq > before.highestModSeq)
        #expect(after.keywords == before.keywords)
        #expect(after.entries.map(\.uid) == before.entries.map(\.uid))
        #expect(after.entries.map(\.flags) == before.entries.map(\.flags))
        #expect(after.entries.map(\.size) == before.entries.map(\.size))
        #expect(after.entries.map(\.internalDate) == before.entries.map(\.internalDate))
        #expect(after.entries.allSatisfy { $0.modSeq > before.highestModSeq })
        #expect(try again.snapshot(name("Work/Ünï.code")).id == other.id)
        #expect(try again.subjects(name("Work/Ünï.code")) == [1: "umlaut"])
        #expect(try again.list() == list)
        #expect(try again.add("next").uid >= before.uidNext)
        // A client that was away sees the expunge too.
        #expect(try again.changes(id, since: before.highestModSeq).vanished.contains(2))
    }

    @Test(arguments: [0, 100, 4_096, 9_000])
    func `a damaged index is moved aside and made again`(_ offset: Int) throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...20 { try account.add("m\(number)", .seen) }
        let before = try account.subjects()
        try account.close()
        let path = box.home() + "/index.sqlite"
        var octets = try #require(readFile(path))
        for index in offset..<min(offset + 6_000, octets.count) { octets[index] = 0x5A }
        writeFile(path, octets)
        // Where the damage is met decides whether opening or the first use finds it.
        var found: [UInt32: String]?
        for _ in 0..<3 where found != before {
            do {
                let again = try box.account()
                defer { again.abandon() }
                for _ in 0..<3 where found != before { found = try? again.subjects() }
            } catch {
                continue
            }
        }
        #expect(found == before)
        #expect(box.notices.has(.indexMovedAside))
        #expect(names(box.home()).contains { $0.hasPrefix("index.sqlite.damaged-") })
    }

    @Test func `damage met in the middle of work is gone when the account is opened again`() throws
    {
        let box = try Sandbox()
        let account = try box.account()
        let results = account.append(
            batch: (0..<300).map {
                PendingAppend(mailbox: inbox, source: .octets(message("m\($0)")))
            })
        #expect(results.count == 300)
        let before = try account.subjects()
        try account.close()
        let path = box.home() + "/index.sqlite"
        var octets = try #require(readFile(path))
        // Leaves of the messages only: opening succeeds.
        for index in (octets.count / 2 / 4_096 * 4_096)..<octets.count { octets[index] = 0x5A }
        writeFile(path, octets)
        let damaged = try box.account()
        #expect(throws: StoreError.self) { _ = try damaged.subjects().count }
        try damaged.close()
        let again = try box.account()
        #expect(try again.subjects() == before)
        #expect(box.notices.has(.indexMovedAside))
    }

    @Test func `an index of another version is made again`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", .flagged)
        try account.close()
        #expect(
            run("/usr/bin/env", "sqlite3", box.home() + "/index.sqlite", "PRAGMA user_version=99")
                == 0 || !exists("/usr/bin/sqlite3"))
        let again = try box.account()
        #expect(try again.subjects() == [1: "one"])
        #expect(try again.snapshot(inbox).entries[0].flags == .flagged)
    }

    @Test func `an index from a backup gives no UID twice and no MODSEQ back`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        try account.close()
        let path = box.home() + "/index.sqlite"
        let backup = try #require(readFile(path))
        let later = try box.account()
        let id = try later.snapshot(inbox).id
        for start in stride(from: 0, to: 1_100, by: 50) {
            _ = later.append(
                batch: (0..<50).map {
                    PendingAppend(mailbox: inbox, source: .octets(message("m\(start + $0)")))
                })
        }
        let lastUID = try later.add("last").uid
        _ = try later.expunge(id, uids: [UIDRange(500, 2_000)], force: true)
        let modSeq = try later.snapshot(inbox).highestModSeq
        let subjects = try later.subjects()
        try later.close()
        box.removeIndex()
        writeFile(path, backup)
        let again = try box.account()
        #expect(try again.subjects() == subjects)
        #expect(try again.snapshot(inbox).highestModSeq > modSeq)
        #expect(try again.add("next").uid > lastUID)
    }

    @Test func `messages of other programs are taken in, with CRLF whatever they wrote`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("ours")
        let cur = box.home() + "/Maildir/cur/"
        writeFile(cur + "1700000001.M5P6.host:2,FS", octets("Subject: lf\n\nline\nline\n"))
        writeFile(
            cur + "1700000002.M5P6.host,S=24,W=24:2,PR", octets("Subject: crlf\r\n\r\nline\r\n"))
        writeFile(
            box.home() + "/Maildir/new/1700000003.M5P6.host", octets("Subject: new\n\nx\r\ny\n"))
        let id = try account.snapshot(inbox).id
        let snapshot = try account.snapshot(inbox)
        #expect(snapshot.entries.count == 4)
        #expect(Set(try account.subjects().values) == ["ours", "lf", "crlf", "new"])
        for entry in snapshot.entries {
            let read = try #require(try account.octets(id, entry.uid))
            #expect(read.count == Int(entry.size))
            #expect(try account.octets(id, entry.uid, inlineLimit: 4) == read)
            for index in read.indices where read[index] == 0x0A {
                #expect(index > 0 && read[index - 1] == 0x0D)
            }
        }
        #expect(names(box.home() + "/Maildir/new").isEmpty)
        #expect(box.files().allSatisfy { $0.contains(",U=") })
        #expect(box.files().contains { $0.hasSuffix(":2,PR") })
        let flags = snapshot.entries.map(\.flags)
        #expect(flags.contains([.flagged, .seen]) && flags.contains(.answered))
        // The same after the index is lost.
        try account.close()
        box.removeIndex()
        let again = try box.account()
        #expect(try again.snapshot(inbox).entries.map(\.uid) == snapshot.entries.map(\.uid))
        #expect(try again.snapshot(inbox).entries.map(\.size) == snapshot.entries.map(\.size))
    }

    @Test func `flags changed by other programs become flags, ours in between stay`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", .seen)
        let id = try account.snapshot(inbox).id
        _ = try account.store(id, 1, .add, .flagged)
        let cur = box.home() + "/Maildir/cur/"
        let old = box.files()[0]
        rename(cur + old, cur + old.replacingSuffix(":2,S", ":2,R"))
        #expect(try account.snapshot(inbox).entries[0].flags == [.flagged, .answered])
        try account.close()
        #expect(box.files()[0].hasSuffix(":2,FR"))
    }

    @Test func `a file renamed by another program is still read`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        let id = try account.snapshot(inbox).id
        let cur = box.home() + "/Maildir/cur/"
        rename(cur + box.files()[0], cur + box.files()[0] + "ST")
        #expect(try account.octets(id, 1) == message("one"))
        #expect(try account.snapshot(inbox).entries[0].flags == [.seen, .deleted])
    }

    @Test func `messages removed by other programs are expunged when that is noticed`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        try account.add("two")
        let before = try account.snapshot(inbox)
        let file = try #require(box.files().first { $0.contains(",U=1:") })
        unlink(box.home() + "/Maildir/cur/" + file)
        let changes = try account.changes(before.id, since: before.highestModSeq)
        #expect(changes.vanished == [1])
        #expect(try account.read(before.id, uid: 1, .whole, inlineLimit: 10) == nil)
        #expect(try account.subjects() == [2: "two"])
    }

    @Test func `a message put back from a backup is a message again`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...3 { try account.add("m\(number)") }
        let path = box.home() + "/Maildir/cur/" + box.files()[0]
        let octets = try #require(readFile(path))
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(1, 1)], force: true)
        try account.close()
        usleep(20_000)  // another tick of the file system's clock: see docs/store.md
        writeFile(path, octets)
        let again = try box.account()
        let subjects = try again.subjects()
        #expect(subjects == [2: "m2", 3: "m3", 4: "m1"])
    }

    @Test func `a folder made, moved, copied or removed by others is noticed`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("sent", to: name("Sent"))
        let sent = try account.snapshot(name("Sent"))
        let maildir = box.home() + "/Maildir/"
        run("/bin/mkdir", "-p", maildir + ".Made.Sub/cur", maildir + ".Made.Sub/new")
        writeFile(maildir + ".Made.Sub/cur/1.2.3:2,", octets("Subject: made\n\n"))
        run("/bin/cp", "-a", maildir + ".Sent", maildir + ".Copied")
        rename(maildir + ".Sent", maildir + ".Moved")
        run("/bin/rm", "-rf", maildir + ".Junk")
        let names = try account.list().map(\.name.text)
        #expect(names.contains("Made/Sub") && names.contains("Moved") && names.contains("Copied"))
        #expect(try account.list().first { $0.name.text == "Junk" }?.isSelectable == false)
        #expect(try account.subjects(name("Made/Sub")).values.sorted() == ["made"])
        #expect(try account.subjects(name("Moved")) == [1: "sent"])
        #expect(try account.subjects(name("Copied")).values.sorted() == ["sent"])
        let ids = [
            try account.snapshot(name("Moved")).id, try account.snapshot(name("Copied")).id,
        ]
        #expect(ids.contains(sent.id) && ids[0] != ids[1])
    }

    @Test func `a lost or damaged state file is written again from the index`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        let before = try account.snapshot(inbox)
        try account.close()
        unlink(box.home() + "/Maildir/martlet-folder")
        writeFile(box.home() + "/Maildir/.Sent/martlet-folder", octets("martlet-folder 1\nuidval"))
        let again = try box.account()
        #expect(try again.snapshot(inbox) == before)
        #expect(try again.snapshot(name("Sent")).entries.isEmpty)
        #expect(FolderState(readFile(box.home() + "/Maildir/martlet-folder") ?? []) != nil)
    }

    @Test func `with index and state file lost the messages are there under a new UIDVALIDITY`()
        throws
    {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...3 { try account.add("m\(number)", .flagged) }
        let before = try account.snapshot(inbox)
        try account.close()
        box.removeIndex()
        unlink(box.home() + "/Maildir/martlet-folder")
        let again = try box.account()
        #expect(try again.subjects().values.sorted() == ["m1", "m2", "m3"])
        #expect(try again.snapshot(inbox).uidValidity > before.uidValidity)
        #expect(try again.snapshot(inbox).entries.allSatisfy { $0.flags == .flagged })
    }

    @Test func `links, pipes and directories in a Maildir are left alone and followed nowhere`()
        throws
    {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        let maildir = box.home() + "/Maildir/"
        symlink("/etc/passwd", maildir + "cur/1.evil:2,")
        symlink("/etc/passwd", maildir + "new/2.evil")
        mkfifo(maildir + "cur/3.evil:2,", 0o600)
        mkdir(maildir + "cur/4.evil:2,", 0o700)
        symlink("/etc", maildir + ".Linked")
        run("/bin/mkdir", "-p", maildir + ".Half")
        symlink("/etc", maildir + ".Half/cur")
        #expect(try account.subjects() == [1: "one"])
        #expect(
            !(try account.list().contains { $0.name.text == "Linked" || $0.name.text == "Half" }))
        #expect(box.notices.has(.ignored))
        #expect(exists(maildir + "cur/1.evil:2,"))
    }

    @Test(arguments: [
        "../../evil", "a/../../evil", ".", "..", "a//b", "/etc/evil", "a\u{0}b", "a\nb", "x/..",
    ])
    func `no mailbox name leads out of the Maildir`(_ text: String) throws {
        let box = try Sandbox()
        let account = try box.account()
        let before = names(box.path) + names(box.path + "/mail") + names(box.home())
        if let name = MailboxName(Array(text.utf8)) {
            try account.create(name, .none)
            try account.add("x", to: name)
        }
        #expect(before == names(box.path) + names(box.path + "/mail") + names(box.home()))
    }

    @Test(arguments: [
        "../../evil", "..", ".", ".hidden", "a/b", "a\u{0}b", "%2E%2E", "é", ".staging", "a b",
    ])
    func `no address leads out of the root`(_ text: String) throws {
        let box = try Sandbox()
        let outside = names(box.path)
        for address in [
            EmailAddress(local: octets(text), domain: octets("example.net")),
            EmailAddress(local: octets("u"), domain: octets(text)),
        ] {
            let account = try box.account(address)
            try account.add("mine")
            #expect(try account.subjects() == [1: "mine"])
            try account.close()
            try box.root.removeAccount(address)
            #expect(try !box.root.hasAccount(address))
        }
        #expect(names(box.path) == outside)
        #expect(
            names(box.path + "/mail").filter { $0.hasPrefix(".") && !$0.hasPrefix(".removed-") }
                == [".journal", ".lock", ".log", ".staging"])
    }

    @Test func `two processes cannot hold one root`() throws {
        let box = try Sandbox()
        #expect(throws: StoreError.inUse) {
            _ = try MailRoot.open(path: box.path + "/mail", host: "x") { _ in }
        }
    }

    @Test func `a full disk refuses and loses nothing`() throws {
        let path = Sandbox.temporary()
        guard geteuid() == 0,
            run("/bin/mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", path) == 0
        else {
            print("SKIPPED, LOUDLY: `a full disk refuses and loses nothing` needs root for a tmpfs")
            return
        }
        defer { run("/bin/umount", "-l", path) }
        let box = try Sandbox(path: path)
        let account = try box.account()
        var kept: [UInt32: String] = [:]
        var refused = 0
        for number in 0..<200 where refused < 5 {
            do {
                let done = try account.append(
                    PendingAppend(
                        mailbox: inbox, source: .octets(message("m\(number)", octets: 40_000))))
                kept[done.uid] = "m\(number)"
            } catch {
                #expect(error == .noSpace)
                refused += 1
            }
        }
        #expect(refused == 5)
        #expect(kept.count > 20)
        #expect(try account.subjects() == kept)
        // Expunging makes room again, even on a full disk.
        let id = try account.snapshot(inbox).id
        let uids = kept.keys.sorted()
        var freed = uids[5]
        for last in stride(from: 5, through: 0, by: -1) {
            freed = uids[last]
            if (try? account.expunge(id, uids: [UIDRange(uids[0], freed)], force: true)) != nil {
                break
            }
        }
        kept = kept.filter { $0.key > freed }
        #expect(try account.subjects() == kept)
        let next = try account.add("after")
        kept[next.uid] = "after"
        account.abandon()
        let again = try box.account()
        #expect(try again.subjects() == kept)
        again.abandon()
    }
}

extension String {
    func replacingSuffix(_ old: String, _ new: String) -> String {
        hasSuffix(old) ? String(dropLast(old.count)) + new : self
    }
}
