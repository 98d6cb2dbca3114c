// SPDX-License-Identifier: Apache-2.0
//
// Message files of one Maildir folder: the driver of BlobStore that everything runs through, and
// what only a Maildir has: names that other programs change. maildir(5); docs/store.md.

import Bytes
import Mail

/// An open message file.
final class MaildirBlob: BlobReader {
    let octets: Int64
    private let shared: SharedDescriptor
    /// Closed with it, unless `file` gave it away.
    let descriptor: Int32

    fileprivate init(_ file: consuming File, octets: Int64) {
        descriptor = file.descriptor
        shared = SharedDescriptor(file)
        self.octets = octets
    }

    func read(from offset: Int64, count: Int) throws(StoreError) -> [UInt8] {
        try System.read(descriptor, from: offset, count: count)
    }

    func file() throws(StoreError) -> SharedDescriptor { shared }
}

/// The directories of one folder. The only place that knows their descriptors.
final class MaildirBlobs: BlobStore {
    private let root: File
    private let current: File
    private let staging: StagingArea
    /// Where today's expunged files go, once there was one.
    var shelf: Shelf?
    /// Files of `doomed` rows are unlinked, but not durably.
    var hasUnlinkedDoomed = false
    /// Files of `doomed` rows are durably gone.
    private(set) var canClearDoomed = false

    /// Opens cur/ of a folder; makes what is missing.
    init(_ root: consuming File, _ staging: StagingArea) throws(StoreError) {
        for name in [PathOctets.cur, .new, .tmp] {
            try System.makeDirectory(name, in: root.descriptor)
        }
        current = try System.openDirectory(.cur, in: root.descriptor)
        self.root = root
        self.staging = staging
    }

    // MARK: - BlobStore

    func draft(_ octets: [UInt8], date: SecondsSince1970?) throws(StoreError) -> MessageFile {
        try staging.makeFile(octets, in: current.descriptor, date: date)
    }

    func prepare(_ drafts: [MessageFile]) -> [StoreError?] {
        // All at once: the first sync then finds most of the work of the others done.
        if drafts.count > 1 { for draft in drafts { System.startWriting(draft.descriptor) } }
        return drafts.map { draft in
            do throws(StoreError) {
                try System.synchronize(draft.descriptor, "message")
                return nil
            } catch {
                return error
            }
        }
    }

    func put(
        _ drafts: [(draft: MessageFile, label: BlobLabel)], _ durability: Durability
    ) throws(StoreError) -> [BlobID] {
        var placed: [BlobID] = []
        placed.reserveCapacity(drafts.count)
        do throws(StoreError) {
            for (draft, label) in drafts {
                let name = FileName(
                    unique: label.unique.octets, fileSize: Int64(label.size), uid: label.uid,
                    flags: label.flags)
                guard let name = name.octets else { throw .notPermitted }
                try place(draft, as: name, date: label.date)
                placed.append(name)
            }
            if durability == .full { try synchronize() }
        } catch {
            withdraw(placed)
            throw error
        }
        return placed
    }

    func copy(
        _ blobs: [(id: BlobID, label: BlobLabel)], from source: MaildirBlobs
    ) throws(StoreError) -> [BlobID?] {
        var placed: [BlobID?] = []
        placed.reserveCapacity(blobs.count)
        do throws(StoreError) {
            for (id, label) in blobs {
                var file = FileName(id).copied(label.unique)
                file.uid = label.uid
                file.flags = label.flags
                guard let name = file.octets else { throw .notPermitted }
                placed.append(
                    try link(id, from: source, as: name, date: label.date) ? name : nil)
            }
            try synchronize()
        } catch {
            withdraw(placed.compactMap { $0 })
            throw error
        }
        return placed
    }

    func open(_ id: BlobID) throws(StoreError) -> MaildirBlob? {
        try Self.open(id, in: current.descriptor)
    }

    @discardableResult
    func delete(_ id: BlobID) throws(StoreError) -> Bool {
        try System.unlink(id, in: current.descriptor)
    }

    /// Makes names made and removed in cur/ durable.
    func synchronize() throws(StoreError) {
        try System.synchronize(current.descriptor, "cur")
        try shelf?.synchronize()
        if hasUnlinkedDoomed {
            hasUnlinkedDoomed = false
            canClearDoomed = true
        }
    }

