// SPDX-License-Identifier: Apache-2.0
//
// A crash at every durable state: the disk is copied at the moment the store names, and what a
// fresh process finds in the copy is checked against the promise. docs/store.md.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

/// Disks as they were at the durable states an operation went through.
final class Crashes {
    struct Disk {
        var state: DurableState
        var path: String
    }

    private(set) var disks: [Disk] = []
    private var checks = 0
    private let base = Sandbox.temporary()
    private let source: String

    init(_ box: Sandbox, _ account: AccountStore) {
        source = box.path + "/mail"
        account.observer = { [unowned self] state in
            let path = "\(base)/\(disks.count)"
            mkdir(path, 0o700)
            precondition(run("/bin/cp", "-a", source, path + "/mail") == 0, "cp failed")
            disks.append(Disk(state: state, path: path))
        }
    }

    deinit { run("/bin/rm", "-rf", base) }

    var states: [DurableState] { disks.map(\.state) }

    /// Opens every disk as a new process would, with its index and again without it.
    func check(
        keepingIndex: [Bool] = [true, false],
        _ body: (DurableState, AccountStore, Sandbox) throws -> Void
    ) throws {
        for disk in disks {
            for keepsIndex in keepingIndex {
                checks += 1
                let copy = "\(disk.path)-\(checks)"
                mkdir(copy, 0o700)
                precondition(run("/bin/cp", "-a", disk.path + "/mail", copy + "/mail") == 0)
                let box = try Sandbox(path: copy)
                if !keepsIndex { box.removeIndex() }
                try box.root.rollBackDeliveries()
                let account = try box.account()
                try body(disk.state, account, box)
                // Whatever was found stays so.
                let subjects = try account.subjects()
                try account.close()
                let again = try box.account()
                #expect(try again.subjects() == subjects, "\(disk.state)")
                try again.close()
            }
        }
    }
}

