// SPDX-License-Identifier: Apache-2.0
//
// Tables and statements for what is known of messages beside their octets. docs/store.md.

extension Schema {
    /// Version 3. Previews are made when somebody asks, so a message without a row is nothing odd.
    static let detailTables: [StaticString] = [
        "CREATE TABLE previews(id INTEGER PRIMARY KEY, preview BLOB NOT NULL)"
    ]
}

extension Query {
    var detailSQL: StaticString {
        switch self {
        case .namesRange:
            """
            SELECT uid, name FROM files WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid
            """
        case .previewsRange:
            "SELECT id, preview FROM previews WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
        case .insertPreview: "INSERT OR REPLACE INTO previews VALUES(?1, ?2)"
        case .removePreviewsRange: "DELETE FROM previews WHERE id BETWEEN ?1 AND ?2"
        case .dropPreviews:
            "DELETE FROM previews WHERE id BETWEEN ?1 << 32 AND ?1 << 32 | 4294967295"
        default: preconditionFailure("a statement of no table")
        }
    }
}
