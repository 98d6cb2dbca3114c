// SPDX-License-Identifier: Apache-2.0
//
// EXPUNGE and UID EXPUNGE. RFC 9051 §6.4.3, §6.4.9; RFC 7162 §3.2.7.

import Mail

extension AccountStore {
    /// Expunges remembered per mailbox before the older half is forgotten.
    private static let expungedLimit: Int64 = 20_000

    /// Removes messages with `\Deleted` (nil: in the whole mailbox), or, with `force`, all that
    /// are named.
    ///
    ///     state  rows                     file     after a crash here
    ///     E0     there                    there    nothing happened
    ///     E1     gone, name in `doomed`   there    as E2 when the folder is compared
    ///     E2     gone                     gone     done; kept in Expunged/ for the retention time
    ///
    /// If the index is lost in E1 the file comes back as a message: the safe side.
    package func expunge(
        _ id: MailboxID, uids: [UIDRange]?, force: Bool
    ) throws(StoreError) -> ExpungedMessages {
        try guarded { () throws(StoreError) in
            let folder = try folder(id)
            let mask: Flags = force && uids != nil ? [] : .deleted
            var removed: [UInt32] = []
            for range in uids ?? [UIDRange(1, .max)] {
                let rows = try database.query(.rangeWithFlags).bind(
                    id.rawValue, Int64(range.first), Int64(range.last), mask.stored)
                while try rows.step() { removed.append(UInt32(rows.integer(0))) }
            }
            removed = Set(removed).sorted()
            if !removed.isEmpty { removed = try expungeNow(folder, removed) }
            return ExpungedMessages(uids: removed, highestModSeq: folder.modSeq)
        }
    }

    func expungeNow(_ folder: Folder, _ uids: [UInt32]) throws(StoreError) -> [UInt32] {
        // The log does not look for files that were put aside: they are durable before they are.
        if root.retention.isOn { try synchronizeUnsynced(folder, uids) }
        let modSeq = try folder.nextModSeq()
        let doomed = try transaction { () throws(StoreError) in
            try removeInTransaction(folder, uids, modSeq)
        }
        folder.shrinkImage(Set(uids), at: modSeq)
        committed(folder, [], at: modSeq)
        reached(.expungeCommitted)
        unlinkDoomed(folder, doomed, isMove: false)
        reached(.expungeUnlinked)
        return uids
    }

    /// Rows of messages go, their files are doomed.
    func removeInTransaction(
        _ folder: Folder, _ uids: [UInt32], _ modSeq: UInt64
    ) throws(StoreError) -> [DoomedFile] {
        let id = folder.id.rawValue
        var files: [DoomedFile] = []
        try pruneExpunged(folder, adding: uids.count)
        // Before the new doomed rows: it may remove old ones.
        try putCounters(folder)
        for uid in uids {
            let row = try database.query(.expungeRow).bind(id, Int64(uid))
            let file =
                try row.step()
                ? DoomedFile(name: row.octets(0), flags: Flags(rawValue: UInt64(row.integer(1))))
                : nil
            row.reset()
            try removeRows(id, uid, modSeq)
            guard let file else { continue }
            files.append(file)
            let doomed = try database.query(.insertDoomed).bind(id)
            doomed.set(2, file.name)
            try doomed.run()
        }
        return files
    }

    /// Forgets the older half when there are too many, as part of a transaction.
    private func pruneExpunged(_ folder: Folder, adding count: Int) throws(StoreError) {
        folder.expungesSincePrune += count
        guard folder.expungesSincePrune > 2_000 else { return }
        folder.expungesSincePrune = 0
        let id = folder.id.rawValue
        let counted = try database.query(.expungedCount).bind(id)
        let kept = try counted.step() ? counted.integer(0) : 0
        counted.reset()
        guard kept > Self.expungedLimit else { return }
        let row = try database.query(.expungedFloor).bind(id, Self.expungedLimit / 2)
        guard try row.step() else { return }
        let floor = row.integer(0)
        row.reset()
        try database.query(.pruneExpunged).bind(id, floor).run()
        folder.floor = max(folder.floor, UInt64(floor))
    }
}