@Suite("crashes at every durable state")
struct CrashTests {
    @Test func `an append is whole or absent, and the others are untouched`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("old", .flagged)
        let crashes = Crashes(box, account)
        try account.add("new", .seen, keywords: ["work"])
        #expect(crashes.states == [.bytesDurable, .nameDurable, .rowDurable])
        try crashes.check { state, found, box in
            let subjects = try found.subjects()
            #expect(subjects[1] == "old")
            switch state {
            case .bytesDurable: #expect(subjects == [1: "old"])
            default:
                #expect(subjects == [1: "old", 2: "new"])
                let snapshot = try found.snapshot(inbox)
                #expect(snapshot.keywords == [octets("work")])
                #expect(snapshot.entries[1].flags == [.seen, .keyword(0)])
            }
            let next = try found.add("next")
            #expect(Int(next.uid) > subjects.count)
            #expect(names("\(box.path)/mail/.staging") == [])
        }
    }

    @Test func `a batch over two mailboxes is never lost once its names are durable`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let crashes = Crashes(box, account)
        _ = account.append(
            batch: [inbox, name("Sent"), inbox].enumerated().map {
                PendingAppend(mailbox: $1, source: .octets(message("m\($0)")))
            })
        try crashes.check { state, found, _ in
            let here = try found.subjects().values.sorted()
            let sent = try found.subjects(name("Sent")).values.sorted()
            #expect(here == (state == .bytesDurable ? [] : ["m0", "m2"]))
            #expect(sent == (state == .bytesDurable ? [] : ["m1"]))
        }
    }

    @Test func `a copy leaves the source as it was`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...3 { try account.add("m\(number)", .flagged, keywords: ["k\(number)"]) }
        let before = try account.snapshot(inbox)
        let crashes = Crashes(box, account)
        _ = try account.copy(before.id, uids: [UIDRange(1, 2)], to: name("Archive"), move: false)
        #expect(crashes.states == [.copyLinked, .copyCommitted])
        try crashes.check { state, found, _ in
            #expect(try found.subjects() == [1: "m1", 2: "m2", 3: "m3"])
            let copies = try found.subjects(name("Archive"))
            #expect(copies == [1: "m1", 2: "m2"])
        }
    }

    @Test func `a move never loses a message`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...3 { try account.add("m\(number)") }
        let before = try account.snapshot(inbox)
        let crashes = Crashes(box, account)
        _ = try account.copy(before.id, uids: [UIDRange(1, 2)], to: name("Archive"), move: true)
        #expect(crashes.states == [.copyLinked, .copyCommitted, .moveUnlinked])
        // With its index the source is empty from the commit on.
        try crashes.check(keepingIndex: [true]) { state, found, _ in
            let here = try found.subjects()
            #expect(
                here == (state == .copyLinked ? [1: "m1", 2: "m2", 3: "m3"] : [3: "m3"]))
            #expect(try found.subjects(name("Archive")) == [1: "m1", 2: "m2"])
            #expect(try found.add("next").uid == 4)
        }
    }

    @Test func `a move without index loses nothing either`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...3 { try account.add("m\(number)") }
        let before = try account.snapshot(inbox)
        let crashes = Crashes(box, account)
        _ = try account.copy(before.id, uids: [UIDRange(1, 3)], to: name("Trash"), move: true)
        try crashes.check { _, found, _ in
            let all = Set(try found.subjects().values).union(
                try found.subjects(name("Trash")).values)
            #expect(all == ["m1", "m2", "m3"])
        }
    }

    @Test func `flags are never lost behind the answer, wherever the names are`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", .seen)
        let id = try account.snapshot(inbox).id
        let crashes = Crashes(box, account)
        _ = try account.store(id, 1, .replace, [.flagged, .answered], ["work"])
        try account.flushNames(limit: 10)
        #expect(crashes.states == [.flagsCommitted, .namesRenamed, .namesCommitted])
        try crashes.check(keepingIndex: [true]) { state, found, box in
            let wanted: Flags = [.flagged, .answered, .keyword(0)]
            #expect(try found.snapshot(inbox).entries[0].flags == wanted, "\(state)")
            #expect(try found.subjects() == [1: "one"])
            try found.flushNames(limit: 10)
            #expect(box.files()[0].hasSuffix(":2,FRa"))
        }
    }

    @Test func `flags changed again between rename and row are the last ones`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        let id = try account.snapshot(inbox).id
        _ = try account.store(id, 1, .add, .seen)
        let crashes = Crashes(box, account)
        try account.flushNames(limit: 10)
        let disk = try #require(crashes.disks.first { $0.state == .namesRenamed })
        let other = try Sandbox(path: disk.path)
        let found = try other.account()
        _ = try found.store(id, 1, .replace, .answered)
        #expect(try found.snapshot(inbox).entries[0].flags == .answered)
        try found.close()
        #expect(other.files()[0].hasSuffix(":2,R"))
    }

    @Test func `an expunged message does not come back, another is never taken along`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...3 { try account.add("m\(number)") }
        let id = try account.snapshot(inbox).id
        let crashes = Crashes(box, account)
        _ = try account.expunge(id, uids: [UIDRange(2, 2)], force: true)
        try account.finishRetiring()
        #expect(crashes.states == [.expungeCommitted, .expungeUnlinked])
        try crashes.check(keepingIndex: [true]) { _, found, box in
            let subjects = try found.subjects()
            #expect(subjects == [1: "m1", 3: "m3"])
            try found.finishRetiring()
            #expect(box.files().count == 2)
            #expect(try found.changes(id, since: 0).vanished == [2])
        }
        try crashes.check { state, found, _ in
            // Without its index the expunged one may come back, once.
            let subjects = try found.subjects()
            #expect(subjects[1] == "m1" && subjects[3] == "m3")
        }
    }

    @Test func `create, rename and delete end where they began or where they went`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.create(name("A"), .none)
        try account.create(name("A/B"), .none)
        try account.add("one", to: name("A"))
        try account.add("two", to: name("A/B"))
        let ids = [try account.snapshot(name("A")).id, try account.snapshot(name("A/B")).id]

        var crashes = Crashes(box, account)
        try account.create(name("New"), .none)
        try crashes.check { _, found, _ in
            let new = try found.snapshot(name("New"))
            #expect(new.entries.isEmpty)
            #expect(try found.subjects(name("A/B")) == [1: "two"])
        }
        crashes = Crashes(box, account)
        try account.rename(name("A"), to: name("Z"))
        #expect(crashes.states == [.renameCommitted, .renameMoved, .renameDone])
        try crashes.check(keepingIndex: [true]) { _, found, _ in
            #expect(try found.subjects(name("Z")) == [1: "one"])
            #expect(try found.subjects(name("Z/B")) == [1: "two"])
            let now = [try found.snapshot(name("Z")).id, try found.snapshot(name("Z/B")).id]
            #expect(now == ids)
        }
        try crashes.check { state, found, _ in
            let prefix = state == .renameCommitted ? "A" : "Z"
            let list = try found.list().map(\.name.text)
            let present = list.contains(prefix) ? prefix : "Z"
            #expect(try found.subjects(name(present)) == [1: "one"])
            #expect(try found.subjects(name(present + "/B")) == [1: "two"])
        }
        crashes = Crashes(box, account)
        try account.delete(name("Z"))
        #expect(crashes.states == [.deleteCommitted, .deleteMoved, .deleteDone])
        try crashes.check(keepingIndex: [true]) { _, found, box in
            #expect(throws: StoreError.noSuchMailbox) { try found.snapshot(name("Z")) }
            let below = try found.subjects(name("Z/B"))
            #expect(below == [1: "two"])
            #expect(!names(box.home() + "/Maildir").contains { $0 == ".Z" })
            #expect(!names(box.home() + "/Maildir").contains { $0.hasPrefix("martlet-removed") })
        }
    }

    @Test func `taking in foreign files survives a crash in the middle`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("ours")
        writeFile(
            "\(box.home())/Maildir/new/1700000000.M1P1.other", octets("Subject: foreign\n\nx\n"))
        let crashes = Crashes(box, account)
        #expect(try account.subjects() == [1: "ours", 2: "foreign"])
        #expect(crashes.states == [.adoptRenamed, .adoptCommitted])
        try crashes.check { _, found, _ in
            let subjects = try found.subjects()
            #expect(subjects == [1: "ours", 2: "foreign"])
        }
    }

    @Test func `UIDs and MODSEQs rise over crashes and lost indexes`() throws {
        let box = try Sandbox()
        var lastUID: UInt32 = 0
        var lastModSeq: UInt64 = 0
        var expected: Set<String> = []
        for round in 0..<6 {
            let account = try box.account()
            let found = try account.snapshot(inbox)
            #expect(found.highestModSeq >= lastModSeq)
            #expect(found.uidNext > lastUID)
            #expect(Set(try account.subjects().values) == expected)
            let added = try account.add("r\(round)")
            #expect(added.uid > lastUID)
            lastUID = added.uid
            expected.insert("r\(round)")
            lastModSeq = try account.snapshot(inbox).highestModSeq
            if round % 2 == 0 { account.abandon() } else { try account.close() }
            if round % 3 == 1 { box.removeIndex() }
        }
    }
}

