// SPDX-License-Identifier: Apache-2.0
//
// Tables and statements for what lists show of messages. docs/store.md.

extension Schema {
    /// The key is mailbox << 32 | uid: the rows of a mailbox follow each other, and are not bound
    /// to the quarter of a page that a row without rowid may have.
    static let summaryTables: [StaticString] = [
        """
        CREATE TABLE summaries(id INTEGER PRIMARY KEY, envelope BLOB NOT NULL, structure BLOB,
          keys BLOB NOT NULL)
        """,
        // Apart, because most lists do not need it and it is the longest.
        "CREATE TABLE list_fields(id INTEGER PRIMARY KEY, fields BLOB NOT NULL)",
        // Messages for which something of it is still to be made.
        "CREATE TABLE unsummarized(id INTEGER PRIMARY KEY, lacks INTEGER NOT NULL)",
    ]
}

extension Query {
    var summarySQL: StaticString {
        switch self {
        case .summariesRange:
            """
            SELECT id, envelope, structure, keys FROM summaries
              WHERE id BETWEEN ?1 AND ?2 ORDER BY id
            """
        case .summariesAndFieldsRange:
            """
            SELECT s.id, envelope, structure, keys, fields FROM summaries s
              JOIN list_fields f ON f.id=s.id WHERE s.id BETWEEN ?1 AND ?2 ORDER BY s.id
            """
        case .listFieldsRange:
            "SELECT id, fields FROM list_fields WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
        case .keysRange:
            "SELECT id, keys FROM summaries WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
        case .insertSummary: "INSERT OR REPLACE INTO summaries VALUES(?1, ?2, ?3, ?4)"
        case .insertListFields: "INSERT OR REPLACE INTO list_fields VALUES(?1, ?2)"
        case .insertUnsummarized: "INSERT OR REPLACE INTO unsummarized VALUES(?1, ?2)"
        case .removeUnsummarized: "DELETE FROM unsummarized WHERE id=?1"
        case .dropSummaries:
            "DELETE FROM summaries WHERE id BETWEEN ?1 << 32 AND ?1 << 32 | 4294967295"
        case .dropListFields:
            "DELETE FROM list_fields WHERE id BETWEEN ?1 << 32 AND ?1 << 32 | 4294967295"
        case .dropUnsummarized:
            "DELETE FROM unsummarized WHERE id BETWEEN ?1 << 32 AND ?1 << 32 | 4294967295"
        case .unsummarizedRange:
            """
            SELECT id FROM unsummarized WHERE id BETWEEN ?1 AND ?2 AND lacks <= ?3 ORDER BY id
            """
        case .nextUnsummarized:
            "SELECT id FROM unsummarized WHERE id >= ?1 ORDER BY id LIMIT 1"
        case .anyUnsummarized: "SELECT 1 FROM unsummarized LIMIT 1"
        default: rangeSQL
        }
    }
}
