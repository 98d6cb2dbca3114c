// SPDX-License-Identifier: Apache-2.0
//
// Tables and statements of `index.sqlite`. Everything in it can be made again from the Maildir,
// so a version without steps to ours is rebuilt. docs/store.md.

/// The layout of an account's index.
enum Schema {
    static let version: Int64 = 3

    /// From earlier versions. Nothing in the index is worth keeping an old copy for: beside newer
    /// files it would give UIDs out twice.
    static let migration = Migration(
        name: "index.sqlite", version: version, statements: first + second + third,
        steps: [
            MigrationStep(from: 1, statements: second), MigrationStep(from: 2, statements: third),
        ], keepsOld: false)

    /// Version 3.
    private static let third = detailTables

    /// Version 2.
    private static let second =
        usage + summaryTables + [
            "INSERT INTO unsummarized SELECT mailbox << 32 | uid, 1 FROM messages"
        ]

    /// Version 1.
    private static let first: [StaticString] = [
        // id is the UIDVALIDITY: unique in the account for ever, so an id never comes back.
        // previous: the directory before a rename that may not be finished on disk.
        // *_time: modification times of cur/ and new/ as of the rows; others mean: look again.
        """
        CREATE TABLE mailboxes(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE,
          directory BLOB NOT NULL, previous BLOB, special_use INTEGER NOT NULL,
          uid_next INTEGER NOT NULL, modseq INTEGER NOT NULL, uid_mark INTEGER NOT NULL,
          modseq_mark INTEGER NOT NULL, floor INTEGER NOT NULL,
          cur_time INTEGER NOT NULL, new_time INTEGER NOT NULL)
        """,
        // What every SELECT reads: narrow on purpose.
        """
        CREATE TABLE messages(mailbox INTEGER NOT NULL, uid INTEGER NOT NULL,
          flags INTEGER NOT NULL, disk_flags INTEGER NOT NULL, modseq INTEGER NOT NULL,
          size INTEGER NOT NULL, date INTEGER NOT NULL, PRIMARY KEY(mailbox, uid)) WITHOUT ROWID
        """,
        "CREATE INDEX unflushed ON messages(mailbox, uid) WHERE flags <> disk_flags",
        """
        CREATE TABLE files(mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, name BLOB NOT NULL,
          subject BLOB, sender BLOB, recipients BLOB, message_id BLOB,
          PRIMARY KEY(mailbox, uid)) WITHOUT ROWID
        """,
        """
        CREATE TABLE expunged(mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL,
          uid INTEGER NOT NULL, PRIMARY KEY(mailbox, modseq, uid)) WITHOUT ROWID
        """,
        // Files whose rows are gone on purpose, until they are known to be unlinked.
        """
        CREATE TABLE doomed(mailbox INTEGER NOT NULL, name BLOB NOT NULL,
          PRIMARY KEY(mailbox, name)) WITHOUT ROWID
        """,
        // Folders deleted on purpose, until they are known to be gone.
        "CREATE TABLE doomed_folders(id INTEGER PRIMARY KEY, directory BLOB NOT NULL)",
        "CREATE TABLE meta(key INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
    ]
}

/// Rows of `meta`.
enum MetaKey: Int64 {
    /// Modification time of the Maildir as of the rows.
    case maildirTime = 1
    /// The greatest UIDVALIDITY given out.
    case uidValidity = 2
    /// Which delivery log `applied` belongs to.
    case log = 10
    /// Messages of the delivery log up to this position have, or had, their row.
    case applied = 11
    /// What `index.closed` says if this is the file that was closed last.
    case closing = 16
}

/// The statements that are kept prepared.
enum Query: Int {
    case getMeta, setMeta
    case mailboxByName, mailboxByID, allMailboxes, insertMailbox, updateMailbox, renameMailbox
    case finishRename, removeMailbox, setSpecialUse, mailboxTimes
    case insertMessage, insertFile, copyFile, removeMessage, removeFile
    case snapshot, snapshotRange, rangeWithFlags, changedEntries, entry
    case replaceFlags, addFlags, removeFlags
    case totals, fileName, unflushed, setName, bothFlags, folderFileNames, hasUnflushed
    case insertExpunged, vanishedSince, expungedCount, expungedFloor, pruneExpunged
    case doomed, clearDoomed, insertDoomedFolder, doomedFolders, clearDoomedFolder
    case touchMessages, setBothFlags, setDiskFlags
    case dropMessages, dropFiles, dropExpunged, mailboxCount
    case usage, recount, deletedOctets
    case allFileNames
    case summariesRange, summariesAndFieldsRange, listFieldsRange, keysRange
    case insertSummary, insertListFields, insertUnsummarized
    case removeUnsummarized
    case dropSummaries, dropListFields, dropUnsummarized
    case unsummarizedRange, nextUnsummarized, anyUnsummarized
    case quickCheck, countOrphanMessages, countOrphanFiles, removeOrphanMessages
    case distrustMarks, removeOrphanFiles, greatestNumbers, checkedRows, setSize
    case snapshotFiles, changedFiles
    case namedRange, expungedFiles, doomRange, doomRangeLater, insertExpungedRange,
        removeMessagesRange
    case removeFilesRange, removeSummariesRange, removeListFieldsRange, removeUnsummarizedRange
    case copyMessagesRange, copySummariesRange, copyListFieldsRange, copyUnsummarizedRange
    case namesRange, previewsRange, insertPreview, removePreviewsRange, dropPreviews
    case doomedLater, doomedFolderIDs, hasDoomedNow, clearDoomedRow, clearDoomedNow

