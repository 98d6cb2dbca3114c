// SPDX-License-Identifier: Apache-2.0
//
// Mailboxes as such: LIST, CREATE, DELETE, RENAME, SUBSCRIBE. RFC 9051 §6.3.4 to §6.3.9,
// RFC 6154 (special use). A level without a mailbox exists as long as mailboxes lie below it.

import Bytes
import Mail

extension AccountStore {
    /// What a new account gets, beside INBOX.
    private static let defaults: [(name: String, use: SpecialUse)] = [
        ("Drafts", .drafts), ("Sent", .sent), ("Junk", .junk), ("Trash", .trash),
        ("Archive", .archive),
    ]

    /// Mailboxes, the levels above them, and subscribed names that are gone; by name.
    package func list() throws(StoreError) -> [MailboxInfo] {
        try guarded { () throws(StoreError) in
            try scanFoldersIfChanged()
            let subscribed = Set(try subscriptions())
            var infos: [MailboxName: MailboxInfo] = [:]
            for row in try mailboxRows() {
                infos[row.name] = MailboxInfo(
                    name: row.name, specialUse: row.specialUse, isSelectable: true,
                    isSubscribed: subscribed.contains(row.name))
            }
            for name in Array(infos.keys) {
                var level = name.parent
                while let present = level, infos[present] == nil {
                    infos[present] = MailboxInfo(
                        name: present, specialUse: .none, isSelectable: false,
                        isSubscribed: subscribed.contains(present))
                    level = present.parent
                }
            }
            for name in subscribed where infos[name] == nil {
                infos[name] = MailboxInfo(
                    name: name, specialUse: .none, isSelectable: false, isSubscribed: true)
            }
            return infos.values.sorted { $0.name < $1.name }
        }
    }

    package func create(_ name: MailboxName, _ use: SpecialUse) throws(StoreError) {
        try guarded { () throws(StoreError) in
            try scanFoldersIfChanged()
            try createNow(name, use)
        }
    }

    /// - Parameter uidValidity: nil: a new one is made.
    func createNow(
        _ name: MailboxName, _ use: SpecialUse, uidValidity: UInt32? = nil
    ) throws(StoreError) {
        guard try mailboxID(name) == nil else { throw .mailboxExists }
        guard try index.mailboxCount() < Self.mailboxLimit else { throw .limit }
        guard let directory = FolderName.directory(of: name), !directory.isEmpty else {
            throw .notPermitted
        }
        try makeFolder(name, directory, use, uidValidity)
    }

    /// The directory first, whole and durable; then the row. A crash between leaves an empty
    /// mailbox.
    private func makeFolder(
        _ name: MailboxName, _ directory: PathOctets, _ use: SpecialUse, _ uidValidity: UInt32?
    ) throws(StoreError) {
        let validity: UInt32
        if let uidValidity { validity = uidValidity } else { validity = try allocateUIDValidity() }
        var state = FolderState(uidValidity: validity, specialUse: use)
        if uidValidity != nil { state.uidMark = 1 }
        try System.makeDirectory(directory, in: maildir.descriptor)
        let root = try System.openDirectory(directory, in: maildir.descriptor)
        for name in [PathOctets.cur, .new, .tmp] {
            try System.makeDirectory(name, in: root.descriptor)
        }
        let marker = PathOctets("maildirfolder")
        if try System.status(marker, in: root.descriptor) == nil {
            _ = try System.createFile(marker, in: root.descriptor)
        }
        try state.write(in: root.descriptor, isSynced: !isMaking)
        if !isMaking { try System.synchronize(maildir.descriptor, "Maildir") }
        reached(.folderMade)
        try transaction { () throws(StoreError) in
            try insertMailbox(state.id, name, directory, state, uidNext: 1)
            try setMeta(.uidValidity, Int64(lastUIDValidity))
        }
        reached(.createCommitted)
    }

    /// The account's directories and files are made, or a crash had stopped that: one sync for all
    /// of them ends it, and until then nothing in it was answered for.
    var isMaking: Bool { !accountState.hasDefaults }

    /// What a change of directories or counters relies on.
    var durability: Durability { isMaking ? .making : .full }

