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
                for var entry in try index.entries(id, range, limit: .max) {
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
            let modSeq = try index.allocateModSeq(in: folder.numbers)
            try transaction(rows: changed.count) { () throws(StoreError) in
                try index.changeFlags(
                    uids, operation, mask, at: modSeq, unchangedSince: unchangedSince, in: id)
                for at in changed { stored.entries[at].modSeq = modSeq }
                try putCounters(folder)
            }
            hasUnflushedNames = true
            folder.updateImage(changed.map { stored.entries[$0] }, at: modSeq)
            committed(folder, changed.map { stored.entries[$0].uid }, at: modSeq)
            reached(.flagsCommitted)
            return stored
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
        var unflushed = try index.unflushed(limit: limit)
        guard !unflushed.isEmpty else {
            hasUnflushedNames = false
            return
        }
        var folders: [MailboxID: Folder] = [:]
        for at in unflushed.indices {
            let message = unflushed[at]
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
                unflushed[at].name = name
            } else {
                folder.needsScan = true  // another program renamed or removed it
            }
        }
        for folder in folders.values {
            try folder.ownChange()
            try folder.synchronize()
        }
        reached(.namesRenamed)
        try transaction(rows: unflushed.count) { () throws(StoreError) in
            for message in unflushed {
                try index.setFlushed(message)
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
