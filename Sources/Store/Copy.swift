// SPDX-License-Identifier: Apache-2.0
//
// COPY and MOVE: hard links and rows, no bytes. RFC 9051 §6.4.7, §6.4.8; RFC 4315 (COPYUID).

import Mail

/// A message on its way into another mailbox.
private struct CopiedMessage {
    var entry: MessageEntry
    var sourceName: PathOctets
    var uid: UInt32 = 0
    var name: PathOctets = []
    var flags: Flags = []
}

extension AccountStore {
    /// Copies messages, with flags, keywords and dates; `move` takes them out of the source in
    /// the same transaction.
    ///
    ///     state  target           rows                    source       after a crash here
    ///     C0     –                –                       there        nothing happened
    ///     C1     names, synced    –                       there        copies are taken in: a
    ///                                                                  duplicate after MOVE
    ///     C2     names, synced    committed (move: the    there        move: unlinked in the
    ///                             source's gone, doomed)               background
    ///     C3     names, synced    committed               move: gone   done
    package func copy(
        _ id: MailboxID, uids: [UIDRange], to target: MailboxName, move: Bool
    ) throws(StoreError) -> CopyResult {
        try guarded { () throws(StoreError) in
            let source = try folder(id)
            let destination = try folder(target)
            return try copyNow(source, uids, to: destination, move: move)
        }
    }

    func copyNow(
        _ source: Folder, _ uids: [UIDRange], to target: Folder, move: Bool
    ) throws(StoreError) -> CopyResult {
        var messages = try messages(source, uids)
        guard !messages.isEmpty else {
            return CopyResult(uidValidity: target.uidValidity, source: [], destination: [])
        }
        if !move, var room = try quotaRoom() {
            let octets = messages.reduce(0) { $0 + UInt64($1.entry.size) }
            try room.take(octets, messages: UInt64(messages.count))
        }
        // A link is only as durable as the file: one that only the delivery log has goes first.
        try synchronizeUnsynced(source, messages.map(\.entry.uid))
        try mapFlags(&messages, source, target)
        let modSeq: UInt64
        do throws(StoreError) {
            modSeq = try placeCopies(&messages, source, target)
        } catch {
            withdrawCopies(messages, target)
            throw error
        }
        reached(.copyLinked)
        messages.removeAll { $0.name.isEmpty }  // removed by another program meanwhile
        let sourceUIDs = messages.map(\.entry.uid)
        var sourceModSeq: UInt64 = 0
        let doomed: [RemovedMessage]
        let way: WayOut
        do throws(StoreError) {
            if move { sourceModSeq = try index.allocateModSeq(in: source.numbers) }
            way = try wayOut(source, sourceUIDs, isMove: true)
            let rows = messages.count * (move ? 2 : 1)
            doomed = try transaction(rows: rows) { () throws(StoreError) in
                try insertCopies(messages, source, target, modSeq)
                try putCounters(target)
                guard move else { return [] }
                return try removeInTransaction(source, sourceUIDs, sourceModSeq, way)
            }
        } catch {
            withdrawCopies(messages, target)
            throw error
        }
        committed(target, messages.map(\.uid), at: modSeq)
        if move {
            source.shrinkImage(sourceUIDs, at: sourceModSeq)
            committed(source, [], at: sourceModSeq)
        }
        reached(.copyCommitted)
        if move {
            takeAway(source, doomed, way)
            if way == .movedNow { reached(.moveUnlinked) }
        }
        return CopyResult(
            uidValidity: target.uidValidity, source: sourceUIDs,
            destination: messages.map(\.uid))
    }

    private func messages(
        _ source: Folder, _ uids: [UIDRange]
    ) throws(StoreError) -> [CopiedMessage] {
        var messages: [CopiedMessage] = []
        for range in uids {
            try index.eachEntry(source.id, range) { entry, blob in
                messages.append(CopiedMessage(entry: entry, sourceName: blob))
            }
        }
        return messages
    }

    /// Keywords keep their names; letters differ from folder to folder.
    private func mapFlags(
        _ messages: inout [CopiedMessage], _ source: Folder, _ target: Folder
    ) throws(StoreError) {
        var keywords = target.keywords
        for at in messages.indices {
            let flags = messages[at].entry.flags
            guard !flags.keywords.isEmpty else {
                messages[at].flags = flags.intersection(.system)
                continue
            }
            let named = NamedFlags(
                system: flags.intersection(.system),
                keywords: source.keywords.names(in: flags.keywords))
            messages[at].flags = Self.flags(named, &keywords)
        }
        if keywords != target.keywords {
            try target.blobs.write(keywords)
            target.keywords = keywords
        }
    }

    /// Links every file into the target; returns the MODSEQ of the new messages.
    private func placeCopies(
        _ messages: inout [CopiedMessage], _ source: Folder, _ target: Folder
    ) throws(StoreError) -> UInt64 {
        var uid = try index.allocateUIDs(messages.count, in: target.numbers)
        let modSeq = try index.allocateModSeq(in: target.numbers)
        for at in messages.indices {
            messages[at].uid = uid
            uid += 1
        }
        let names = try target.blobs.copy(
            messages.map { message in
                (
                    message.sourceName,
                    BlobLabel(
                        unique: root.makeUniqueName(), size: message.entry.size, uid: message.uid,
                        flags: message.flags, date: message.entry.internalDate)
                )
            }, from: source.blobs)
        for at in messages.indices {
            messages[at].name = names[at] ?? []
            if names[at] == nil { source.needsScan = true }
        }
        try target.ownChange()
        return modSeq
    }

    /// Messages in one statement: what it reads waits in memory.
    private static let copyRun = 256

    /// Rows of copies, as part of a transaction: runs of messages that follow each other in both
    /// mailboxes at once.
    private func insertCopies(
        _ messages: [CopiedMessage], _ source: Folder, _ target: Folder, _ modSeq: UInt64
    ) throws(StoreError) {
        var start = 0
        while start < messages.count {
            let first = messages[start]
            guard first.flags == first.entry.flags else {
                // Its keywords have other letters there.
                let entry = MessageEntry(
                    uid: first.uid, size: first.entry.size, flags: first.flags, modSeq: modSeq,
                    internalDate: first.entry.internalDate)
                try index.copy(
                    first.entry.uid, from: source.id, as: entry, first.name, in: target.id)
                start += 1
                continue
            }
            var end = start + 1
            while end < messages.count, end - start < Self.copyRun,
                messages[end].flags == messages[end].entry.flags,
                messages[end].entry.uid == messages[end - 1].entry.uid + 1,
                messages[end].uid == messages[end - 1].uid + 1
            { end += 1 }
            try index.copyRun(
                from: source.id, first.entry.uid, messages[start..<end].map(\.name),
                to: target.id, first.uid, at: modSeq)
            start = end
        }
    }

    private func withdrawCopies(_ messages: [CopiedMessage], _ target: Folder) {
        target.needsScan = true
        for message in messages where !message.name.isEmpty {
            do throws(StoreError) {
                try target.blobs.delete(message.name)
            } catch {
                notify(.postponed, "unlink in \(target.name.text): \(error)")
            }
        }
    }
}