    /// INBOX is always there; the others once, so that a user may delete them.
    func makeDefaults() throws(StoreError) {
        let isForeign = try hasForeignSubscriptions()
        var names = isForeign ? [] : [MailboxName.inbox]
        for (text, use) in Self.defaults {
            guard let name = MailboxName([UInt8](text)) else { continue }
            if let id = try mailboxID(name) {
                try setSpecialUse(id, use)
                if isForeign { continue }  // the user's choice
            } else {
                try createNow(name, use)
            }
            names.append(name)
        }
        var subscribed = try subscriptions()
        for name in names where !subscribed.contains(name) { subscribed.append(name) }
        try putSubscriptions(subscribed)
        // Everything above at once. Then the file that says so; its name is durable with the next
        // change of the folders, and if it is lost before that, all this is done again.
        try System.synchronizeFileSystem(maildir.descriptor)
        var state = accountState
        state.hasDefaults = true
        try state.write(in: maildir.descriptor, syncing: .content)
        accountState = state
        reached(.accountMade)
    }

    private func setSpecialUse(_ id: MailboxID, _ use: SpecialUse) throws(StoreError) {
        let folder = try folder(id)
        guard folder.state.specialUse == .none else { return }
        var state = folder.state
        state.specialUse = use
        try folder.blobs.write(state)
        folder.state = state
        try transaction { () throws(StoreError) in
            try index.setSpecialUse(id, use)
        }
    }

    // MARK: - DELETE

    /// Deletes a mailbox with its messages. Mailboxes below it stay. RFC 9051 §6.3.5.
    ///
    ///     state  rows   directory          after a crash here
    ///     D0     there  there              nothing happened
    ///     D1     gone   there              moved away when the account is opened
    ///     D2     gone   in Expunged/, or   done; or removed when the account is opened
    ///                   martlet-removed-*
    package func delete(_ name: MailboxName) throws(StoreError) {
        try guarded { () throws(StoreError) in
            guard !name.isInbox else { throw .notPermitted }
            let folder = try folder(name)
            let id = folder.id
            let directory = folder.directory
            // What comes back from Expunged/ has the flags that its file name has.
            while hasUnflushedNames { try flushNamesNow(limit: 10_000) }
            if root.retention.isHeld(address) { try hold(folder) }
            // What was moved out must not come back with the folder.
            if retiring.contains(id) {
                try retire(folder, movedOnly: true, milliseconds: .max / 2)
            }
            let modSeq = folder.modSeq + 1
            try transaction(rows: .max) { () throws(StoreError) in
                try index.remove(id)
                try index.insertDoomedFolder(id, directory)
            }
            noteGone(id, at: modSeq)
            reached(.deleteCommitted)
            do throws(StoreError) {
                try removeDoomedFolder(id, directory)
            } catch {
                notify(.postponed, "delete \(name.text): \(error)")
            }
        }
    }

    private func removeDoomedFolder(
        _ id: MailboxID, _ directory: PathOctets
    ) throws(StoreError) {
        // Not a folder's name for any reader of Maildir++.
        let trash = PathOctets("martlet-removed-\(id.rawValue)")
        if let root = try System.openDirectoryIfPresent(directory, in: maildir.descriptor),
            let state = try FolderState.read(in: root.descriptor),
            state.id == id
        {
            if try !shelve(root, directory, id) {
                _ = try System.rename(
                    directory, in: maildir.descriptor, to: trash, in: maildir.descriptor)
            }
            try System.synchronize(maildir.descriptor, "Maildir")
        }
        reached(.deleteMoved)
        try System.removeTree(trash, in: maildir.descriptor)
        try System.synchronize(maildir.descriptor, "Maildir")
        try transaction { () throws(StoreError) in
            try index.clearDoomedFolder(id)
        }
        reached(.deleteDone)
    }

    func finishDeletes() throws(StoreError) {
        for (id, directory) in try index.doomedFolders() { try removeDoomedFolder(id, directory) }
    }

    // MARK: - RENAME

