// SPDX-License-Identifier: Apache-2.0
//
// A copy of directory.sqlite while it is in use, the same as text, and bringing rows of a copy
// back. Works on whatever tables there are. docs/backup.md.

import Bytes
import CSQLite
import Glibc
import Mail

/// What came back from a copy.
package struct RestoredDirectory: Equatable, Sendable {
    package var domains: UInt32 = 0
    package var accounts: UInt32 = 0
    package var rows: UInt32 = 0
}

extension Directory {
    private static let copyName = "directory-copy-"
    private static let restoreName = "directory-restore-"

    /// Removes what a crash left of copies: they hold password hashes and belong to nobody.
    static func removeLeftCopies(in directory: Int32) throws(StoreError) {
        let prefixes = [PathOctets(copyName), PathOctets(restoreName)]
        for name in try System.names(in: directory)
        where prefixes.contains(where: { name.starts(with: $0) }) {
            try System.unlink(name, in: directory)
        }
    }

    /// A consistent copy as a file of its own, without a name, open for reading.
    package func copy() throws(StoreError) -> SharedDescriptor {
        let stamp = System.now()
        let path =
            "\(try statePath())/\(Self.copyName)\(stamp.seconds)-\(stamp.microseconds).sqlite"
        // What stays, here or after a crash, is removed at the next start.
        defer { _ = try? System.unlink(PathOctets(path), in: AT_FDCWD) }
        try locked { () throws(StoreError) in
            let vacuum = try database.statement(text: "VACUUM INTO ?1")
            vacuum.set(text: 1, path)
            try vacuum.run()
        }
        guard let file = try System.openFile(PathOctets(path), in: AT_FDCWD) else {
            throw .file("open copy of the directory", errno: 2)
        }
        return SharedDescriptor(file)
    }

