// SPDX-License-Identifier: Apache-2.0
//
// Back to the directory that the last migration kept, for the release before: what would be lost
// is named first, and what is put away can be put back. docs/store.md, "Versions".

import Bytes
import Glibc
import Mail

/// What going back means.
package struct RollbackPlan: Equatable, Sendable {
    /// One kind of thing that the kept file does not have.
    package struct Loss: Equatable, Sendable {
        package var kind: String
        package var names: [String]
    }

    /// The version of `directory.sqlite`, and of the file that takes its place.
    package var version: Int64
    package var keptVersion: Int64
    package var losses: [Loss] = []
    /// Mail that is in the delivery log only: msgstored was not stopped, it died.
    package var hasUnstoredMail = false
    /// The name under which the present file stays.
    package var putAside: String { "directory.sqlite.after-v\(version)" }
    package var kept: String { "directory.sqlite.before-v\(keptVersion)" }
}

/// Holds the store's lock from the look to the end, so that no msgstored runs meanwhile.
package final class StoreRollback {
    package let plan: RollbackPlan
    private let root: MailRoot?
    private let state: File

    private init(_ plan: RollbackPlan, _ root: MailRoot?, _ state: consuming File) {
        self.plan = plan
        self.root = root
        self.state = state
    }

    private static let name = "directory.sqlite"
    private static let mark = PathOctets("directory.sqlite.before-v")

    /// - Returns: nil if no file of an earlier version is kept.
    /// - Throws: `.inUse` while msgstored runs.
    package static func prepare(
        stateDirectory: String, maildirRoot: String
    ) throws(StoreError) -> StoreRollback? {
        var root: MailRoot?
        // A root that no msgstored ever opened has no lock, and is not made here.
        if try System.status(PathOctets(maildirRoot + "/.lock"), in: AT_FDCWD) != nil {
            root = try MailRoot.open(path: maildirRoot, host: "rollback") { _ in }
        }
        let path = try System.realPath(stateDirectory)
        let state = try System.openDirectory(PathOctets(path))
        let versions = try System.names(in: state.descriptor).compactMap { name in
            name.starts(with: mark)
                ? Int64(String(decoding: name.dropFirst(mark.count), as: UTF8.self)) : nil
        }
        guard let kept = versions.max() else { return nil }
        let database = try Database.open("\(path)/\(name)")
        var plan: RollbackPlan
        do throws(StoreError) {
            plan = RollbackPlan(
                version: try database.number("PRAGMA user_version"), keptVersion: kept)
            plan.losses = try compare(database, "\(path)/\(plan.kept)")
            try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        } catch {
            database.close(checkpoint: false)
            throw error
        }
        database.close(checkpoint: true)
        if let root { plan.hasUnstoredMail = try hasOpenMessages(root.log) }
        return StoreRollback(plan, root, state)
    }

    /// Messages above the low-water mark: they may be in the log only.
    private static func hasOpenMessages(_ log: DeliveryLog) throws(StoreError) -> Bool {
        let survey = try log.survey()
        var isFound = false
        for found in survey.segments where found.first > 0 && found.last >= survey.lowWater {
            try found.segment.records(from: found.first) { header, _, _ in
                if header.kind == 1, header.position >= survey.lowWater,
                    !survey.aborted.contains(header.position)
                {
                    isFound = true
                }
            }
        }
        return isFound
    }

    /// What the present database has and the kept one has not.
    private static func compare(
        _ database: Database, _ kept: String
    ) throws(StoreError) -> [RollbackPlan.Loss] {
        let attach = try database.statement(text: "ATTACH ?1 AS kept")
        attach.set(text: 1, kept)
        try attach.run()
        var losses: [RollbackPlan.Loss] = []
        do throws(StoreError) {
            for (kind, table, shown, key) in tables {
                let names = try missing(database, table, shown, key)
                if !names.isEmpty { losses.append(RollbackPlan.Loss(kind: kind, names: names)) }
            }
            let changed = try list(
                database,
                """
                SELECT CAST(a.local AS TEXT) || '@' || CAST(a.domain AS TEXT)
                  FROM main.accounts AS a JOIN kept.accounts AS k
                  ON k.domain=a.domain AND k.local=a.local WHERE k.hash<>a.hash ORDER BY 1
                """)
            if !changed.isEmpty {
                losses.append(RollbackPlan.Loss(kind: "new passwords", names: changed))
            }
        } catch {
            try database.run(text: "DETACH kept")
            throw error
        }
        try database.run(text: "DETACH kept")
        return losses
    }

    /// Kind, table, what is shown of a row, and the columns by which rows are the same.
    private static let tables = [
        ("domains", "domains", "CAST(a.name AS TEXT)", ["name"]),
        (
            "accounts", "accounts", "CAST(a.local AS TEXT) || '@' || CAST(a.domain AS TEXT)",
            ["domain", "local"]
        ),
        (
            "aliases", "aliases",
            """
            CAST(a.local AS TEXT) || '@' || CAST(a.domain AS TEXT) || ' -> '
              || CAST(a.target_local AS TEXT) || '@' || CAST(a.target_domain AS TEXT)
            """, ["domain", "local", "target_domain", "target_local"]
        ),
        (
            "rights to send", "senders",
            """
            CAST(a.local AS TEXT) || '@' || CAST(a.domain AS TEXT) || ' as '
              || CAST(a.sender_local AS TEXT) || '@' || CAST(a.sender_domain AS TEXT)
            """, ["domain", "local", "sender_domain", "sender_local"]
        ),
        ("settings of domains", "domain_settings", "CAST(a.name AS TEXT)", ["name"]),
    ]

    private static func missing(
        _ database: Database, _ table: String, _ shown: String, _ key: [String]
    ) throws(StoreError) -> [String] {
        func exists(_ schema: String) throws(StoreError) -> Bool {
            try database.number(
                text: """
                    SELECT count(*) FROM \(schema).sqlite_master WHERE type='table'
                      AND name='\(table)'
                    """) > 0
        }
        guard try exists("main") else { return [] }
        var sql = "SELECT \(shown) FROM main.\(table) AS a"
        if try exists("kept") {
            let same = key.map { "k.\($0)=a.\($0)" }.joined(separator: " AND ")
            sql += " WHERE NOT EXISTS (SELECT 1 FROM kept.\(table) AS k WHERE \(same))"
        }
        return try list(database, sql + " ORDER BY 1")
    }

    private static func list(_ database: Database, _ sql: String) throws(StoreError) -> [String] {
        let rows = try database.statement(text: sql)
        var names: [String] = []
        while try rows.step() { names.append(String(decoding: rows.octets(0), as: UTF8.self)) }
        return names
    }

    /// Puts the kept file in the place of the present one, which stays beside it.
    ///
    ///     state  directory.sqlite  beside it                           after a crash
    ///     B0     present           before-v<n>                         nothing happened
    ///     B1     present           before-v<n>; after-v<m>, the same   begins again
    ///     B2     kept              after-v<m>                          done
    package func carryOut(
        reached: (DurableState) -> Void = { _ in }
    ) throws(StoreError) {
        let (name, aside) = (PathOctets(Self.name), PathOctets(plan.putAside))
        // Its log is empty: another database must not find it.
        for suffix in ["-wal", "-shm"] {
            try System.unlink(PathOctets(Self.name + suffix), in: state.descriptor)
        }
        try System.unlink(aside, in: state.descriptor)
        guard try System.link(name, in: state.descriptor, as: aside, in: state.descriptor) == true
        else { throw .file("link \(plan.putAside)", errno: 2) }
        try System.synchronize(state.descriptor, "state directory")
        reached(.rollbackKept)
        guard
            try System.rename(
                PathOctets(plan.kept), in: state.descriptor, to: name, in: state.descriptor)
        else { throw .file("rename \(plan.kept)", errno: 2) }
        try System.synchronize(state.descriptor, "state directory")
        reached(.rollbackDone)
    }
}
