// SPDX-License-Identifier: Apache-2.0
//
// STORE, and the flags' way into file names. RFC 9051 §6.4.6, RFC 7162 §3.1.3 (UNCHANGEDSINCE).

import Bytes
import Mail

extension AccountStore {
    /// Changes flags of the messages in `uids`; durable when it returns.
    ///
    ///     state  row               file name     after a crash here
    ///     F0     old               old           nothing happened
    ///     F1     new               old           done; the name follows
    ///     F2     new, old name     new, synced   recognised by the part before the flags
    ///     F3     new, new name     new, synced   done
    ///
    /// F1 is this function, F2 and F3 are `flushNames`.
    package func store(
        _ id: MailboxID, uids: [UIDRange], _ operation: FlagOperation, _ flags: NamedFlags,
        unchangedSince: UInt64?
    ) throws(StoreError) -> StoredFlags {
        try guarded { () throws(StoreError) in
            let folder = try folder(id)
            let mask = try mask(of: flags, operation, folder)
            var stored = StoredFlags(entries: [], modified: [], keywords: [])
            var changed: [Int] = []
            for range in uids {
                let rows = try database.query(.snapshotRange).bind(
                    id.rawValue, Int64(range.first), Int64(range.last))
                while try rows.step() {
                    var entry = Self.entry(rows)
                    if let unchangedSince, entry.modSeq > unchangedSince {
                        stored.modified.append(entry.uid)
                        continue
                    }
                    let before = entry.flags
                    switch operation {
                    case .replace: entry.flags = mask
                    case .add: entry.flags.formUnion(mask)
                    case .remove: entry.flags.subtract(mask)
                    }
                    if entry.flags != before { changed.append(stored.entries.count) }
                    stored.entries.append(entry)
                }
            }
            stored.keywords = folder.keywords.names
            guard !changed.isEmpty else { return stored }
            let modSeq = try folder.nextModSeq()
            try transaction { () throws(StoreError) in
                // One statement for a range: it changes the rows that were found to change
                for range in uids {
                    try database.query(Self.query(operation)).bind(
                        id.rawValue, Int64(range.first), Int64(range.last), mask.stored,
                        Int64(modSeq), unchangedSince.map { Int64(clamping: $0) } ?? .max
                    ).run()
                }
                for index in changed { stored.entries[index].modSeq = modSeq }
                try putCounters(folder)
            }
            hasUnflushedNames = true
            folder.updateImage(changed.map { stored.entries[$0] }, at: modSeq)
            committed(folder, changed.map { stored.entries[$0].uid }, at: modSeq)
            reached(.flagsCommitted)
            return stored
        }
    }

    private static func query(_ operation: FlagOperation) -> Query {
        switch operation {
        case .replace: .replaceFlags
        case .add: .addFlags
        case .remove: .removeFlags
        }
    }

    /// The bits of named flags; new keywords get their letter, durably, before a row has it.
    private func mask(
        of named: NamedFlags, _ operation: FlagOperation, _ folder: Folder
    ) throws(StoreError) -> Flags {
        var mask = named.system.intersection(.system)
        var keywords = folder.keywords
        for keyword in named.keywords {
            guard KeywordTable.isKeyword(keyword) else { throw .notPermitted }
            if operation == .remove {
                if let flag = keywords.flag(keyword) { mask.insert(flag) }
            } else {
                guard let flag = keywords.makeFlag(keyword) else { throw .limit }
                mask.insert(flag)
            }
        }
        if keywords != folder.keywords {
            try folder.blobs.write(keywords)
            folder.keywords = keywords
        }
        return mask
    }

    /// Renames up to `limit` files to carry their flags. Call it every few seconds while
    /// `hasUnflushedNames`.
    package func flushNames(limit: Int) throws(StoreError) {
        try guarded { () throws(StoreError) in try flushNamesNow(limit: limit) }
    }

    func flushNamesNow(limit: Int) throws(StoreError) {
        struct Unflushed {
            var mailbox: MailboxID
            var uid: UInt32
            var flags: Flags
            var name: PathOctets
        }
        var unflushed: [Unflushed] = []
        let rows = try database.query(.unflushed).bind(Int64(limit))
        while try rows.step() {
            unflushed.append(
                Unflushed(
                    mailbox: MailboxID(rawValue: rows.integer(0)), uid: UInt32(rows.integer(1)),
                    flags: Flags(rawValue: UInt64(bitPattern: rows.integer(2))),
                    name: rows.octets(3)))
        }
        guard !unflushed.isEmpty else {
            hasUnflushedNames = false
            return
        }
        var folders: [MailboxID: Folder] = [:]
        for index in unflushed.indices {
            let message = unflushed[index]
            let folder: Folder
            if let known = folders[message.mailbox] {
                folder = known
            } else {
                folder = try self.folder(message.mailbox)
                folders[message.mailbox] = folder
            }
            var file = FileName(message.name)
            file.flags = message.flags
            guard let name = file.octets, name != message.name else { continue }
            if try folder.blobs.rename(message.name, to: name) {
                unflushed[index].name = name
            } else {
                folder.needsScan = true  // another program renamed or removed it
            }
        }
        for folder in folders.values {
            try folder.ownChange()
            try folder.synchronize()
        }
        reached(.namesRenamed)
        try transaction { () throws(StoreError) in
            for message in unflushed {
                let name = try database.query(.setName).bind(
                    message.mailbox.rawValue, Int64(message.uid))
                name.set(3, message.name)
                try name.run()
                try database.query(.setDiskFlags).bind(
                    message.mailbox.rawValue, Int64(message.uid), message.flags.stored
                ).run()
            }
            for folder in folders.values { try putCounters(folder) }
        }
        for folder in folders.values {
            folder.isTimeStored = true
            folder.doomedCleared()
        }
        reached(.namesCommitted)
        if unflushed.count < limit { hasUnflushedNames = false }
    }
}
