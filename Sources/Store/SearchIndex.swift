// SPDX-License-Identifier: Apache-2.0
//
// `search.sqlite` beside an account's index: segments of messages and their keys. Everything in it
// can be made again; nobody waits for it to be durable, but a segment is there as a whole or not at
// all, also after a power cut (write-ahead log, synchronous=NORMAL). docs/store.md.

import Bytes
import MIME
import Mail

/// The database of one account's search index. On the account's lane only.
final class SearchIndex {
    /// Also to be raised whenever `SearchableText` or `SearchTerms` change what they make of a
    /// message: an index of other texts would leave messages out.
    static let version: Int64 = 1
    static let fileName = "search.sqlite"
    static let files = [fileName, fileName + "-wal", fileName + "-shm"]
    /// Bits of a key; the rest of a block's number is its segment.
    private static let keyBits: Int64 = 25

    private static let statements: [StaticString] = [
        // documents: 13 octets for each message, see IndexedDocument.
        """
        CREATE TABLE segments(id INTEGER PRIMARY KEY AUTOINCREMENT, mailbox INTEGER NOT NULL,
          messages INTEGER NOT NULL, opaque INTEGER NOT NULL, pairs INTEGER NOT NULL,
          octets INTEGER NOT NULL, documents BLOB NOT NULL)
        """,
        "CREATE INDEX by_mailbox ON segments(mailbox, id)",
        // id: segment and first key.
        "CREATE TABLE blocks(id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
        """
        CREATE TABLE columns(segment INTEGER NOT NULL, field INTEGER NOT NULL, texts BLOB NOT NULL,
          PRIMARY KEY(segment, field))
        """,
        "PRAGMA user_version=1",
    ]

    private enum Query: Int {
        case segments, insertSegment, hasSegment, removeSegment, removeBlocks, removeColumns
        case insertBlock, block, blocks, insertColumn, column, columns, mailboxes, ofMailbox, totals

        var sql: StaticString {
            switch self {
            case .segments:
                "SELECT id, messages, pairs, documents FROM segments WHERE mailbox=?1 ORDER BY id"
            case .insertSegment:
                """
                INSERT INTO segments(mailbox, messages, opaque, pairs, octets, documents)
                  VALUES(?1, ?2, ?3, ?4, ?5, ?6) RETURNING id
                """
            case .hasSegment: "SELECT octets FROM segments WHERE id=?1"
            case .removeSegment: "DELETE FROM segments WHERE id=?1"
            case .removeBlocks: "DELETE FROM blocks WHERE id BETWEEN ?1 AND ?2"
            case .removeColumns: "DELETE FROM columns WHERE segment=?1"
            case .insertBlock: "INSERT INTO blocks VALUES(?1, ?2)"
            case .block:
                "SELECT id, data FROM blocks WHERE id<=?1 ORDER BY id DESC LIMIT 1"
            case .blocks: "SELECT id, data FROM blocks WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
            case .insertColumn: "INSERT INTO columns VALUES(?1, ?2, ?3)"
            case .column: "SELECT texts FROM columns WHERE segment=?1 AND field=?2"
            case .columns: "SELECT texts FROM columns WHERE segment=?1 ORDER BY field"
            case .mailboxes: "SELECT DISTINCT mailbox FROM segments"
            case .ofMailbox: "SELECT id FROM segments WHERE mailbox=?1"
            case .totals:
                """
                SELECT count(*), sum(messages), sum(opaque), sum(octets) FROM segments
                """
            }
        }
    }

    /// A row of `segments`.
    struct Segment {
        var id: Int64
        var pairs: Int
        var documents: [IndexedDocument]
    }

    private let database: Database
    private let inode: UInt64
    /// What the indexer has looked through; see SearchWork.swift.
    var pass = SearchPass()

    private init(_ database: Database, inode: UInt64) {
        self.database = database
        self.inode = inode
    }

    deinit { database.close(checkpoint: true) }

