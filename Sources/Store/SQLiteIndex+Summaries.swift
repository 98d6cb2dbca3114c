// SPDX-License-Identifier: Apache-2.0
//
// Rows for what lists show of messages: envelope, structure, sort keys and header fields, and which
// messages lack some of it. RFC 9051 §7.5.2; docs/store.md.

import MIME
import Mail

extension SQLiteIndex {
    /// The key of a message's summary: mailbox and UID in one number, so that the rows of a
    /// mailbox follow each other in an ordinary table, whose rows may be longer than those of one
    /// without rowid.
    static func key(_ id: MailboxID, _ uid: UInt32) -> Int64 {
        id.rawValue << 32 | Int64(uid)
    }

    // MARK: - Reading

    func summaries(
        _ id: MailboxID, _ uids: UIDRange, _ pieces: SummaryPieces, limit: Int,
        to rows: inout [UInt8]
    ) throws(StoreError) -> UInt32? {
        let wanted: Query
        let columns: [Int32]
        switch pieces {
        case .fields: (wanted, columns) = (.listFieldsRange, [1])
        case .keys: (wanted, columns) = (.keysRange, [1])
        case let some where some.contains(.fields):
            (wanted, columns) = (.summariesAndFieldsRange, Self.columns(pieces))
        default: (wanted, columns) = (.summariesRange, Self.columns(pieces))
        }
        let found = try query(wanted).bind(Self.key(id, uids.first), Self.key(id, uids.last))
        while try found.step() {
            let uid = UInt32(truncatingIfNeeded: found.integer(0))
            if rows.count >= limit {
                found.reset()
                return uid
            }
            rows.append(row: uid)
            for column in columns { found.append(column, to: &rows) }
        }
        return nil
    }

    /// Columns of `summariesRange` and `summariesAndFieldsRange` in the order of a row.
    private static func columns(_ pieces: SummaryPieces) -> [Int32] {
        let places: [(SummaryPieces, Int32)] = [
            (.envelope, 1), (.structure, 2), (.fields, 4), (.keys, 3),
        ]
        return places.filter { pieces.contains($0.0) }.map(\.1)
    }

    func unsummarized(
        _ id: MailboxID, _ uids: UIDRange, needsStructure: Bool
    ) throws(StoreError) -> [UInt32] {
        var missing: [UInt32] = []
        let rows = try query(.unsummarizedRange).bind(
            Self.key(id, uids.first), Self.key(id, uids.last),
            needsStructure ? MissingPieces.structure.rawValue : MissingPieces.all.rawValue)
        while try rows.step() { missing.append(UInt32(truncatingIfNeeded: rows.integer(0))) }
        return missing
    }

    /// The next message in any mailbox, from `fillPosition` on, that lacks something.
    func nextUnsummarized() throws(StoreError) -> (id: MailboxID, uid: UInt32)? {
        let row = try query(.nextUnsummarized).bind(fillPosition)
        defer { row.reset() }
        guard try row.step() else { return nil }
        let key = row.integer(0)
        return (MailboxID(rawValue: key >> 32), UInt32(truncatingIfNeeded: key))
    }

    /// Filling in goes on behind this message.
    func filled(_ id: MailboxID, _ uid: UInt32) { fillPosition = Self.key(id, uid) + 1 }

    func hasUnsummarized() throws(StoreError) -> Bool {
        let row = try query(.anyUnsummarized)
        defer { row.reset() }
        return try row.step()
    }

    // MARK: - Keeping

    /// Keeps what is known of a new message.
    func insertSummary(
        _ id: MailboxID, _ uid: UInt32, _ synopsis: MessageSynopsis?
    ) throws(StoreError) {
        let key = Self.key(id, uid)
        if let synopsis { try put(key, synopsis) }
        if synopsis?.structure == nil {
            try lack(key, synopsis == nil ? .all : .structure)
        }
    }

    func putSummary(
        _ id: MailboxID, _ uid: UInt32, _ synopsis: MessageSynopsis?
    ) throws(StoreError) {
        let key = Self.key(id, uid)
        try query(.removeUnsummarized).bind(key).run()
        guard let synopsis else { return }
        try put(key, synopsis)
        if synopsis.structure == nil { try lack(key, .structure) }
    }

    private func put(_ key: Int64, _ synopsis: MessageSynopsis) throws(StoreError) {
        let row = try query(.insertSummary).bind(key)
        row.set(2, synopsis.envelope)
        row.set(3, synopsis.structure)
        row.set(4, synopsis.keys)
        try row.run()
        let fields = try query(.insertListFields).bind(key)
        fields.set(2, synopsis.fields)
        try fields.run()
    }

    private func lack(_ key: Int64, _ missing: MissingPieces) throws(StoreError) {
        try query(.insertUnsummarized).bind(key, missing.rawValue).run()
        lacksSummaries = true
        fillPosition = .min
    }

    /// Copies have what their sources have: `count` messages from each of the UIDs on.
    func copySummaries(
        _ source: MailboxID, _ uid: UInt32, to target: MailboxID, _ copy: UInt32, count: Int = 1
    ) throws(StoreError) {
        let first = Self.key(source, uid)
        let last = first + Int64(count) - 1
        let distance = Self.key(target, copy) - first
        try query(.copySummariesRange).bind(first, last, distance).run()
        try query(.copyListFieldsRange).bind(first, last, distance).run()
        if lacksSummaries { try query(.copyUnsummarizedRange).bind(first, last, distance).run() }
    }

    func removeSummaries(_ id: MailboxID, _ uids: UIDRange) throws(StoreError) {
        let (first, last) = (Self.key(id, uids.first), Self.key(id, uids.last))
        try query(.removeSummariesRange).bind(first, last).run()
        try query(.removeListFieldsRange).bind(first, last).run()
        if lacksSummaries { try query(.removeUnsummarizedRange).bind(first, last).run() }
        try removePreviews(id, uids)
    }
}
