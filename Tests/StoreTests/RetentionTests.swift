// SPDX-License-Identifier: Apache-2.0
//
// What was expunged stays for its time, comes back whole, and costs next to nothing.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("retention and undelete")
struct RetentionTests {
    private func shelf(_ box: Sandbox, _ folder: String = "INBOX") -> String {
        let day = String(decoding: Retention.day(System.now().seconds), as: UTF8.self)
        return "\(box.home())/Expunged/\(day)/\(folder)"
    }

    /// Paths of everything that can come back.
    private func retained(_ account: AccountStore) throws -> [PathOctets] {
        try account.retainedPlaces().flatMap { place in
            place.names.map { Array((place.path + [$0]).joined(separator: [0x2F])) }
        }
    }

    @Test func `an expunged message comes back with flags, keywords and date`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("keep")
        try account.add("gone", [.seen, .flagged], keywords: ["work"], date: 1_500_000_000)
        let id = try account.snapshot(inbox).id
        _ = try account.store(
            id, uids: [UIDRange(2, 2)], .add, .init(system: [.deleted, .answered]),
            unchangedSince: nil)
        let message = try #require(
            box.files().lazy.compactMap { readFile("\(box.home())/Maildir/cur/\($0)") }.last)
        _ = try account.expunge(id, uids: nil, force: false)
        #expect(try account.subjects() == [1: "keep"])
        try account.finishRetiring()
        #expect(box.files().count == 1)
        let paths = try retained(account)
        #expect(paths.count == 1)
        let listed = try account.retainedMessages(try account.retainedPlaces()[0], 0..<1)
        #expect(listed[0].subject == Array("gone".utf8))
        #expect(listed[0].mailbox == inbox)
        #expect(listed[0].date == 1_500_000_000)
        #expect(Int(listed[0].size) == message.count)

        var result = try account.undelete(paths)
        #expect(result.restored == 1)
        #expect(try account.subjects() == [1: "keep", 3: "gone"])
        let entry = try #require(try account.snapshot(inbox).entries.last)
        #expect(entry.flags == [.seen, .flagged, .answered, .keyword(0)])
        #expect(entry.internalDate == 1_500_000_000)
        #expect(names(shelf(box)).filter { $0 != "dovecot-keywords" }.isEmpty)
        result = try account.undelete(paths)
        #expect(result.missing == 1 && result.restored == 0)
        try account.close()
        let again = try box.account()
        #expect(try again.subjects() == [1: "keep", 3: "gone"])
        box.removeIndex()
        #expect(try again.snapshot(inbox).entries.count == 2)
    }

    @Test func `a crash in the middle of undelete doubles and loses nothing`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        try account.add("two")
        let id = try account.snapshot(inbox).id
        _ = try account.expunge(id, uids: [UIDRange(1, 2)], force: true)
        let paths = try retained(account)
        var disks: [String] = []
        account.observer = { _ in
            let copy = Sandbox.temporary()
            precondition(run("/bin/cp", "-a", box.path + "/mail", copy + "/mail") == 0)
            disks.append(copy)
        }
        #expect(try account.undelete(paths).restored == 2)
        #expect(disks.count == 2)
        for disk in disks {
            for keepsIndex in [true, false] {
                let copy = "\(disk)-\(keepsIndex)"
                mkdir(copy, 0o700)
                precondition(run("/bin/cp", "-a", disk + "/mail", copy + "/mail") == 0)
                let other = try Sandbox(path: copy)
                if !keepsIndex { other.removeIndex() }
                let found = try other.account()
                _ = try found.snapshot(inbox)
                _ = try found.undelete(paths)
                #expect(try found.subjects().values.sorted() == ["one", "two"])
                #expect(try retained(found).isEmpty)
            }
            run("/bin/rm", "-rf", disk)
        }
    }

    @Test func `a deleted mailbox comes back with its messages and special use`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(name("A/B"), .none)
        try account.add("one", to: name("A/B"), .flagged, keywords: ["k"])
        try account.add("sent", to: name("Sent"), date: 7)
        let id = try account.snapshot(name("A/B")).id
        _ = try account.store(
            id, uids: [UIDRange(1, 1)], .add, .init(system: .seen), unchangedSince: nil)
        try account.delete(name("A/B"))
        try account.delete(name("Sent"))
        #expect(names(box.home() + "/Maildir").allSatisfy { !$0.hasPrefix("martlet-removed") })
        let paths = try retained(account)
        #expect(paths.count == 2)
        let result = try account.undelete(paths)
        #expect(result.restored == 2)
        #expect(try account.subjects(name("A/B")) == [1: "one"])
        #expect(
            try account.snapshot(name("A/B")).entries[0].flags == [.seen, .flagged, .keyword(0)])
        #expect(try account.snapshot(name("A/B")).keywords == [octets("k")])
        #expect(try account.snapshot(name("Sent")).entries[0].internalDate == 7)
        let sent = try account.list().first { $0.name == name("Sent") }
        #expect(sent?.specialUse == .sent)
        #expect(try retained(account).isEmpty)
    }

    @Test func `a moved message is not kept, an expunged copy is`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...2 { try account.add("m\(number)") }
        let id = try account.snapshot(inbox).id
        _ = try account.copy(id, uids: [UIDRange(1, 1)], to: name("Trash"), move: true)
        #expect(try retained(account).isEmpty)
        _ = try account.copy(id, uids: [UIDRange(2, 2)], to: name("Trash"), move: false)
        _ = try account.expunge(id, uids: [UIDRange(2, 2)], force: true)
        #expect(try retained(account).count == 1)
        #expect(try account.undelete(try retained(account)).restored == 1)
        #expect(try account.subjects() == [3: "m2"])
    }

    @Test func `without retention what is expunged is gone`() throws {
        let box = try Sandbox()
        box.root.retention.set(seconds: 0, octetLimit: 0)
        let account = try box.account()
        try account.add("one")
        try account.add("two", to: name("Archive"))
        _ = try account.expunge(try account.snapshot(inbox).id, uids: [UIDRange(1, 1)], force: true)
        try account.delete(name("Archive"))
        #expect(!exists("\(box.home())/Expunged"))
        #expect(try retained(account).isEmpty)
        try account.close()
        try box.root.removeAccount(Sandbox.alice)
        #expect(names(box.path + "/mail").allSatisfy { !$0.hasPrefix(".removed") })
    }

    @Test func `a removed account stays for its time and can be put back`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("mine", .flagged)
        let before = try account.snapshot(inbox)
        try account.close()
        try box.root.removeAccount(Sandbox.alice)
        #expect(try box.root.hasAccount(Sandbox.alice) == false)
        try box.root.rollBackDeliveries()
        let removed = try box.root.removedAccounts()
        #expect(removed.map(\.address) == [Sandbox.alice.octets])
        let new = try box.account()
        try new.add("newer")
        try new.close()
        try box.root.placeAccount(Sandbox.alice, from: removed[0].directory)
        let back = try box.account()
        let after = try back.snapshot(inbox)
        #expect(after.uidValidity == before.uidValidity)
        #expect(after.entries.map(\.flags) == [.flagged])
        #expect(try back.subjects() == [1: "mine"])
        // The one in whose place it went is kept in turn.
        #expect(try box.root.removedAccounts().count == 1)
        #expect(throws: StoreError.notPermitted) {
            try box.root.placeAccount(Sandbox.alice, from: octets("../evil"))
        }
    }

    @Test func `the sweep takes days that are over and the oldest beyond the limit`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...4 {
            _ = try account.append(
                PendingAppend(
                    mailbox: inbox, source: .octets(message("m\(number)", octets: 10_000))))
        }
        let id = try account.snapshot(inbox).id
        for uid in 1...4 as ClosedRange<UInt32> {
            _ = try account.expunge(id, uids: [UIDRange(uid, uid)], force: true)
        }
        let top = "\(box.home())/Expunged"
        let old = "\(top)/2001-01-01/INBOX"
        run("/bin/mkdir", "-p", old)
        writeFile("\(old)/1.x.y", message("ancient"))
        run("/bin/mkdir", "-p", "\(top)/notes")
        let names = (Array("example.net".utf8), Array("alice".utf8))
        #expect(try box.root.sweepExpunged(names.0, names.1).days == 1)
        #expect(exists("\(top)/notes") && !exists(old))
        #expect(try retained(account).count == 4)
        box.root.retention.set(seconds: 86_400, octetLimit: 25_000)
        let swept = try box.root.sweepExpunged(names.0, names.1)
        #expect(swept.files == 2)
        #expect(try retained(account).count == 2)
        box.root.retention.set(seconds: 0, octetLimit: 0)
        #expect(try box.root.sweepExpunged(names.0, names.1).days == 1)
        #expect(try retained(account).isEmpty)
    }

    @Test func `paths cannot leave the place of expunged messages`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        for path in ["../INBOX/x", "2026-01-01/../x", "2026-01-01/INBOX/..", "x", "2026-01-01//x"] {
            #expect(throws: StoreError.notPermitted) { try account.undelete([octets(path)]) }
        }
    }

    @Test func `a thousand messages are expunged in milliseconds`() throws {
        let box = try Sandbox()
        let account = try box.account()
        _ = account.append(
            batch: (0..<1_000).map {
                PendingAppend(mailbox: inbox, source: .octets(message("m\($0)")))
            })
        let id = try account.snapshot(inbox).id
        let clock = ContinuousClock()
        let took = try clock.measure {
            let expunged = try account.expunge(id, uids: [UIDRange(1, .max)], force: true)
            #expect(expunged.uids.count == 1_000)
        }
        print("expunge of 1,000 with retention: \(took)")
        #expect(took < .milliseconds(500))
        #expect(try retained(account).count == 1_000)
        let back = try account.undelete(try retained(account))
        #expect(back.restored == 1_000)
        #expect(try account.snapshot(inbox).entries.count == 1_000)
    }
}

