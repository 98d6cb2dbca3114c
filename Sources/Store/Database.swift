// SPDX-License-Identifier: Apache-2.0
//
// SQLite handles and prepared statements. One thread at a time (NOMUTEX); write-ahead log,
// synchronous=FULL unless the delivery log covers it, and the file held exclusively, so no shared
// memory and no lock per statement.

import Bytes
import CSQLite
import Mail

/// An open database.
@safe final class Database {  // the handle never leaves it
    private var handle: OpaquePointer?
    private var statements: [Statement?] = []
    private var brackets: (begin: Statement, commit: Statement)?
    private var durability = Durability.full

    /// - Parameter path: must not contain a symbolic link.
    static func open(
        _ path: String, _ durability: Durability = .full
    ) throws(StoreError) -> Database {
        let database = Database()
        let flags =
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW
        var handle: OpaquePointer?
        let code = unsafe sqlite3_open_v2(path, &handle, flags, nil)
        unsafe database.handle = handle
        guard code == SQLITE_OK, unsafe handle != nil else {
            throw .index("open", code: code)
        }
        unsafe sqlite3_extended_result_codes(handle, 1)
        unsafe martlet_sqlite_no_lookaside(handle)
        unsafe sqlite3_busy_timeout(handle, 0)
        for pragma: StaticString in [
            "PRAGMA cache_size=-64", "PRAGMA locking_mode=EXCLUSIVE", durability.pragma,
            "PRAGMA journal_mode=WAL", "PRAGMA temp_store=MEMORY", "PRAGMA secure_delete=OFF",
            "PRAGMA journal_size_limit=4194304",
            // A page that a transaction changes is written once, when it commits.
            "PRAGMA cache_spill=OFF",
        ] {
            try database.run(pragma)
        }
        database.durability = durability
        database.brackets = (
            try Statement("BEGIN IMMEDIATE", database), try Statement("COMMIT", database)
        )
        return database
    }

    /// Runs a statement without parameters once; rows are thrown away.
    func run(_ sql: StaticString) throws(StoreError) {
        let statement = try Statement(sql, self)
        while try statement.step() {}
    }

    /// For the few statements that are put together at run time; never from a peer's octets.
    func run(text sql: String) throws(StoreError) {
        let statement = try Statement(text: sql, self)
        while try statement.step() {}
    }

    func number(text sql: String) throws(StoreError) -> Int64 {
        let statement = try Statement(text: sql, self)
        return try statement.step() ? statement.integer(0) : 0
    }

    /// The text in the first column of the first row.
    func text(_ sql: StaticString) throws(StoreError) -> String {
        let statement = try Statement(sql, self)
        return try statement.step() ? String(decoding: statement.octets(0), as: UTF8.self) : ""
    }

    /// A statement put together at run time; never from a peer's octets.
    func statement(text sql: String) throws(StoreError) -> Statement {
        try Statement(text: sql, self)
    }

    /// Names of all tables but SQLite's own.
    func tables() throws(StoreError) -> [String] {
        let statement = try Statement(
            """
            SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite|_%'
              ESCAPE '|' ORDER BY name
            """, self)
        var names: [String] = []
        while try statement.step() {
            names.append(String(decoding: statement.octets(0), as: UTF8.self))
        }
        return names
    }

    /// The number in the first column of the first row.
    func number(_ sql: StaticString) throws(StoreError) -> Int64 {
        let statement = try Statement(sql, self)
        return try statement.step() ? statement.integer(0) : 0
    }

    /// A statement that is prepared once and kept; reset and without parameters bound.
    func statement(_ slot: Int, _ sql: StaticString) throws(StoreError) -> Statement {
        if slot < statements.count, let kept = statements[slot] {
            kept.reset()
            return kept
        }
        while statements.count <= slot { statements.append(nil) }
        let prepared = try Statement(sql, self)
        statements[slot] = prepared
        return prepared
    }

    /// True if this handle wrote anything.
    var hasChanges: Bool { unsafe sqlite3_total_changes(handle) > 0 }

    /// A commit that is not synced is durable with the next one that is, or with a checkpoint of
    /// the delivery log. Only between transactions.
    func begin(_ wanted: Durability = .full) throws(StoreError) {
        if wanted != durability {
            try run(wanted.pragma)
            durability = wanted
        }
        try brackets?.begin.run()
    }

