// SPDX-License-Identifier: Apache-2.0
//
// What every driver of IndexStore promises, held against each of them.

import Bytes
import MIME
import Mail
import Testing

@testable import Store

/// Numbers that look random and are the same in every run.
private struct Dice {
    var state: UInt64
    mutating func roll(_ sides: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % sides
    }
}

@Suite("index")
struct IndexStoreTests {
    @Test(arguments: IndexDriver.allCases)
    func `a transaction does all of its body or nothing`(_ driver: IndexDriver) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let (one, two) = (try index.make(1), try index.make(2))
            try index.add(5, to: one, [.seen])
            let before = (
                try index.all(one), try index.usage(), try index.mailboxes(),
                try index.totals(one.id)
            )
            #expect(throws: StoreError.noSpace) {
                try index.transaction(.full) { () throws(StoreError) in
                    let uid = try index.allocateUIDs(1, in: one)
                    let modSeq = try index.allocateModSeq(in: one)
                    try index.insert(
                        IndexedMessage(
                            entry: MessageEntry(
                                uid: uid, size: 7, flags: [], modSeq: modSeq, internalDate: 0),
                            blob: octets("x"), summary: MessageSummary([])), in: one.id)
                    _ = try index.remove([1, 2], at: modSeq, from: one)
                    try index.changeFlags(
                        [everything], .replace, .flagged, at: modSeq, unchangedSince: nil,
                        in: one.id)
                    try index.putNumbers(of: one)
                    try index.remove(two.id)
                    throw .noSpace
                }
            }
            #expect(try index.all(one) == before.0)
            #expect(try index.usage() == before.1)
            #expect(try index.mailboxes() == before.2)
            #expect(try index.totals(one.id) == before.3)
            #expect(try index.vanished(one.id, since: 0) == [])
            #expect(try index.doomed(one.id) == [])
            let again = try place.open()
            #expect(try again.entries(one.id, everything, limit: .max) == before.0)
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `what is committed is there after a crash`(_ driver: IndexDriver) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let box = try index.make(7)
            let uids = try index.add(6, to: box, [.flagged], size: 50)
            try index.store([UIDRange(1, 2)], .add, [.seen], box)
            let removed = try index.expunge([uids[3]], box)
            let (entries, modSeq) = (try index.all(box), box.modSeq)

            let again = try place.open()
            let reopened = try #require(try again.open(box.id))
            #expect(try again.all(reopened) == entries)
            #expect(reopened.uidNext == 7 && reopened.modSeq == modSeq)
            #expect(try again.blob(box.id, 1) == octets("b7-1"))
            #expect(try again.blob(box.id, uids[3]) == nil)
            #expect(try again.doomed(box.id) == removed.map(\.blob))
            #expect(try again.vanished(box.id, since: modSeq - 1) == [uids[3]])
            #expect(try again.usage() == MailUsage(octets: 250, messages: 5, mailboxes: 1))
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `numbers rise, and none comes a second time`(_ driver: IndexDriver) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let box = try index.make(1)
            #expect(box.uidNext == 1)
            #expect(try index.add(3, to: box) == [1, 2, 3])
            #expect(try index.open(box.id) === box)
            let modSeq = box.modSeq
            // What it was for did not come to be.
            #expect(throws: StoreError.noSpace) {
                try index.transaction(.full) { () throws(StoreError) in
                    _ = try index.allocateUIDs(4, in: box)
                    _ = try index.allocateModSeq(in: box)
                    try index.putNumbers(of: box)
                    throw .noSpace
                }
            }
            #expect(try index.add(1, to: box) == [8])
            #expect(box.modSeq >= modSeq + 2)
            _ = try index.expunge([8, 3], box)
            let (last, next) = (box.modSeq, box.uidNext)
            let again = try place.open()
            let reopened = try #require(try again.open(box.id))
            #expect(reopened.uidNext >= next && reopened.modSeq >= last)
            #expect(try again.add(1, to: reopened)[0] >= 9)
            #expect(try again.entries(box.id, changedSince: last).map(\.uid).allSatisfy { $0 > 8 })
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `UIDs end before the greatest number`(_ driver: IndexDriver) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let id = MailboxID(rawValue: 3)
            try index.transaction(.full) { () throws(StoreError) in
                try index.insert(
                    MailboxRow(id: id, name: name("full"), directory: [], specialUse: .none),
                    MailboxNumbers(uidNext: .max - 3))
            }
            let box = try #require(try index.open(id))
            #expect(throws: StoreError.limit) { try index.allocateUIDs(3, in: box) }
            #expect(try index.allocateUIDs(2, in: box) == .max - 3)
            #expect(throws: StoreError.limit) { try index.allocateUIDs(1, in: box) }
        }
        try check(driver.make())
    }

    /// Whoever knows the mailbox as of any MODSEQ comes to know it as it is now.
    @Test(arguments: IndexDriver.allCases, [1, 2, 3, 4] as [UInt64])
    func `changes since any MODSEQ lead to the present, and the sums are those of the rows`(
        _ driver: IndexDriver, _ seed: UInt64
    ) throws {
        func check(_ place: some IndexPlace) throws {
            var dice = Dice(state: seed)
            let index = try place.open()
            let boxes = [try index.make(1), try index.make(2)]
            var known: [[(modSeq: UInt64, entries: [MessageEntry])]] = [[], []]
            for _ in 0..<60 {
                let at = dice.roll(2)
                let box = boxes[at]
                let present = try index.all(box).map(\.uid)
                switch dice.roll(4) {
                case 0, 1:
                    try index.add(
                        1 + dice.roll(4), to: box, dice.roll(2) == 0 ? [] : [.deleted],
                        size: UInt32(dice.roll(1_000)))
                case 2:
                    let last = present.last ?? 1
                    let first = 1 + UInt32(dice.roll(Int(last)))
                    let operation = FlagOperation(rawValue: UInt8(dice.roll(3))) ?? .add
                    try index.store(
                        [UIDRange(first, last)], operation,
                        dice.roll(2) == 0 ? [.seen] : [.flagged, .deleted], box)
                default:
                    let some = present.filter { _ in dice.roll(3) == 0 }
                    if !some.isEmpty { _ = try index.expunge(some, box) }
                }
                for (at, box) in boxes.enumerated() {
                    known[at].append((box.modSeq, try index.all(box)))
                }
                let all = try boxes.flatMap { try index.all($0) }
                let usage = try index.usage()
                #expect(usage.messages == all.count)
                #expect(usage.octets == all.reduce(0) { $0 + UInt64($1.size) })
            }
            for (at, box) in boxes.enumerated() {
                let now = try index.all(box)
                for (modSeq, entries) in known[at] {
                    var client = Dictionary(uniqueKeysWithValues: entries.map { ($0.uid, $0) })
                    for entry in try index.entries(box.id, changedSince: modSeq) {
                        client[entry.uid] = entry
                    }
                    for uid in try index.vanished(box.id, since: modSeq) { client[uid] = nil }
                    #expect(client.values.sorted { $0.uid < $1.uid } == now)
                }
                let totals = try index.totals(box.id)
                #expect(totals.messages == now.count)
                #expect(totals.unseen == now.count { !$0.flags.contains(.seen) })
                let deleted = now.filter { $0.flags.contains(.deleted) }
                #expect(totals.deleted == deleted.count)
                #expect(totals.octets == now.reduce(0) { $0 + UInt64($1.size) })
                #expect(
                    try index.deletedOctets(box.id)
                        == deleted.reduce(0) { $0 + UInt64($1.size) })
                #expect(try index.uids(box.id, everything, with: .deleted) == deleted.map(\.uid))
                #expect(try index.uids(box.id, everything, with: []) == now.map(\.uid))
            }
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `however many are expunged, above the floor none is forgotten`(
        _ driver: IndexDriver
    ) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let box = try index.make(1)
            var gone: [(modSeq: UInt64, uids: [UInt32])] = []
            for _ in 0..<11 {
                let uids = try index.add(2_100, to: box)
                _ = try index.expunge(uids, box)
                gone.append((box.modSeq, uids))
            }
            #expect(box.floor < box.modSeq)
            for (modSeq, _) in gone where modSeq >= box.floor {
                let expected = gone.filter { $0.modSeq > modSeq }.flatMap(\.uids)
                #expect(try index.vanished(box.id, since: modSeq) == expected)
            }
            let again = try place.open()
            #expect(try #require(try again.open(box.id)).floor == box.floor)
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `flags change where they differ, and only up to a MODSEQ`(_ driver: IndexDriver) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let box = try index.make(1)
            try index.add(4, to: box, [.seen])
            let first = box.modSeq
            try index.store([UIDRange(1, 2)], .add, [.flagged], box)
            let second = box.modSeq
            try index.store([everything], .add, [.flagged], box)
            #expect(try index.all(box).map(\.modSeq) == [second, second, box.modSeq, box.modSeq])
            // 3 and 4 changed since.
            try index.store([everything], .remove, [.seen], box, unchangedSince: second)
            #expect(
                try index.all(box).map(\.flags) == [
                    [.flagged], [.flagged], [.seen, .flagged], [.seen, .flagged],
                ])
            try index.store([everything], .add, [.draft], box, unchangedSince: first)
            #expect(try index.uids(box.id, everything, with: .draft) == [])
            try index.store([UIDRange(2, 3)], .replace, [.answered, .keyword(3)], box)
            #expect(
                try index.all(box).map(\.flags) == [
                    [.flagged], [.answered, .keyword(3)], [.answered, .keyword(3)],
                    [.seen, .flagged],
                ])
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `bytes of removed messages are kept in mind until they are gone`(
        _ driver: IndexDriver
    ) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let (one, two) = (try index.make(1), try index.make(2))
            try index.add(3, to: one, [.seen])
            try index.add(1, to: two)
            // One that is not there is no error, and has no bytes.
            let removed = try index.expunge([1, 3, 99], one)
            #expect(
                removed == [
                    RemovedMessage(blob: octets("b1-1"), flags: [.seen]),
                    RemovedMessage(blob: octets("b1-3"), flags: [.seen]),
                ])
            _ = try index.expunge([1], two)
            let again = try place.open()
            #expect(try again.doomed(one.id) == removed.map(\.blob))
            try again.transaction(.full) { () throws(StoreError) in
                try again.forgetDoomed(in: one.id)
            }
            #expect(try again.doomed(one.id) == [])
            #expect(try again.doomed(two.id) == [octets("b2-1")])
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `pages, single messages and what is not there`(_ driver: IndexDriver) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let (one, two) = (try index.make(1), try index.make(2))
            try index.add(25, to: one)
            try index.add(2, to: two)
            _ = try index.expunge([4, 11], one)
            var seen: [UInt32] = []
            while true {
                let from = (seen.last ?? 0) + 1
                let page = try index.entries(one.id, UIDRange(from, .max), limit: 10)
                seen += page.map(\.uid)
                if page.count < 10 { break }
            }
            #expect(seen == (1...25).filter { $0 != 4 && $0 != 11 })
            #expect(try index.entries(one.id, UIDRange(3, 5), limit: .max).map(\.uid) == [3, 5])
            #expect(try index.entries(one.id, UIDRange(9, 3), limit: .max) == [])
            #expect(try index.entry(one.id, 5)?.internalDate == 5)
            #expect(try index.entry(one.id, 4) == nil)
            #expect(try index.entry(MailboxID(rawValue: 9), 5) == nil)
            #expect(try index.blob(two.id, 5) == nil)
            #expect(try index.open(MailboxID(rawValue: 9)) == nil)
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `mailboxes are found by name, renamed, and go with all they have`(
        _ driver: IndexDriver
    ) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let (zoo, ant) = (try index.make(1, "zoo"), try index.make(2, "ant"))
            #expect(try index.mailboxes().map(\.name) == [name("ant"), name("zoo")])
            try index.add(4, to: zoo, size: 10)
            try index.add(1, to: ant, size: 1)
            _ = try index.expunge([1], zoo)
            try index.transaction(.full) { () throws(StoreError) in
                try index.rename(zoo.id, to: name("bee"), octets(".bee"), previous: octets(".1"))
                try index.setSpecialUse(zoo.id, .archive)
            }
            #expect(try index.mailboxID(name("zoo")) == nil)
            #expect(try index.mailboxID(name("bee")) == zoo.id)
            let again = try place.open()
            let row = try #require(try again.mailboxes().last)
            #expect(
                row
                    == MailboxRow(
                        id: zoo.id, name: name("bee"), directory: octets(".bee"),
                        specialUse: .archive, previous: octets(".1")))
            try again.transaction(.full) { () throws(StoreError) in try again.remove(zoo.id) }
            #expect(try again.mailboxCount() == 1)
            #expect(try again.mailboxID(name("bee")) == nil)
            #expect(try again.entries(zoo.id, everything, limit: .max) == [])
            #expect(try again.vanished(zoo.id, since: 0) == [])
            #expect(try again.doomed(zoo.id) == [])
            #expect(try again.usage() == MailUsage(octets: 1, messages: 1, mailboxes: 1))
            #expect(try again.entries(ant.id, everything, limit: .max).map(\.uid) == [1])
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `a copy has its own numbers and the source's summary`(_ driver: IndexDriver) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let (one, two) = (try index.make(1), try index.make(2))
            try insert(message("first"), 1, into: one, index)
            try index.transaction(.full) { () throws(StoreError) in
                let uid = try index.allocateUIDs(1, in: two)
                let modSeq = try index.allocateModSeq(in: two)
                try index.copy(
                    1, from: one.id,
                    as: MessageEntry(
                        uid: uid, size: 60, flags: [.seen], modSeq: modSeq, internalDate: 5),
                    octets("copy"), in: two.id)
                try index.putNumbers(of: two)
            }
            _ = try index.expunge([1], one)
            let again = try place.open()
            #expect(try again.blob(two.id, 1) == octets("copy"))
            #expect(try again.entry(two.id, 1)?.flags == [.seen])
            #expect(try subjects(again, two.id) == [1: "first"])
            #expect(try subjects(again, one.id) == [:])
        }
        try check(driver.make())
    }

    @Test(arguments: IndexDriver.allCases)
    func `what lists show is kept, and what is missing is named until it is there`(
        _ driver: IndexDriver
    ) throws {
        func check(_ place: some IndexPlace) throws {
            let index = try place.open()
            let box = try index.make(1)
            try insert(message("one"), 1, into: box, index)
            try index.add(1, to: box)
            try insert(message("three"), 3, into: box, index, isWhole: false)
            #expect(try index.unsummarized(box.id, everything, needsStructure: false) == [2])
            #expect(try index.unsummarized(box.id, everything, needsStructure: true) == [2, 3])
            #expect(try subjects(index, box.id) == [1: "one", 3: "three"])
            var rows: [UInt8] = []
            #expect(
                try index.summaries(box.id, everything, .envelope, limit: 1, to: &rows) == 3)
            try index.transaction(.full) { () throws(StoreError) in
                for (uid, text) in [(UInt32(2), "two"), (3, "three")] {
                    try index.putSummary(
                        box.id, uid, MessageSynopsis(message(text).span, isWhole: true))
                }
            }
            let again = try place.open()
            #expect(try again.unsummarized(box.id, everything, needsStructure: true) == [])
            #expect(try subjects(again, box.id) == [1: "one", 2: "two", 3: "three"])
        }
        try check(driver.make())
    }

    private func insert<Index: IndexStore>(
        _ octets: [UInt8], _ uid: UInt32, into mailbox: Index.Mailbox, _ index: Index,
        isWhole: Bool = true
    ) throws {
        try index.transaction(.full) { () throws(StoreError) in
            #expect(try index.allocateUIDs(1, in: mailbox) == uid)
            let modSeq = try index.allocateModSeq(in: mailbox)
            try index.insert(
                IndexedMessage(
                    entry: MessageEntry(
                        uid: uid, size: UInt32(octets.count), flags: [], modSeq: modSeq,
                        internalDate: 0),
                    blob: Array("blob-\(uid)".utf8),
                    summary: MessageSummary(octets, isWhole: isWhole)), in: mailbox.id)
            try index.putNumbers(of: mailbox)
        }
    }

    /// The subjects in the kept header fields.
    private func subjects(_ index: some IndexStore, _ id: MailboxID) throws -> [UInt32: String] {
        var rows: [UInt8] = []
        #expect(try index.summaries(id, everything, .all, limit: .max, to: &rows) == nil)
        var reader = SummaryReader(.all)
        var subjects: [UInt32: String] = [:]
        while let row = reader.next(rows.span) {
            #expect(!row.envelope.isEmpty && !row.keys.isEmpty)
            let fields = String(decoding: rows[row.fields], as: UTF8.self)
            let lines = fields.split(separator: "\r\n")
            let subject = lines.first { $0.hasPrefix("Subject: ") }
            subjects[row.uid] = subject.map { String($0.dropFirst(9)) }
        }
        return subjects
    }
}
