// SPDX-License-Identifier: Apache-2.0
//
// Everything an account has at one moment, for a backup while the store runs. The rows are read in
// slices, so that others are served in between; the last slice adds what changed meanwhile, and
// that moment is the snapshot. Files stay readable while the account is held. docs/backup.md.

import Mail

/// How far a snapshot is.
package struct SnapshotProgress: Sendable {
    /// Folders not yet begun.
    fileprivate var rest: [MailboxID]
    /// MODSEQ of each folder before its first row was read.
    fileprivate var start: [MailboxID: UInt64] = [:]
    fileprivate var current: MailboxID?
    fileprivate var lastUID: UInt32 = 0
    fileprivate let withMessageIDs: Bool
}

/// What a slice found.
package struct SnapshotSlice: Sendable {
    package var mailbox: MailboxID
    /// What was found for this mailbox before is void.
    package var isAnew = false
    package var messages: [SnapshotMessage] = []
    package var gone: [UInt32] = []
}

extension AccountStore {
    package func beginSnapshot(withMessageIDs: Bool) throws(StoreError) -> SnapshotProgress {
        try guarded { () throws(StoreError) in
            try scanFoldersIfChanged()
            return SnapshotProgress(
                rest: try mailboxRows().map(\.id).reversed(), withMessageIDs: withMessageIDs)
        }
    }

    /// The next rows; nil when all were read and `endSnapshot` is due.
    package func snapshotSlice(
        _ progress: inout SnapshotProgress, limit: Int
    ) throws(StoreError) -> SnapshotSlice? {
        var copy = progress
        let slice = try guarded { () throws(StoreError) in try nextSlice(&copy, limit) }
        progress = copy
        return slice
    }

    private func nextSlice(
        _ progress: inout SnapshotProgress, _ limit: Int
    ) throws(StoreError) -> SnapshotSlice? {
        while true {
            guard let id = progress.current ?? progress.rest.popLast() else { return nil }
            if progress.current == nil {
                do throws(StoreError) {
                    progress.start[id] = try folder(id).modSeq
                } catch .noSuchMailbox {
                    continue
                }
                progress.current = id
                progress.lastUID = 0
            }
            let rows = try index.namedMessages(id, after: progress.lastUID, limit: limit)
            let messages = Self.snapshotMessages(rows, progress.withMessageIDs)
            guard let last = messages.last else {
                progress.current = nil
                continue
            }
            progress.lastUID = last.uid
            if messages.count < limit { progress.current = nil }
            return SnapshotSlice(mailbox: id, messages: messages)
        }
    }

    private static func snapshotMessages(
        _ rows: [SQLiteIndex.NamedMessage], _ withMessageIDs: Bool
    ) -> [SnapshotMessage] {
        rows.map { row in
            var file = FileName(row.name)
            let isBehind = file.flags != row.flags
            file.flags = row.flags
            return SnapshotMessage(
                uid: row.uid, size: row.size, date: row.date,
                name: isBehind ? file.octets ?? row.name : row.name,
                messageID: withMessageIDs ? row.messageID : [])
        }
    }

    /// What changed since the slices were read, and the state of everything now, in one step.
    package func endSnapshot(
        _ progress: SnapshotProgress
    ) throws(StoreError) -> (AccountSnapshot, [SnapshotFolder], [SnapshotSlice]) {
        try guarded { () throws(StoreError) in
            try scanFoldersIfChanged()
            var folders: [SnapshotFolder] = []
            var slices: [SnapshotSlice] = []
            for row in try mailboxRows() {
                let folder = try folder(row.id)
                if let slice = try changes(folder, since: progress) { slices.append(slice) }
                folders.append(
                    SnapshotFolder(
                        id: row.id, name: folder.name, directory: folder.directory,
                        highestModSeq: folder.modSeq, state: folder.state.octets,
                        keywords: folder.keywords.octets))
            }
            let subscriptions = try DurableFile.read(
                Subscriptions.fileName, in: maildir.descriptor)
            let snapshot = AccountSnapshot(
                time: System.now().seconds, state: accountState.octets,
                subscriptions: subscriptions ?? [], folders: folders.map(\.id))
            return (snapshot, folders, slices)
        }
    }

    private func changes(
        _ folder: Folder, since progress: SnapshotProgress
    ) throws(StoreError) -> SnapshotSlice? {
        let since = progress.start[folder.id]
        guard folder.modSeq != since else { return nil }
        var slice = SnapshotSlice(mailbox: folder.id)
        // New since the beginning, or its expunges are partly forgotten: all of it.
        slice.isAnew = since.map { $0 < folder.floor } ?? true
        let from = slice.isAnew ? 0 : since ?? 0
        let rows = try index.namedMessages(folder.id, changedSince: from)
        if slice.isAnew {
            // MODSEQ is never 0, so this is every message.
            slice.messages = Self.snapshotMessages(rows, progress.withMessageIDs)
            return slice
        }
        slice.messages = Self.snapshotMessages(rows, progress.withMessageIDs)
        slice.gone = try index.vanished(folder.id, since: from)
        return slice
    }

    /// A message of a snapshot, wherever its file is now. Nil if another program removed it.
    package func snapshotFile(
        _ mailbox: MailboxID, _ wanted: SnapshotFile
    ) throws(StoreError) -> (file: SharedDescriptor, size: Int64, date: SecondsSince1970)? {
        try guarded { () throws(StoreError) in
            guard let file = try findSnapshotFile(mailbox, wanted) else { return nil }
            let status = try System.status(file.descriptor)
            return (SharedDescriptor(file), status.size, status.seconds)
        }
    }

    private func findSnapshotFile(
        _ mailbox: MailboxID, _ wanted: SnapshotFile
    ) throws(StoreError) -> File? {
        for attempt in 0..<2 {
            let found: Folder?
            do throws(StoreError) {
                let opened = openedFolder(mailbox)
                found = opened != nil ? opened : try folder(mailbox)
            } catch .noSuchMailbox {
                found = nil
            }
            guard let folder = found else { break }
            if attempt > 0 {
                folder.needsScan = true  // renamed by another program
                try refresh(folder)
            }
            guard let name = try index.blob(mailbox, wanted.uid),
                FileName.unique(of: name) == wanted.unique
            else { break }
            if let file = try folder.blobs.openFile(name) { return file }
        }
        guard !wanted.unique.isEmpty, !wanted.unique.contains(0), !wanted.unique.contains(0x2F),
            let held = try System.openDirectoryIfPresent(
                Retention.heldName, in: account.descriptor)
        else { return nil }
        return try System.openFile(wanted.unique, in: held.descriptor)
    }
}