    func commit() throws(StoreError) { try brackets?.commit.run() }

    /// Never fails in a way that matters: without it the log has no commit record either.
    func rollback() {
        guard unsafe handle != nil, unsafe sqlite3_get_autocommit(handle) == 0 else { return }
        _ = unsafe sqlite3_exec(handle, "ROLLBACK", nil, nil, nil)
    }

    /// Messages from which on a transaction gets more memory for pages.
    static let wideFrom = 64

    /// Room for the pages of a transaction over many rows. Without it pages are written to the log
    /// and read again over and over before the commit.
    func widen() throws(StoreError) { try run("PRAGMA cache_size=-32768") }

    func narrow() {
        // It cannot fail; if it did, more memory would be used until the handle is closed.
        _ = unsafe sqlite3_exec(handle, "PRAGMA cache_size=-64", nil, nil, nil)
        unsafe sqlite3_db_release_memory(handle)
    }

    /// Gives back what can be made again. No statement may be running.
    func trim() {
        statements = []
        unsafe sqlite3_db_release_memory(handle)
    }

    /// Closes; with `checkpoint` the log is emptied into the database before.
    func close(checkpoint: Bool) {
        rollback()
        statements = []
        brackets = nil
        if !checkpoint, unsafe handle != nil {
            _ = unsafe martlet_sqlite_no_checkpoint_on_close(handle)
        }
        unsafe sqlite3_close_v2(handle)
        unsafe handle = nil
    }

    deinit { close(checkpoint: false) }

    fileprivate func prepare(_ sql: StaticString) throws(StoreError) -> OpaquePointer {
        var prepared: Result<OpaquePointer, StoreError>?
        sql.withUTF8Buffer { text in
            unsafe prepared = prepare(text, UInt32(SQLITE_PREPARE_PERSISTENT), "\(sql)")
        }
        guard let prepared = unsafe prepared else { preconditionFailure("not prepared") }
        return unsafe try prepared.get()
    }

    fileprivate func prepare(text sql: String) throws(StoreError) -> OpaquePointer {
        var sql = sql
        var prepared: Result<OpaquePointer, StoreError>?
        sql.withUTF8 { text in unsafe prepared = prepare(text, 0, "at run time") }
        guard let prepared = unsafe prepared else { preconditionFailure("not prepared") }
        return unsafe try prepared.get()
    }

    private func prepare(
        _ sql: UnsafeBufferPointer<UInt8>, _ flags: UInt32, _ name: String
    ) -> Result<OpaquePointer, StoreError> {
        var statement: OpaquePointer?
        let code = unsafe sql.withMemoryRebound(to: CChar.self) { text in
            unsafe sqlite3_prepare_v3(
                handle, text.baseAddress, Int32(text.count), flags, &statement, nil)
        }
        guard code == SQLITE_OK, let statement = unsafe statement else {
            return unsafe .failure(error("prepare \(name)", code))
        }
        return unsafe .success(statement)
    }

    fileprivate func error(_ what: String, _ code: Int32) -> StoreError {
        switch code & 0xFF {
        case SQLITE_FULL: .noSpace
        case SQLITE_BUSY, SQLITE_LOCKED: .inUse
        default: .index(what, code: code)
        }
    }
}

/// What a change relies on.
package enum Durability: Sendable {
    /// The database's own log is synced when it commits.
    case full
    /// The delivery log has what it does.
    case logged
    /// Whoever made the file syncs it when all is made; a crash before that makes it anew.
    case making

    var pragma: StaticString {
        switch self {
        case .full: "PRAGMA synchronous=FULL"
        case .logged: "PRAGMA synchronous=NORMAL"
        case .making: "PRAGMA synchronous=OFF"
        }
    }
}

extension StoreError {
    /// The file is not (or no longer) a database that can be trusted.
    var isCorruption: Bool {
        guard case .index(_, let code) = self else { return false }
        return [SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT].contains(code & 0xFF)
    }

    /// After this the handle may believe in pages that never reached the disk.
    var spoilsHandle: Bool {
        guard case .index(_, let code) = self else { return false }
        return isCorruption || code & 0xFF == SQLITE_IOERR
    }
}

/// A prepared statement. Used up by `step` returning false, or `reset`.
@safe final class Statement {  // the pointer never leaves it
    private let pointer: OpaquePointer
    private unowned let database: Database

