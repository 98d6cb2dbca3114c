// SPDX-License-Identifier: Apache-2.0
//
// The rows of one account in `index.sqlite`: the driver of IndexStore that everything runs
// through. docs/store.md; RFC 9051 §2.3.1.1, RFC 7162 §3.1.

import MIME
import Mail

/// Hears of numbers before they are given out, so that a lost index does not bring them back.
protocol NumberKeeper: AnyObject {
    func willReach(uidNext: UInt32) throws(StoreError)
    func willReach(modSeq: UInt64) throws(StoreError)
}

/// The numbers of one mailbox in memory: SQLite has one writer, and that is its account's lane.
final class SQLiteMailbox: IndexedMailbox {
    let id: MailboxID
    var uidNext: UInt32
    var modSeq: UInt64
    var floor: UInt64
    /// What the row keeps for a Maildir: promised numbers, and times of its directories.
    var marks: MaildirMarks
    weak var keeper: (any NumberKeeper)?
    fileprivate var expungesSincePrune = 0

    init(_ id: MailboxID, _ numbers: MailboxNumbers, _ marks: MaildirMarks) {
        self.id = id
        uidNext = numbers.uidNext
        modSeq = numbers.modSeq
        floor = numbers.floor
        self.marks = marks
    }
}

/// Columns of a mailbox's row that only a Maildir needs.
struct MaildirMarks: Equatable {
    var uidMark: UInt32 = 0
    var modSeqMark: UInt64 = 0
    var currentTime: Int64 = 0
    var newTime: Int64 = 0
}

/// Row after row of one account. Not used from two threads at once.
final class SQLiteIndex: IndexStore {
    let database: Database
    /// Something of what lists show is not kept yet, as far as is known.
    var lacksSummaries = true
    /// Where filling it in goes on.
    var fillPosition = Int64.min
    private var opened: [MailboxID: WeakMailbox] = [:]
    /// Expunges remembered per mailbox before the older half is forgotten.
    private static let expungedLimit: Int64 = 20_000

    private struct WeakMailbox { weak var mailbox: SQLiteMailbox? }

    init(_ database: Database) { self.database = database }

    func query(_ query: Query) throws(StoreError) -> Statement {
        try database.statement(query.rawValue, query.sql)
    }

    func transaction<Result>(
        _ durability: Durability, _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        try database.begin(durability)
        do throws(StoreError) {
            let result = try body()
            try database.commit()
            return result
        } catch {
            database.rollback()
            throw error
        }
    }