    /// Opens the index, or makes an empty one where there is none that can be used.
    static func open(in account: Int32, path: String) throws(StoreError) -> SearchIndex {
        do throws(StoreError) {
            if let index = try openOnce(in: account, path: path) { return index }
        } catch {
            guard error.isCorruption else { throw error }
        }
        try remove(in: account)
        guard let index = try openOnce(in: account, path: path) else {
            throw .index("search.sqlite is not new", code: 0)
        }
        return index
    }

    static func remove(in account: Int32) throws(StoreError) {
        for name in files { try System.unlink(PathOctets(name), in: account) }
    }

    /// Nil for another version.
    private static func openOnce(
        in account: Int32, path: String
    ) throws(StoreError) -> SearchIndex? {
        let name = PathOctets(fileName)
        if try System.status(name, in: account) == nil {
            // With our mode, before SQLite makes it with another. A log of an earlier file goes.
            try remove(in: account)
            _ = try System.createFile(name, in: account)
        }
        let database = try Database.open("\(path)/\(fileName)")
        for pragma: StaticString in [
            "PRAGMA synchronous=NORMAL", "PRAGMA cache_size=-512",
        ] {
            try database.run(pragma)
        }
        switch try database.number("PRAGMA user_version") {
        case version: break
        case 0:
            guard try database.number("SELECT count(*) FROM sqlite_master") == 0 else { return nil }
            try database.begin()
            for statement in statements { try database.run(statement) }
            try database.commit()
        default: return nil
        }
        guard let status = try System.status(name, in: account) else { return nil }
        return SearchIndex(database, inode: status.inode)
    }

    /// False if somebody removed or replaced the file.
    func isCurrent(in account: Int32) throws(StoreError) -> Bool {
        try System.status(PathOctets(Self.fileName), in: account)?.inode == inode
    }

    private func query(_ query: Query) throws(StoreError) -> Statement {
        try database.statement(query.rawValue, query.sql)
    }

    private static func number(_ segment: Int64, _ key: UInt32) -> Int64 {
        segment << keyBits | Int64(key)
    }

    // MARK: - Reading

    func segments(of mailbox: MailboxID) throws(StoreError) -> [Segment] {
        var segments: [Segment] = []
        let rows = try query(.segments).bind(mailbox.rawValue)
        while try rows.step() {
            let documents = IndexedDocument.decode(rows.octets(3))
            guard documents.count == Int(rows.integer(1)),
                documents.count <= SegmentDraft.documentLimit
            else { throw .damagedSearch }
            segments.append(
                Segment(
                    id: rows.integer(0), pairs: Int(rows.integer(2)), documents: documents))
        }
        return segments
    }

    /// The messages that have a key from `lowest` to `highest`.
    func documents(
        _ segment: Segment, from lowest: UInt32, through highest: UInt32
    ) throws(StoreError) -> DocumentSet {
        var set = DocumentSet(count: segment.documents.count)
        let start = Self.number(segment.id, 0)
        let row = try query(.block).bind(Self.number(segment.id, lowest))
        defer { row.reset() }
        var from = Self.number(segment.id, lowest)
        if try row.step(), row.integer(0) >= start { from = row.integer(0) }
        row.reset()
        let rows = try query(.blocks).bind(from, Self.number(segment.id, highest))
        defer { rows.reset() }
        while try rows.step() {
            let block = SegmentBlock(
                first: UInt32(truncatingIfNeeded: rows.integer(0) - start), data: rows.octets(1))
            block.forEach(from: lowest, through: highest) { _, range, isBitmap in
                block.add(range, isBitmap: isBitmap, to: &set)
            }
        }
        return set
    }

    /// The texts of a field, in the order of the messages.
    func column(_ segment: Segment, _ column: SearchTerms.Column) throws(StoreError) -> [UInt8] {
        let row = try query(.column).bind(segment.id, Int64(column.rawValue))
        defer { row.reset() }
        guard try row.step() else { throw .damagedSearch }
        return row.octets(0)
    }

