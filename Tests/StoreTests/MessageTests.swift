// SPDX-License-Identifier: Apache-2.0
//
// Appending, reading, flags, copies and expunges on a healthy disk. RFC 9051 §6.3.12, §6.4.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

@Suite("messages, RFC 9051 §6.4")
struct MessageTests {
    @Test func `an appended message is in cur with its UID, size, flags and date`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let done = try account.add("one", .seen, date: 1_000_000_000)
        #expect(done.uid == 1)
        let files = box.files()
        #expect(files.count == 1)
        #expect(files[0].hasSuffix(",S=\(message("one").count),U=1:2,S"))
        let entry = try account.snapshot(inbox).entries[0]
        #expect(entry.flags == .seen)
        #expect(entry.internalDate == 1_000_000_000)
        #expect(Int(entry.size) == message("one").count)
        var status = stat()
        stat("\(box.home())/Maildir/cur/\(files[0])", &status)
        #expect(status.st_mtim.tv_sec == 1_000_000_000)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test func `a batch to several mailboxes gives rising UIDs and fails one by one`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let batch = [
            PendingAppend(mailbox: inbox, source: .octets(message("a"))),
            PendingAppend(mailbox: name("Nowhere"), source: .octets(message("b"))),
            PendingAppend(mailbox: name("Sent"), source: .octets(message("c"))),
            PendingAppend(mailbox: inbox, source: .octets(message("d"))),
        ]
        let results = account.append(batch: batch)
        #expect(results.count == 4)
        #expect(try results[0].get().uid == 1)
        #expect(results[1] == .failure(.noSuchMailbox))
        #expect(try results[2].get().uid == 1)
        #expect(try results[3].get().uid == 2)
        #expect(try account.subjects() == [1: "a", 2: "d"])
        #expect(try account.subjects(name("Sent")) == [1: "c"])
    }

    @Test func `more messages than one batch keep their order`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let results = account.append(
            batch: (1...150).map {
                PendingAppend(mailbox: inbox, source: .octets(message("m\($0)")))
            })
        #expect(results.map { try? $0.get().uid } == (1...150).map { UInt32($0) })
        #expect(try account.subjects()[150] == "m150")
    }

    @Test func `the octets come back as they were, inline and as a file`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let id = try account.snapshot(inbox).id
        let big = message("big", octets: 200_000) + octets("bare\nfeed\r\n")
        _ = try account.append(PendingAppend(mailbox: inbox, source: .octets(big)))
        #expect(try account.octets(id, 1) == big)
        let file = try account.read(id, uid: 1, .whole, inlineLimit: 1_000)
        #expect(file?.size == UInt32(big.count))
        #expect(try account.octets(id, 1, inlineLimit: 1_000) == big)
        #expect(try account.read(id, uid: 2, .whole, inlineLimit: 10) == nil)
    }

    @Test(arguments: [
        ("A: b\r\n\r\nbody", 8), ("A: b\n\nbody", 6), ("\r\nbody", 2), ("A: b\r\n", 6),
        ("A: b\rc\r\n\r\nx\r\n\r\n", 10), ("", 0),
    ])
    func `a header ends behind its empty line`(_ text: String, _ count: Int) throws {
        let box = try Sandbox()
        let account = try box.account()
        _ = try account.append(PendingAppend(mailbox: inbox, source: .octets(octets(text))))
        let id = try account.snapshot(inbox).id
        guard case .octets(let header)? = try account.read(id, uid: 1, .header, inlineLimit: 0)
        else {
            Issue.record("no header")
            return
        }
        #expect(header == Array(octets(text).prefix(count)))
    }

    @Test func `a header longer than the first reads is whole`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let header = octets("X: " + String(repeating: "y", count: 300_000) + "\r\n\r\n")
        _ = try account.append(
            PendingAppend(mailbox: inbox, source: .octets(header + octets("body"))))
        let id = try account.snapshot(inbox).id
        guard case .octets(let read)? = try account.read(id, uid: 1, .header, inlineLimit: 0) else {
            Issue.record("no header")
            return
        }
        #expect(read == header)
    }

    @Test func `flags are added, removed and replaced, and reach the file name`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", .seen)
        let id = try account.snapshot(inbox).id
        let before = try account.snapshot(inbox).highestModSeq
        let added = try account.store(id, 1, .add, .flagged, ["$Junk", "work"])
        #expect(added.keywords == [octets("$Junk"), octets("work")])
        #expect(added.entries[0].flags == [.seen, .flagged, .keyword(0), .keyword(1)])
        #expect(added.entries[0].modSeq > before)
        _ = try account.store(id, 1, .remove, .seen, ["$JUNK"])
        #expect(account.hasUnflushedNames)
        #expect(box.files()[0].hasSuffix(":2,S"))
        try account.flushNames(limit: 10)
        #expect(!account.hasUnflushedNames)
        #expect(box.files()[0].hasSuffix(":2,Fb"))
        _ = try account.store(id, 1, .replace, .answered)
        try account.close()
        #expect(box.files()[0].hasSuffix(":2,R"))
        #expect(readFile("\(box.home())/Maildir/dovecot-keywords") == octets("0 $Junk\n1 work\n"))
    }

    @Test func `a store that changes nothing has no new MODSEQ`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one", .seen)
        let snapshot = try account.snapshot(inbox)
        let stored = try account.store(snapshot.id, 1, .add, .seen)
        #expect(stored.entries == snapshot.entries)
        #expect(try account.snapshot(inbox).highestModSeq == snapshot.highestModSeq)
    }

    @Test func `unchangedSince refuses what changed and stores the rest`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        try account.add("two")
        let snapshot = try account.snapshot(inbox)
        _ = try account.store(snapshot.id, 1, .add, .flagged)
        let stored = try account.store(
            snapshot.id, uids: [UIDRange(1, .max)], .add, NamedFlags(system: .seen),
            unchangedSince: snapshot.highestModSeq)
        #expect(stored.modified == [1])
        #expect(stored.entries.map(\.uid) == [2])
        #expect(stored.entries[0].flags == .seen)
    }

    @Test func `the 27th keyword is refused by store and left out by append`() throws {
        let box = try Sandbox()
        let account = try box.account()
        let keywords = (0..<26).map { "k\($0)" }
        try account.add("one", keywords: keywords)
        let id = try account.snapshot(inbox).id
        #expect(throws: StoreError.limit) { try account.store(id, 1, .add, [], ["k26"]) }
        try account.add("two", keywords: ["k3", "k26"])
        #expect(try account.snapshot(inbox).entries[1].flags == .keyword(3))
        #expect(throws: StoreError.notPermitted) { try account.store(id, 1, .add, [], ["a\nb"]) }
    }

    @Test func `expunge takes deleted messages, force takes all that are named`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...5 { try account.add("m\(number)", number % 2 == 0 ? .deleted : []) }
        let id = try account.snapshot(inbox).id
        let within = try account.expunge(id, uids: [UIDRange(1, 3)], force: false)
        #expect(within.uids == [2])
        #expect(try account.expunge(id, uids: nil, force: false).uids == [4])
        #expect(try account.expunge(id, uids: nil, force: false).uids == [])
        #expect(try account.expunge(id, uids: [UIDRange(5, 5)], force: true).uids == [5])
        #expect(try account.subjects() == [1: "m1", 3: "m3"])
        try account.finishRetiring()
        #expect(box.files().count == 2)
        #expect(try account.add("next").uid == 6)
    }

    @Test func `a copy keeps flags, keywords by name, date and octets`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("x", to: name("Archive"), keywords: ["other", "work"])
        try account.add("one", .flagged, keywords: ["work"], date: 77)
        let id = try account.snapshot(inbox).id
        let result = try account.copy(
            id, uids: [UIDRange(1, 9)], to: name("Archive"), move: false)
        #expect(result.source == [1])
        #expect(result.destination == [2])
        let archive = try account.snapshot(name("Archive"))
        #expect(result.uidValidity == archive.uidValidity)
        #expect(archive.entries[1].flags == [.flagged, .keyword(1)])
        #expect(archive.entries[1].internalDate == 77)
        #expect(try account.subjects(name("Archive"))[2] == "one")
        #expect(try account.subjects() == [1: "one"])
    }

    @Test func `a move leaves nothing behind and is one change on each side`() throws {
        let box = try Sandbox()
        let account = try box.account()
        for number in 1...3 { try account.add("m\(number)") }
        let before = try account.snapshot(inbox)
        let result = try account.copy(
            before.id, uids: [UIDRange(2, 3)], to: name("Trash"), move: true)
        #expect(result.destination == [1, 2])
        #expect(try account.subjects() == [1: "m1"])
        #expect(try account.subjects(name("Trash")) == [1: "m2", 2: "m3"])
        let changes = try account.changes(before.id, since: before.highestModSeq)
        #expect(changes.vanished == [2, 3])
        #expect(changes.entries.isEmpty)
        #expect(box.files().count == 1)
    }

    @Test func `a move into the same mailbox gives a new UID`() throws {
        let box = try Sandbox()
        let account = try box.account()
        try account.add("one")
        let id = try account.snapshot(inbox).id
        let result = try account.copy(id, uids: [UIDRange(1, 1)], to: inbox, move: true)
        #expect(result.destination == [2])
        #expect(try account.subjects() == [2: "one"])
    }

    @Test func `staged messages serve many accounts with one copy of the bytes`() throws {
        let box = try Sandbox()
        let staged = try box.root.staging.stage(message("shared"))
        for address in [Sandbox.alice, Sandbox.bob] {
            let account = try box.account(address)
            _ = try account.append(PendingAppend(mailbox: inbox, source: .staged(staged)))
            #expect(try account.subjects() == [1: "shared"])
        }
        var status = stat()
        stat("\(box.home())/Maildir/cur/\(box.files()[0])", &status)
        #expect(status.st_nlink == 2)
    }

    @Test func `a staged file is refused while somebody can write to it`() throws {
        let box = try Sandbox()
        let file = try box.root.staging.create()
        let writer = try #require(file.takeWriter())
        #expect(file.takeWriter() == nil)
        let text = message("written outside")
        _ = text.withUnsafeBytes { write(writer, $0.baseAddress, $0.count) }
        #expect(throws: StoreError.badStage) { try file.seal() }
        close(writer)
        let sealed = try file.seal(date: 99)
        let account = try box.account()
        _ = try account.append(PendingAppend(mailbox: inbox, source: .staged(sealed)))
        #expect(try account.subjects() == [1: "written outside"])
        #expect(try account.snapshot(inbox).entries[0].internalDate == 99)
    }

    @Test func `a staged message with a date of its own does not change the others`() throws {
        let box = try Sandbox()
        let staged = try box.root.staging.stage(message("s"), date: 1_000)
        let account = try box.account()
        _ = try account.append(PendingAppend(mailbox: inbox, source: .staged(staged)))
        _ = try account.append(PendingAppend(mailbox: inbox, date: 5, source: .staged(staged)))
        try account.rebuildIndex()
        #expect(try account.snapshot(inbox).entries.map(\.internalDate) == [1_000, 5])
    }
}