    /// Renames a mailbox and all below it; INBOX keeps its name and gives its messages away.
    /// RFC 9051 §6.3.6.
    ///
    ///     state  rows      directories     after a crash here
    ///     R0     old       old             nothing happened
    ///     R1     new       old or mixed    the rest is renamed when the account is opened
    ///     R2     new       new             done
    package func rename(_ name: MailboxName, to target: MailboxName) throws(StoreError) {
        try guarded { () throws(StoreError) in
            try scanFoldersIfChanged()
            guard name != target, !target.isBelow(name) || name.isInbox else {
                throw name == target ? .mailboxExists : .notPermitted
            }
            guard try mailboxID(target) == nil else { throw .mailboxExists }
            if name.isInbox {
                try createNow(target, .none)
                let inbox = try folder(name)
                let destination = try folder(target)
                let all = [UIDRange(1, .max)]
                _ = try copyNow(inbox, all, to: destination, move: true)
                return
            }
            let moves = try plannedMoves(name, target)
            try transaction { () throws(StoreError) in
                for move in moves {
                    try index.rename(
                        move.row.id, to: move.name, move.directory, previous: move.row.directory)
                }
            }
            for move in moves {
                guard let folder = openedFolder(move.row.id) else { continue }
                folder.name = move.name
                folder.directory = move.directory
            }
            reached(.renameCommitted)
            do throws(StoreError) {
                try finishRenames()
            } catch {
                notify(.postponed, "rename \(name.text): \(error)")
            }
        }
    }

    private func plannedMoves(
        _ name: MailboxName, _ target: MailboxName
    ) throws(StoreError) -> [(row: MailboxRow, name: MailboxName, directory: PathOctets)] {
        var moves: [(row: MailboxRow, name: MailboxName, directory: PathOctets)] = []
        for row in try mailboxRows() where row.name == name || row.name.isBelow(name) {
            guard
                let new = MailboxName(target.octets + row.name.octets.dropFirst(name.octets.count)),
                let directory = FolderName.directory(of: new), !directory.isEmpty
            else { throw .notPermitted }
            guard try mailboxID(new) == nil,
                try System.status(directory, in: maildir.descriptor) == nil
            else { throw .mailboxExists }
            moves.append((row, new, directory))
        }
        guard !moves.isEmpty else { throw .noSuchMailbox }
        return moves
    }

    /// Brings directories behind rows that were renamed.
    func finishRenames() throws(StoreError) {
        let pending = try mailboxRows().filter { $0.previous != nil }
        guard !pending.isEmpty else { return }
        for row in pending {
            guard let previous = row.previous,
                try System.status(row.directory, in: maildir.descriptor) == nil
            else { continue }
            _ = try System.rename(
                previous, in: maildir.descriptor, to: row.directory, in: maildir.descriptor)
        }
        try System.synchronize(maildir.descriptor, "Maildir")
        reached(.renameMoved)
        try transaction { () throws(StoreError) in
            for row in pending {
                try index.finishRename(row.id)
            }
        }
        reached(.renameDone)
    }

    // MARK: - SUBSCRIBE

    /// A name may be subscribed whether or not its mailbox exists. RFC 9051 §6.3.7.
    package func subscribe(_ name: MailboxName, _ wanted: Bool) throws(StoreError) {
        try guarded { () throws(StoreError) in
            var names = try subscriptions()
            guard names.contains(name) != wanted else { return }
            if wanted {
                guard names.count < Subscriptions.countLimit else { throw .limit }
                names.append(name)
            } else {
                names.removeAll { $0 == name }
            }
            try putSubscriptions(names)
        }
    }

    func subscriptions() throws(StoreError) -> [MailboxName] {
        if let octets = try DurableFile.read(Subscriptions.fileName, in: maildir.descriptor) {
            return Subscriptions.parse(octets)
        }
        let courier = try DurableFile.read(
            Subscriptions.courierFileName, in: maildir.descriptor)
        return Subscriptions.parseCourier(courier ?? [])
    }

    /// True before an account's first change, if another server left subscriptions.
    private func hasForeignSubscriptions() throws(StoreError) -> Bool {
        for name in [Subscriptions.fileName, Subscriptions.courierFileName]
        where try System.status(PathOctets(name), in: maildir.descriptor) != nil {
            return true
        }
        return false
    }

    private func putSubscriptions(_ names: [MailboxName]) throws(StoreError) {
        let octets = Subscriptions.octets(names)
        guard octets.count <= DurableFile.octetLimit else { throw .limit }
        try DurableFile.replace(
            Subscriptions.fileName, with: octets, in: maildir.descriptor,
            syncing: isMaking ? .nothing : .contentAndName)
    }
}