@Suite("snapshots for backup")
struct SnapshotTests {
    private struct Image {
        var messages: [MailboxID: [UInt32: SnapshotMessage]] = [:]

        mutating func add(_ slice: SnapshotSlice) {
            if slice.isAnew { messages[slice.mailbox] = [:] }
            for message in slice.messages {
                messages[slice.mailbox, default: [:]][message.uid] = message
            }
            for uid in slice.gone { messages[slice.mailbox]?[uid] = nil }
        }
    }

    @Test func `what changes while rows are read is as it was at the end`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...20 { try account.add("m\(number)") }
        for number in 1...5 { try account.add("a\(number)", to: name("Archive")) }
        let id = try account.snapshot(inbox).id
        let archive = try account.snapshot(name("Archive")).id
        box.root.retention.set(seconds: 0, octetLimit: 0)
        box.root.retention.hold(Sandbox.alice)
        var progress = try account.beginSnapshot(withMessageIDs: true)
        var image = Image()
        var step = 0
        while let slice = try account.snapshotSlice(&progress, limit: 4) {
            image.add(slice)
            step += 1
            switch step {
            case 1:
                // From a folder not read yet to one that is read, and the other way round.
                _ = try account.copy(id, uids: [UIDRange(20, 20)], to: name("Archive"), move: true)
                _ = try account.expunge(archive, uids: [UIDRange(1, 1)], force: true)
            case 3:
                try account.add("late", .flagged)
                _ = try account.store(
                    id, uids: [UIDRange(1, 3)], .add, .init(system: .seen), unchangedSince: nil)
            case 4:
                _ = try account.copy(archive, uids: [UIDRange(2, 2)], to: inbox, move: true)
                try account.create(name("New"), .none)
                try account.add("new", to: name("New"))
            default: break
            }
        }
        let (snapshot, folders, slices) = try account.endSnapshot(progress)
        for slice in slices { image.add(slice) }
        // Everything goes after the snapshot, and its files are there all the same.
        _ = try account.expunge(id, uids: [UIDRange(1, .max)], force: true)
        try account.delete(name("New"))
        let expected: [MailboxName: Set<String>] = [
            inbox: Set((1...19).map { "m\($0)" } + ["late", "a2"]),
            name("Archive"): ["a3", "a4", "a5", "m20"], name("New"): ["new"],
        ]
        #expect(Set(snapshot.folders) == Set(folders.map(\.id)))
        for folder in folders {
            let messages = image.messages[folder.id] ?? [:]
            var subjects: Set<String> = []
            for (uid, message) in messages {
                let found = try account.snapshotFile(
                    folder.id, SnapshotFile(uid: uid, unique: FileName.unique(of: message.name)))
                let file = try #require(found)
                let descriptor = try #require(file.file.take())
                let text = String(decoding: readAll(descriptor), as: UTF8.self)
                close(descriptor)
                let subject = text.dropFirst(9).prefix { $0 != "\r\n" }
                subjects.insert(String(subject))
                #expect(message.messageID == octets("<\(subject)@example.net>"))
                #expect(file.size == Int64(message.size))
                if folder.name == inbox, (1...3).contains(uid) {
                    #expect(FileName(message.name).flags == .seen)
                }
            }
            #expect(subjects == expected[folder.name] ?? [], "\(folder.name.text)")
        }
        #expect(exists("\(box.home())/Held"))
        #expect(box.root.retention.release(Sandbox.alice))
        try account.dropHeld()
        #expect(!exists("\(box.home())/Held"))
        // What a crash left goes when the account is opened, unless somebody reads it.
        mkdir("\(box.home())/Held", 0o700)
        try account.close()
        box.root.retention.hold(Sandbox.alice)
        try box.account().close()
        #expect(exists("\(box.home())/Held"))
        #expect(box.root.retention.release(Sandbox.alice))
        try box.account().close()
        #expect(!exists("\(box.home())/Held"))
    }
}

