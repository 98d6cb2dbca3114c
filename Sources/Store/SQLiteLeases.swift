// SPDX-License-Identifier: Apache-2.0
//
// Leases in `<state>/leases.sqlite`: for holders that outlive this process, as whoever sends the
// outbound queue does. RFC 5321 §4.5.4.1; docs/decisions/0003-seam.md.

import Bytes
import Mail
import Synchronization

/// One process, on disk. Usable from any thread.
package final class SQLiteLeases: LeaseStore, @unchecked Sendable {  // safe: behind one lock
    private static let migration = Migration(
        name: "leases.sqlite", version: 1,
        statements: [
            """
            CREATE TABLE leases(kind INTEGER NOT NULL, name BLOB NOT NULL, number INTEGER NOT NULL,
              expires INTEGER NOT NULL, PRIMARY KEY(kind, name)) WITHOUT ROWID
            """,
            "CREATE TABLE last(id INTEGER PRIMARY KEY CHECK(id=1), number INTEGER NOT NULL)",
        ], steps: [], keepsOld: false)

    private enum Text: Int {
        case next, take, renew, held, release

        var sql: StaticString {
            switch self {
            case .next:
                """
                INSERT INTO last VALUES(1, ?1) ON CONFLICT(id) DO UPDATE
                  SET number=max(number+1, excluded.number) RETURNING number
                """
            case .take:
                """
                INSERT INTO leases VALUES(?1, ?2, ?3, ?4) ON CONFLICT(kind, name) DO UPDATE
                  SET number=excluded.number, expires=excluded.expires WHERE expires<=?5
                  RETURNING 1
                """
            case .renew:
                """
                UPDATE leases SET expires=?4 WHERE kind=?1 AND name=?2 AND number=?3 AND expires>?5
                  RETURNING 1
                """
            case .held:
                "SELECT 1 FROM leases WHERE kind=?1 AND name=?2 AND number=?3 AND expires>?4"
            case .release: "DELETE FROM leases WHERE kind=?1 AND name=?2 AND number=?3"
            }
        }
    }

    private let lock = Mutex<Void>(())
    private let database: Database
    private let clock: LeaseClock
    private var isClosed = false

    private init(_ database: Database, _ clock: @escaping LeaseClock) {
        self.database = database
        self.clock = clock
    }

    /// Opens or makes the database; what has expired is forgotten.
    ///
    /// - Parameters:
    ///   - stateDirectory: must exist.
    ///   - clock: one that goes on over restarts.
    package static func open(
        stateDirectory: String, clock: @escaping LeaseClock = LeaseTime.ofDay
    ) throws(StoreError) -> SQLiteLeases {
        let real = try System.realPath(stateDirectory)
        let directory = try System.openDirectory(PathOctets(real))
        let database: Database
        switch try migration.open(in: directory.descriptor, path: real) {
        case .ready(let found), .new(let found), .migrated(let found, _): database = found
        case .unknown(let version):
            throw .index("leases.sqlite has version \(version)", code: 26)
        }
        // A power cut may take the last leases back: it has ended their holders too, and numbers
        // go on with the time of day.
        try database.run("PRAGMA synchronous=NORMAL")
        try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        try database.run(text: "DELETE FROM leases WHERE expires<=\(clock())")
        return SQLiteLeases(database, clock)
    }

    package func close() {
        lock.withLock { _ in
            isClosed = true
            database.close(checkpoint: true)
        }
    }

    package func acquire(
        _ key: LeaseKey, for lifetime: Duration
    ) throws(StoreError) -> Lease? {
        try claim([key], atMost: 1, for: lifetime).first
    }

    package func claim(
        _ keys: [LeaseKey], atMost count: Int, for lifetime: Duration
    ) throws(StoreError) -> [Lease] {
        try changing { () throws(StoreError) in
            var leases: [Lease] = []
            for key in keys where leases.count < count {
                if let lease = try take(key, lifetime) { leases.append(lease) }
            }
            return leases
        }
    }

    package func renew(_ lease: Lease, for lifetime: Duration) throws(StoreError) -> Bool {
        try changing { () throws(StoreError) in
            let now = clock()
            let statement = bind(try query(.renew), lease.key, Int64(bitPattern: lease.number))
            statement.set(4, now + lifetime.milliseconds)
            statement.set(5, now)
            return try isRow(statement)
        }
    }

    package func isHeld(_ lease: Lease) throws(StoreError) -> Bool {
        try locked { () throws(StoreError) in
            let statement = bind(try query(.held), lease.key, Int64(bitPattern: lease.number))
            statement.set(4, clock())
            return try isRow(statement)
        }
    }

    package func release(_ lease: Lease) {
        do throws(StoreError) {
            try changing { () throws(StoreError) in
                try bind(try query(.release), lease.key, Int64(bitPattern: lease.number)).run()
            }
        } catch {
            return  // it ends when it expires
        }
    }

    // MARK: -

    private func take(_ key: LeaseKey, _ lifetime: Duration) throws(StoreError) -> Lease? {
        let now = clock()
        let next = try query(.next).bind(now << 10)
        guard try next.step() else { throw .index("lease number", code: 0) }
        let number = next.integer(0)
        next.reset()
        let statement = bind(try query(.take), key, number)
        statement.set(4, now + lifetime.milliseconds)
        statement.set(5, now)
        return try isRow(statement) ? Lease(key: key, number: UInt64(bitPattern: number)) : nil
    }

    private func query(_ text: Text) throws(StoreError) -> Statement {
        try database.statement(text.rawValue, text.sql)
    }

    private func bind(_ statement: Statement, _ key: LeaseKey, _ number: Int64) -> Statement {
        statement.set(1, Int64(key.kind.rawValue))
        statement.set(2, key.name)
        statement.set(3, number)
        return statement
    }

    private func isRow(_ statement: Statement) throws(StoreError) -> Bool {
        let found = try statement.step()
        if found { while try statement.step() {} }
        return found
    }

    private func changing<Result>(
        _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        try locked { () throws(StoreError) in
            try database.begin()
            do throws(StoreError) {
                let result = try body()
                try database.commit()
                return result
            } catch {
                database.rollback()
                throw error
            }
        }
    }

    private func locked<Result>(
        _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        var outcome: Swift.Result<Result, StoreError>?
        lock.withLock { _ in
            guard !isClosed else { return }
            do throws(StoreError) {
                outcome = .success(try body())
            } catch {
                outcome = .failure(error)
            }
        }
        guard let outcome else { throw .index("leases are closed", code: 21) }
        return try outcome.get()
    }
}
