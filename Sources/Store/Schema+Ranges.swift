// SPDX-License-Identifier: Apache-2.0
//
// Statements that treat a run of messages at once, for EXPUNGE, COPY and MOVE of many, and those for
// files that are on their way out. docs/store.md.

extension Query {
    var rangeSQL: StaticString {
        switch self {
        case .namedRange:
            """
            SELECT m.uid, m.size, m.flags, m.modseq, m.date, f.name FROM messages m
              JOIN files f ON f.mailbox=m.mailbox AND f.uid=m.uid
              WHERE m.mailbox=?1 AND m.uid BETWEEN ?2 AND ?3 ORDER BY m.uid
            """
        case .expungedFiles:
            """
            SELECT f.name, m.flags FROM files f JOIN messages m ON m.mailbox=f.mailbox
              AND m.uid=f.uid WHERE f.mailbox=?1 AND f.uid BETWEEN ?2 AND ?3 ORDER BY f.uid
            """
        case .doomRange:
            """
            INSERT OR REPLACE INTO doomed SELECT mailbox, name FROM files
              WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3
            """
        // As `DoomedFile` reads it. No file name has a slash.
        case .doomRangeLater:
            """
            INSERT OR REPLACE INTO doomed
              SELECT f.mailbox, CAST(f.name || char(47, ?4) || m.flags AS BLOB) FROM files f
              JOIN messages m ON m.mailbox=f.mailbox AND m.uid=f.uid
              WHERE f.mailbox=?1 AND f.uid BETWEEN ?2 AND ?3
            """
        case .insertExpungedRange:
            """
            INSERT OR REPLACE INTO expunged SELECT mailbox, ?4, uid FROM messages
              WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3
            """
        case .removeMessagesRange:
            "DELETE FROM messages WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3"
        case .removeFilesRange: "DELETE FROM files WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3"
        case .removeSummariesRange: "DELETE FROM summaries WHERE id BETWEEN ?1 AND ?2"
        case .removeListFieldsRange: "DELETE FROM list_fields WHERE id BETWEEN ?1 AND ?2"
        case .removeUnsummarizedRange: "DELETE FROM unsummarized WHERE id BETWEEN ?1 AND ?2"
        case .copyMessagesRange:
            """
            INSERT INTO messages SELECT ?4, uid + ?5, flags, flags, ?6, size, date FROM messages
              WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3
            """
        case .copySummariesRange:
            """
            INSERT OR REPLACE INTO summaries SELECT id + ?3, envelope, structure, keys
              FROM summaries WHERE id BETWEEN ?1 AND ?2
            """
        case .copyListFieldsRange:
            """
            INSERT OR REPLACE INTO list_fields SELECT id + ?3, fields FROM list_fields
              WHERE id BETWEEN ?1 AND ?2
            """
        case .copyUnsummarizedRange:
            """
            INSERT OR REPLACE INTO unsummarized SELECT id + ?3, lacks FROM unsummarized
              WHERE id BETWEEN ?1 AND ?2
            """
        case .doomedLater:
            "SELECT name FROM doomed WHERE mailbox=?1 AND instr(name, x'2F') > 0 LIMIT ?2"
        case .doomedFolderIDs:
            "SELECT DISTINCT mailbox FROM doomed WHERE instr(name, x'2F') > 0"
        case .hasDoomedNow:
            "SELECT 1 FROM doomed WHERE mailbox=?1 AND instr(name, x'2F') = 0 LIMIT 1"
        case .clearDoomedRow: "DELETE FROM doomed WHERE mailbox=?1 AND name=?2"
        case .clearDoomedNow: "DELETE FROM doomed WHERE mailbox=?1 AND instr(name, x'2F') = 0"
        default: detailSQL
        }
    }
}
