// SPDX-License-Identifier: Apache-2.0
//
// Putting right what a comparison of index and Maildir found. No message is ever deleted: what
// belongs to no mailbox goes into the mailbox `lost+found`. docs/store.md, "When something is
// broken".

import Bytes
import Mail

/// A message's rows, as the comparison needs them.
struct CheckedRow {
    var uid: UInt32
    var diskFlags: Flags
    var size: UInt32
    var date: SecondsSince1970
    var name: PathOctets
}

extension FileName {
    /// `<seconds>.<something>.<host>`, as message files are named.
    static func looksLikeMessage(_ name: PathOctets) -> Bool {
        let parts = name.split(separator: 0x2E, maxSplits: 2)
        return parts.count == 3 && parts[0].count >= 9 && parts[0].allSatisfy(\.isASCIIDigit)
    }

    /// No unique part, or octets that no program would choose.
    static func isBad(_ name: PathOctets) -> Bool {
        unique(of: name).isEmpty || name.contains { $0 < 0x20 || $0 == 0x7F }
    }
}

extension AccountStore {
    // MARK: - What the comparison asks the index

    /// The messages' files are still there: a comparison takes them in again.
    func removeOrphanRows() throws(StoreError) {
        try transaction { () throws(StoreError) in try index.removeOrphanRows() }
        for row in try mailboxRows() { openedFolder(row.id)?.needsScan = true }
    }

    /// Unique names of files that are on their way out.
    func doomedNames(_ id: MailboxID) throws(StoreError) -> Set<PathOctets> {
        Set(try index.doomed(id).map { FileName.unique(of: $0) })
    }

    // MARK: - Repairs

    func raiseNumbers(
        _ folder: Folder, _ greatest: (uid: UInt32, modSeq: UInt64)
    ) throws(StoreError) {
        guard greatest.uid < .max - FolderState.uidStep, greatest.modSeq < 1 << 61 else {
            throw .limit
        }
        folder.uidNext = max(folder.uidNext, greatest.uid + 1)
        folder.modSeq = max(folder.modSeq, greatest.modSeq)
        var state = folder.state
        state.uidMark = max(state.uidMark, folder.uidNext + FolderState.uidStep)
        state.modSeqMark = max(state.modSeqMark, folder.modSeq + FolderState.modSeqStep)
        try folder.blobs.write(state)
        folder.state = state
        try transaction { () throws(StoreError) in try putCounters(folder) }
        noteChange(folder)
    }

    /// The file gets the UID of its row; a rebuilt index would have another one otherwise.
    func renameToRow(_ folder: Folder, _ row: CheckedRow) throws(StoreError) {
        var file = FileName(row.name)
        file.uid = row.uid
        guard let name = file.octets, try folder.blobs.status(name) == nil else { return }
        try rename(folder, row.uid, row.name, to: name)
    }

    /// The name in the row becomes one that no file has, so that a comparison sees the letters.
    func forgetName(_ folder: Folder, _ row: CheckedRow) throws(StoreError) {
        try index.setBlob(folder.id, row.uid, FileName.unique(of: row.name))
    }

    /// Clients have been told the row's.
    func restoreDate(_ folder: Folder, _ row: CheckedRow) throws(StoreError) {
        try folder.blobs.setDate(row.name, row.date)
    }

    /// Name and row get the sizes that the file has.
    func correctSize(
        _ folder: Folder, _ row: CheckedRow, size: Int64, wire: Int64
    ) throws(StoreError) {
        var file = FileName(row.name)
        file.fileSize = size
        file.wireSize = wire == size ? nil : wire
        if let name = file.octets, name != row.name {
            try rename(folder, row.uid, row.name, to: name)
        }
        let modSeq = try index.allocateModSeq(in: folder.numbers)
        try transaction { () throws(StoreError) in
            try index.setSize(folder.id, row.uid, wire, at: modSeq)
            try putCounters(folder)
        }
        folder.image = nil
        committed(folder, [row.uid], at: modSeq)
    }

    private func rename(
        _ folder: Folder, _ uid: UInt32, _ old: PathOctets, to name: PathOctets
    ) throws(StoreError) {
        guard try folder.blobs.rename(old, to: name) else { return }
        try folder.ownChange()
        try folder.synchronize()
        try index.setBlob(folder.id, uid, name)
    }

    /// A new name for a file whose own is none.
    func giveName(to name: PathOctets, in folder: Folder) throws(StoreError) {
        guard try folder.blobs.status(name)?.isRegular == true else { return }
        var file = FileName(name).renamed(root.makeUniqueName())
        file.uid = nil
        guard let fresh = file.octets else { return }
        _ = try folder.blobs.rename(name, to: fresh)
    }

    // MARK: - lost+found

    private static let lostAndFound = MailboxName([UInt8]("lost+found"))

    private func lostAndFound() throws(StoreError) -> Folder {
        guard let name = Self.lostAndFound else { throw .notPermitted }
        if let id = try mailboxID(name) { return try loadFolder(id) }
        try createNow(name, .none)
        return try folder(name)
    }

    /// Puts a file of a directory into the mailbox.
    func moveToLostAndFound(_ name: PathOctets, in directory: Int32) throws(StoreError) {
        let lost = try lostAndFound()
        var file = FileName(name).renamed(root.makeUniqueName())
        file.uid = nil
        file.flags = file.flags.intersection(.system)
        guard let fresh = file.octets else { throw .notPermitted }
        guard try lost.blobs.take(name, from: directory, as: fresh) else { return }
        try lost.synchronize()
        try System.synchronize(directory, "directory")
        lost.needsScan = true
    }

    /// What was put there becomes messages.
    func refreshLostAndFound() throws(StoreError) {
        guard let name = Self.lostAndFound, let id = try mailboxID(name) else { return }
        _ = try folder(id)
    }

    /// Messages in cur/ and new/ of a directory that is no mailbox.
    func strayMessages(_ directory: PathOctets, move: Bool) throws(StoreError) -> Int {
        guard
            let root = try System.openDirectoryIfPresent(directory, in: maildir.descriptor)
        else { return 0 }
        var count = 0
        for name in [PathOctets.cur, .new] {
            guard try System.status(name, in: root.descriptor)?.isDirectory == true else {
                continue
            }
            count += try strayFiles(name, in: root.descriptor, move: move)
        }
        return count
    }

    /// Regular files of a directory where none belong.
    func strayFiles(
        _ name: PathOctets, in parent: Int32, move: Bool
    ) throws(StoreError) -> Int {
        guard let directory = try System.openDirectoryIfPresent(name, in: parent) else { return 0 }
        var count = 0
        for file in try System.names(in: directory.descriptor) where file.first != 0x2E {
            guard try System.status(file, in: directory.descriptor)?.isRegular == true else {
                continue
            }
            count += 1
            if move { try moveToLostAndFound(file, in: directory.descriptor) }
        }
        return count
    }

    // MARK: - Optimizing

    /// Makes the index as small and well ordered as it can be. Returns its octets before and after.
    package func optimizeIndex() throws(StoreError) -> (before: UInt64, after: UInt64) {
        try guarded { () throws(StoreError) in
            let before = try indexOctets()
            try index.optimize()
            return (before, try indexOctets())
        }
    }

    private func indexOctets() throws(StoreError) -> UInt64 {
        var sum: UInt64 = 0
        for name in ["index.sqlite", "index.sqlite-wal"] {
            let status = try System.status(PathOctets(name), in: account.descriptor)
            sum += UInt64(clamping: status?.size ?? 0)
        }
        return sum
    }
}
