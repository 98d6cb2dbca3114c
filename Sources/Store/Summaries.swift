// SPDX-License-Identifier: Apache-2.0
//
// What lists show of messages, kept beside the rows so that no list opens a file: made with each
// message, and in slices for those that came without (files of other programs, older indexes).
// RFC 9051 §6.4.5; docs/store.md.

import Bytes
import MIME
import Mail

/// What is not kept of a message yet.
enum MissingPieces: Int64 {
    case all = 1
    /// Only the beginning of the file was looked at.
    case structure = 2
}

/// A run of rows for `SummaryReader`, and where to go on.
package struct SummaryPage: Sendable {
    package var rows: [UInt8]
    /// The first UID that was not looked at; nil at the end.
    package var next: UInt32?
}

extension AccountStore {
    /// Messages larger than this are not read for their structure.
    private static let wholeLimit = 32 << 20
    /// UIDs between two looks at the time, and between two commits when filling in.
    private static let stride: UInt32 = 256
    private static let sliceMilliseconds: Int64 = 40

    /// The key of a message's summary: mailbox and UID in one number, so that the rows of a
    /// mailbox follow each other in an ordinary table, whose rows may be longer than those of one
    /// without rowid.
    static func summaryKey(_ mailbox: Int64, _ uid: UInt32) -> Int64 {
        mailbox << 32 | Int64(uid)
    }

    // MARK: - Asking

    /// Pieces of what lists show of the messages in `uids`, from the UID `start` on, as many as
    /// fit into `limit` octets and one slice of time. What is missing is made. A message that
    /// cannot be read, or is gone, has no row.
    package func summaries(
        _ id: MailboxID, uids: [UIDRange], _ pieces: SummaryPieces, from start: UInt32, limit: Int
    ) throws(StoreError) -> SummaryPage {
        try guarded { () throws(StoreError) in
            let folder: Folder
            if let opened = openedFolder(id) {
                folder = opened  // as for reading: no look at the directory
            } else {
                folder = try self.folder(id)
            }
            let deadline = System.milliseconds() + Self.sliceMilliseconds
            var page = SummaryPage(rows: [], next: nil)
            page.rows.reserveCapacity(min(limit, 64 << 10))
            for range in uids where range.last >= start {
                var first = max(range.first, start)
                while true {
                    guard page.rows.count < limit, System.milliseconds() < deadline else {
                        page.next = first
                        return page
                    }
                    var last = min(range.last, first.addingClamped(Self.stride - 1))
                    if lacksSummaries {
                        // What did not fit into the slice is for the next one
                        last = min(
                            last,
                            try fill(
                                folder, first, last, until: deadline,
                                needsStructure: pieces.contains(.structure)))
                    }
                    if let stopped = try read(folder, first, last, pieces, limit, &page.rows) {
                        page.next = stopped
                        return page
                    }
                    guard last < range.last else { break }
                    first = last + 1
                    guard first < folder.uidNext else { break }
                }
            }
            return page
        }
    }

