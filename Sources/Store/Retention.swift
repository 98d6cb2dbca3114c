// SPDX-License-Identifier: Apache-2.0
//
// Where expunged messages and deleted mailboxes stay for the retention time:
// `<account>/Expunged/<day>/<folder directory>/<file>` and
// `<account>/Expunged/<day>/deleted-<id>/<folder directory>/`. The file system alone is the truth.
// docs/store.md.

import Bytes
import MIME
import Mail
import Synchronization

/// How long what was expunged is kept, and whose files a snapshot needs. Usable from any thread.
package final class Retention: Sendable {
    private struct State {
        var seconds: Int64 = 7 * 86_400
        var octetLimit: Int64 = 1 << 30
        var holds: [EmailAddress: Int] = [:]
    }

    private let state = Mutex(State())

    /// - Parameters:
    ///   - seconds: 0: what is expunged is gone at once.
    ///   - octetLimit: of one account's expunged messages; the oldest go first. 0: no limit.
    package func set(seconds: Int64, octetLimit: Int64) {
        state.withLock { state in
            state.seconds = seconds
            state.octetLimit = octetLimit
        }
    }

    package var isOn: Bool { seconds > 0 }
    package var seconds: Int64 { state.withLock { $0.seconds } }
    var octetLimit: Int64 { state.withLock { $0.octetLimit } }

    /// True while somebody reads a snapshot of the account: no file of it may go away.
    func isHeld(_ address: EmailAddress) -> Bool { state.withLock { $0.holds[address] != nil } }

    package func hold(_ address: EmailAddress) {
        state.withLock { $0.holds[address, default: 0] += 1 }
    }

    /// True if it was the last one.
    package func release(_ address: EmailAddress) -> Bool {
        state.withLock { state in
            guard let count = state.holds[address] else { return false }
            state.holds[address] = count > 1 ? count - 1 : nil
            return count == 1
        }
    }

    static let directoryName = PathOctets("Expunged")
    static let heldName = PathOctets("Held")
    static let inboxName = PathOctets("INBOX")
    static let deletedPrefix = PathOctets("deleted-")

    /// `2026-02-28`, in UTC.
    static func day(_ seconds: SecondsSince1970) -> PathOctets {
        let date = Calendar.date(days: Int(seconds.quotientRoundedDown(86_400)))
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return PathOctets("\(date.year)-\(two(date.month))-\(two(date.day))")
    }

    static func isDay(_ name: PathOctets) -> Bool {
        name.count == 10 && name[4] == 0x2D && name[7] == 0x2D
            && name.enumerated().allSatisfy { $0 == 4 || $0 == 7 || $1.isASCIIDigit }
    }
}

