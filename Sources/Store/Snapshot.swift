// SPDX-License-Identifier: Apache-2.0
//
// What sessions see: a mailbox at one moment, and what happened since. RFC 9051 §6.3.2, §6.3.11;
// RFC 7162 §3.1.2 and §3.2.5 (CHANGEDSINCE, VANISHED).

import Mail

/// What opening a mailbox finds.
package struct OpenSnapshot: Sendable {
    package var snapshot: MailboxSnapshot
    /// False: `entries` are those that changed since what the asker knows, and `vanished` are gone.
    package var isWhole = true
    package var vanished: [UInt32] = []
    /// Messages from this UID on are still to be asked for.
    package var next: UInt32?
}

extension AccountStore {
    /// A mailbox as it is now.
    package func snapshot(_ name: MailboxName) throws(StoreError) -> MailboxSnapshot {
        try guarded { () throws(StoreError) in
            let folder = try folder(name)
            var snapshot = Self.head(of: folder)
            snapshot.entries = try entries(of: folder)
            return snapshot
        }
    }

    /// A mailbox as it is now, for somebody who may know it as it was at `since`. Of a mailbox too
    /// large for one go only the first messages: `entries` then has the others.
    package func openSnapshot(
        _ name: MailboxName, knowing known: MailboxID?, since: UInt64
    ) throws(StoreError) -> OpenSnapshot {
        try guarded { () throws(StoreError) in
            let folder = try folder(name)
            var opened = OpenSnapshot(snapshot: Self.head(of: folder))
            if folder.id == known, since >= folder.floor, since <= folder.modSeq {
                let changes = try changes(in: folder, since: since)
                opened.snapshot.entries = changes.entries
                opened.vanished = changes.vanished
                opened.isWhole = false
                return opened
            }
            if folder.image?.modSeq == folder.modSeq {
                opened.snapshot.entries = try entries(of: folder)
                return opened
            }
            let entries = try page(folder.id, from: 1, below: .max, limit: Folder.imageLimit + 1)
            opened.snapshot.entries = entries
            if entries.count > Folder.imageLimit {
                opened.next = entries.last.map { $0.uid + 1 }
            } else {
                dropImages(but: folder)
                folder.image = (folder.modSeq, entries)
            }
            return opened
        }
    }

    /// Messages from the UID `start` on, as they are now.
    package func entries(
        _ id: MailboxID, from start: UInt32, below end: UInt32, limit: Int
    ) throws(StoreError) -> [MessageEntry] {
        try guarded { () throws(StoreError) in
            try page(id, from: start, below: end, limit: limit)
        }
    }

    private func page(
        _ id: MailboxID, from start: UInt32, below end: UInt32, limit: Int
    ) throws(StoreError) -> [MessageEntry] {
        guard start < end else { return [] }
        return try index.entries(id, UIDRange(start, end - 1), limit: limit)
    }

    private static func head(of folder: Folder) -> MailboxSnapshot {
        MailboxSnapshot(
            id: folder.id, uidValidity: folder.uidValidity, uidNext: folder.uidNext,
            highestModSeq: folder.modSeq, keywords: folder.keywords.names, entries: [])
    }

    /// The numbers of STATUS.
    package func status(_ name: MailboxName) throws(StoreError) -> MailboxStatus {
        try guarded { () throws(StoreError) in
            let folder = try folder(name)
            if folder.counts?.modSeq != folder.modSeq {
                folder.counts = (folder.modSeq, try index.totals(folder.id))
            }
            let counts = folder.counts?.totals
            return MailboxStatus(
                messages: counts?.messages ?? 0, unseen: counts?.unseen ?? 0,
                deleted: counts?.deleted ?? 0, size: counts?.octets ?? 0, uidNext: folder.uidNext,
                uidValidity: folder.uidValidity, highestModSeq: folder.modSeq)
        }
    }

    /// Sums over all mailboxes.
    package func totals() throws(StoreError) -> AccountTotals {
        let usage = try usage()
        return AccountTotals(
            size: usage.octets, messages: usage.messages, mailboxes: usage.mailboxes)
    }

    /// What happened to a mailbox after `since`. A mailbox that is gone says so.
    ///
    /// Expunges are forgotten after some ten thousand; whoever asks for older ones gets every
    /// UID that does not exist (RFC 7162 §3.2.10.2 allows more than was asked for).
    package func changes(_ id: MailboxID, since: UInt64) throws(StoreError) -> MailboxChanges {
        try guarded { () throws(StoreError) in
            let folder: Folder
            do throws(StoreError) {
                folder = try self.folder(id)
            } catch .noSuchMailbox {
                return MailboxChanges(
                    isGone: true, uidNext: 0, highestModSeq: 0, keywords: [], entries: [],
                    vanished: [])
            }
            return try changes(in: folder, since: since)
        }
    }

    private func changes(
        in folder: Folder, since: UInt64
    ) throws(StoreError) -> MailboxChanges {
        let id = folder.id
        var changes = MailboxChanges(
            uidNext: folder.uidNext, highestModSeq: folder.modSeq,
            keywords: folder.keywords.names, entries: [], vanished: [])
        guard since < folder.modSeq else { return changes }
        if since < folder.floor {
            let all = try entries(of: folder)
            changes.entries = all.filter { $0.modSeq > since }
            changes.vanished = Self.missing(from: all, below: folder.uidNext)
            return changes
        }
        return try index.reading { () throws(StoreError) in
            if let uids = folder.recentlyChanged(since: since) {
                for uid in uids {
                    if let entry = try index.entry(id, uid) { changes.entries.append(entry) }
                }
            } else {
                changes.entries = try index.entries(id, changedSince: since)
            }
            changes.vanished = try index.vanished(id, since: since)
            return changes
        }
    }

    /// All messages, by rising UID; kept until the next change.
    func entries(of folder: Folder) throws(StoreError) -> [MessageEntry] {
        if let image = folder.image, image.modSeq == folder.modSeq { return image.entries }
        let entries = try index.entries(
            folder.id, UIDRange(1, .max), limit: .max, reserving: folder.image?.entries.count ?? 0)
        dropImages(but: folder)
        folder.image = entries.count <= Folder.imageLimit ? (folder.modSeq, entries) : nil
        return entries
    }

    private static func missing(from entries: [MessageEntry], below uidNext: UInt32) -> [UInt32] {
        var missing: [UInt32] = []
        var next: UInt32 = 1
        for entry in entries {
            if next < entry.uid { missing += next..<entry.uid }
            next = entry.uid + 1
        }
        if next < uidNext { missing += next..<uidNext }
        return missing
    }
}
