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
    ///     C2     names, synced    committed (move: the    there        move: unlinked when the
    ///                             source's gone, doomed)               source is compared
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
        let doomed: [DoomedFile]
        do throws(StoreError) {
            if move { sourceModSeq = try source.nextModSeq() }
            doomed = try transaction { () throws(StoreError) in
                for message in messages { try insertCopy(message, source, target, modSeq) }
                try putCounters(target)
                guard move else { return [] }
                return try removeInTransaction(source, sourceUIDs, sourceModSeq)
            }
        } catch {
            withdrawCopies(messages, target)
            throw error
        }
        committed(target, messages.map(\.uid), at: modSeq)
        if move { committed(source, [], at: sourceModSeq) }
        reached(.copyCommitted)
        if move {
            unlinkDoomed(source, doomed, isMove: true)
            reached(.moveUnlinked)
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
            let rows = try database.query(.snapshotRange).bind(
                source.id.rawValue, Int64(range.first), Int64(range.last))
            while try rows.step() {
                messages.append(CopiedMessage(entry: Self.entry(rows), sourceName: []))
            }
        }
        for index in messages.indices {
            let row = try database.query(.fileName).bind(
                source.id.rawValue, Int64(messages[index].entry.uid))
            if try row.step() { messages[index].sourceName = row.octets(0) }
            row.reset()
        }
        return messages
    }

    /// Keywords keep their names; letters differ from folder to folder.
    private func mapFlags(
        _ messages: inout [CopiedMessage], _ source: Folder, _ target: Folder
    ) throws(StoreError) {
        var keywords = target.keywords
        for index in messages.indices {
            let flags = messages[index].entry.flags
            let named = NamedFlags(
                system: flags.intersection(.system),
                keywords: source.keywords.names(in: flags.keywords))
            messages[index].flags = Self.flags(named, &keywords)
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
        var uid = try target.reserveUIDs(messages.count)
        let modSeq = try target.nextModSeq()
        for index in messages.indices {
            messages[index].uid = uid
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
        for index in messages.indices {
            messages[index].name = names[index] ?? []
            if names[index] == nil { source.needsScan = true }
        }
        try target.ownChange()
        return modSeq
    }

    private func insertCopy(
        _ message: CopiedMessage, _ source: Folder, _ target: Folder, _ modSeq: UInt64
    ) throws(StoreError) {
        try database.query(.insertMessage).bind(
            target.id.rawValue, Int64(message.uid), message.flags.stored, message.flags.stored,
            Int64(modSeq), Int64(message.entry.size), message.entry.internalDate
        ).run()
        let file = try database.query(.copyFile).bind(
            source.id.rawValue, Int64(message.entry.uid), target.id.rawValue, Int64(message.uid))
        file.set(5, message.name)
        try file.run()
        try copySummary(
            source.id.rawValue, message.entry.uid, to: target.id.rawValue, message.uid)
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
