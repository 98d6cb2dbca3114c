// SPDX-License-Identifier: Apache-2.0
//
// The drivers of IndexStore that tests run against, and steps that they are made of.

import Bytes
import Mail
import Testing

@testable import Store

/// Where a driver keeps an account's rows.
protocol IndexPlace {
    associatedtype Index: IndexStore
    /// As after a crash: what the one opened before did not make durable may be gone.
    func open() throws -> Index
}

final class SQLitePlace: IndexPlace {
    private let path: String
    private var opened: SQLiteIndex?

    init() { path = Sandbox.temporary() }

    deinit {
        opened?.close(checkpoint: false)
        run("/bin/rm", "-rf", path)
    }

    func open() throws -> SQLiteIndex {
        opened?.close(checkpoint: false)
        let directory = try System.openDirectory(PathOctets(path))
        switch try Schema.migration.open(in: directory.descriptor, path: path) {
        case .ready(let database), .new(let database), .migrated(let database, _):
            let index = SQLiteIndex(database)
            opened = index
            return index
        case .unknown: throw StoreError.index("version", code: 0)
        }
    }
}

final class MemoryIndexPlace: IndexPlace {
    private let rows = MemoryRows()
    func open() throws -> MemoryIndex { MemoryIndex(rows) }
}

enum IndexDriver: String, CaseIterable, Sendable {
    case sqlite, memory

    func make() -> any IndexPlace {
        switch self {
        case .sqlite: SQLitePlace()
        case .memory: MemoryIndexPlace()
        }
    }
}

let everything = UIDRange(1, .max)

extension IndexStore {
    /// A mailbox with this number, ready for use.
    func make(_ number: Int64, _ text: String? = nil) throws -> Mailbox {
        let id = MailboxID(rawValue: number)
        try transaction(.full) { () throws(StoreError) in
            try insert(
                MailboxRow(
                    id: id, name: name(text ?? "box\(number)"), directory: octets(".\(number)"),
                    specialUse: .none), MailboxNumbers())
        }
        return try #require(try open(id))
    }

    /// Messages at one MODSEQ, in one transaction; their UIDs.
    @discardableResult
    func add(
        _ count: Int, to mailbox: Mailbox, _ flags: Flags = [], size: UInt32 = 100
    ) throws -> [UInt32] {
        try transaction(.full) { () throws(StoreError) in
            let first = try allocateUIDs(count, in: mailbox)
            let modSeq = try allocateModSeq(in: mailbox)
            let uids = (0..<UInt32(count)).map { first + $0 }
            for uid in uids {
                try insert(
                    IndexedMessage(
                        entry: MessageEntry(
                            uid: uid, size: size, flags: flags, modSeq: modSeq,
                            internalDate: Int64(uid)),
                        blob: octets("b\(mailbox.id.rawValue)-\(uid)"),
                        summary: MessageSummary([])), in: mailbox.id)
            }
            try putNumbers(of: mailbox)
            return uids
        }
    }

    func expunge(_ uids: [UInt32], _ mailbox: Mailbox) throws -> [RemovedMessage] {
        try transaction(.full) { () throws(StoreError) in
            let modSeq = try allocateModSeq(in: mailbox)
            let removed = try remove(uids, at: modSeq, from: mailbox)
            try putNumbers(of: mailbox)
            return removed
        }
    }

    func store(
        _ uids: [UIDRange], _ operation: FlagOperation, _ mask: Flags, _ mailbox: Mailbox,
        unchangedSince limit: UInt64? = nil
    ) throws {
        try transaction(.full) { () throws(StoreError) in
            let modSeq = try allocateModSeq(in: mailbox)
            try changeFlags(
                uids, operation, mask, at: modSeq, unchangedSince: limit, in: mailbox.id)
            try putNumbers(of: mailbox)
        }
    }

    func all(_ mailbox: Mailbox) throws -> [MessageEntry] {
        try entries(mailbox.id, everything, limit: .max)
    }
}
