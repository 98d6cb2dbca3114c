// SPDX-License-Identifier: Apache-2.0
//
// `<state>/directory.backup`: the directory as text, from which the database is made again when it
// is lost or damaged. A line per row, `table column=value ...`, values percent-encoded, NULL left
// out; mode 0600, for the password hashes are in it. docs/store.md, "When something is broken".

import Bytes
import Mail

enum DirectoryText {
    static let fileName = "directory.backup"
    private static let header = "martlet-directory 1"
    private static let octetLimit = 256 << 20
    /// Behind the slots of `DirectoryQuery`.
    private static let firstSlot = 200

    private enum Kind { case text, number }

    private struct Table {
        var name: String
        var columns: [(name: String, kind: Kind)]
        var select: StaticString
        var insert: StaticString
    }

    /// Totals as they were last counted are not kept: they are counted again.
    private static let tables = [
        Table(
            name: "domains", columns: [("name", .text)],
            select: "SELECT name FROM domains ORDER BY name",
            insert: "INSERT INTO domains(name) VALUES(?1)"),
        Table(
            name: "accounts",
            columns: [
                ("domain", .text), ("local", .text), ("created", .number), ("hash", .text),
                ("state", .number), ("quota_octets", .number), ("quota_messages", .number),
                ("scram_salt", .text), ("scram_iterations", .number), ("scram_sha1", .text),
                ("scram_sha256", .text), ("cram_md5", .text),
            ],
            select: """
                SELECT domain, local, created, hash, state, quota_octets, quota_messages,
                  scram_salt, scram_iterations, scram_sha1, scram_sha256, cram_md5
                  FROM accounts ORDER BY domain, local
                """,
            insert: """
                INSERT INTO accounts(domain, local, created, hash, state, quota_octets,
                  quota_messages, scram_salt, scram_iterations, scram_sha1, scram_sha256, cram_md5)
                  VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                """),
        Table(
            name: "domain_settings",
            columns: [
                ("name", .text), ("alias_of", .text), ("quota_octets", .number),
                ("quota_messages", .number),
            ],
            select: """
                SELECT name, alias_of, quota_octets, quota_messages FROM domain_settings
                  ORDER BY name
                """,
            insert: """
                INSERT INTO domain_settings(name, alias_of, quota_octets, quota_messages)
                  VALUES(?1, ?2, ?3, ?4)
                """),
        Table(
            name: "aliases",
            columns: [
                ("domain", .text), ("local", .text), ("place", .number),
                ("target_domain", .text), ("target_local", .text),
            ],
            select: """
                SELECT domain, local, place, target_domain, target_local FROM aliases
                  ORDER BY domain, local, place
                """,
            insert: """
                INSERT INTO aliases(domain, local, place, target_domain, target_local)
                  VALUES(?1, ?2, ?3, ?4, ?5)
                """),
        Table(
            name: "senders",
            columns: [
                ("domain", .text), ("local", .text), ("sender_domain", .text),
                ("sender_local", .text),
            ],
            select: """
                SELECT domain, local, sender_domain, sender_local FROM senders
                  ORDER BY domain, local, sender_domain, sender_local
                """,
            insert: """
                INSERT INTO senders(domain, local, sender_domain, sender_local)
                  VALUES(?1, ?2, ?3, ?4)
                """),
        Table(
            name: "renames",
            columns: [
                ("domain", .text), ("local", .text), ("new_domain", .text), ("new_local", .text),
            ],
            select: "SELECT domain, local, new_domain, new_local FROM renames",
            insert: """
                INSERT INTO renames(domain, local, new_domain, new_local) VALUES(?1, ?2, ?3, ?4)
                """),
        Table(
            name: "app_passwords",
            columns: [
                ("domain", .text), ("local", .text), ("id", .number), ("name", .text),
                ("scopes", .number), ("created", .number), ("expires", .number),
                ("used", .number), ("scram_sha1", .text), ("scram_sha256", .text),
            ],
            select: """
                SELECT domain, local, id, name, scopes, created, expires, used, scram_sha1,
                  scram_sha256 FROM app_passwords ORDER BY domain, local, id
                """,
            insert: """
                INSERT INTO app_passwords VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                """),
        Table(
            name: "bans", columns: [("network", .text), ("since", .number), ("until", .number)],
            select: "SELECT network, since, until FROM bans ORDER BY network",
            insert: "INSERT INTO bans VALUES(?1, ?2, ?3)"),
    ]