    func list(after id: BlobID?, limit: Int) throws(StoreError) -> [BlobID] {
        var names: [BlobID] = []
        try System.eachName(in: current.descriptor) { name in
            guard name.first != 0x2E else { return }
            if let id, !id.lexicographicallyPrecedes(name) { return }
            names.append(name)
        }
        return Array(names.sorted { $0.lexicographicallyPrecedes($1) }.prefix(limit))
    }

    // MARK: - Files on their way in

    func doomedCleared() { canClearDoomed = false }

    private static func open(_ name: PathOctets, in parent: Int32) throws(StoreError)
        -> MaildirBlob?
    {
        guard let opened = try System.openSized(name, in: parent) else { return nil }
        let octets = opened.octets
        return MaildirBlob(opened.file, octets: octets)
    }

    /// A file for others' bytes, on the file system of the folder.
    func emptyDraft() throws(StoreError) -> MessageFile {
        try staging.makeFile([], in: current.descriptor, date: nil)
    }

    /// The file of a message for many accounts, made by the first of them.
    func draft(_ shared: SharedMessage) throws(StoreError) -> (MessageFile, MessageSummary) {
        try shared.made(staging, near: current.descriptor)
    }

    /// Bytes of another file, not durable yet.
    func draft(
        _ file: Int32, from start: Int64, count: Int, date: SecondsSince1970?
    ) throws(StoreError) -> MessageFile {
        let copy = try emptyDraft()
        var done = 0
        while done < count {
            let chunk = try System.read(
                file, from: start + Int64(done), count: min(count - done, MessageText.chunkOctets))
            guard !chunk.isEmpty else { throw .badStage }
            try System.write(chunk, to: copy.descriptor)
            done += chunk.count
        }
        if let date { try System.setModificationTime(copy.descriptor, date) }
        return copy
    }

    /// A durable copy of the bytes, where a hard link cannot serve.
    func duplicate(_ file: Int32, date: SecondsSince1970) throws(StoreError) -> MessageFile {
        let copy = try emptyDraft()
        var offset: Int64 = 0
        while true {
            let chunk = try System.read(file, from: offset, count: MessageText.chunkOctets)
            if chunk.isEmpty { break }
            try System.write(chunk, to: copy.descriptor)
            offset += Int64(chunk.count)
        }
        try System.setModificationTime(copy.descriptor, date)
        try System.synchronize(copy.descriptor, "message")
        return copy
    }

    /// Gives an open, durable file its name in cur/.
    private func place(
        _ file: MessageFile, as name: PathOctets, date: SecondsSince1970
    ) throws(StoreError) {
        if try System.link(file.descriptor, as: name, in: current.descriptor) { return }
        let copy = try duplicate(file.descriptor, date: date)
        guard try System.link(copy.descriptor, as: name, in: current.descriptor) else {
            throw .file("link", errno: 18)
        }
    }

    /// False if the source's file is gone.
    private func link(
        _ id: BlobID, from source: MaildirBlobs, as name: PathOctets, date: SecondsSince1970
    ) throws(StoreError) -> Bool {
        let linked = try System.link(
            id, in: source.current.descriptor, as: name, in: current.descriptor)
        guard linked == false else { return linked != nil }
        guard let opened = try source.open(id) else { return false }
        let copy = try duplicate(opened.descriptor, date: date)
        guard try System.link(copy.descriptor, as: name, in: current.descriptor) else {
            throw .file("link", errno: 18)
        }
        return true
    }

    /// What cannot be taken back is taken in as a message when the folder is compared.
    private func withdraw(_ names: [PathOctets]) {
        for name in names {
            do throws(StoreError) { try delete(name) } catch {}
        }
    }
}

/// What other programs do to a Maildir, and what is kept in its names and beside them: for the
/// comparisons and repairs. No other driver has any of it.
extension MaildirBlobs {
    // MARK: - Names

    /// When cur/ changed last.
    var time: Int64 { get throws(StoreError) { try System.status(current.descriptor).time } }

    /// When new/ changed last.
    var newTime: Int64 {
        get throws(StoreError) { try System.status(.new, in: root.descriptor)?.time ?? 0 }
    }

    /// Of a name in cur/; nil when there is none.
    func status(_ name: PathOctets) throws(StoreError) -> FileStatus? {
        try System.status(name, in: current.descriptor)
    }

    func names() throws(StoreError) -> [PathOctets] { try System.names(in: current.descriptor) }

    func eachName(_ body: (PathOctets) -> Void) throws(StoreError) {
        try System.eachName(in: current.descriptor, body)
    }

    /// False if there was no such name.
    func rename(_ name: PathOctets, to target: PathOctets) throws(StoreError) -> Bool {
        try System.rename(name, in: current.descriptor, to: target, in: current.descriptor)
    }