extension Int64 {
    fileprivate func quotientRoundedDown(_ divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

/// One folder's place in Expunged/ on one day.
final class Shelf {
    let day: PathOctets
    let directory: File
    private var keywords: KeywordTable
    private var isChanged = false

    init(day: PathOctets, directory: consuming File) throws(StoreError) {
        self.day = day
        keywords = try KeywordTable.read(in: directory.descriptor)
        self.directory = directory
    }

    /// Letters in file names mean the same here as in the folder.
    func learn(_ table: KeywordTable) throws(StoreError) {
        guard table != keywords else { return }
        try table.write(in: directory.descriptor)
        keywords = table
    }

    func changed() { isChanged = true }

    func synchronize() throws(StoreError) {
        guard isChanged else { return }
        try System.synchronize(directory.descriptor, "expunged")
        isChanged = false
    }
}

/// `<account>/Held/`: second names of files that go away while a snapshot is read.
final class HeldFiles {
    private let directory: File

    init(in account: Int32) throws(StoreError) {
        try System.makeDirectory(Retention.heldName, in: account)
        directory = try System.openDirectory(Retention.heldName, in: account)
    }

    func keep(_ name: PathOctets, _ folder: Folder) throws(StoreError) {
        do throws(StoreError) {
            try folder.blobs.link(
                name, as: FileName.unique(of: name), in: directory.descriptor)
        } catch .file(_, errno: 17) {}  // EEXIST: held already
    }
}

extension AccountStore {
    /// Doomed files that a comparison found in cur/.
    func retireFound(
        _ found: [(name: PathOctets, row: DoomedFile)], _ folder: Folder
    ) throws(StoreError) {
        guard !found.isEmpty else { return }
        let held = root.retention.isHeld(address) ? try HeldFiles(in: account.descriptor) : nil
        let shelf = try shelf(of: folder)
        try shelf?.learn(folder.keywords)
        for (name, row) in found {
            guard let status = try folder.blobs.status(name) else { continue }
            if let held { try held.keep(name, folder) }
            // With another link it was moved, or is on the shelf already, if nothing is said.
            let isElsewhere = row.isMarked ? row.isMoved : status.links > 1
            let flags = row.isMarked ? row.flags : FileName(name).flags
            _ = try retire(
                RemovedMessage(blob: name, flags: flags), folder, isElsewhere ? nil : shelf)
        }
    }

    /// False if there is no such file.
    func retire(
        _ file: RemovedMessage, _ folder: Folder, _ shelf: Shelf?
    ) throws(StoreError) -> Bool {
        guard let shelf else { return try folder.blobs.delete(file.blob) }
        var name = FileName(file.blob)
        if name.flags != file.flags { name.flags = file.flags }
        let target = name.octets ?? file.blob
        let moved: System.Moved
        do throws(StoreError) {
            moved = try folder.blobs.move(
                file.blob, to: target, in: shelf.directory.descriptor)
        } catch .noSpace {
            // Expunging is what makes room.
            return try folder.blobs.delete(file.blob)
        }
        switch moved {
        case .done:
            shelf.changed()
            return true
        case .noSource: return false
        case .targetExists, .notHere: return try folder.blobs.delete(file.blob)
        }
    }

    /// Today's shelf of a folder; nil without retention, or without room for it.
    func shelf(of folder: Folder) throws(StoreError) -> Shelf? {
        guard try mayRetain() else { return nil }
        let day = Retention.day(System.now().seconds)
        if let shelf = folder.blobs.shelf, shelf.day == day,
            try System.status(shelf.directory.descriptor).links > 0
        {
            return shelf
        }
        folder.blobs.shelf = nil
        do throws(StoreError) {
            let place = folder.directory.isEmpty ? Retention.inboxName : folder.directory
            let directory = try makeDurable([Retention.directoryName, day, place])
            let shelf = try Shelf(day: day, directory: directory)
            folder.blobs.shelf = shelf
            return shelf
        } catch .noSpace {
            return nil
        }
    }

    /// Moves a deleted mailbox's directory into Expunged/, durably. False: it is still there.
    func shelve(
        _ folder: borrowing File, _ directory: PathOctets, _ id: MailboxID
    ) throws(StoreError) -> Bool {
        guard try mayRetain(), try hasMessages(folder) else { return false }
        do throws(StoreError) {
            let day = Retention.day(System.now().seconds)
            let place = Retention.deletedPrefix + PathOctets("\(id.rawValue)")
            let shelf = try makeDurable([Retention.directoryName, day, place])
            let moved = try System.move(
                directory, in: maildir.descriptor, to: directory, in: shelf.descriptor)
            guard moved == .done else { return moved == .noSource }
            try System.synchronize(shelf.descriptor, "expunged")
            return true
        } catch .noSpace {
            return false
        }
    }

    /// On a disk that is nearly full expunging must make room.
    private func mayRetain() throws(StoreError) -> Bool {
        guard root.retention.isOn else { return false }
        return try !System.isNearlyFull(account.descriptor)
    }

    private func hasMessages(_ folder: borrowing File) throws(StoreError) -> Bool {
        for name in [PathOctets.cur, .new] {
            guard let directory = try System.openDirectoryIfPresent(name, in: folder.descriptor)
            else { continue }
            if try !System.names(in: directory.descriptor).isEmpty { return true }
        }
        return false
    }

    /// Opens a directory below the account's; makes what is missing, durably.
    func makeDurable(_ path: [PathOctets]) throws(StoreError) -> File {
        var directory = try System.openDirectory([0x2E], in: account.descriptor)
        for name in path {
            if let present = try System.openDirectoryIfPresent(name, in: directory.descriptor) {
                directory = present
                continue
            }
            try System.makeDirectory(name, in: directory.descriptor)
            try System.synchronize(directory.descriptor, "expunged")
            directory = try System.openDirectory(name, in: directory.descriptor)
        }
        return directory
    }

    // MARK: - Files that a snapshot needs

    /// A whole folder, before it is deleted.
    func hold(_ folder: Folder) throws(StoreError) {
        let held = try HeldFiles(in: account.descriptor)
        for name in try folder.blobs.names() {
            try held.keep(name, folder)
        }
    }

    /// After the last snapshot is released.
    package func dropHeld() throws(StoreError) {
        guard !root.retention.isHeld(address) else { return }
        try System.removeTree(Retention.heldName, in: account.descriptor)
    }
}
