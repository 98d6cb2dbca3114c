// SPDX-License-Identifier: Apache-2.0
//
// Many messages in a few statements, for EXPUNGE, COPY and MOVE, and the rows of files that go in
// the background. RFC 9051 §6.4.3, §6.4.7, §6.4.8; docs/store.md, "Expunge".

import Mail

extension SQLiteIndex {
    /// - Parameter mark: the files go in the background, and this is what `doomed` says of them;
    ///   then nothing is returned.
    func remove(
        _ uids: [UInt32], at modSeq: UInt64, from mailbox: SQLiteMailbox, later mark: Int64?
    ) throws(StoreError) -> [RemovedMessage] {
        let id = mailbox.id.rawValue
        var removed: [RemovedMessage] = []
        try pruneExpunged(mailbox, adding: uids.count)
        for range in UIDRange.ranges(of: uids) {
            let (first, last) = (Int64(range.first), Int64(range.last))
            if let mark {
                try query(.doomRangeLater).bind(id, first, last, mark).run()
            } else {
                let rows = try query(.expungedFiles).bind(id, first, last)
                while try rows.step() {
                    let flags = Flags(rawValue: UInt64(bitPattern: rows.integer(1)))
                    removed.append(RemovedMessage(blob: rows.octets(0), flags: flags))
                }
                try query(.doomRange).bind(id, first, last).run()
            }
            try query(.insertExpungedRange).bind(id, first, last, Int64(modSeq)).run()
            try query(.removeMessagesRange).bind(id, first, last).run()
            try query(.removeFilesRange).bind(id, first, last).run()
            try removeSummaries(mailbox.id, range)
        }
        return removed
    }

    /// Copies of messages that follow each other, with their flags.
    ///
    /// - Parameter blobs: one for each.
    func copyRun(
        from source: MailboxID, _ uid: UInt32, _ blobs: [BlobID], to target: MailboxID,
        _ copy: UInt32, at modSeq: UInt64
    ) throws(StoreError) {
        let (first, to) = (Int64(uid), Int64(copy))
        try query(.copyMessagesRange).bind(
            source.rawValue, first, first + Int64(blobs.count) - 1, target.rawValue, to - first,
            Int64(modSeq)
        ).run()
        for (place, blob) in blobs.enumerated() {
            let file = try query(.copyFile).bind(
                source.rawValue, first + Int64(place), target.rawValue, to + Int64(place))
            file.set(5, blob)
            try file.run()
        }
        try copySummaries(source, uid, to: target, copy, count: blobs.count)
    }

    func eachEntry(
        _ id: MailboxID, _ uids: UIDRange, _ body: (MessageEntry, BlobID) -> Void
    ) throws(StoreError) {
        let rows = try query(.namedRange).bind(
            id.rawValue, Int64(uids.first), Int64(uids.last))
        while try rows.step() { body(Self.entry(rows), rows.octets(5)) }
    }

    /// With room for the pages of many messages.
    func transaction<Result>(
        _ durability: Durability, rows: Int, _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        guard rows > Database.wideFrom else { return try transaction(durability, body) }
        try database.widen()
        defer { database.narrow() }
        return try transaction(durability, body)
    }

    // MARK: - Files on their way out

    /// The files that did not wait for the background are durably gone.
    func forgetDoomedNow(in id: MailboxID) throws(StoreError) {
        try query(.clearDoomedNow).bind(id.rawValue).run()
    }

    /// All rows of files that are on their way out.
    func doomedFiles(_ id: MailboxID) throws(StoreError) -> [DoomedFile] {
        var files: [DoomedFile] = []
        let rows = try query(.doomed).bind(id.rawValue)
        while try rows.step() { files.append(DoomedFile(row: rows.octets(0))) }
        return files
    }

    /// Rows of files that go in the background.
    func doomedLater(_ id: MailboxID, limit: Int) throws(StoreError) -> [DoomedFile] {
        var files: [DoomedFile] = []
        let rows = try query(.doomedLater).bind(id.rawValue, Int64(limit))
        while try rows.step() { files.append(DoomedFile(row: rows.octets(0))) }
        return files
    }

    func forgetDoomed(_ file: DoomedFile, in id: MailboxID) throws(StoreError) {
        let statement = try query(.clearDoomedRow).bind(id.rawValue)
        statement.set(2, file.row)
        try statement.run()
    }

    func mailboxesWithDoomed() throws(StoreError) -> Set<MailboxID> {
        var ids: Set<MailboxID> = []
        let rows = try query(.doomedFolderIDs)
        while try rows.step() { ids.insert(MailboxID(rawValue: rows.integer(0))) }
        return ids
    }
}
