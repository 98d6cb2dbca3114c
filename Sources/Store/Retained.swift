// SPDX-License-Identifier: Apache-2.0
//
// What was expunged and can come back: listing it, and bringing it back as messages. docs/store.md.

import Bytes
import MIME
import Mail

/// A directory in Expunged/ with files of messages.
package struct RetainedPlace: Sendable, Equatable {
    /// Below Expunged/.
    package var path: [PathOctets]
    package var mailbox: MailboxName
    package var names: [PathOctets]
}

/// What `undelete` did.
package struct UndeletedMessages: Equatable, Sendable {
    package var restored: UInt32 = 0
    /// Their mailbox has them already.
    package var present: UInt32 = 0
    /// Swept, or never there.
    package var missing: UInt32 = 0

    package init() {}
}

extension AccountStore {
    /// Every place with the names in it, oldest day first.
    package func retainedPlaces() throws(StoreError) -> [RetainedPlace] {
        try finishRetiring()
        guard
            let top = try System.openDirectoryIfPresent(
                Retention.directoryName, in: account.descriptor)
        else { return [] }
        var places: [RetainedPlace] = []
        for day in Self.sorted(try System.names(in: top.descriptor)) where Retention.isDay(day) {
            guard let directory = try openPlace([day], in: top) else { continue }
            for name in Self.sorted(try System.names(in: directory.descriptor)) {
                if name.starts(with: Retention.deletedPrefix) {
                    guard let deleted = try openPlace([day, name], in: top) else { continue }
                    for folder in try System.names(in: deleted.descriptor) {
                        for part in [PathOctets.cur, .new] {
                            try addPlace([day, name, folder, part], folder, in: top, to: &places)
                        }
                    }
                } else {
                    try addPlace([day, name], name, in: top, to: &places)
                }
            }
        }
        return places
    }

