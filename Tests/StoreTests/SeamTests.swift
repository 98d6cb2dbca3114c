// SPDX-License-Identifier: Apache-2.0
//
// A small store made of nothing but the contracts of BlobStore and IndexStore, stopped at every
// step of every operation: that they are enough, whatever drivers are put together.

import Bytes
import Mail
import Testing

@testable import Store

/// Where an operation is stopped, as by a crash.
private enum Step: CaseIterable {
    case prepared, put, recorded, committed
    case removed, removalCommitted, deleted, forgotten
    case copied, copyRecorded, copyCommitted
}

private struct Stopped: Error {}

/// Bytes before rows, rows before the answer; rows go before bytes.
private final class SmallStore<Index: IndexStore, Blobs: BlobStore> {
    let index: Index
    private let open: (Int) throws -> Blobs
    private var stop: Step?
    private var count = 0
    private var isStopped = false

    init(_ index: Index, stoppingAt stop: Step?, _ open: @escaping (Int) throws -> Blobs) {
        self.index = index
        self.open = open
        self.stop = stop
    }

    /// Ends what is being done, with whatever transaction is open.
    private func reached(_ step: Step) throws(StoreError) {
        guard stop == step else { return }
        isStopped = true
        throw .index("stopped", code: 0)
    }

    private func run<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch { throw isStopped ? Stopped() : error }
    }

    private func mailbox(_ number: Int) throws -> (Index.Mailbox, Blobs) {
        let id = MailboxID(rawValue: Int64(number))
        if try index.open(id) == nil {
            try index.transaction(.full) { () throws(StoreError) in
                try index.insert(
                    MailboxRow(
                        id: id, name: name("box\(number)"), directory: octets("\(number)"),
                        specialUse: .none), MailboxNumbers())
            }
        }
        return (try #require(try index.open(id)), try open(number))
    }

    private func label(_ uid: UInt32, _ size: Int) -> BlobLabel {
        count += 1
        let text = "\(ObjectIdentifier(self).hashValue)-\(count)"
        return BlobLabel(
            unique: UniqueName(octets: octets(text)), size: UInt32(size), uid: uid, flags: [],
            date: 1_700_000_000)
    }

    func deliver(_ messages: [[UInt8]], to number: Int) throws {
        try run {
            let (mailbox, blobs) = try mailbox(number)
            var drafts: [Blobs.Draft] = []
            for octets in messages { drafts.append(try blobs.draft(octets, date: nil)) }
            for case let error? in blobs.prepare(drafts) { throw error }
            try reached(.prepared)
            try index.transaction(.full) { () throws(StoreError) in
                let first = try index.allocateUIDs(messages.count, in: mailbox)
                let modSeq = try index.allocateModSeq(in: mailbox)
                var labelled: [(draft: Blobs.Draft, label: BlobLabel)] = []
                for (at, draft) in drafts.enumerated() {
                    labelled.append((draft, label(first + UInt32(at), messages[at].count)))
                }
                let ids = try blobs.put(labelled, .full)
                try reached(.put)
                for (at, id) in ids.enumerated() {
                    try index.insert(
                        IndexedMessage(
                            entry: MessageEntry(
                                uid: first + UInt32(at), size: UInt32(messages[at].count),
                                flags: [], modSeq: modSeq, internalDate: 0),
                            blob: id, summary: MessageSummary(messages[at], isWhole: true)),
                        in: mailbox.id)
                }
                try index.putNumbers(of: mailbox)
                try reached(.recorded)
            }
            try reached(.committed)
        }
    }

    func expunge(_ uids: [UInt32], from number: Int) throws {
        try run {
            let (mailbox, blobs) = try mailbox(number)
            let removed = try index.transaction(.full) { () throws(StoreError) in
                let modSeq = try index.allocateModSeq(in: mailbox)
                let removed = try index.remove(uids, at: modSeq, from: mailbox)
                try index.putNumbers(of: mailbox)
                try reached(.removed)
                return removed
            }
            try reached(.removalCommitted)
            for message in removed { try blobs.delete(message.blob) }
            try blobs.synchronize()
            try reached(.deleted)
            try index.transaction(.full) { () throws(StoreError) in
                try index.forgetDoomed(in: mailbox.id)
            }
            try reached(.forgotten)
        }
    }

    func copy(_ uids: [UInt32], from source: Int, to target: Int) throws {
        try run {
            let (from, bytes) = try mailbox(source)
            let (to, blobs) = try mailbox(target)
            try index.transaction(.full) { () throws(StoreError) in
                let first = try index.allocateUIDs(uids.count, in: to)
                let modSeq = try index.allocateModSeq(in: to)
                var wanted: [(id: BlobID, label: BlobLabel)] = []
                var entries: [MessageEntry] = []
                for (at, uid) in uids.enumerated() {
                    guard let id = try index.blob(from.id, uid),
                        var entry = try index.entry(from.id, uid)
                    else { throw .noSuchMailbox }
                    entry.uid = first + UInt32(at)
                    entry.modSeq = modSeq
                    entries.append(entry)
                    wanted.append((id, label(entry.uid, Int(entry.size))))
                }
                let ids = try blobs.copy(wanted, from: bytes)
                try reached(.copied)
                for (at, id) in ids.enumerated() {
                    guard let id else { continue }
                    try index.copy(uids[at], from: from.id, as: entries[at], id, in: to.id)
                }
                try index.putNumbers(of: to)
                try reached(.copyRecorded)
            }
            try reached(.copyCommitted)
        }
    }

    /// What a start does: bytes without a row go away.
    func sweep() throws {
        for row in try index.mailboxes() {
            let (mailbox, blobs) = try mailbox(Int(row.id.rawValue))
            for id in try index.doomed(mailbox.id) { try blobs.delete(id) }
            var known: Set<BlobID> = []
            try index.eachBlob(mailbox.id) { _, id in known.insert(id) }
            var last: BlobID?
            while true {
                let page = try blobs.list(after: last, limit: 3)
                for id in page where !known.contains(id) { try blobs.delete(id) }
                guard let end = page.last else { break }
                last = end
            }
            try blobs.synchronize()
            try index.transaction(.full) { () throws(StoreError) in
                try index.forgetDoomed(in: mailbox.id)
            }
        }
    }

    /// Every row's bytes, by UID. A row without bytes is a failure.
    func contents(_ number: Int) throws -> [UInt32: [UInt8]] {
        let (mailbox, blobs) = try mailbox(number)
        var contents: [UInt32: [UInt8]] = [:]
        for entry in try index.entries(mailbox.id, UIDRange(1, .max), limit: .max) {
            let id = try #require(try index.blob(mailbox.id, entry.uid))
            let reader = try #require(try blobs.open(id), "the index points at nothing")
            #expect(reader.octets == entry.size)
            contents[entry.uid] = try reader.read(from: 0, count: Int(reader.octets))
        }
        return contents
    }

    func stored(_ number: Int) throws -> Int {
        try mailbox(number).1.list(after: nil, limit: .max).count
    }
}