    /// A whole segment, to be merged.
    func load(_ segment: Segment, isAlive: [Bool]) throws(StoreError) -> StoredSegment {
        var columns: [[UInt8]] = []
        let texts = try query(.columns).bind(segment.id)
        while try texts.step() { columns.append(texts.octets(0)) }
        guard columns.count == SearchTerms.Column.allCases.count else { throw .damagedSearch }
        var blocks: [SegmentBlock] = []
        let start = Self.number(segment.id, 0)
        let rows = try query(.blocks).bind(start, Self.number(segment.id + 1, 0) - 1)
        while try rows.step() {
            blocks.append(
                SegmentBlock(
                    first: UInt32(truncatingIfNeeded: rows.integer(0) - start),
                    data: rows.octets(1)))
        }
        return StoredSegment(
            id: segment.id, documents: segment.documents, columns: columns, blocks: blocks,
            sourceOctets: 0, isAlive: isAlive)
    }

    func mailboxes() throws(StoreError) -> [MailboxID] {
        var ids: [MailboxID] = []
        let rows = try query(.mailboxes)
        while try rows.step() { ids.append(MailboxID(rawValue: rows.integer(0))) }
        return ids
    }

    func totals() throws(StoreError) -> (
        segments: Int, messages: UInt64, opaque: UInt64, octets: UInt64
    ) {
        let row = try query(.totals)
        defer { row.reset() }
        guard try row.step() else { throw .damagedSearch }
        return (
            Int(row.integer(0)), UInt64(clamping: row.integer(1)), UInt64(clamping: row.integer(2)),
            UInt64(clamping: row.integer(3))
        )
    }

    // MARK: - Writing

    /// Adds a segment in place of others, in one transaction. An empty one only removes.
    ///
    /// - Returns: false if one of the others is not there any more: then nothing was done.
    func write(_ segment: EncodedSegment, replacing old: [Int64]) throws(StoreError) -> Bool {
        try database.begin()
        do throws(StoreError) {
            for id in old {
                let row = try query(.hasSegment).bind(id)
                let isThere = try row.step()
                row.reset()
                guard isThere else {
                    database.rollback()
                    return false
                }
                try remove(id)
            }
            if !segment.documents.isEmpty { try insert(segment) }
            try database.commit()
            return true
        } catch {
            database.rollback()
            throw error
        }
    }

    private func insert(_ segment: EncodedSegment) throws(StoreError) {
        var documents: [UInt8] = []
        documents.reserveCapacity(segment.documents.count * IndexedDocument.octets)
        for document in segment.documents { document.append(to: &documents) }
        let row = try query(.insertSegment).bind(
            segment.mailbox.rawValue, Int64(segment.documents.count),
            Int64(segment.documents.count { $0.isOpaque }), Int64(segment.pairs),
            Int64(clamping: segment.sourceOctets))
        row.set(6, documents)
        guard try row.step() else { throw .damagedSearch }
        let id = row.integer(0)
        try row.run()
        for (field, texts) in segment.columns.enumerated() {
            let column = try query(.insertColumn).bind(id, Int64(field))
            column.set(3, texts)
            try column.run()
        }
        for block in segment.blocks {
            let row = try query(.insertBlock).bind(Self.number(id, block.first))
            row.set(2, block.data)
            try row.run()
        }
    }

    private func remove(_ id: Int64) throws(StoreError) {
        try query(.removeSegment).bind(id).run()
        try query(.removeColumns).bind(id).run()
        try query(.removeBlocks).bind(Self.number(id, 0), Self.number(id + 1, 0) - 1).run()
    }

    /// Removes one segment of a mailbox that is gone. False if there is none left.
    func removeSegment(of mailbox: MailboxID) throws(StoreError) -> Bool {
        let row = try query(.ofMailbox).bind(mailbox.rawValue)
        let id = try row.step() ? row.integer(0) : nil
        row.reset()
        guard let id else { return false }
        try database.begin()
        do throws(StoreError) {
            try remove(id)
            try database.commit()
        } catch {
            database.rollback()
            throw error
        }
        return true
    }
}

extension StoreError {
    /// Rows of the search index that do not fit together.
    static var damagedSearch: StoreError { .index("search index", code: 11) }  // SQLITE_CORRUPT
}