    /// - Returns: the UID at which `limit` was reached.
    private func read(
        _ folder: Folder, _ first: UInt32, _ last: UInt32, _ pieces: SummaryPieces, _ limit: Int,
        _ rows: inout [UInt8]
    ) throws(StoreError) -> UInt32? {
        let query: Query
        let columns: [Int32]
        switch pieces {
        case .fields: (query, columns) = (.listFieldsRange, [1])
        case .keys: (query, columns) = (.keysRange, [1])
        case let some where some.contains(.fields):
            (query, columns) = (.summariesAndFieldsRange, Self.columns(pieces))
        default: (query, columns) = (.summariesRange, Self.columns(pieces))
        }
        let mailbox = folder.id.rawValue
        let found = try database.query(query).bind(
            Self.summaryKey(mailbox, first), Self.summaryKey(mailbox, last))
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

    // MARK: - Keeping

    /// Keeps what is known of a new message, as part of a transaction.
    func insertSummary(
        _ mailbox: Int64, _ uid: UInt32, _ synopsis: MessageSynopsis?
    ) throws(StoreError) {
        let key = Self.summaryKey(mailbox, uid)
        if let synopsis { try putSummary(key, synopsis) }
        if synopsis?.structure == nil {
            try lack(key, synopsis == nil ? .all : .structure)
        }
    }

    private func putSummary(_ key: Int64, _ synopsis: MessageSynopsis) throws(StoreError) {
        let row = try database.query(.insertSummary).bind(key)
        row.set(2, synopsis.envelope)
        row.set(3, synopsis.structure)
        row.set(4, synopsis.keys)
        try row.run()
        let fields = try database.query(.insertListFields).bind(key)
        fields.set(2, synopsis.fields)
        try fields.run()
    }

    private func lack(_ key: Int64, _ missing: MissingPieces) throws(StoreError) {
        try database.query(.insertUnsummarized).bind(key, missing.rawValue).run()
        lacksSummaries = true
        fillPosition = .min
    }

    /// A copy has what its source has.
    func copySummary(
        _ source: Int64, _ uid: UInt32, to target: Int64, _ copy: UInt32
    ) throws(StoreError) {
        let from = Self.summaryKey(source, uid)
        let to = Self.summaryKey(target, copy)
        try database.query(.copySummary).bind(from, to).run()
        try database.query(.copyListFields).bind(from, to).run()
        if lacksSummaries { try database.query(.copyUnsummarized).bind(from, to).run() }
    }

    func removeSummary(_ mailbox: Int64, _ uid: UInt32) throws(StoreError) {
        let key = Self.summaryKey(mailbox, uid)
        try database.query(.removeSummary).bind(key).run()
        try database.query(.removeListFields).bind(key).run()
        if lacksSummaries { try database.query(.removeUnsummarized).bind(key).run() }
    }

    func hasUnsummarizedRows() throws(StoreError) -> Bool {
        let row = try database.query(.anyUnsummarized)
        defer { row.reset() }
        return try row.step()
    }

    // MARK: - Filling in

    /// Makes what is missing, for one slice of time.
    ///
    /// - Returns: true if there is more to do.
    package func fillSummaries() throws(StoreError) -> Bool {
        guard lacksSummaries else { return false }
        return try guarded { () throws(StoreError) in
            let deadline = System.milliseconds() + Self.sliceMilliseconds
            let row = try database.query(.nextUnsummarized).bind(fillPosition)
            let key = try row.step() ? row.integer(0) : nil
            row.reset()
            guard let key else {
                // What is left could not be read: it is tried again when there is more to do
                fillPosition = .max
                lacksSummaries = try hasUnsummarizedRows()
                return false
            }
            let folder: Folder
            do throws(StoreError) {
                folder = try self.folder(MailboxID(rawValue: key >> 32))
            } catch .noSuchMailbox {
                try database.query(.removeUnsummarized).bind(key).run()
                return true
            }
            let first = UInt32(truncatingIfNeeded: key)
            let last = try fill(
                folder, first, first.addingClamped(Self.stride - 1), until: deadline,
                needsStructure: true)
            fillPosition = Self.summaryKey(folder.id.rawValue, last) + 1
            return true
        }
    }

    /// Makes what the messages between two UIDs lack.
    ///
    /// - Returns: the UID up to which that is done: `last`, or less if time ran out.
    private func fill(
        _ folder: Folder, _ first: UInt32, _ last: UInt32, until deadline: Int64,
        needsStructure: Bool
    ) throws(StoreError) -> UInt32 {
        let mailbox = folder.id.rawValue
        var missing: [UInt32] = []
        let rows = try database.query(.unsummarizedRange).bind(
            Self.summaryKey(mailbox, first), Self.summaryKey(mailbox, last),
            needsStructure ? MissingPieces.structure.rawValue : MissingPieces.all.rawValue)
        while try rows.step() { missing.append(UInt32(truncatingIfNeeded: rows.integer(0))) }
        var done = last
        guard !missing.isEmpty else { return done }
        var made: [(uid: UInt32, synopsis: MessageSynopsis?)] = []
        for uid in missing {
            do throws(StoreError) {
                made.append((uid, try synopsis(folder, uid, needsStructure: needsStructure)))
            } catch .file(let what, let errno) {
                // It stays as it is; whoever asks for the message itself learns why
                notify(.postponed, "summary in \(folder.name.text): \(what) \(errno)")
            }
            if System.milliseconds() >= deadline {
                if uid != missing.last { done = uid }
                break
            }
        }
        do throws(StoreError) {
            try keep(made, mailbox)
        } catch .noSpace {
            notify(.postponed, "summaries in \(folder.name.text): no space")
        }
        return done
    }

    /// One transaction. It need not be durable: what a power cut takes is made again.
    private func keep(
        _ made: [(uid: UInt32, synopsis: MessageSynopsis?)], _ mailbox: Int64
    ) throws(StoreError) {
        try database.run("PRAGMA synchronous=NORMAL")
        defer { restoreSynchronous() }
        try transaction { () throws(StoreError) in
            for (uid, synopsis) in made {
                let key = Self.summaryKey(mailbox, uid)
                try database.query(.removeUnsummarized).bind(key).run()
                guard let synopsis else { continue }  // the message is gone
                try putSummary(key, synopsis)
                if synopsis.structure == nil { try lack(key, .structure) }
            }
        }
    }

    private func restoreSynchronous() {
        do throws(StoreError) {
            try database.run("PRAGMA synchronous=FULL")
        } catch {
            // Never go on with commits that are not synced.
            spoil(error)
        }
    }

    /// Nil if there is no such message any more.
    private func synopsis(
        _ folder: Folder, _ uid: UInt32, needsStructure: Bool
    ) throws(StoreError) -> MessageSynopsis? {
        if needsStructure {
            switch try content(folder, uid, .whole, inlineLimit: Self.wholeLimit) {
            case .octets(let octets): return MessageSynopsis(octets.span, isWhole: true)
            case .file: break
            case nil: return nil
            }
        }
        switch try content(folder, uid, .header, inlineLimit: Self.wholeLimit) {
        case .octets(let header):
            var synopsis = MessageSynopsis(header.span, isWhole: false)
            if needsStructure { synopsis.structure = [] }  // too large to be looked through here
            return synopsis
        case .file, nil: return nil
        }
    }
}

extension UInt32 {
    fileprivate func addingClamped(_ other: UInt32) -> UInt32 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