@Suite("bytes and index together")
struct SeamTests {
    private static let texts = ["a", "b", "c", "d"]

    /// Fills a store, then stops at `step` of one more operation, as a crash would.
    private func check(
        _ blobs: some BlobPlace, _ rows: some IndexPlace, _ step: Step
    ) throws {
        func store<B: BlobPlace, I: IndexPlace>(
            _ blobs: B, _ rows: I, stoppingAt stop: Step? = nil
        ) throws -> SmallStore<I.Index, B.Blobs> {
            SmallStore(try rows.open(), stoppingAt: stop) { try blobs.open($0) }
        }
        let before = try store(blobs, rows)
        try before.deliver(Self.texts.map { message($0) }, to: 1)
        try before.deliver([message("old")], to: 2)
        try before.expunge([2], from: 1)

        let crashing = try store(blobs, rows, stoppingAt: step)
        switch step {
        case .prepared, .put, .recorded, .committed:
            #expect(throws: Stopped.self) { try crashing.deliver([message("e")], to: 1) }
        case .removed, .removalCommitted, .deleted, .forgotten:
            #expect(throws: Stopped.self) { try crashing.expunge([1, 4], from: 1) }
        case .copied, .copyRecorded, .copyCommitted:
            #expect(throws: Stopped.self) { try crashing.copy([3, 4], from: 1, to: 2) }
        }
        (blobs as? MemoryPlace)?.bucket.cutPower()

        let after = try store(blobs, rows)
        var one: [UInt32: [UInt8]] = [1: message("a"), 3: message("c"), 4: message("d")]
        var two: [UInt32: [UInt8]] = [1: message("old")]
        switch step {
        case .committed: one[5] = message("e")
        case .removalCommitted, .deleted, .forgotten: (one[1], one[4]) = (nil, nil)
        case .copyCommitted: (two[2], two[3]) = (message("c"), message("d"))
        default: break
        }
        #expect(try after.contents(1) == one)
        #expect(try after.contents(2) == two)
        try after.sweep()
        #expect(try after.contents(1) == one)
        #expect(try after.contents(2) == two)
        #expect(try after.stored(1) == one.count)
        #expect(try after.stored(2) == two.count)
        // It goes on, and no UID comes twice.
        try after.deliver([message("new")], to: 1)
        let uids = try after.contents(1).keys
        #expect(try after.contents(1)[uids.max() ?? 0] == message("new"))
        #expect(try after.usageIsThatOfTheRows())
    }

    @Test(arguments: BlobDriver.allCases, IndexDriver.allCases)
    func `stopped at any step, nothing acknowledged is lost and nothing points at nothing`(
        _ blobs: BlobDriver, _ rows: IndexDriver
    ) throws {
        for step in Step.allCases { try check(blobs.make(), rows.make(), step) }
    }
}

extension SmallStore {
    fileprivate func usageIsThatOfTheRows() throws -> Bool {
        let sizes = try [1, 2].flatMap { try contents($0).values.map(\.count) }
        let usage = try index.usage()
        return usage.octets == sizes.reduce(0) { $0 + UInt64($1) }
            && usage.messages == UInt64(sizes.count)
    }
}