@Suite("deliveries to many, RFC 5321 §6.1")
struct JournalTests {
    private static let id = TraceID(milliseconds: 1, random: 2)

    private func targets(_ box: Sandbox) -> [DeliveryTarget] {
        [Sandbox.alice, Sandbox.bob].map {
            DeliveryTarget(address: $0, unique: box.root.makeUniqueName())
        }
    }

    private func deliver(
        _ box: Sandbox, _ account: AccountStore, _ target: DeliveryTarget, _ staged: StagedMessage
    ) throws {
        _ = try account.append(
            PendingAppend(mailbox: inbox, source: .staged(staged), unique: target.unique))
    }

    @Test(arguments: [0, 1, 2])
    func `a crash before the commit takes the message back everywhere`(_ done: Int) throws {
        let box = try Sandbox()
        let staged = try box.root.staging.stage(message("many"))
        let targets = targets(box)
        for target in targets { try box.account(target.address).close() }
        let old = try box.account(Sandbox.bob)
        try old.add("old")
        try old.close()
        try box.root.journal.begin(Self.id, targets)
        for target in targets.prefix(done) {
            let account = try box.account(target.address)
            try deliver(box, account, target, staged)
            account.abandon()
        }
        let disk = Sandbox.temporary()
        #expect(run("/bin/cp", "-a", box.path + "/mail", disk + "/mail") == 0)
        let after = try Sandbox(path: disk)
        try after.root.rollBackDeliveries()
        #expect(try after.account(Sandbox.alice).subjects().isEmpty)
        #expect(try after.account(Sandbox.bob).subjects() == [1: "old"])
        #expect(after.files("", Sandbox.alice).isEmpty)
        #expect(names(disk + "/mail/.journal").isEmpty)
        #expect(after.notices.has(.deliveryRolledBack))
    }

    @Test func `behind the commit the message stays everywhere`() throws {
        let box = try Sandbox()
        let staged = try box.root.staging.stage(message("many"))
        let targets = targets(box)
        try box.root.journal.begin(Self.id, targets)
        for target in targets {
            let account = try box.account(target.address)
            try deliver(box, account, target, staged)
            account.abandon()
        }
        try box.root.journal.commit(Self.id)
        try box.root.rollBackDeliveries()
        for target in targets {
            #expect(try box.account(target.address).subjects() == [1: "many"])
        }
    }

    @Test func `a retraction finds the message under other flags, and nothing else`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let target = targets(box)[0]
        try account.add("before")
        let staged = try box.root.staging.stage(message("taken back"))
        try deliver(box, account, target, staged)
        try account.add("after")
        let id = try account.snapshot(inbox).id
        _ = try account.store(id, 2, .add, [.seen, .flagged])
        try account.flushNames(limit: 10)
        try account.retract(target.unique)
        try account.retract(target.unique)
        #expect(try account.subjects() == [1: "before", 3: "after"])
        #expect(try account.changes(id, since: 0).vanished == [2])
    }

    @Test func `an incomplete intent has no targets, strange addresses survive`() {
        let odd = DeliveryTarget(
            address: EmailAddress(local: [0x20, 0x09, 0x25, 0xFF, 0x0A], domain: octets("é.test")),
            unique: UniqueName(octets: octets("1.M2P3Q4.host")))
        let encoded = DeliveryJournal.encode([odd, odd])
        #expect(DeliveryJournal.decode(encoded) == [odd, odd])
        for count in 0..<(encoded.count - 1) {
            #expect(DeliveryJournal.decode(Array(encoded.prefix(count))).isEmpty)
        }
    }
}