    /// A file of another directory becomes one of cur/. False if there was no such name.
    func take(
        _ name: PathOctets, from directory: Int32, as target: PathOctets
    ) throws(StoreError) -> Bool {
        try System.rename(name, in: directory, to: target, in: current.descriptor)
    }

    /// A file of cur/ goes to another directory, but never over another.
    func move(
        _ name: PathOctets, to target: PathOctets, in directory: Int32
    ) throws(StoreError) -> System.Moved {
        try System.move(name, in: current.descriptor, to: target, in: directory)
    }

    /// A second name in another directory. False if it must be copied; nil if the file is gone.
    @discardableResult
    func link(
        _ name: PathOctets, as target: PathOctets, in directory: Int32
    ) throws(StoreError) -> Bool? {
        try System.link(name, in: current.descriptor, as: target, in: directory)
    }

    /// Clients have been told this date.
    func setDate(_ name: PathOctets, _ date: SecondsSince1970) throws(StoreError) {
        guard let blob = try open(name) else { return }
        try System.setModificationTime(blob.descriptor, date)
    }

    /// For who keeps it open for long.
    func openFile(_ name: PathOctets) throws(StoreError) -> File? {
        try System.openFile(name, in: current.descriptor)
    }

    // MARK: - new/ and tmp/

    /// Nil if there is no new/.
    func newNames() throws(StoreError) -> [PathOctets]? {
        guard let new = try System.openDirectoryIfPresent(.new, in: root.descriptor) else {
            return nil
        }
        return try System.names(in: new.descriptor)
    }

    private static func inNew(_ name: PathOctets) -> PathOctets { .new + [0x2F] + name }

    func status(_ name: PathOctets, isNew: Bool) throws(StoreError) -> FileStatus? {
        isNew ? try System.status(Self.inNew(name), in: root.descriptor) : try status(name)
    }

    func open(_ name: PathOctets, isNew: Bool) throws(StoreError) -> MaildirBlob? {
        isNew ? try Self.open(Self.inNew(name), in: root.descriptor) : try open(name)
    }

    /// A file of new/ or cur/ gets its name in cur/. False if it is gone.
    func rename(
        _ name: PathOctets, isNew: Bool, to target: PathOctets
    ) throws(StoreError) -> Bool {
        guard isNew else { return try rename(name, to: target) }
        return try take(Self.inNew(name), from: root.descriptor, as: target)
    }

    /// A file of another directory gets a second name in new/.
    func linkIntoNew(
        _ name: PathOctets, from directory: Int32, as target: PathOctets
    ) throws(StoreError) {
        let linked = try System.link(
            name, in: directory, as: Self.inNew(target), in: root.descriptor)
        guard linked == true else { throw .file("link", errno: 18) }
    }

    /// Temporary files of other programs that are older than `age` go away.
    func sweepTemporary(olderThan age: Int64) throws(StoreError) {
        guard let tmp = try System.openDirectoryIfPresent(.tmp, in: root.descriptor) else { return }
        let now = System.now().seconds
        for name in try System.names(in: tmp.descriptor) {
            guard let status = try System.status(name, in: tmp.descriptor), status.isRegular,
                now - status.seconds > age
            else { continue }
            try System.unlink(name, in: tmp.descriptor)
        }
    }

    // MARK: - Beside the messages

    func readState() throws(StoreError) -> FolderState? {
        try FolderState.read(in: root.descriptor)
    }

    func write(_ state: FolderState) throws(StoreError) { try state.write(in: root.descriptor) }

    func readKeywords() throws(StoreError) -> KeywordTable {
        try KeywordTable.read(in: root.descriptor)
    }

    func write(_ keywords: KeywordTable) throws(StoreError) {
        try keywords.write(in: root.descriptor)
    }

    func foreignHeader() throws(StoreError) -> ForeignUIDs? {
        try ForeignUIDs.header(in: root.descriptor)
    }

    func foreignUIDs(_ uidValidity: UInt32) throws(StoreError) -> ForeignUIDs? {
        try ForeignUIDs.read(in: root.descriptor, uidValidity: uidValidity)
    }

    func retire(_ server: ForeignUIDs.Server) throws(StoreError) {
        try ForeignUIDs.retire(server, in: root.descriptor)
    }

    /// For repairs, which move what is no message: the folder's own directory, and cur/.
    var directories: (root: Int32, current: Int32) { (root.descriptor, current.descriptor) }
}
