// SPDX-License-Identifier: Apache-2.0
//
// Databases of an earlier release: opened, and brought forward step by step on a copy that replaces
// the old file only when it is whole, checked and synced. docs/store.md, "Versions".

import Bytes
import CSQLite

/// From one version to the next.
struct MigrationStep: Sendable {
    /// It ends one higher.
    let from: Int64
    let statements: [StaticString]
    /// Tables that may have another number of rows afterwards; all others must keep theirs.
    var recounted: [String] = []
    /// What SQL cannot do; after the statements, in the same transaction.
    var also: (@Sendable (Database) throws(StoreError) -> Void)?
}

/// The layout of a database file and the way to it from every earlier one.
struct Migration: Sendable {
    /// The name of the file.
    let name: String
    let version: Int64
    /// Makes this version in an empty file.
    let statements: [StaticString]
    /// In order, without gaps; the last one ends at `version`.
    let steps: [MigrationStep]
    /// True: the old file stays as `<name>.before-v<n>`. False for what can be made again, because
    /// an old copy beside newer files is worth less than none.
    let keepsOld: Bool

    /// What was found. The caller owns the handle.
    enum Found {
        case ready(Database)
        case new(Database)
        case migrated(Database, from: Int64)
        /// A version that no step starts from: a later release's, or not ours at all. Untouched.
        case unknown(Int64)
    }

    /// Opens the file, makes it, or brings it to this version.
    ///
    /// - Parameters:
    ///   - directory: where the file is.
    ///   - path: of that directory, without symbolic links.
    ///   - durability: of a file that is made.
    ///   - reached: called at every durable state.
    /// - Throws: `.noSpace` and other errors of the disk, with the old file as it was; corruption
    ///   if the old file is damaged; SQLITE_MISMATCH if a step lost rows.
    func open(
        in directory: Int32, path: String, durability: Durability = .full,
        reached: (DurableState) -> Void = { _ in }
    ) throws(StoreError) -> Found {
        if try System.status(PathOctets(name), in: directory) == nil {
            // With our mode, before SQLite makes it with another.
            _ = try System.createFile(PathOctets(name), in: directory)
        }
        let database = try Database.open("\(path)/\(name)", durability)
        let found = try database.number("PRAGMA user_version")
        if found == version { return .ready(database) }
        if found == 0, try database.number("SELECT count(*) FROM sqlite_master") == 0 {
            try create(database, durability)
            return .new(database)
        }
        guard let first = steps.firstIndex(where: { $0.from == found }) else {
            database.close(checkpoint: true)
            return .unknown(found)
        }
        try settle(database, name, in: directory)
        do throws(StoreError) {
            try rehearse(Array(steps[first...]), in: directory, path)
        } catch {
            try removeRehearsal(in: directory)
            throw error
        }
        reached(.migrationRehearsed)
        if keepsOld { try keep(found, in: directory) }
        // Also makes durable that the old file has no log any more: the new one must not get it.
        try System.synchronize(directory, path)
        reached(.migrationKept)
        _ = try System.rename(
            rehearsal, in: directory, to: PathOctets(name), in: directory)
        try System.synchronize(directory, path)
        reached(.migrationDone)
        try removeOlder(than: found, in: directory)
        return .migrated(try Database.open("\(path)/\(name)"), from: found)
    }

    /// The name under which the file of a version is kept.
    func keptName(_ version: Int64) -> String { "\(name).before-v\(version)" }

    private var rehearsal: PathOctets { PathOctets(name + ".migrating") }

    private func create(
        _ database: Database, _ durability: Durability
    ) throws(StoreError) {
        try database.begin(durability)
        for statement in statements { try database.run(statement) }
        try database.run(text: "PRAGMA user_version=\(version)")
        try database.commit()
    }

    /// Empties the log into the file and closes; afterwards the file alone is the database.
    private func settle(
        _ database: Database, _ name: String, in directory: Int32
    ) throws(StoreError) {
        try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close(checkpoint: true)
        for suffix in ["-wal", "-journal"] {
            let log = PathOctets(name + suffix)
            if let status = try System.status(log, in: directory) {
                guard status.size == 0 else {
                    throw .index("log of \(name) not emptied", code: SQLITE_BUSY)
                }
                try System.unlink(log, in: directory)
            }
        }
    }