    // MARK: - Writing

    /// Every row as text.
    static func octets(_ database: Database) throws(StoreError) -> [UInt8] {
        var text = [UInt8](header)
        text.append(.lf)
        var count = 0
        for (place, table) in tables.enumerated() {
            let rows = try database.statement(firstSlot + place * 2, table.select)
            while try rows.step() {
                text += Array(table.name.utf8)
                for (index, column) in table.columns.enumerated() {
                    let index = Int32(index)
                    if rows.isNull(index) { continue }
                    text.append(.space)
                    text += Array(column.name.utf8)
                    text.append(0x3D)
                    switch column.kind {
                    case .number: text += Array("\(rows.integer(index))".utf8)
                    case .text: append(rows.octets(index), to: &text)
                    }
                }
                text.append(.lf)
                count += 1
            }
        }
        text += Array("end \(count)\n".utf8)
        return text
    }

    private static func append(_ value: [UInt8], to text: inout [UInt8]) {
        let digits = [UInt8]("0123456789ABCDEF")
        for octet in value {
            if octet > 0x20, octet < 0x7F, octet != 0x25 {
                text.append(octet)
            } else {
                text += [0x25, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            }
        }
    }

    // MARK: - Reading

    /// The file; nil when there is none.
    static func read(in state: Int32) throws(StoreError) -> [UInt8]? {
        guard let file = try System.openFile(PathOctets(fileName), in: state) else { return nil }
        return try System.read(
            file.descriptor, from: 0,
            count: min(octetLimit, Int(try System.status(file.descriptor).size)))
    }

    /// Puts every row into empty tables, in one transaction.
    ///
    /// - Throws: `.index` if the text is not complete; nothing has been changed then.
    static func restore(_ octets: [UInt8], into database: Database) throws(StoreError) {
        let lines = octets.split(separator: .lf)
        guard lines.first?.elementsEqual(header.utf8) == true, lines.count >= 2,
            lines[lines.count - 1].elementsEqual("end \(lines.count - 2)".utf8)
        else { throw unreadable }
        try database.begin()
        do throws(StoreError) {
            for line in lines[1..<(lines.count - 1)] { try insert(line, into: database) }
            try database.commit()
        } catch {
            database.rollback()
            throw error
        }
    }

    private static let unreadable = StoreError.index(
        "directory.sqlite is empty, and directory.backup beside it cannot be read", code: 26)

    private static func insert(
        _ line: ArraySlice<UInt8>, into database: Database
    ) throws(StoreError) {
        let words = line.split(separator: .space)
        guard let name = words.first,
            let place = tables.firstIndex(where: { name.elementsEqual($0.name.utf8) })
        else { throw unreadable }
        let table = tables[place]
        let row = try database.statement(firstSlot + place * 2 + 1, table.insert)
        for index in table.columns.indices { row.set(Int32(index + 1), nil) }
        for word in words.dropFirst() {
            guard let equals = word.firstIndex(of: 0x3D) else { throw unreadable }
            // A column of a later release is left out.
            guard
                let index = table.columns.firstIndex(where: {
                    word[..<equals].elementsEqual($0.name.utf8)
                })
            else { continue }
            let value = try decoded(word[(equals + 1)...])
            switch table.columns[index].kind {
            case .text: row.set(Int32(index + 1), value)
            case .number:
                guard let number = Int64(String(decoding: value, as: UTF8.self)) else {
                    throw unreadable
                }
                row.set(Int32(index + 1), number)
            }
        }
        try row.run()
    }

    private static func decoded(_ text: ArraySlice<UInt8>) throws(StoreError) -> [UInt8] {
        var value: [UInt8] = []
        var index = text.startIndex
        while index < text.endIndex {
            if text[index] == 0x25 {
                guard index + 2 < text.endIndex,
                    let octet = UInt8(
                        String(decoding: text[(index + 1)...(index + 2)], as: UTF8.self),
                        radix: 16)
                else { throw unreadable }
                value.append(octet)
                index += 3
            } else {
                value.append(text[index])
                index += 1
            }
        }
        return value
    }

    /// True if there is no row that a copy would hold.
    static func isEmpty(_ database: Database) throws(StoreError) -> Bool {
        for (place, table) in tables.enumerated() {
            let rows = try database.statement(firstSlot + place * 2, table.select)
            defer { rows.reset() }
            if try rows.step() { return false }
        }
        return true
    }
}
