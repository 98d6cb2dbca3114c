// SPDX-License-Identifier: Apache-2.0
//
// What the kernel reports of an open folder's directories, and what it means for the rows: changes
// of our own are recognised by the names in the rows and cost a look-up each, those of other
// programs lead to a comparison. inotify(7); docs/store.md, "Other programs".

import Mail

/// One thing that happened in cur/ or new/.
package enum FolderEvent: Sendable {
    /// In cur/, complete or on its way.
    case appeared(PathOctets)
    case gone(PathOctets)
    /// A file of cur/ that somebody had open for writing was closed.
    case written(PathOctets)
    /// In new/.
    case delivered
    /// The folder's directory was moved or removed.
    case moved
    /// The kernel could not keep all events.
    case lost
}

/// What happened in one folder, in order.
package struct FolderEvents: Sendable {
    /// Beyond it the times of the directories decide.
    private static let limit = 512

    private(set) var names: [FolderEvent] = []
    private(set) var hasDeliveries = false
    private(set) var isMoved = false
    private(set) var isLost = false

    package init() {}

    package mutating func add(_ event: FolderEvent) {
        switch event {
        case .delivered: hasDeliveries = true
        case .moved: isMoved = true
        case .lost: isLost = true
        case .appeared, .gone, .written:
            if names.count < Self.limit { names.append(event) }
        }
    }
}

extension AccountStore {
    /// The directory of a mailbox, for whoever watches it.
    package func watchPath(_ id: MailboxID) -> String? {
        guard let folder = openedFolder(id) else { return nil }
        let directory = String(decoding: folder.directory, as: UTF8.self)
        return folder.directory.isEmpty ? "\(path)/Maildir" : "\(path)/Maildir/\(directory)"
    }

    /// Takes in what other programs did to a mailbox, if it was them.
    package func noticed(_ id: MailboxID, _ events: FolderEvents) throws(StoreError) {
        try guarded { () throws(StoreError) in
            if events.isMoved { try scanFoldersIfChanged() }
            guard let folder = openedFolder(id) else {
                if try index.storedUIDNext(id) != nil { _ = try self.folder(id) }
                return
            }
            for event in events.names where !folder.needsScan {
                switch event {
                case .appeared(let name):
                    // One that has gone on is told of under its next name.
                    if try !isOwn(name, in: folder),
                        try folder.blobs.status(name) != nil
                    {
                        folder.needsScan = true
                    }
                case .gone(let name):
                    if try isOwn(name, in: folder) { folder.needsScan = true }
                case .written(let name): try checkWritten(name, in: folder)
                case .delivered, .moved, .lost: break
                }
            }
            if events.isLost { folder.needsScan = true }
            if events.hasDeliveries { folder.newTime = 0 }
            try refresh(folder)
        }
    }

    /// True if a row has this file name.
    private func isOwn(_ name: PathOctets, in folder: Folder) throws(StoreError) -> Bool {
        guard name.first != 0x2E else { return true }  // never a message
        guard let uid = FileName(name).uid else { return false }
        return try index.blob(folder.id, uid) == name
    }

    /// A file that was taken in before its writer was done (it should have written in tmp/) is
    /// another message now: it gets a name and a UID of its own.
    private func checkWritten(_ name: PathOctets, in folder: Folder) throws(StoreError) {
        guard try isOwn(name, in: folder), name.first != 0x2E,
            let status = try folder.blobs.status(name),
            status.isRegular
        else { return }
        var file = FileName(name)
        guard file.fileSize != status.size else { return }
        file = file.renamed(root.makeUniqueName())
        file.fileSize = nil
        file.wireSize = nil
        file.uid = nil
        guard let fresh = file.octets else { return }
        _ = try folder.blobs.rename(name, to: fresh)
        folder.needsScan = true
    }
}