    var sql: StaticString {
        switch self {
        case .getMeta: "SELECT value FROM meta WHERE key=?1"
        case .setMeta: "INSERT OR REPLACE INTO meta VALUES(?1, ?2)"
        case .mailboxByName: "SELECT id FROM mailboxes WHERE name=?1"
        case .mailboxByID:
            """
            SELECT name, directory, special_use, uid_next, modseq, uid_mark, modseq_mark, floor,
              cur_time, new_time FROM mailboxes WHERE id=?1
            """
        case .allMailboxes:
            "SELECT id, name, directory, special_use, previous FROM mailboxes ORDER BY name"
        case .insertMailbox:
            "INSERT INTO mailboxes VALUES(?1, ?2, ?3, NULL, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0)"
        case .updateMailbox:
            """
            UPDATE mailboxes SET uid_next=?2, modseq=?3, uid_mark=?4, modseq_mark=?5, floor=?6,
              cur_time=?7, new_time=?8 WHERE id=?1
            """
        case .renameMailbox: "UPDATE mailboxes SET name=?2, directory=?3, previous=?4 WHERE id=?1"
        case .finishRename: "UPDATE mailboxes SET previous=NULL WHERE id=?1"
        case .removeMailbox: "DELETE FROM mailboxes WHERE id=?1"
        case .setSpecialUse: "UPDATE mailboxes SET special_use=?2 WHERE id=?1"
        case .mailboxTimes: "UPDATE mailboxes SET cur_time=?2, new_time=?3 WHERE id=?1"
        case .insertMessage: "INSERT INTO messages VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
        case .insertFile: "INSERT INTO files VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"
        case .copyFile:
            """
            INSERT INTO files SELECT ?3, ?4, ?5, subject, sender, recipients, message_id
              FROM files WHERE mailbox=?1 AND uid=?2
            """
        case .removeMessage: "DELETE FROM messages WHERE mailbox=?1 AND uid=?2"
        case .removeFile: "DELETE FROM files WHERE mailbox=?1 AND uid=?2"
        case .snapshot:
            "SELECT uid, size, flags, modseq, date FROM messages WHERE mailbox=?1 ORDER BY uid"
        case .snapshotRange:
            """
            SELECT uid, size, flags, modseq, date FROM messages
              WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid
            """
        case .rangeWithFlags:
            """
            SELECT uid FROM messages
              WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 AND flags & ?4 = ?4 ORDER BY uid
            """
        case .changedEntries:
            """
            SELECT uid, size, flags, modseq, date FROM messages
              WHERE mailbox=?1 AND modseq>?2 ORDER BY uid
            """
        case .entry:
            "SELECT uid, size, flags, modseq, date FROM messages WHERE mailbox=?1 AND uid=?2"
        case .replaceFlags:
            """
            UPDATE messages SET flags=?4, modseq=?5 WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3
              AND flags <> ?4 AND modseq <= ?6
            """
        case .addFlags:
            """
            UPDATE messages SET flags=flags | ?4, modseq=?5
              WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 AND flags & ?4 <> ?4 AND modseq <= ?6
            """
        case .removeFlags:
            """
            UPDATE messages SET flags=flags & ~?4, modseq=?5
              WHERE mailbox=?1 AND uid BETWEEN ?2 AND ?3 AND flags & ?4 <> 0 AND modseq <= ?6
            """
        case .touchMessages: "UPDATE messages SET modseq=?2 WHERE mailbox=?1"
        case .setBothFlags:
            """
            UPDATE messages SET flags=?3, disk_flags=?4, modseq=?5 WHERE mailbox=?1 AND uid=?2
            """
        case .setDiskFlags: "UPDATE messages SET disk_flags=?3 WHERE mailbox=?1 AND uid=?2"
        case .totals:
            """
            SELECT count(*), sum(flags & 1 = 0), sum(flags & 8 <> 0), sum(size)
              FROM messages WHERE mailbox=?1
            """
        case .fileName: "SELECT name FROM files WHERE mailbox=?1 AND uid=?2"
        case .unflushed:
            """
            SELECT m.mailbox, m.uid, m.flags, f.name FROM messages m
              JOIN files f ON f.mailbox=m.mailbox AND f.uid=m.uid
              WHERE m.flags <> m.disk_flags ORDER BY m.mailbox, m.uid LIMIT ?1
            """
        case .setName: "UPDATE files SET name=?3 WHERE mailbox=?1 AND uid=?2"
        case .bothFlags: "SELECT flags, disk_flags FROM messages WHERE mailbox=?1 AND uid=?2"
        case .folderFileNames: "SELECT uid, name FROM files WHERE mailbox=?1"
        case .hasUnflushed: "SELECT 1 FROM messages WHERE flags <> disk_flags LIMIT 1"
        case .insertExpunged: "INSERT OR REPLACE INTO expunged VALUES(?1, ?2, ?3)"
        case .vanishedSince: "SELECT uid FROM expunged WHERE mailbox=?1 AND modseq>?2"
        case .expungedCount: "SELECT count(*) FROM expunged WHERE mailbox=?1"
        case .expungedFloor:
            "SELECT modseq FROM expunged WHERE mailbox=?1 ORDER BY modseq DESC LIMIT 1 OFFSET ?2"
        case .pruneExpunged: "DELETE FROM expunged WHERE mailbox=?1 AND modseq<=?2"
        case .doomed: "SELECT name FROM doomed WHERE mailbox=?1"
        case .clearDoomed: "DELETE FROM doomed WHERE mailbox=?1"
        case .insertDoomedFolder: "INSERT OR REPLACE INTO doomed_folders VALUES(?1, ?2)"
        case .doomedFolders: "SELECT id, directory FROM doomed_folders"
        case .clearDoomedFolder: "DELETE FROM doomed_folders WHERE id=?1"
        case .quickCheck: "PRAGMA quick_check(1)"
        case .countOrphanMessages:
            """
            SELECT count(*) FROM messages m WHERE NOT EXISTS(SELECT 1 FROM mailboxes
              WHERE id=m.mailbox) OR NOT EXISTS(SELECT 1 FROM files f
              WHERE f.mailbox=m.mailbox AND f.uid=m.uid)
            """
        case .countOrphanFiles:
            """
            SELECT count(*) FROM files f WHERE NOT EXISTS(SELECT 1 FROM messages m
              WHERE m.mailbox=f.mailbox AND m.uid=f.uid)
            """
        case .removeOrphanMessages:
            """
            DELETE FROM messages WHERE mailbox NOT IN (SELECT id FROM mailboxes)
              OR NOT EXISTS(SELECT 1 FROM files f
              WHERE f.mailbox=messages.mailbox AND f.uid=messages.uid)
            """
        case .removeOrphanFiles:
            """
            DELETE FROM files WHERE NOT EXISTS(SELECT 1 FROM messages m
              WHERE m.mailbox=files.mailbox AND m.uid=files.uid)
            """
        case .distrustMarks: "UPDATE mailboxes SET uid_mark=0, modseq_mark=0"
        case .greatestNumbers:
            "SELECT max(uid), max(modseq) FROM messages WHERE mailbox=?1"
        case .checkedRows:
            """
            SELECT m.uid, m.disk_flags, m.size, m.date, f.name FROM messages m
              JOIN files f ON f.mailbox=m.mailbox AND f.uid=m.uid
              WHERE m.mailbox=?1 AND m.uid>?2 ORDER BY m.uid LIMIT ?3
            """
        case .setSize: "UPDATE messages SET size=?3, modseq=?4 WHERE mailbox=?1 AND uid=?2"
        case .dropMessages: "DELETE FROM messages WHERE mailbox=?1"
        case .dropFiles: "DELETE FROM files WHERE mailbox=?1"
        case .dropExpunged: "DELETE FROM expunged WHERE mailbox=?1"
        case .mailboxCount: "SELECT count(*) FROM mailboxes"
        case .usage: "SELECT octets, messages FROM usage WHERE id=1"
        case .deletedOctets:
            "SELECT sum(size) FROM messages WHERE mailbox=?1 AND flags & 8 <> 0"
        case .recount:
            """
            UPDATE usage SET octets=(SELECT coalesce(sum(size), 0) FROM messages),
              messages=(SELECT count(*) FROM messages) WHERE id=1
            """
        case .snapshotFiles:
            """
            SELECT m.uid, m.flags, m.size, m.date, f.name, f.message_id FROM messages m
              JOIN files f ON f.mailbox=m.mailbox AND f.uid=m.uid
              WHERE m.mailbox=?1 AND m.uid>?2 ORDER BY m.uid LIMIT ?3
            """
        case .changedFiles:
            """
            SELECT m.uid, m.flags, m.size, m.date, f.name, f.message_id FROM messages m
              JOIN files f ON f.mailbox=m.mailbox AND f.uid=m.uid
              WHERE m.mailbox=?1 AND m.modseq>?2 ORDER BY m.uid
            """
        case .allFileNames:
            """
            SELECT f.mailbox, f.uid, f.name, m.size FROM files f
              JOIN messages m ON m.mailbox=f.mailbox AND m.uid=f.uid
            """
        default: summarySQL
        }
    }
}

extension Database {
    func query(_ query: Query) throws(StoreError) -> Statement {
        try statement(query.rawValue, query.sql)
    }
}
