// SPDX-License-Identifier: Apache-2.0
//
// Files whose messages are expunged or moved: a few go at once, many in the background, in slices.
// RFC 9051 §6.4.3; docs/store.md, "Expunge".

import Bytes
import Mail

/// A row of `doomed`: a name; or a name, a slash, `e` for expunged or `m` for moved, and the flags
/// that the message had last as a number, if the file goes in the background.
struct DoomedFile: Equatable {
    let row: PathOctets
    let blob: BlobID
    /// What the row of the message said; the name may be behind.
    private(set) var flags: Flags = []
    /// The message lives on elsewhere.
    private(set) var isMoved = false

    init(row: PathOctets) {
        self.row = row
        guard let slash = row.lastIndex(of: 0x2F), row.count > slash + 1 else {
            blob = row
            return
        }
        blob = Array(row[..<slash])
        isMoved = row[slash + 1] == 0x6D
        var number: UInt64 = 0
        for digit in row[(slash + 2)...] where digit.isASCIIDigit {
            number = number &* 10 &+ UInt64(digit - 0x30)
        }
        flags = Flags(rawValue: number)
    }

    /// The row says how the file is to go.
    var isMarked: Bool { row.count != blob.count }

    var message: RemovedMessage { RemovedMessage(blob: blob, flags: flags) }
}

/// How the files of messages go whose rows are gone.
enum WayOut {
    case now
    /// In the background, to the shelf.
    case later
    /// In the background; the messages live on elsewhere.
    case movedLater
    case movedNow

    /// What `doomed` has behind the slash.
    var mark: Int64? {
        switch self {
        case .now, .movedNow: nil
        case .later: 0x65
        case .movedLater: 0x6D
        }
    }
}

extension AccountStore {
    /// More files than this go in the background.
    static let atOnceLimit = 32
    /// Files between two looks at the time.
    private static let retireStride = 512

    /// True if files wait for `retireDoomed`.
    package var hasRetiring: Bool { !retiring.isEmpty }

    /// - Parameter uids: whose files are to go.
    func wayOut(
        _ folder: Folder, _ uids: [UInt32], isMove: Bool
    ) throws(StoreError) -> WayOut {
        // On a disk that is nearly full expunging makes room at once.
        if try System.isNearlyFull(account.descriptor) { return isMove ? .movedNow : .now }
        // The log does not look for files that were put aside: they are durable before they are.
        let waits = !isMove && root.retention.isOn && !isDurable(folder, uids)
        guard uids.count > Self.atOnceLimit || waits else { return isMove ? .movedNow : .now }
        return isMove ? .movedLater : .later
    }

    /// Takes files away whose rows are gone, or leaves them to the background.
    func takeAway(_ folder: Folder, _ doomed: [RemovedMessage], _ way: WayOut) {
        guard way == .now || way == .movedNow else {
            retiring.insert(folder.id)
            folder.doomsAreDone = false  // what a comparison did was before these
            return
        }
        do throws(StoreError) {
            let held = root.retention.isHeld(address) ? try HeldFiles(in: account.descriptor) : nil
            let shelf = way == .movedNow ? nil : try shelf(of: folder)
            if let shelf, doomed.contains(where: { !$0.flags.keywords.isEmpty }) {
                try shelf.learn(folder.keywords)
            }
            for file in doomed {
                if let held { try held.keep(file.blob, folder) }
                if try !retire(file, folder, shelf) {
                    folder.needsScan = true  // under another name, by another program
                }
            }
            try folder.ownChange()
            folder.hasUnlinkedDoomed = true
        } catch {
            folder.needsScan = true
            notify(.postponed, "unlink in \(folder.name.text): \(error)")
        }
    }

    /// Takes away files of expunged messages for a slice of time. To be called while `hasRetiring`.
    package func retireDoomed(milliseconds: Int64) throws(StoreError) {
        try guarded { () throws(StoreError) in try retireNow(milliseconds: milliseconds) }
    }

    func retireNow(milliseconds: Int64) throws(StoreError) {
        guard let id = retiring.first else { return }
        let folder: Folder
        do throws(StoreError) {
            folder = try loadFolder(id)
        } catch .noSuchMailbox {
            retiring.remove(id)
            return
        }
        try retire(folder, movedOnly: false, milliseconds: milliseconds)
    }

    /// - Parameter movedOnly: only files whose messages live on elsewhere, for a folder that goes
    ///   to the shelf as it is.
    func retire(
        _ folder: Folder, movedOnly: Bool, milliseconds: Int64
    ) throws(StoreError) {
        let deadline = System.milliseconds() + milliseconds
        let limit = movedOnly ? Int.max : Self.retireStride
        var files = try index.doomedLater(folder.id, limit: limit)
        if movedOnly { files.removeAll { !$0.isMoved } }
        guard !files.isEmpty else {
            if !movedOnly { retiring.remove(folder.id) }
            return
        }
        let mayBeMore = files.count == limit
        let count = files.count
        if folder.doomsAreDone {
            // A comparison was faster.
        } else if try !putAside(&files, folder, until: deadline) {
            // One is under another name, by another program: a comparison finds it.
            folder.needsScan = true
            try refresh(folder)
        }
        try folder.synchronize()
        reached(.expungeUnlinked)
        // It need not be durable: what is lost is found to be done.
        try transaction(.logged, rows: files.count) { () throws(StoreError) in
            try putCounters(folder)
            for file in files { try index.forgetDoomed(file, in: folder.id) }
        }
        folder.isTimeStored = true
        folder.doomedCleared()
        if !mayBeMore, files.count == count, !movedOnly { retiring.remove(folder.id) }
    }

    /// - Parameter files: those that were done stay.
    /// - Returns: false if a file was not there.
    private func putAside(
        _ files: inout [DoomedFile], _ folder: Folder, until deadline: Int64
    ) throws(StoreError) -> Bool {
        if root.retention.isOn {
            let uids = files.filter { !$0.isMoved }.map { FileName($0.blob).uid ?? .max }
            try synchronizeUnsynced(folder, uids)
        }
        let held = root.retention.isHeld(address) ? try HeldFiles(in: account.descriptor) : nil
        let shelf = try shelf(of: folder)
        if let shelf, files.contains(where: { !$0.flags.keywords.isEmpty }) {
            try shelf.learn(folder.keywords)
        }
        var done = 0
        var areAllThere = true
        for file in files {
            if let held { try held.keep(file.blob, folder) }
            if try !retire(file.message, folder, file.isMoved ? nil : shelf) {
                areAllThere = false
            }
            done += 1
            if done % 16 == 0, System.milliseconds() >= deadline { break }
        }
        files.removeSubrange(done...)
        try folder.ownChange()
        return areAllThere
    }

    /// All that waits, for whoever is going to look at the shelf.
    func finishRetiring() throws(StoreError) {
        while hasRetiring { try retireDoomed(milliseconds: 1_000) }
    }
}