    /// Runs the steps on a copy, which is synced under its own name if all is well with it.
    private func rehearse(
        _ steps: [MigrationStep], in directory: Int32, _ path: String
    ) throws(StoreError) {
        try removeRehearsal(in: directory)
        let copy = try System.createFile(rehearsal, in: directory)
        try Self.copy(PathOctets(name), to: copy.descriptor, in: directory)
        let database = try Database.open("\(path)/\(name).migrating")
        // One fsync at the end makes all of it durable; until then nobody depends on it.
        try database.run("PRAGMA synchronous=OFF")
        try database.run("PRAGMA cache_size=-8192")
        try database.begin()
        for step in steps {
            do throws(StoreError) {
                try run(step, database)
            } catch {
                guard error.isRefusal else { throw error }
                throw .index("\(name) version \(step.from): \(error)", code: SQLITE_MISMATCH)
            }
        }
        try database.run(text: "PRAGMA user_version=\(version)")
        try database.commit()
        let verdict = try database.text("PRAGMA integrity_check(1)")
        guard verdict == "ok" else {
            throw .index("\(name) after migration: \(verdict)", code: SQLITE_CORRUPT)
        }
        try settle(database, name + ".migrating", in: directory)
        try System.synchronize(copy.descriptor, name + ".migrating")
    }

    private func run(_ step: MigrationStep, _ database: Database) throws(StoreError) {
        let before = try rowCounts(database)
        for statement in step.statements { try database.run(statement) }
        if let also = step.also { try also(database) }
        let after = try rowCounts(database)
        for (table, count) in before where !step.recounted.contains(table) {
            guard let now = after[table], now == count else {
                throw .index(
                    "\(name) version \(step.from): \(count) rows of \(table) became "
                        + "\(after[table] ?? 0)", code: SQLITE_MISMATCH)
            }
        }
    }

    private func rowCounts(_ database: Database) throws(StoreError) -> [String: Int64] {
        var counts: [String: Int64] = [:]
        for table in try database.tables() {
            let quoted = table.split(separator: "\"", omittingEmptySubsequences: false)
                .joined(separator: "\"\"")
            counts[table] = try database.number(text: "SELECT count(*) FROM \"\(quoted)\"")
        }
        return counts
    }

    private func keep(_ version: Int64, in directory: Int32) throws(StoreError) {
        let kept = PathOctets(keptName(version))
        // One from before a roll back, if any: the file of now is newer.
        try System.unlink(kept, in: directory)
        if try System.link(PathOctets(name), in: directory, as: kept, in: directory) != true {
            let copy = try System.createFile(kept, in: directory)
            try Self.copy(PathOctets(name), to: copy.descriptor, in: directory)
            try System.synchronize(copy.descriptor, keptName(version))
        }
    }

    /// Only the last one is kept.
    private func removeOlder(than version: Int64, in directory: Int32) throws(StoreError) {
        let mark = PathOctets("\(name).before-v")
        for found in try System.names(in: directory)
        where found.starts(with: mark) && found != PathOctets(keptName(version)) {
            try System.unlink(found, in: directory)
        }
    }

    private func removeRehearsal(in directory: Int32) throws(StoreError) {
        for suffix in ["", "-wal", "-journal", "-shm"] {
            try System.unlink(rehearsal + PathOctets(suffix), in: directory)
        }
    }

    private static func copy(
        _ name: PathOctets, to target: Int32, in directory: Int32
    ) throws(StoreError) {
        guard let source = try System.openFile(name, in: directory) else {
            throw .file("copy", errno: 2)
        }
        var offset: Int64 = 0
        while true {
            let part = try System.read(source.descriptor, from: offset, count: 1 << 20)
            guard !part.isEmpty else { return }
            try System.write(part, to: target)
            offset += Int64(part.count)
        }
    }
}

extension StoreError {
    /// The steps do not fit what is in the file. The disk and the file are well.
    var isFailedMigration: Bool {
        guard case .index(_, let code) = self else { return false }
        return code == SQLITE_MISMATCH
    }

    fileprivate var isRefusal: Bool {
        guard case .index(_, let code) = self else { return false }
        return [SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_TOOBIG, SQLITE_RANGE].contains(code & 0xFF)
    }
}