    fileprivate init(_ sql: StaticString, _ database: Database) throws(StoreError) {
        self.database = database
        unsafe pointer = try database.prepare(sql)
    }

    fileprivate init(text sql: String, _ database: Database) throws(StoreError) {
        self.database = database
        unsafe pointer = try database.prepare(text: sql)
    }

    deinit { unsafe sqlite3_finalize(pointer) }

    /// Binds parameters from number 1 on.
    @discardableResult
    func bind(_ values: Int64...) -> Statement {
        for (index, value) in values.enumerated() {
            unsafe sqlite3_bind_int64(pointer, Int32(index + 1), value)
        }
        return self
    }

    func set(_ index: Int32, _ value: Int64) { unsafe sqlite3_bind_int64(pointer, index, value) }

    func set(_ index: Int32, _ octets: [UInt8]?) {
        guard let octets else {
            unsafe sqlite3_bind_null(pointer, index)
            return
        }
        unsafe octets.withUnsafeBytes { buffer in
            if let start = buffer.baseAddress {
                _ = unsafe sqlite3_bind_blob(
                    pointer, index, start, Int32(buffer.count), martlet_sqlite_transient())
            } else {
                _ = unsafe sqlite3_bind_zeroblob(pointer, index, 0)
            }
        }
    }

    func set(text index: Int32, _ text: String) {
        var text = text
        text.withUTF8 { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) { buffer in
                _ = unsafe sqlite3_bind_text(
                    pointer, index, buffer.baseAddress, Int32(buffer.count),
                    martlet_sqlite_transient())
            }
        }
    }

    var columnCount: Int32 { unsafe sqlite3_column_count(pointer) }

    /// A column's value as SQL has it; octets that are readable text as text.
    func literal(_ column: Int32) -> [UInt8] {
        switch unsafe sqlite3_column_type(pointer, column) {
        case SQLITE_NULL: return [UInt8]("NULL")
        case SQLITE_INTEGER: return [UInt8]("\(integer(column))")
        case SQLITE_FLOAT: return [UInt8]("\(unsafe sqlite3_column_double(pointer, column))")
        case let type:
            let value = octets(column)
            let isText =
                value.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
                && String(validating: value, as: UTF8.self) != nil
            guard isText else {
                let digits = [UInt8]("0123456789ABCDEF")
                var hex = [UInt8]("X'")
                for octet in value { hex += [digits[Int(octet >> 4)], digits[Int(octet & 15)]] }
                return hex + [0x27]
            }
            var quoted: [UInt8] = [0x27]
            for octet in value { quoted += octet == 0x27 ? [0x27, 0x27] : [octet] }
            quoted.append(0x27)
            guard type == SQLITE_BLOB else { return quoted }
            return [UInt8]("CAST(") + quoted + [UInt8](" AS BLOB)")
        }
    }

    /// True: a row is there. False: done.
    func step() throws(StoreError) -> Bool {
        let code = unsafe sqlite3_step(pointer)
        switch code {
        case SQLITE_ROW: return true
        case SQLITE_DONE:
            unsafe sqlite3_reset(pointer)
            return false
        default:
            unsafe sqlite3_reset(pointer)
            throw database.error("step", code)
        }
    }

    /// Runs to the end.
    func run() throws(StoreError) { while try step() {} }

    func reset() { unsafe sqlite3_reset(pointer) }

    func integer(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(pointer, column) }

    func isNull(_ column: Int32) -> Bool {
        unsafe sqlite3_column_type(pointer, column) == SQLITE_NULL
    }

    /// Appends the length of a column's octets in 32 bits, and the octets.
    func append(_ column: Int32, to rows: inout [UInt8]) {
        let start = unsafe sqlite3_column_blob(pointer, column)
        let count = Int(unsafe sqlite3_column_bytes(pointer, column))
        guard let start = unsafe start, count > 0 else {
            rows.append(row: 0)
            return
        }
        rows.append(row: UInt32(truncatingIfNeeded: count))
        unsafe rows.append(contentsOf: UnsafeRawBufferPointer(start: start, count: count))
    }

    func octets(_ column: Int32) -> [UInt8] {
        let start = unsafe sqlite3_column_blob(pointer, column)
        let count = Int(unsafe sqlite3_column_bytes(pointer, column))
        guard let start = unsafe start, count > 0 else { return [] }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: count))
    }
}