    /// Every row as SQL that makes the database again, one row a line.
    package func text() throws(StoreError) -> [UInt8] {
        try locked { () throws(StoreError) in
            var octets = PathOctets(
                "-- directory.sqlite of Martlet; loaded by: sqlite3 directory.sqlite < this\n")
            octets += PathOctets(
                "PRAGMA user_version=\(try database.number("PRAGMA user_version"));\n")
            let objects = try database.statement(
                text: "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
            while try objects.step() { octets += objects.octets(0) + PathOctets(";\n") }
            for table in try database.tables() {
                let rows = try database.statement(text: "SELECT * FROM \(Self.quoted(table))")
                while try rows.step() {
                    octets += PathOctets("INSERT INTO \(Self.quoted(table)) VALUES(")
                    for column in 0..<rows.columnCount {
                        if column > 0 { octets += PathOctets(", ") }
                        octets += rows.literal(column)
                    }
                    octets += PathOctets(");\n")
                }
            }
            return octets
        }
    }

    /// Adds what a copy has and this directory has not. What is here stays as it is.
    ///
    /// - Parameters:
    ///   - copy: octets of a copy, of this version or an older one.
    ///   - account: this account only, with its domain.
    package func restore(
        from copy: StagedMessage, account: EmailAddress?
    ) throws(StoreError) -> RestoredDirectory {
        let stamp = System.now()
        let name = "\(Self.restoreName)\(stamp.seconds)-\(stamp.microseconds).sqlite"
        let path = "\(try statePath())/\(name)"
        defer {
            for suffix in ["", "-wal", "-shm", "-journal"] {
                _ = try? System.unlink(PathOctets(path + suffix), in: AT_FDCWD)
            }
        }
        let file = try System.createFile(PathOctets(path), in: AT_FDCWD)
        var offset: Int64 = 0
        while true {
            let chunk = try System.read(copy.file.descriptor, from: offset, count: 1 << 20)
            if chunk.isEmpty { break }
            try System.write(chunk, to: file.descriptor)
            offset += Int64(chunk.count)
        }
        return try locked { () throws(StoreError) in try takeRows(path, account) }
    }

    private func takeRows(
        _ path: String, _ account: EmailAddress?
    ) throws(StoreError) -> RestoredDirectory {
        let attach = try database.statement(text: "ATTACH ?1 AS copied")
        attach.set(text: 1, path)
        try attach.run()
        // A copy that stays attached makes the next restore fail with a reason, and nothing else.
        defer { _ = try? database.run(text: "DETACH copied") }
        guard
            try database.number(text: "PRAGMA copied.user_version")
                <= database.number("PRAGMA user_version")
        else { throw .index("directory copy of a later version", code: SQLITE_NOTADB) }
        let check = try database.statement(text: "PRAGMA copied.integrity_check(1)")
        guard try check.step(), check.octets(0) == PathOctets("ok") else {
            throw .index("directory copy is damaged", code: SQLITE_NOTADB)
        }
        check.reset()
        var result = RestoredDirectory()
        // An app password that was ended here must not come back.
        try database.run(text: "DROP TABLE IF EXISTS temp.present")
        try database.run(
            text: "CREATE TEMP TABLE present AS SELECT domain, local FROM main.accounts")
        try database.begin()
        do throws(StoreError) {
            for table in try database.tables() {
                let added = try takeTable(table, account)
                result.rows += added
                if table == "accounts", let account, added > 0 {
                    result.rows += try takeRights(of: account)
                }
                if table == "domains" { result.domains = added }
                if table == "accounts" { result.accounts = added }
            }
            try database.commit()
        } catch {
            database.rollback()
            throw error
        }
        return result
    }

    private func takeTable(_ table: String, _ account: EmailAddress?) throws(StoreError) -> UInt32 {
        let theirs = Set(try columns("copied", table))
        let ours = try columns("main", table)
        // Not what is counted anew, and not what was under way.
        let common = ours.filter { theirs.contains($0) && !$0.starts(with: "used_") }
        guard !common.isEmpty, table != "renames" else { return 0 }
        let list = common.map(Self.quoted).joined(separator: ", ")
        var sql = "INSERT OR IGNORE INTO main.\(Self.quoted(table))(\(list))"
        sql += " SELECT \(list) FROM copied.\(Self.quoted(table))"
        var parameters: [[UInt8]] = []
        if account == nil, table == "aliases" {
            // All targets of an alias, or none: never a mixture of then and now.
            sql += """
                 WHERE NOT EXISTS (SELECT 1 FROM main.aliases AS a
                  WHERE a.domain=copied.aliases.domain AND a.local=copied.aliases.local)
                """
        }
        if account == nil, table == "app_passwords" {
            sql += """
                 WHERE NOT EXISTS (SELECT 1 FROM temp.present AS p
                  WHERE p.domain=copied.app_passwords.domain
                    AND p.local=copied.app_passwords.local)
                """
        }
        if let account {
            if table == "domains", common.contains("name") {
                sql += " WHERE name=?1"
                parameters = [account.domain]
            } else if common.contains("domain"), common.contains("local"), table == "accounts" {
                sql += " WHERE domain=?1 AND local=?2"
                parameters = [account.domain, account.local.asciiLowercased]
            } else {
                return 0
            }
        }
        let insert = try database.statement(text: sql)
        for (index, value) in parameters.enumerated() { insert.set(Int32(index + 1), value) }
        let before = try database.number("SELECT total_changes()")
        try insert.run()
        return UInt32(clamping: try database.number("SELECT total_changes()") - before)
    }

    /// What belongs to one account that was not here: as whom it may send, the aliases of its
    /// name and those that lead to it, and the settings of a domain that has none. What is here
    /// stays as it is: an alias that leads elsewhere leads to this account again as well.
    private func takeRights(of account: EmailAddress) throws(StoreError) -> UInt32 {
        var theirs: Set<String> = []
        let tables = try database.statement(text: "SELECT name FROM copied.sqlite_master")
        while try tables.step() {
            theirs.insert(String(decoding: tables.octets(0), as: UTF8.self))
        }
        let before = try database.number("SELECT total_changes()")
        let (domain, local) = (account.domain, account.local.asciiLowercased)
        func run(_ table: String, _ sql: String) throws(StoreError) {
            guard theirs.contains(table) else { return }
            let statement = try database.statement(text: sql)
            statement.set(1, domain)
            if sql.contains("?2") { statement.set(2, local) }
            try statement.run()
        }
        try run(
            "senders",
            """
            INSERT OR IGNORE INTO main.senders SELECT domain, local, sender_domain, sender_local
              FROM copied.senders WHERE domain=?1 AND local=?2
            """)
        try run(
            "app_passwords",
            """
            INSERT OR IGNORE INTO main.app_passwords(domain, local, id, name, scopes, created,
                expires, used, scram_sha1, scram_sha256)
              SELECT domain, local, id, name, scopes, created, expires, used, scram_sha1,
                scram_sha256 FROM copied.app_passwords WHERE domain=?1 AND local=?2
            """)
        try run(
            "domain_settings",
            """
            INSERT OR IGNORE INTO main.domain_settings(name, quota_octets, quota_messages)
              SELECT name, quota_octets, quota_messages FROM copied.domain_settings
              WHERE name=?1
                AND NOT EXISTS (SELECT 1 FROM main.accounts WHERE domain=?1 AND local<>?2)
            """)
        // Aliases that are gone altogether come back with all their targets, in their order.
        try run(
            "aliases",
            """
            INSERT INTO main.aliases SELECT domain, local, place, target_domain, target_local
              FROM copied.aliases AS c
              WHERE (c.domain=?1 AND c.local=?2 OR EXISTS (SELECT 1 FROM copied.aliases AS t
                  WHERE t.domain=c.domain AND t.local=c.local AND t.target_domain=?1
                    AND t.target_local=?2))
                AND NOT EXISTS (SELECT 1 FROM main.aliases AS m
                  WHERE m.domain=c.domain AND m.local=c.local)
            """)
        try run(
            "aliases",
            """
            INSERT INTO main.aliases SELECT domain, local,
                (SELECT max(place) + 1 FROM main.aliases AS m
                  WHERE m.domain=c.domain AND m.local=c.local), ?1, ?2
              FROM copied.aliases AS c WHERE c.target_domain=?1 AND c.target_local=?2
                AND NOT EXISTS (SELECT 1 FROM main.aliases AS m WHERE m.domain=c.domain
                  AND m.local=c.local AND m.target_domain=?1 AND m.target_local=?2)
            """)
        return UInt32(clamping: try database.number("SELECT total_changes()") - before)
    }

    private func columns(_ schema: String, _ table: String) throws(StoreError) -> [String] {
        let rows = try database.statement(text: "SELECT name FROM pragma_table_info(?1, ?2)")
        rows.set(text: 1, table)
        rows.set(text: 2, schema)
        var names: [String] = []
        while try rows.step() { names.append(String(decoding: rows.octets(0), as: UTF8.self)) }
        return names
    }

    /// The directory in which directory.sqlite is.
    private func statePath() throws(StoreError) -> String {
        let file = try locked { () throws(StoreError) in
            try database.text("SELECT file FROM pragma_database_list WHERE name='main'")
        }
        guard let slash = file.lastIndex(of: "/") else {
            throw .index("path of the directory", code: SQLITE_CANTOPEN)
        }
        return String(file[..<slash])
    }

    private static func quoted(_ name: String) -> String {
        var quoted = "\""
        for character in name { quoted += character == "\"" ? "\"\"" : String(character) }
        return quoted + "\""
    }
}

extension SharedDescriptor {
    /// Octets of the file.
    package func size() throws(StoreError) -> Int64 {
        guard let descriptor = borrowed else { throw .file("stat", errno: EBADF) }
        return try System.status(descriptor).size
    }
}
