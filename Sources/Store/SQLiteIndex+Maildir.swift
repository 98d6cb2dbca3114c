// SPDX-License-Identifier: Apache-2.0
//
// What only an index beside a Maildir is asked: names of files and the letters in them, marks, and
// rows that comparisons and repairs put right. docs/store.md. No other driver has any of it.

import Bytes
import Mail

extension SQLiteIndex {
    // MARK: - The file

    /// With `checkpoint` the log is emptied into the file before.
    func close(checkpoint: Bool) { database.close(checkpoint: checkpoint) }

    /// Gives back what can be made again.
    func trim() { database.trim() }

    /// True if anything was written since it was opened.
    var hasChanges: Bool { database.hasChanges }

    func checkpoint() throws(StoreError) { try database.run("PRAGMA wal_checkpoint(TRUNCATE)") }

    /// Makes the file as small and well ordered as it can be.
    func optimize() throws(StoreError) {
        try database.run("VACUUM")
        try database.run("PRAGMA optimize")
        try checkpoint()
    }

    /// What SQLite says about the file; empty: nothing is wrong.
    func problems() throws(StoreError) -> [UInt8] {
        let statement = try query(.quickCheck)
        defer { statement.reset() }
        guard try statement.step() else { return [UInt8]("no answer") }
        let answer = statement.octets(0)
        return answer == [UInt8]("ok") ? [] : answer
    }

    func meta(_ key: MetaKey) throws(StoreError) -> Int64? {
        let statement = try query(.getMeta).bind(key.rawValue)
        defer { statement.reset() }
        return try statement.step() ? statement.integer(0) : nil
    }

    func setMeta(_ key: MetaKey, _ value: Int64) throws(StoreError) {
        try query(.setMeta).bind(key.rawValue, value).run()
    }

    // MARK: - Mailboxes

    /// The directories' numbers count, whatever the rows say.
    func distrustMarks() throws(StoreError) { try query(.distrustMarks).run() }

    /// A rename has reached the directories.
    func finishRename(_ id: MailboxID) throws(StoreError) {
        try query(.finishRename).bind(id.rawValue).run()
    }

    func insertDoomedFolder(_ id: MailboxID, _ directory: PathOctets) throws(StoreError) {
        let statement = try query(.insertDoomedFolder).bind(id.rawValue)
        statement.set(2, directory)
        try statement.run()
    }

    func doomedFolders() throws(StoreError) -> [(id: MailboxID, directory: PathOctets)] {
        var doomed: [(id: MailboxID, directory: PathOctets)] = []
        let statement = try query(.doomedFolders)
        while try statement.step() {
            doomed.append((MailboxID(rawValue: statement.integer(0)), statement.octets(1)))
        }
        return doomed
    }

    func clearDoomedFolder(_ id: MailboxID) throws(StoreError) {
        try query(.clearDoomedFolder).bind(id.rawValue).run()
    }

    // MARK: - Names

    /// Of all mailboxes.
    func eachBlob(
        _ body: (_ id: MailboxID, _ uid: UInt32, _ blob: BlobID, _ size: Int) -> Void
    ) throws(StoreError) {
        let rows = try query(.allFileNames)
        while try rows.step() {
            body(
                MailboxID(rawValue: rows.integer(0)), UInt32(clamping: rows.integer(1)),
                rows.octets(2), Int(rows.integer(3)))
        }
    }

    func setBlob(_ id: MailboxID, _ uid: UInt32, _ blob: BlobID) throws(StoreError) {
        let statement = try query(.setName).bind(id.rawValue, Int64(uid))
        statement.set(3, blob)
        try statement.run()
    }

    func hasUnflushedNames() throws(StoreError) -> Bool {
        let statement = try query(.hasUnflushed)
        defer { statement.reset() }
        return try statement.step()
    }

    /// A message whose file name has other flags than its row.
    struct Unflushed {
        var mailbox: MailboxID
        var uid: UInt32
        var flags: Flags
        var name: PathOctets
    }

    func unflushed(limit: Int) throws(StoreError) -> [Unflushed] {
        var unflushed: [Unflushed] = []
        let rows = try query(.unflushed).bind(Int64(limit))
        while try rows.step() {
            unflushed.append(
                Unflushed(
                    mailbox: MailboxID(rawValue: rows.integer(0)), uid: UInt32(rows.integer(1)),
                    flags: Flags(rawValue: UInt64(bitPattern: rows.integer(2))),
                    name: rows.octets(3)))
        }
        return unflushed
    }

    /// The name has these flags now.
    func setFlushed(_ message: Unflushed) throws(StoreError) {
        try setBlob(message.mailbox, message.uid, message.name)
        try query(.setDiskFlags).bind(
            message.mailbox.rawValue, Int64(message.uid), message.flags.stored
        ).run()
    }

