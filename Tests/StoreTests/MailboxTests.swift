// SPDX-License-Identifier: Apache-2.0
//
// Mailboxes as such, and what changed in them. RFC 9051 §6.3, RFC 7162.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("mailboxes, RFC 9051 §6.3")
struct MailboxTests {
    @Test func `a new account has INBOX and the usual folders, subscribed, for their use`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let list = try account.list()
        #expect(
            list.map(\.name.text) == ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"])
        #expect(list.map(\.specialUse) == [.archive, .drafts, .none, .junk, .sent, .trash])
        #expect(list.allSatisfy { $0.isSelectable && $0.isSubscribed })
        #expect(
            names("\(box.home())/Maildir/.Sent")
                == ["cur", "maildirfolder", "martlet-folder", "new", "tmp"])
    }

    @Test func `levels above a mailbox exist as long as it does`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(name("A/B/C"), .none)
        var found = try account.list().filter {
            $0.name.text.hasPrefix("A/") || $0.name.text == "A"
        }
        #expect(found.map(\.name.text) == ["A", "A/B", "A/B/C"])
        #expect(found.map(\.isSelectable) == [false, false, true])
        try account.create(name("A"), .none)
        try account.delete(name("A"))
        found = try account.list().filter { $0.name.text == "A" }
        #expect(found.map(\.isSelectable) == [false])
        try account.delete(name("A/B/C"))
        #expect(
            try account.list().filter { $0.name.text.hasPrefix("A") }.map(\.name.text) == [
                "Archive"
            ])
    }

    @Test func `what exists cannot be made, what does not cannot be deleted`() throws {
        let box = try Sandbox()
        let account = try box.account()
        #expect(throws: StoreError.mailboxExists) { try account.create(name("Sent"), .none) }
        #expect(throws: StoreError.mailboxExists) { try account.create(inbox, .none) }
        #expect(throws: StoreError.noSuchMailbox) { try account.delete(name("Nope")) }
        #expect(throws: StoreError.notPermitted) { try account.delete(inbox) }
        let long = name(String(repeating: "é", count: 200))
        #expect(throws: StoreError.notPermitted) { try account.create(long, .none) }
    }

    @Test func `a mailbox made again has a greater UIDVALIDITY and another id`() throws {
        let box = try Sandbox()
        let account = try box.account()
        var last: UInt32 = 0
        var ids: Set<MailboxID> = []
        for _ in 0..<5 {
            try account.create(name("Again"), .none)
            let snapshot = try account.snapshot(name("Again"))
            #expect(snapshot.uidValidity > last)
            #expect(ids.insert(snapshot.id).inserted)
            last = snapshot.uidValidity
            try account.delete(name("Again"))
        }
        try account.close()
        box.removeIndex()
        let reopened = try box.account()
        try reopened.create(name("Again"), .none)
        #expect(try reopened.snapshot(name("Again")).uidValidity > last)
    }

    @Test func `a rename moves the children and keeps every message, UID and id`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(name("A"), .none)
        try account.create(name("A/B"), .none)
        try account.create(name("AB"), .none)
        try account.add("one", to: name("A"))
        try account.add("two", to: name("A/B"), .flagged)
        let before = try account.snapshot(name("A/B"))
        try account.rename(name("A"), to: name("X/Y"))
        #expect(try account.subjects(name("X/Y")) == [1: "one"])
        #expect(try account.snapshot(name("X/Y/B")) == before)
        #expect(try account.snapshot(name("AB")).entries.isEmpty)
        #expect(throws: StoreError.noSuchMailbox) { try account.snapshot(name("A")) }
        try account.add("three", to: name("X/Y/B"))
        try account.close()
        box.removeIndex()
        let again = try box.account()
        #expect(try again.subjects(name("X/Y/B")).values.sorted() == ["three", "two"])
    }

    @Test func `a rename refuses an existing target and itself`() throws {
        let box = try Sandbox()
        let account = try box.account()
        #expect(throws: StoreError.mailboxExists) {
            try account.rename(name("Sent"), to: name("Trash"))
        }
        #expect(throws: StoreError.notPermitted) {
            try account.rename(name("Sent"), to: name("Sent/Below"))
        }
        #expect(throws: StoreError.noSuchMailbox) {
            try account.rename(name("Nope"), to: name("Other"))
        }
        #expect(throws: StoreError.mailboxExists) { try account.rename(name("Sent"), to: inbox) }
    }

    @Test func `renaming INBOX moves its messages and keeps INBOX`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", .seen)
        try account.create(name("INBOX/Below"), .none)
        try account.rename(inbox, to: name("Old"))
        #expect(try account.subjects().isEmpty)
        #expect(try account.subjects(name("Old")) == [1: "one"])
        #expect(try account.list().contains { $0.name.text == "INBOX/Below" && $0.isSelectable })
        try account.add("two")
        #expect(try account.subjects() == [2: "two"])
    }

    @Test func `subscriptions are kept in Dovecot's format, also for names that are gone`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(name("Größe/x.y"), .none)
        try account.subscribe(name("Größe/x.y"), true)
        try account.subscribe(name("Junk"), false)
        try account.delete(name("Größe/x.y"))
        let list = try account.list()
        let gone = list.first { $0.name.text == "Größe/x.y" }
        #expect(gone?.isSubscribed == true)
        #expect(gone?.isSelectable == false)
        #expect(list.first { $0.name.text == "Junk" }?.isSubscribed == false)
        let file = String(
            decoding: readFile("\(box.home())/Maildir/subscriptions") ?? [], as: UTF8.self)
        #expect(file.hasPrefix("V\t2\n\n"))
        #expect(file.contains("\nGr&APYA3w-e\tx&AC4-y\n"))
    }

    @Test func `status counts`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", .seen)
        try account.add("two", .deleted)
        try account.add("three")
        let status = try account.status(inbox)
        #expect(status.messages == 3)
        #expect(status.unseen == 2)
        #expect(status.deleted == 1)
        #expect(status.uidNext == 4)
        #expect(Int(status.size) == ["one", "two", "three"].map { message($0).count }.reduce(0, +))
        let totals = try account.totals()
        #expect(totals.messages == 3)
        #expect(totals.size == status.size)
        #expect(totals.mailboxes == 6)
    }

    @Test func `changes tell what is new, changed and gone`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...4 { try account.add("m\(number)") }
        let start = try account.snapshot(inbox)
        _ = account.takeChanges()
        _ = try account.store(start.id, 2, .add, .flagged)
        _ = try account.expunge(start.id, uids: [UIDRange(3, 3)], force: true)
        try account.add("m5")
        let changes = try account.changes(start.id, since: start.highestModSeq)
        #expect(changes.entries.map(\.uid) == [2, 5])
        #expect(changes.vanished == [3])
        #expect(changes.uidNext == 6)
        let watched = account.takeChanges()
        #expect(watched.map(\.mailbox) == [start.id])
        #expect(watched.map(\.highestModSeq) == [changes.highestModSeq])
        let none = try account.changes(start.id, since: changes.highestModSeq)
        #expect(none.entries.isEmpty && none.vanished.isEmpty)
        // The same from the rows, as after a restart.
        try account.close()
        let again = try box.account()
        #expect(try again.changes(start.id, since: start.highestModSeq) == changes)
        #expect(try again.changes(start.id, since: 0).entries.count == 4)
    }

    @Test func `a deleted mailbox is gone for its watchers`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let id = try account.snapshot(name("Junk")).id
        _ = account.takeChanges()
        try account.delete(name("Junk"))
        #expect(account.takeChanges().map(\.isGone) == [true])
        #expect(try account.changes(id, since: 0).isGone)
        #expect(throws: StoreError.noSuchMailbox) { try account.store(id, 1, .add, .seen) }
    }

    @Test func `forgotten expunges are answered with every missing UID`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let id = try account.snapshot(inbox).id
        let appended = account.append(
            batch: (1...140).map {
                PendingAppend(mailbox: inbox, source: .octets(message("m\($0)")))
            })
        #expect(appended.count == 140)
        try account.add("last")
        let snapshot = try account.snapshot(inbox)
        let all = try account.changes(id, since: 1)
        #expect(all.vanished.count == 0)
        #expect(all.entries.count == snapshot.entries.count)
        _ = try account.expunge(id, uids: [UIDRange(1, 100)], force: true)
        try account.close()
        box.removeIndex()
        let again = try box.account()
        let lost = try again.changes(id, since: snapshot.highestModSeq)
        #expect(Set(1...100).isSubset(of: Set(lost.vanished)))
        #expect(Set(lost.vanished).isDisjoint(with: lost.entries.map(\.uid)))
        #expect(lost.entries.count == snapshot.entries.count - 100)
        #expect(lost.highestModSeq > snapshot.highestModSeq)
    }

    @Test func `many open mailboxes do not need many descriptors`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 0..<40 {
            try account.create(name("F\(number)"), .none)
            try account.add("m\(number)", to: name("F\(number)"))
        }
        for number in 0..<40 {
            #expect(try account.subjects(name("F\(number)")) == [1: "m\(number)"])
        }
        // Other tests of this process have files open too.
        let ours = names("/proc/self/fd").filter { number in
            var target = [UInt8](repeating: 0, count: 4_096)
            let count = readlink("/proc/self/fd/\(number)", &target, target.count)
            return count > 0
                && String(decoding: target.prefix(count), as: UTF8.self).hasPrefix(box.path + "/")
        }
        #expect(ours.count > 0)
        #expect(ours.count < 100)
        let results = account.append(
            batch: (0..<64).map {
                PendingAppend(mailbox: name("F\($0 % 40)"), source: .octets(message("x\($0)")))
            })
        #expect(results.filter { (try? $0.get()) != nil }.count == 64)
        #expect(try account.subjects(name("F3")) == [1: "m3", 2: "x3", 3: "x43"])
    }
}