@Suite("copies of the directory")
struct DirectoryCopyTests {
    @Test func `a copy brings back what is missing and changes nothing else`() throws {
        let base = Sandbox.temporary()
        defer { run("/bin/rm", "-rf", base) }
        let box = try Sandbox(path: base)
        let first = try Directory.open(stateDirectory: base + "/state", configured: [])
        try first.addDomain(octets("example.net"))
        try first.addDomain(octets("other.test"))
        try first.addAccount(Sandbox.alice, passwordHash: octets("hash-a'"))
        try first.addAccount(Sandbox.bob, passwordHash: octets("hash-b"))
        let copied = try #require(try first.copy().take())
        let copy = readAll(copied)
        close(copied)
        let text = String(decoding: try first.text(), as: UTF8.self)
        #expect(text.contains("CAST('hash-a''' AS BLOB)") && text.contains("CAST('alice' AS BLOB)"))
        #expect(names(base + "/state").allSatisfy { !$0.contains("copy") })

        let second = try Directory.open(stateDirectory: base + "/second", configured: [])
        try second.addDomain(octets("example.net"))
        try second.addAccount(Sandbox.alice, passwordHash: octets("changed"))
        let staged = try box.root.staging.stage(copy)
        let one = try second.restore(from: staged, account: Sandbox.bob)
        #expect(one.accounts == 1 && one.domains == 0)
        #expect(try second.passwordHash(Sandbox.bob) == octets("hash-b"))
        #expect(try second.passwordHash(Sandbox.alice) == octets("changed"))
        let all = try second.restore(from: staged, account: nil)
        #expect(all.accounts == 0 && all.domains == 1)
        #expect(try second.hasDomain(octets("other.test")))
        #expect(names(base + "/second").allSatisfy { !$0.contains("restore") })
        #expect(throws: StoreError.self) {
            try second.restore(
                from: try box.root.staging.stage(octets("no database")), account: nil)
        }
        second.close()
        first.close()
    }
}