    /// Flags of the row, and those that the name had when it was looked at last.
    func flags(
        _ id: MailboxID, _ uid: UInt32
    ) throws(StoreError) -> (flags: Flags, diskFlags: Flags)? {
        let row = try query(.bothFlags).bind(id.rawValue, Int64(uid))
        defer { row.reset() }
        guard try row.step() else { return nil }
        return (
            Flags(rawValue: UInt64(bitPattern: row.integer(0))),
            Flags(rawValue: UInt64(bitPattern: row.integer(1)))
        )
    }

    func setFlags(
        _ id: MailboxID, _ uid: UInt32, _ flags: Flags, diskFlags: Flags, at modSeq: UInt64
    ) throws(StoreError) {
        try query(.setBothFlags).bind(
            id.rawValue, Int64(uid), flags.stored, diskFlags.stored, Int64(modSeq)
        ).run()
    }

    /// Every message counts as changed.
    func touchAll(_ id: MailboxID, at modSeq: UInt64) throws(StoreError) {
        try query(.touchMessages).bind(id.rawValue, Int64(modSeq)).run()
    }

    /// Files of a process that died may be there: only a comparison knows.
    func isAnyDoomed(_ id: MailboxID) throws(StoreError) -> Bool {
        let doomed = try query(.hasDoomedNow).bind(id.rawValue)
        defer { doomed.reset() }
        return try doomed.step()
    }

    // MARK: - Snapshots for backups

    /// A message with its name.
    struct NamedMessage {
        var uid: UInt32
        var flags: Flags
        var size: UInt32
        var date: SecondsSince1970
        var name: PathOctets
        var messageID: [UInt8]
    }

    func namedMessages(
        _ id: MailboxID, after uid: UInt32, limit: Int
    ) throws(StoreError) -> [NamedMessage] {
        try namedMessages(
            query(.snapshotFiles).bind(id.rawValue, Int64(uid), Int64(limit)))
    }

    func namedMessages(
        _ id: MailboxID, changedSince modSeq: UInt64
    ) throws(StoreError) -> [NamedMessage] {
        try namedMessages(query(.changedFiles).bind(id.rawValue, Int64(modSeq)))
    }

    private func namedMessages(_ rows: Statement) throws(StoreError) -> [NamedMessage] {
        var messages: [NamedMessage] = []
        while try rows.step() {
            messages.append(
                NamedMessage(
                    uid: UInt32(clamping: rows.integer(0)),
                    flags: Flags(rawValue: UInt64(bitPattern: rows.integer(1))),
                    size: UInt32(clamping: rows.integer(2)), date: rows.integer(3),
                    name: rows.octets(4), messageID: rows.octets(5)))
        }
        return messages
    }

    // MARK: - Checks and repairs

    private static let orphanQueries: [(count: Query, remove: Query)] = [
        (.countOrphanMessages, .removeOrphanMessages), (.countOrphanFiles, .removeOrphanFiles),
    ]

    /// Rows whose mailbox is not there, or whose other half is not.
    func orphanRows() throws(StoreError) -> Int64 {
        var sum: Int64 = 0
        for (count, _) in Self.orphanQueries {
            let statement = try query(count)
            if try statement.step() { sum += statement.integer(0) }
            statement.reset()
        }
        return sum
    }

    /// As part of a transaction.
    func removeOrphanRows() throws(StoreError) {
        for (_, remove) in Self.orphanQueries { try query(remove).run() }
    }

    func greatestNumbers(_ id: MailboxID) throws(StoreError) -> (uid: UInt32, modSeq: UInt64) {
        let statement = try query(.greatestNumbers).bind(id.rawValue)
        defer { statement.reset() }
        guard try statement.step() else { return (0, 0) }
        return (UInt32(clamping: statement.integer(0)), UInt64(clamping: statement.integer(1)))
    }

    func checkedRows(
        _ id: MailboxID, after uid: Int64, limit: Int64
    ) throws(StoreError) -> [CheckedRow] {
        var found: [CheckedRow] = []
        let rows = try query(.checkedRows).bind(id.rawValue, uid, limit)
        while try rows.step() {
            found.append(
                CheckedRow(
                    uid: UInt32(clamping: rows.integer(0)),
                    diskFlags: Flags(rawValue: UInt64(bitPattern: rows.integer(1))),
                    size: UInt32(clamping: rows.integer(2)), date: rows.integer(3),
                    name: rows.octets(4)))
        }
        return found
    }

    func setSize(
        _ id: MailboxID, _ uid: UInt32, _ size: Int64, at modSeq: UInt64
    ) throws(StoreError) {
        try query(.setSize).bind(id.rawValue, Int64(uid), size, Int64(modSeq)).run()
    }

    /// Counts all messages again, as part of a transaction.
    func recount() throws(StoreError) { try query(.recount).run() }
}
