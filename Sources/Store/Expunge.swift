// SPDX-License-Identifier: Apache-2.0
//
// EXPUNGE and UID EXPUNGE. RFC 9051 §6.4.3, §6.4.9; RFC 7162 §3.2.7.

import Mail

extension AccountStore {
    /// Removes messages with `\Deleted` (nil: in the whole mailbox), or, with `force`, all that
    /// are named.
    ///
    ///     state  rows                     file     after a crash here
    ///     E0     there                    there    nothing happened
    ///     E1     gone, name in `doomed`   there    gone on with, in the background
    ///     E2     gone                     gone     done; kept in Expunged/ for the retention time
    ///
    /// Files of many messages follow in the background, see `retireDoomed`.
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
                removed += try index.uids(id, range, with: mask)
            }
            removed = Set(removed).sorted()
            if !removed.isEmpty { removed = try expungeNow(folder, removed) }
            return ExpungedMessages(uids: removed, highestModSeq: folder.modSeq)
        }
    }

    func expungeNow(_ folder: Folder, _ uids: [UInt32]) throws(StoreError) -> [UInt32] {
        let way = try wayOut(folder, uids, isMove: false)
        let modSeq = try index.allocateModSeq(in: folder.numbers)
        let doomed = try transaction(rows: uids.count) { () throws(StoreError) in
            try removeInTransaction(folder, uids, modSeq, way)
        }
        folder.shrinkImage(uids, at: modSeq)
        committed(folder, [], at: modSeq)
        reached(.expungeCommitted)
        takeAway(folder, doomed, way)
        if way == .now { reached(.expungeUnlinked) }
        return uids
    }

    /// Rows of messages go, their files are doomed.
    func removeInTransaction(
        _ folder: Folder, _ uids: [UInt32], _ modSeq: UInt64, _ way: WayOut
    ) throws(StoreError) -> [RemovedMessage] {
        // Before the new doomed rows: it may remove old ones.
        try putCounters(folder)
        let floor = folder.floor
        let removed = try index.remove(uids, at: modSeq, from: folder.numbers, later: way.mark)
        if folder.floor != floor { try index.putNumbers(of: folder.numbers) }
        return removed
    }
}
