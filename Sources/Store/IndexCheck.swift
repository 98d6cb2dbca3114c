// SPDX-License-Identifier: Apache-2.0
//
// Comparing an account's index with its Maildir, and naming every difference: in slices, so that
// other accounts are served in between. Nothing is changed here but what opening a folder mends by
// itself; the repairs are in IndexRepair.swift. docs/store.md, "When something is broken".

import Bytes
import Mail

/// One comparison of one account. Knows no descriptors: the store may be closed between steps.
package final class IndexChecker: @unchecked Sendable {  // safe: on its account's lane only
    /// Messages per step.
    private static let slice: Int64 = 500

    /// A folder that is being compared.
    private final class Place {
        let id: MailboxID
        /// Names in cur/ that no row has claimed: hash of the unique part, hash of the name.
        var names: [Int: Int] = [:]
        var uids: Set<UInt32> = []
        /// Rows whose file has another name now.
        var renamed: [Int: UInt32] = [:]
        var lastUID: Int64 = 0
        var needsScan = false

        init(_ id: MailboxID) { self.id = id }
    }

    package private(set) var report = IndexReport()
    let repairs: Bool
    private var mailboxes: [MailboxID]?
    private var place: Place?

    /// - Parameter repairs: puts right what can be; never deletes a message.
    package init(repairs: Bool) { self.repairs = repairs }

    /// Does a part of the work. True when all of it is done.
    package func step(_ store: AccountStore) throws(StoreError) -> Bool {
        try store.guarded { () throws(StoreError) in
            guard mailboxes != nil else {
                try checkAccount(store)
                mailboxes = try store.mailboxRows().map(\.id).reversed()
                return false
            }
            if let place {
                if try checkRows(store, place) { return false }
                try finish(store, place)
                self.place = nil
                return false
            }
            guard let next = mailboxes?.popLast() else {
                if repairs { try store.refreshLostAndFound() }
                return true
            }
            place = try begin(store, next)
            return false
        }
    }

    /// SQLite failed over the file in the middle of the work: it was moved aside and made again.
    package func noteDamage() { add(.damagedIndex, [], "made again", isRepaired: true) }

    private func add(
        _ kind: IndexFinding.Kind, _ mailbox: [UInt8] = [], uid: UInt32 = 0, _ detail: String = "",
        isRepaired: Bool = false
    ) {
        report.add(
            IndexFinding(
                kind, mailbox: Array(mailbox.prefix(MailboxName.octetLimit)), uid: uid,
                detail: Array([UInt8](detail).prefix(400)), isRepaired: isRepaired))
    }

    private static func text(_ name: PathOctets) -> String { String(decoding: name, as: UTF8.self) }

    // MARK: - The account

    private func checkAccount(_ store: AccountStore) throws(StoreError) {
        let problems = try store.index.problems()
        if !problems.isEmpty {
            if repairs { try store.rebuildIndex() }
            add(
                .damagedIndex, [], String(decoding: problems.prefix(400), as: UTF8.self),
                isRepaired: repairs)
        }
        if try DurableFile.read(AccountState.fileName, in: store.maildir.descriptor)
            .flatMap({ AccountState($0) }) == nil
        {
            if repairs { try store.accountState.write(in: store.maildir.descriptor) }
            add(.missingStateFile, [], AccountState.fileName, isRepaired: repairs)
        }
        let orphans = try store.index.orphanRows()
        if orphans > 0 {
            if repairs { try store.removeOrphanRows() }
            add(.orphanRow, [], "\(orphans) rows", isRepaired: repairs)
        }
        try checkDirectories(store)
        let names = Set(try store.mailboxRows().map(\.name))
        for name in try store.subscriptions() where !names.contains(name) {
            // A server must not unsubscribe by itself: RFC 9051 §6.3.7.
            add(.subscriptionWithoutMailbox, name.octets)
        }
    }

    /// Directories and files of the Maildir that are no part of any mailbox.
    private func checkDirectories(_ store: AccountStore) throws(StoreError) {
        let rows = try store.mailboxRows()
        let known = Set(rows.map(\.directory))
        for row in rows where !row.directory.isEmpty {
            let status = try System.status(row.directory, in: store.maildir.descriptor)
            guard status?.isDirectory != true else { continue }
            if repairs { try store.scanFolders() }
            add(.mailboxWithoutDirectory, row.name.octets, isRepaired: repairs)
        }
        let doomed = try store.doomedFolders()
        for name in try System.names(in: store.maildir.descriptor) {
            guard let status = try System.status(name, in: store.maildir.descriptor) else {
                continue
            }
            if status.isDirectory {
                let isTrash = name.starts(with: [UInt8]("martlet-removed-"))
                if isTrash, let id = Int64(Self.text(name).dropFirst(16)),
                    doomed.contains(MailboxID(rawValue: id))
                {
                    continue  // on its way out
                }
                guard (isTrash || name.first == 0x2E), !known.contains(name) else { continue }
                let count = try store.strayMessages(name, move: repairs)
                if count > 0 {
                    add(
                        .directoryWithoutMailbox, name, "\(count) messages",
                        isRepaired: repairs)
                }
            } else if name.first == 0x2E {
                add(.foreignObject, name, "in the Maildir")
            }
        }
    }

    // MARK: - One folder

    private func begin(_ store: AccountStore, _ id: MailboxID) throws(StoreError) -> Place? {
        let row = try store.mailboxRows().first { $0.id == id }
        guard let row, let directory = try store.openFolderDirectory(row.directory) else {
            return nil
        }
        if try FolderState.read(in: directory.descriptor) == nil {
            // Opening the folder writes it again from the index.
            add(.missingStateFile, row.name.octets, FolderState.fileName, isRepaired: true)
        }
        let folder: Folder
        do throws(StoreError) {
            folder = try store.loadFolder(id)
            if folder.isBehind || folder.adopting != nil { try store.refresh(folder) }
        } catch .noSuchMailbox {
            return nil
        }
        report.mailboxes += 1
        let place = Place(id)
        try checkNumbers(store, folder)
        try checkRoot(store, folder)
        try readNames(store, folder, place)
        return place
    }

    private func checkNumbers(_ store: AccountStore, _ folder: Folder) throws(StoreError) {
        let greatest = try store.index.greatestNumbers(folder.id)
        var isWrong = false
        if greatest.uid >= folder.uidNext {
            isWrong = true
            add(
                .uidBeyondNext, folder.name.octets, uid: greatest.uid,
                "UIDNEXT \(folder.uidNext)", isRepaired: repairs)
        }
        if greatest.modSeq > folder.modSeq || folder.modSeq >= folder.state.modSeqMark
            || folder.uidNext > folder.state.uidMark
        {
            isWrong = true
            add(
                .numberBeyondMark, folder.name.octets,
                "MODSEQ \(max(greatest.modSeq, folder.modSeq)), mark \(folder.state.modSeqMark); "
                    + "UIDNEXT \(folder.uidNext), mark \(folder.state.uidMark)",
                isRepaired: repairs)
        }
        if isWrong, repairs { try store.raiseNumbers(folder, greatest) }
    }

    /// Beside cur/, new/ and tmp/ there are state files, ours and others'.
    private func checkRoot(_ store: AccountStore, _ folder: Folder) throws(StoreError) {
        let directory = folder.blobs.directories.root
        for name in try System.names(in: directory) {
            let isLeftover = name.starts(with: [UInt8]("martlet-new-"))
            let isMessage = FileName.looksLikeMessage(name)
            guard isLeftover || isMessage,
                try System.status(name, in: directory)?.isRegular == true
            else { continue }
            if repairs {
                if isLeftover {
                    try System.unlink(name, in: directory)
                } else {
                    try store.moveToLostAndFound(name, in: directory)
                }
            }
            add(.orphanFile, folder.name.octets, Self.text(name), isRepaired: repairs)
        }
    }

    private func readNames(
        _ store: AccountStore, _ folder: Folder, _ place: Place
    ) throws(StoreError) {
        var odd: [PathOctets] = []
        try folder.blobs.eachName { name in
            guard name.first != 0x2E, !FileName.isBad(name) else {
                odd.append(name)
                return
            }
            place.names[FileName.uniqueHash(of: name)] = name.hash
            if let uid = FileName(name).uid, !place.uids.insert(uid).inserted {
                add(.duplicateUID, folder.name.octets, uid: uid, Self.text(name))
            }
        }
        for name in odd where name.first == 0x2E {
            add(.badName, folder.name.octets, "hidden, left alone: \(Self.text(name))")
        }
        for name in odd where name.first != 0x2E {
            if repairs {
                try store.giveName(to: name, in: folder)
                place.needsScan = true
            }
            add(.badName, folder.name.octets, Self.text(name), isRepaired: repairs)
        }
    }

    /// The next rows against their files. False when there are no more.
    private func checkRows(_ store: AccountStore, _ place: Place) throws(StoreError) -> Bool {
        guard let folder = try folder(store, place) else { return false }
        let rows = try store.index.checkedRows(place.id, after: place.lastUID, limit: Self.slice)
        guard let last = rows.last else { return false }
        place.lastUID = Int64(last.uid)
        report.messages += UInt64(rows.count)
        for row in rows { try check(store, folder, place, row) }
        return true
    }

    private func folder(_ store: AccountStore, _ place: Place) throws(StoreError) -> Folder? {
        do throws(StoreError) {
            return try store.loadFolder(place.id)
        } catch .noSuchMailbox {
            return nil  // deleted meanwhile
        }
    }

    private func check(
        _ store: AccountStore, _ folder: Folder, _ place: Place, _ row: CheckedRow
    ) throws(StoreError) {
        let mailbox = folder.name.octets
        let unique = FileName.uniqueHash(of: row.name)
        let listed = place.names[unique]
        guard let status = try folder.blobs.status(row.name) else {
            if listed != nil {
                place.renamed[unique] = row.uid
            } else {
                place.needsScan = true
                add(
                    .rowWithoutFile, mailbox, uid: row.uid, Self.text(row.name),
                    isRepaired: repairs)
            }
            return
        }
        if listed == row.name.hash { place.names[unique] = nil }
        guard status.isRegular else {
            add(.foreignObject, mailbox, uid: row.uid, Self.text(row.name))
            return
        }
        let file = FileName(row.name)
        if file.uid != row.uid {
            if repairs { try store.renameToRow(folder, row) }
            add(
                .duplicateUID, mailbox, uid: row.uid,
                "the file says \(file.uid.map { "\($0)" } ?? "none")", isRepaired: repairs)
            return
        }
        if file.flags != row.diskFlags {
            place.needsScan = true
            if repairs { try store.forgetName(folder, row) }
            add(.flagsDiffer, mailbox, uid: row.uid, Self.text(row.name), isRepaired: repairs)
        }
        try checkSize(store, folder, row, file, status)
        if status.seconds != row.date {
            if repairs { try store.restoreDate(folder, row) }
            add(
                .dateDiffers, mailbox, uid: row.uid,
                "INTERNALDATE \(row.date), file \(status.seconds)", isRepaired: repairs)
        }
    }

    private func checkSize(
        _ store: AccountStore, _ folder: Folder, _ row: CheckedRow, _ file: FileName,
        _ status: FileStatus
    ) throws(StoreError) {
        var wire = file.wireSize ?? status.size
        if file.wireSize != nil || file.fileSize != status.size,
            let opened = try folder.blobs.open(row.name)
        {
            wire =
                status.size
                + (try MessageText.bareLineFeeds(in: opened.descriptor, size: status.size))
        }
        let isSize = file.fileSize == status.size
        let isWire = Int64(row.size) == wire && (file.wireSize ?? wire) == wire
        guard !isSize || !isWire else { return }
        if repairs { try store.correctSize(folder, row, size: status.size, wire: wire) }
        add(
            isSize ? .wireSizeDiffers : .sizeDiffers, folder.name.octets, uid: row.uid,
            "index \(row.size), name S=\(file.fileSize ?? -1) W=\(file.wireSize ?? -1), "
                + "file \(status.size), with CRLF \(wire)", isRepaired: repairs)
    }

    /// Names that no row has, and the folder's repairs that a comparison makes.
    private func finish(_ store: AccountStore, _ place: Place) throws(StoreError) {
        guard let folder = try folder(store, place) else { return }
        let mailbox = folder.name.octets
        if !place.names.isEmpty {
            let doomed = try store.doomedNames(place.id)
            for name in try folder.blobs.names() {
                let unique = FileName.uniqueHash(of: name)
                guard place.names[unique] == name.hash else { continue }
                try checkUnclaimed(store, folder, place, name, doomed)
            }
        }
        for name in try folder.blobs.newNames() ?? [] where name.first != 0x2E {
            guard let status = try folder.blobs.status(name, isNew: true), !status.isRegular
            else { continue }
            add(.foreignObject, mailbox, "new/\(Self.text(name))")
        }
        guard repairs, place.needsScan else { return }
        folder.needsScan = true
        try store.refresh(folder)
    }

    private func checkUnclaimed(
        _ store: AccountStore, _ folder: Folder, _ place: Place, _ name: PathOctets,
        _ doomed: Set<PathOctets>
    ) throws(StoreError) {
        let mailbox = folder.name.octets
        guard let status = try folder.blobs.status(name) else { return }
        if status.isDirectory {
            let current = folder.blobs.directories.current
            let count = try store.strayFiles(name, in: current, move: repairs)
            add(
                .foreignObject, mailbox, "directory \(Self.text(name)) with \(count) files",
                isRepaired: repairs && count > 0)
            return
        }
        guard status.isRegular else {
            add(.foreignObject, mailbox, Self.text(name))
            return
        }
        if let uid = place.renamed[FileName.uniqueHash(of: name)] {
            place.needsScan = true
            add(.flagsDiffer, mailbox, uid: uid, Self.text(name), isRepaired: repairs)
            return
        }
        let uid = FileName(name).uid ?? 0
        // Delivered, or on its way out, since the comparison began.
        if uid > 0, try store.index.blob(place.id, uid) == name { return }
        if doomed.contains(FileName.unique(of: name)) { return }
        place.needsScan = true
        add(.fileWithoutRow, mailbox, uid: uid, Self.text(name), isRepaired: repairs)
    }
}
