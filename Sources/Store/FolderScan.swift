// SPDX-License-Identifier: Apache-2.0
//
// Which folders there are: rows against directories. A folder is recognised by the UIDVALIDITY in
// its state file, wherever it was moved. Maildir++; docs/store.md.

import Bytes
import Mail

/// A directory that could be a folder.
private struct FoundFolder {
    var directory: PathOctets
    var state: FolderState?
    /// What another server left, if it is that which counts.
    var foreign: ForeignUIDs?
    /// Of the mailbox that was here before.
    var formerUse = SpecialUse.none
}

extension AccountStore {
    static let mailboxLimit = 10_000

    func mailboxRows() throws(StoreError) -> [MailboxRow] {
        try index.mailboxes()
    }

    func openFolderDirectory(_ directory: PathOctets) throws(StoreError) -> File? {
        if directory.isEmpty { return try System.openDirectory([0x2E], in: maildir.descriptor) }
        return try System.openDirectoryIfPresent(directory, in: maildir.descriptor)
    }

    func scanFoldersIfChanged() throws(StoreError) {
        if try System.status(maildir.descriptor).time != maildirTime { try scanFolders() }
    }

    /// Makes the rows agree with the directories; the messages in them are compared when the
    /// folder is used.
    func scanFolders() throws(StoreError) {
        let time = try System.status(maildir.descriptor).time
        let found = try foundFolders()
        var rows: [MailboxID: MailboxRow] = [:]
        var byDirectory: [PathOctets: MailboxRow] = [:]
        for row in try mailboxRows() {
            rows[row.id] = row
            byDirectory[row.directory] = row
        }
        let doomed = try doomedFolders()

        var kept: Set<MailboxID> = []
        var rest: [FoundFolder] = []
        for folder in found {
            let byDirectory = byDirectory[folder.directory]
            if let foreign = try foreignIdentity(folder, byDirectory) {
                rest.append(foreign)
            } else if let state = folder.state {
                if byDirectory?.id == state.id {
                    kept.insert(state.id)
                } else {
                    rest.append(folder)
                }
            } else if let byDirectory {
                kept.insert(byDirectory.id)  // its state file is written again when it is opened
            } else {
                rest.append(folder)
            }
        }
        var moved: [(row: MailboxRow, name: MailboxName, directory: PathOctets)] = []
        var unknown: [FoundFolder] = []
        for folder in rest {
            let id = folder.state?.id
            if let id, doomed.contains(id) { continue }
            if let id, let row = rows[id], !kept.contains(id), !row.directory.isEmpty,
                !folder.directory.isEmpty, let name = FolderName.mailbox(of: folder.directory)
            {
                kept.insert(id)
                moved.append((row, name, folder.directory))
            } else {
                unknown.append(folder)
            }
        }
        let gone = rows.values.filter { !kept.contains($0.id) }
        try transaction { () throws(StoreError) in
            for row in gone { try index.remove(row.id) }
            // Out of each other's way first: names may have been swapped.
            for move in moved { try setTemporaryName(move.row) }
            for move in moved { try recordMove(move.row, move.name, move.directory) }
            for folder in unknown { try adopt(folder, &kept) }
            try setMeta(.maildirTime, time)
            try setMeta(.uidValidity, Int64(lastUIDValidity))
        }
        maildirTime = time
        for row in gone {
            noteGone(row.id, at: .max >> 1)
            notify(.folderChanged, "gone: \(row.name.text)")
        }
        for move in moved {
            if let folder = openedFolder(move.row.id) {
                folder.name = move.name
                folder.directory = move.directory
            }
            notify(.folderChanged, "moved: \(move.row.name.text) to \(move.name.text)")
        }
    }

    private func foundFolders() throws(StoreError) -> [FoundFolder] {
        var found = [
            FoundFolder(directory: [], state: try FolderState.read(in: maildir.descriptor))
        ]
        for name in try System.names(in: maildir.descriptor).sorted(by: {
            $0.lexicographicallyPrecedes($1)
        }) where name.first == 0x2E {
            guard try System.status(name, in: maildir.descriptor)?.isDirectory == true,
                let directory = try System.openDirectoryIfPresent(name, in: maildir.descriptor),
                try System.status(.cur, in: directory.descriptor)?.isDirectory == true
            else { continue }
            found.append(
                FoundFolder(
                    directory: name, state: try FolderState.read(in: directory.descriptor)))
        }
        return found
    }

    /// A folder that Dovecot or Courier kept until now takes its UIDVALIDITY along, unless our own
    /// messages are in it.
    private func foreignIdentity(
        _ folder: FoundFolder, _ row: MailboxRow?
    ) throws(StoreError) -> FoundFolder? {
        guard let root = try openFolderDirectory(folder.directory),
            let foreign = try ForeignUIDs.header(in: root.descriptor)
        else { return nil }
        if let state = folder.state {
            guard state.uidValidity != foreign.uidValidity, state.uidMark == FolderState.uidStep
            else { return nil }
        }
        if let row {
            guard try index.storedUIDNext(row.id) ?? 0 <= 1 else { return nil }
        } else if folder.state != nil {
            let current = try System.openDirectory(.cur, in: root.descriptor)
            for name in try System.names(in: current.descriptor) where FileName(name).uid != nil {
                return nil
            }
        }
        var found = folder
        found.formerUse = folder.state?.specialUse ?? row?.specialUse ?? .none
        found.state = nil
        found.foreign = try ForeignUIDs.read(
            in: root.descriptor, uidValidity: foreign.uidValidity)
        return found
    }