    private static func sorted(_ names: [PathOctets]) -> [PathOctets] {
        names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Nil for what is no directory.
    private func openPlace(
        _ path: [PathOctets], in top: borrowing File
    ) throws(StoreError) -> File? {
        var directory = try System.openDirectory([0x2E], in: top.descriptor)
        for name in path {
            guard try System.status(name, in: directory.descriptor)?.isDirectory == true,
                let next = try System.openDirectoryIfPresent(name, in: directory.descriptor)
            else { return nil }
            directory = next
        }
        return directory
    }

    private func addPlace(
        _ path: [PathOctets], _ folder: PathOctets, in top: borrowing File,
        to places: inout [RetainedPlace]
    ) throws(StoreError) {
        guard let mailbox = Self.mailbox(retainedAs: folder),
            let directory = try openPlace(path, in: top)
        else { return }
        let names = try System.names(in: directory.descriptor)
            .filter { $0.first != 0x2E && $0 != PathOctets(KeywordTable.fileName) }
        guard !names.isEmpty else { return }
        places.append(
            RetainedPlace(path: path, mailbox: mailbox, names: Self.sorted(names)))
    }

    private static func mailbox(retainedAs folder: PathOctets) -> MailboxName? {
        folder == Retention.inboxName ? .inbox : FolderName.mailbox(of: folder)
    }

    /// Some messages of a place, for a list.
    package func retainedMessages(
        _ place: RetainedPlace, _ range: Range<Int>
    ) throws(StoreError) -> [RetainedMessage] {
        guard let day = place.path.first,
            let top = try System.openDirectoryIfPresent(
                Retention.directoryName, in: account.descriptor),
            let directory = try openPlace(place.path, in: top)
        else { return [] }
        var messages: [RetainedMessage] = []
        for name in place.names[range] {
            guard let status = try System.status(name, in: directory.descriptor),
                status.isRegular,
                let file = try System.openFile(name, in: directory.descriptor)
            else { continue }
            let head = try System.read(file.descriptor, from: 0, count: MessageSummary.window)
            let summary = HeaderSummary(header: head.span)
            messages.append(
                RetainedMessage(
                    path: Array((place.path + [name]).joined(separator: [0x2F])),
                    mailbox: place.mailbox, day: day, expungedAt: status.changed,
                    size: UInt32(clamping: FileName(name).wireSize ?? status.size),
                    date: status.seconds, sender: summary.from, subject: summary.subject))
        }
        return messages
    }

    // MARK: - Bringing back

    /// Makes messages of expunged files again: in the mailbox where they were, which is made if it
    /// is gone, with a new UID, their flags without `\Deleted`, and their INTERNALDATE.
    ///
    /// The file gets a second name in new/, where it is taken in as every file of another program;
    /// only then its name in Expunged/ goes. A crash between leaves both: done again, nothing
    /// doubles, for the part before the flags is the same.
    package func undelete(_ paths: [PathOctets]) throws(StoreError) -> UndeletedMessages {
        var places: [[PathOctets]: [PathOctets]] = [:]
        for path in paths {
            let parts = path.split(separator: 0x2F, omittingEmptySubsequences: false).map {
                Array($0)
            }
            guard parts.count == 3 || parts.count == 5, Retention.isDay(parts[0]),
                parts.allSatisfy({ !$0.isEmpty && !$0.contains(0) && $0 != [0x2E, 0x2E] })
            else { throw .notPermitted }
            places[Array(parts.dropLast()), default: []].append(parts[parts.count - 1])
        }
        var result = UndeletedMessages()
        for place in places.keys.sorted(by: { $0.count < $1.count }) {
            try guarded { () throws(StoreError) in
                try undelete(place, places[place] ?? [], &result)
            }
        }
        return result
    }

    private func undelete(
        _ place: [PathOctets], _ names: [PathOctets], _ result: inout UndeletedMessages
    ) throws(StoreError) {
        let folderDirectory = place.count == 2 ? place[1] : place[2]
        guard let mailbox = Self.mailbox(retainedAs: folderDirectory) else { throw .notPermitted }
        guard
            let top = try System.openDirectoryIfPresent(
                Retention.directoryName, in: account.descriptor),
            let directory = try openPlace(place, in: top)
        else {
            result.missing += UInt32(names.count)
            return
        }
        let base = place.count == 2 ? place : Array(place.dropLast())
        guard let tableDirectory = try openPlace(base, in: top) else { return }
        let table = try KeywordTable.read(in: tableDirectory.descriptor)
        if try mailboxID(mailbox) == nil {
            let state = try FolderState.read(in: tableDirectory.descriptor)
            try createNow(mailbox, state?.specialUse ?? .none)
        }
        let folder = try folder(mailbox)
        var known = try uniques(folder)
        var linked: [(source: PathOctets, target: PathOctets)] = []
        for name in names {
            let unique = FileName.unique(of: name)
            guard try System.status(name, in: directory.descriptor)?.isRegular == true else {
                result.missing += 1
                continue
            }
            guard known.insert(unique).inserted else {
                result.present += 1
                try System.unlink(name, in: directory.descriptor)
                continue
            }
            let target = try nameInNew(name, table, folder)
            do throws(StoreError) {
                try folder.blobs.linkIntoNew(name, from: directory.descriptor, as: target)
            } catch .file(_, errno: 17) {}  // EEXIST: an earlier attempt
            linked.append((name, target))
        }
        guard !linked.isEmpty else { return }
        folder.newTime = 0
        try refresh(folder)
        for (source, target) in linked {
            // Taken in: the row has it. What is still in new/ stays here as well.
            guard try folder.blobs.status(target, isNew: true) == nil else { continue }
            try System.unlink(source, in: directory.descriptor)
            result.restored += 1
        }
        try System.synchronize(directory.descriptor, "expunged")
    }

    /// The unique parts of all names that the folder's rows have.
    private func uniques(_ folder: Folder) throws(StoreError) -> Set<PathOctets> {
        var known: Set<PathOctets> = []
        try index.eachBlob(folder.id) { _, name in known.insert(FileName.unique(of: name)) }
        return known
    }

    /// Without UID and `\Deleted`, keywords with the letters of the folder.
    private func nameInNew(
        _ name: PathOctets, _ table: KeywordTable, _ folder: Folder
    ) throws(StoreError) -> PathOctets {
        var file = FileName(name)
        file.uid = nil
        let named = NamedFlags(
            system: file.flags.intersection(.system).subtracting(.deleted),
            keywords: table.names(in: file.flags.keywords))
        var keywords = folder.keywords
        file.flags = Self.flags(named, &keywords)
        if keywords != folder.keywords {
            try folder.blobs.write(keywords)
            folder.keywords = keywords
        }
        guard let octets = file.octets else { throw .limit }
        return octets
    }
}