    /// Nobody else writes.
    func reading<Result>(
        _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result { try body() }

    // MARK: - Mailboxes

    func mailboxes() throws(StoreError) -> [MailboxRow] {
        let statement = try query(.allMailboxes)
        var rows: [MailboxRow] = []
        while try statement.step() {
            guard let name = MailboxName(statement.octets(1)) else {
                throw .index("mailbox name", code: 11)
            }
            rows.append(
                MailboxRow(
                    id: MailboxID(rawValue: statement.integer(0)), name: name,
                    directory: statement.octets(2),
                    specialUse: SpecialUse(rawValue: UInt8(clamping: statement.integer(3)))
                        ?? .none,
                    previous: statement.isNull(4) ? nil : statement.octets(4)))
        }
        return rows
    }

    func mailboxCount() throws(StoreError) -> UInt32 {
        let count = try query(.mailboxCount)
        defer { count.reset() }
        return try count.step() ? UInt32(clamping: count.integer(0)) : 0
    }

    func mailboxID(_ name: MailboxName) throws(StoreError) -> MailboxID? {
        let statement = try query(.mailboxByName)
        statement.set(1, name.octets)
        defer { statement.reset() }
        return try statement.step() ? MailboxID(rawValue: statement.integer(0)) : nil
    }

    func open(_ id: MailboxID) throws(StoreError) -> SQLiteMailbox? {
        try openRow(id)?.mailbox
    }

    /// The row beside the numbers. While somebody has the mailbox open its numbers are there.
    func openRow(
        _ id: MailboxID
    ) throws(StoreError) -> (row: MailboxRow, mailbox: SQLiteMailbox)? {
        let row = try query(.mailboxByID).bind(id.rawValue)
        defer { row.reset() }
        guard try row.step() else { return nil }
        guard let name = MailboxName(row.octets(0)) else { throw .index("mailbox name", code: 11) }
        let found = MailboxRow(
            id: id, name: name, directory: row.octets(1),
            specialUse: SpecialUse(rawValue: UInt8(clamping: row.integer(2))) ?? .none,
            previous: nil)
        if let mailbox = opened[id]?.mailbox { return (found, mailbox) }
        let mailbox = SQLiteMailbox(
            id,
            MailboxNumbers(
                uidNext: UInt32(clamping: row.integer(3)),
                modSeq: UInt64(clamping: row.integer(4)),
                floor: UInt64(clamping: row.integer(7))),
            MaildirMarks(
                uidMark: UInt32(clamping: row.integer(5)),
                modSeqMark: UInt64(clamping: row.integer(6)), currentTime: row.integer(8),
                newTime: row.integer(9)))
        opened[id] = WeakMailbox(mailbox: mailbox)
        return (found, mailbox)
    }

    /// The UIDNEXT of the row; nil if there is no such mailbox, 0 if it is not known.
    func storedUIDNext(_ id: MailboxID) throws(StoreError) -> UInt32? {
        let row = try query(.mailboxByID).bind(id.rawValue)
        defer { row.reset() }
        return try row.step() ? UInt32(clamping: row.integer(3)) : nil
    }

    func insert(_ mailbox: MailboxRow, _ numbers: MailboxNumbers) throws(StoreError) {
        try insert(mailbox, numbers, MaildirMarks())
    }

    func insert(
        _ mailbox: MailboxRow, _ numbers: MailboxNumbers, _ marks: MaildirMarks
    ) throws(StoreError) {
        let statement = try query(.insertMailbox)
        statement.set(1, mailbox.id.rawValue)
        statement.set(2, mailbox.name.octets)
        statement.set(3, mailbox.directory)
        statement.set(4, Int64(mailbox.specialUse.rawValue))
        statement.set(5, Int64(numbers.uidNext))
        statement.set(6, Int64(numbers.modSeq))
        statement.set(7, Int64(marks.uidMark))
        statement.set(8, Int64(marks.modSeqMark))
        statement.set(9, Int64(numbers.floor))
        try statement.run()
    }

    func remove(_ id: MailboxID) throws(StoreError) {
        opened[id] = nil
        for statement in [
            Query.dropMessages, .dropFiles, .dropSummaries, .dropListFields, .dropUnsummarized,
            .dropPreviews, .dropExpunged, .clearDoomed, .removeMailbox,
        ] {
            try query(statement).bind(id.rawValue).run()
        }
    }

    func rename(
        _ id: MailboxID, to name: MailboxName, _ directory: [UInt8], previous: [UInt8]?
    ) throws(StoreError) {
        try rename(id, octets: name.octets, directory, previous: previous)
    }

    /// - Parameter octets: may be such as no mailbox has, for a while.
    func rename(
        _ id: MailboxID, octets: [UInt8], _ directory: [UInt8], previous: [UInt8]?
    ) throws(StoreError) {
        let statement = try query(.renameMailbox).bind(id.rawValue)
        statement.set(2, octets)
        statement.set(3, directory)
        statement.set(4, previous)
        try statement.run()
    }

    func setSpecialUse(_ id: MailboxID, _ use: SpecialUse) throws(StoreError) {
        try query(.setSpecialUse).bind(id.rawValue, Int64(use.rawValue)).run()
    }

    // MARK: - Numbers

    func allocateUIDs(
        _ count: Int, in mailbox: SQLiteMailbox
    ) throws(StoreError) -> UInt32 {
        let first = mailbox.uidNext
        guard UInt64(first) + UInt64(count) < UInt64(UInt32.max) else { throw .limit }
        let next = first + UInt32(count)
        try mailbox.keeper?.willReach(uidNext: next)
        mailbox.uidNext = next
        return first
    }

    func allocateModSeq(in mailbox: SQLiteMailbox) throws(StoreError) -> UInt64 {
        let next = mailbox.modSeq + 1
        try mailbox.keeper?.willReach(modSeq: next)
        mailbox.modSeq = next
        return next
    }

    func putNumbers(of mailbox: SQLiteMailbox) throws(StoreError) {
        let statement = try query(.updateMailbox)
        statement.bind(
            mailbox.id.rawValue, Int64(mailbox.uidNext), Int64(mailbox.modSeq),
            Int64(mailbox.marks.uidMark), Int64(mailbox.marks.modSeqMark), Int64(mailbox.floor),
            mailbox.marks.currentTime, mailbox.marks.newTime)
        try statement.run()
    }

    // MARK: - Changes

    func insert(_ message: IndexedMessage, in id: MailboxID) throws(StoreError) {
        let entry = message.entry
        try query(.insertMessage).bind(
            id.rawValue, Int64(entry.uid), entry.flags.stored, entry.flags.stored,
            Int64(entry.modSeq), Int64(entry.size), entry.internalDate
        ).run()
        let file = try query(.insertFile).bind(id.rawValue, Int64(entry.uid))
        file.set(3, message.blob)
        file.set(4, message.summary.subject)
        file.set(5, message.summary.sender)
        file.set(6, message.summary.recipients)
        file.set(7, message.summary.messageID)
        try file.run()
        try insertSummary(id, entry.uid, message.summary.synopsis)
    }

    func copy(
        _ uid: UInt32, from source: MailboxID, as entry: MessageEntry, _ blob: BlobID,
        in target: MailboxID
    ) throws(StoreError) {
        try query(.insertMessage).bind(
            target.rawValue, Int64(entry.uid), entry.flags.stored, entry.flags.stored,
            Int64(entry.modSeq), Int64(entry.size), entry.internalDate
        ).run()
        let file = try query(.copyFile).bind(
            source.rawValue, Int64(uid), target.rawValue, Int64(entry.uid))
        file.set(5, blob)
        try file.run()
        try copySummaries(source, uid, to: target, entry.uid)
    }

    func remove(
        _ uids: [UInt32], at modSeq: UInt64, from mailbox: SQLiteMailbox
    ) throws(StoreError) -> [RemovedMessage] {
        try remove(uids, at: modSeq, from: mailbox, later: nil)
    }

    /// Takes a message out of the index and remembers that it was there, as part of a transaction.
    func removeRows(_ id: MailboxID, _ uid: UInt32, _ modSeq: UInt64) throws(StoreError) {
        try query(.insertExpunged).bind(id.rawValue, Int64(modSeq), Int64(uid)).run()
        try query(.removeMessage).bind(id.rawValue, Int64(uid)).run()
        try query(.removeFile).bind(id.rawValue, Int64(uid)).run()
        try removeSummaries(id, UIDRange(uid, uid))
    }

    /// Forgets the older half when there are too many.
    func pruneExpunged(
        _ mailbox: SQLiteMailbox, adding count: Int
    ) throws(StoreError) {
        mailbox.expungesSincePrune += count
        guard mailbox.expungesSincePrune > 2_000 else { return }
        mailbox.expungesSincePrune = 0
        let id = mailbox.id.rawValue
        let counted = try query(.expungedCount).bind(id)
        let kept = try counted.step() ? counted.integer(0) : 0
        counted.reset()
        guard kept > Self.expungedLimit else { return }
        let row = try query(.expungedFloor).bind(id, Self.expungedLimit / 2)
        guard try row.step() else { return }
        let floor = row.integer(0)
        row.reset()
        try query(.pruneExpunged).bind(id, floor).run()
        mailbox.floor = max(mailbox.floor, UInt64(floor))
    }

    func changeFlags(
        _ uids: [UIDRange], _ operation: FlagOperation, _ mask: Flags, at modSeq: UInt64,
        unchangedSince limit: UInt64?, in id: MailboxID
    ) throws(StoreError) {
        let statement: Query =
            switch operation {
            case .replace: .replaceFlags
            case .add: .addFlags
            case .remove: .removeFlags
            }
        for range in uids {
            try query(statement).bind(
                id.rawValue, Int64(range.first), Int64(range.last), mask.stored, Int64(modSeq),
                limit.map { Int64(clamping: $0) } ?? .max
            ).run()
        }
    }

    func forgetDoomed(in id: MailboxID) throws(StoreError) {
        try query(.clearDoomed).bind(id.rawValue).run()
    }

    // MARK: - Reading

    /// A row of uid, size, flags, modseq, date.
    static func entry(_ row: Statement) -> MessageEntry {
        MessageEntry(
            uid: UInt32(truncatingIfNeeded: row.integer(0)),
            size: UInt32(truncatingIfNeeded: row.integer(1)),
            flags: Flags(rawValue: UInt64(bitPattern: row.integer(2))),
            modSeq: UInt64(bitPattern: row.integer(3)), internalDate: row.integer(4))
    }

    func entries(
        _ id: MailboxID, _ uids: UIDRange, limit: Int
    ) throws(StoreError) -> [MessageEntry] {
        try entries(id, uids, limit: limit, reserving: 0)
    }

    /// - Parameter count: of as many as there may be.
    func entries(
        _ id: MailboxID, _ uids: UIDRange, limit: Int, reserving count: Int
    ) throws(StoreError) -> [MessageEntry] {
        var entries: [MessageEntry] = []
        entries.reserveCapacity(count)
        guard uids.first <= uids.last, limit > 0 else { return entries }
        let rows = try query(.snapshotRange).bind(
            id.rawValue, Int64(uids.first), Int64(uids.last))
        while try rows.step() {
            entries.append(Self.entry(rows))
            if entries.count == limit {
                rows.reset()
                break
            }
        }
        return entries
    }

    func entry(_ id: MailboxID, _ uid: UInt32) throws(StoreError) -> MessageEntry? {
        let row = try query(.entry).bind(id.rawValue, Int64(uid))
        defer { row.reset() }
        return try row.step() ? Self.entry(row) : nil
    }

    func blob(_ id: MailboxID, _ uid: UInt32) throws(StoreError) -> BlobID? {
        let row = try query(.fileName).bind(id.rawValue, Int64(uid))
        defer { row.reset() }
        return try row.step() ? row.octets(0) : nil
    }

    func eachBlob(
        _ id: MailboxID, _ body: (_ uid: UInt32, _ blob: BlobID) -> Void
    ) throws(StoreError) {
        let rows = try query(.folderFileNames).bind(id.rawValue)
        while try rows.step() { body(UInt32(rows.integer(0)), rows.octets(1)) }
    }

    func uids(
        _ id: MailboxID, _ uids: UIDRange, with flags: Flags
    ) throws(StoreError) -> [UInt32] {
        var found: [UInt32] = []
        let rows = try query(.rangeWithFlags).bind(
            id.rawValue, Int64(uids.first), Int64(uids.last), flags.stored)
        while try rows.step() { found.append(UInt32(rows.integer(0))) }
        return found
    }

    func entries(
        _ id: MailboxID, changedSince modSeq: UInt64
    ) throws(StoreError) -> [MessageEntry] {
        var entries: [MessageEntry] = []
        let rows = try query(.changedEntries).bind(id.rawValue, Int64(clamping: modSeq))
        while try rows.step() { entries.append(Self.entry(rows)) }
        return entries
    }

    func vanished(_ id: MailboxID, since modSeq: UInt64) throws(StoreError) -> [UInt32] {
        var uids: [UInt32] = []
        let rows = try query(.vanishedSince).bind(id.rawValue, Int64(clamping: modSeq))
        while try rows.step() { uids.append(UInt32(rows.integer(0))) }
        uids.sort()
        return uids
    }

    func doomed(_ id: MailboxID) throws(StoreError) -> [BlobID] {
        try doomedFiles(id).map(\.blob)
    }

    func totals(_ id: MailboxID) throws(StoreError) -> MailboxTotals {
        let row = try query(.totals).bind(id.rawValue)
        defer { row.reset() }
        guard try row.step() else { throw .index("totals", code: 0) }
        return MailboxTotals(
            messages: UInt32(clamping: row.integer(0)), unseen: UInt32(clamping: row.integer(1)),
            deleted: UInt32(clamping: row.integer(2)), octets: UInt64(clamping: row.integer(3)))
    }

    func deletedOctets(_ id: MailboxID) throws(StoreError) -> UInt64 {
        let row = try query(.deletedOctets).bind(id.rawValue)
        defer { row.reset() }
        return try row.step() ? UInt64(clamping: row.integer(0)) : 0
    }

    func usage() throws(StoreError) -> MailUsage {
        let row = try query(.usage)
        defer { row.reset() }
        guard try row.step() else { throw .index("usage is missing", code: 11) }
        return MailUsage(
            octets: UInt64(clamping: row.integer(0)), messages: UInt64(clamping: row.integer(1)),
            mailboxes: try mailboxCount())
    }
}