    private func setTemporaryName(_ row: MailboxRow) throws(StoreError) {
        let octets = [0xFF] + PathOctets("\(row.id.rawValue)")
        try index.rename(row.id, octets: octets, row.directory, previous: nil)
    }

    private func recordMove(
        _ row: MailboxRow, _ name: MailboxName, _ directory: PathOctets
    ) throws(StoreError) {
        var name = name
        var number = 1
        // Two directories can spell one name; both keep their mail.
        while try mailboxID(name) != nil {
            guard let other = MailboxName(name.octets + [UInt8]("-\(number)")) else { break }
            name = other
            number += 1
        }
        try index.rename(row.id, to: name, directory, previous: nil)
    }

    /// A row for a folder that has none.
    private func adopt(
        _ folder: FoundFolder, _ kept: inout Set<MailboxID>
    ) throws(StoreError) {
        guard
            let name = folder.directory.isEmpty
                ? MailboxName.inbox : FolderName.mailbox(of: folder.directory),
            try mailboxID(name) == nil
        else {
            notify(.ignored, String(decoding: folder.directory, as: UTF8.self))
            return
        }
        guard let root = try openFolderDirectory(folder.directory) else { return }
        var uidNext: UInt32 = 0  // unknown: below the mark
        var state: FolderState
        if let found = folder.state, !kept.contains(found.id) {
            state = found
        } else if let foreign = folder.foreign {
            state = FolderState(foreign, specialUse: folder.formerUse)
            while true {
                let isTaken = try index.storedUIDNext(state.id) != nil
                guard isTaken || kept.contains(state.id) else { break }
                state.twin += 1
            }
            try raiseUIDValidityMark(past: state.uidValidity)
            try state.write(in: root.descriptor)
        } else {
            // New here, or a copy of another folder: nothing was given out under this number.
            state = FolderState(
                uidValidity: try allocateUIDValidity(),
                specialUse: folder.state?.specialUse ?? .none)
            try state.write(in: root.descriptor, isSynced: !isMaking)
            uidNext = 1
        }
        let id = state.id
        kept.insert(id)
        lastUIDValidity = max(lastUIDValidity, state.uidValidity)
        try insertMailbox(id, name, folder.directory, state, uidNext: uidNext)
        if accountState.hasDefaults { notify(.folderChanged, "found: \(name.text)") }
    }

    /// No mailbox made later gets this UIDVALIDITY, even if the index is lost.
    private func raiseUIDValidityMark(past value: UInt32) throws(StoreError) {
        let last = try ForeignUIDs.lastUIDValidity(in: maildir.descriptor) ?? 0
        let greatest = max(value, last)
        lastUIDValidity = max(lastUIDValidity, greatest)
        guard greatest >= accountState.uidValidityMark else { return }
        var raised = accountState
        let (mark, overflow) = greatest.addingReportingOverflow(AccountState.uidValidityStep)
        raised.uidValidityMark = overflow ? .max : mark
        try raised.write(in: maildir.descriptor)
        accountState = raised
    }

    /// - Parameter uidNext: 0 if the rows are lost and numbers below the marks may be in use.
    func insertMailbox(
        _ id: MailboxID, _ name: MailboxName, _ directory: PathOctets, _ state: FolderState,
        uidNext: UInt32
    ) throws(StoreError) {
        let isLost = uidNext == 0
        let modSeq = isLost ? state.modSeqMark - 1 : 1
        try index.insert(
            MailboxRow(
                id: id, name: name, directory: directory, specialUse: state.specialUse),
            MailboxNumbers(
                uidNext: uidNext, modSeq: modSeq, floor: isLost ? state.modSeqMark : 0),
            MaildirMarks(uidMark: state.uidMark, modSeqMark: state.modSeqMark))
    }

    func doomedFolders() throws(StoreError) -> Set<MailboxID> {
        Set(try index.doomedFolders().map(\.id))
    }

    /// Opens directories and counters of a mailbox.
    func openFolder(_ id: MailboxID) throws(StoreError) -> Folder {
        guard let (row, numbers) = try index.openRow(id) else { throw .noSuchMailbox }
        let directory = row.directory
        let marks = numbers.marks

        guard let root = try openFolderDirectory(directory) else {
            try scanFolders()
            throw .noSuchMailbox
        }
        let blobs = try MaildirBlobs(root, self.root.staging)
        var isBehind = numbers.uidNext == 0
        numbers.uidNext = max(numbers.uidNext, 1)
        let read = try blobs.readState()
        var made = FolderState(uidValidity: 0, specialUse: row.specialUse)
        made.id = id
        var state = read ?? made
        guard state.id == id else {
            try scanFolders()
            throw .noSuchMailbox
        }
        if state.uidMark > marks.uidMark || state.modSeqMark > marks.modSeqMark {
            // Numbers were promised that the rows do not know of: a crash right behind the
            // promise, or an index from a backup.
            isBehind = true
            numbers.modSeq = max(numbers.modSeq, state.modSeqMark - 1)
        }
        if read == nil || state.uidMark < marks.uidMark || state.modSeqMark < marks.modSeqMark {
            state.uidMark = max(state.uidMark, marks.uidMark)
            state.modSeqMark = max(state.modSeqMark, marks.modSeqMark)
            try blobs.write(state)
        }
        let folder = Folder(
            numbers, name: row.name, directory: directory, blobs: blobs, state: state,
            keywords: try blobs.readKeywords())
        folder.isBehind = isBehind
        // A crash between the rows' end and the files': they must go before they are seen again.
        folder.needsScan = try index.isAnyDoomed(id)
        return folder
    }
}
