// SPDX-License-Identifier: Apache-2.0
//
// Appending messages, the write that must never be lost: delivery and APPEND. maildir(5);
// RFC 9051 §2.3.1.1, §6.3.12; RFC 5321 §6.1.

import Bytes
import Mail

/// One message of a batch on its way.
private final class Draft {
    let index: Int
    let pending: PendingAppend
    let file: MessageFile
    let size: UInt32
    let date: SecondsSince1970
    let summary: MessageSummary
    var uid: UInt32 = 0
    var flags: Flags = []
    var name: PathOctets = []

    init(
        _ index: Int, _ pending: PendingAppend, _ file: MessageFile, size: UInt32,
        date: SecondsSince1970, _ summary: MessageSummary
    ) {
        self.index = index
        self.pending = pending
        self.file = file
        self.size = size
        self.date = date
        self.summary = summary
    }

    func entry(_ modSeq: UInt64) -> MessageEntry {
        MessageEntry(uid: uid, size: size, flags: flags, modSeq: modSeq, internalDate: date)
    }
}

/// Messages of a batch that go to one folder.
private struct FolderBatch {
    var folder: Folder
    var drafts: [Draft] = []
    var modSeq: UInt64 = 0
    /// The UID of the next draft.
    var uidNext: UInt32

    init(_ folder: Folder) {
        self.folder = folder
        uidNext = folder.uidNext
    }
}

extension AccountStore {
    /// Open files at once.
    private static let batchLimit = 64
    /// Messages that are appended together; each is an open file until they are there.
    package static let groupLimit = 256

    /// Makes messages permanent and gives each a UID. One result for each, in order; all that
    /// succeed are durable when this returns.
    ///
    ///     state  bytes        cur/            rows         after a crash here
    ///     A0     –            –               –            nothing happened
    ///     A1     synced       –               –            nothing happened: the file has no name
    ///     A2     synced       name, synced    –            taken in under the UID of its name
    ///     A3     synced       name, synced    committed    done
    ///
    /// Sessions see rows only, so nothing before A3, and only A3 is reported as success. The
    /// folders' names share one sync per folder, all rows one transaction. If the last two steps
    /// fail the names are removed again; where even that fails a duplicate is possible, a loss
    /// never is.
    ///
    /// Messages that the delivery log has are durable already; for them nothing is synced here:
    ///
    ///     state  log     cur/     rows      after a crash here
    ///     L1     synced  –        –         stored when the log is redone
    ///     L2     synced  name     –         the same, under the UID of the name if it is there
    ///     L3     synced  name     written   done; what a power cut took is written again
    ///     L4     synced  durable  durable   done: a checkpoint of the log was here
    package func append(batch: [PendingAppend]) -> [Result<AppendedMessage, StoreError>] {
        var results = [Result<AppendedMessage, StoreError>?](repeating: nil, count: batch.count)
        var end = 0
        while end < batch.count {
            let start = end
            let isLogged = batch[start].position != nil
            while end < batch.count, end < start + Self.batchLimit,
                (batch[end].position != nil) == isLogged
            { end += 1 }
            do throws(StoreError) {
                try guarded { () throws(StoreError) in
                    try appendNow(batch, start..<end, &results)
                }
            } catch {
                // Nothing may overtake what was answered for: the rows would say that they have
                // all that the log has up to there.
                if batch[start..<end].contains(where: \.isAnswered) { end = batch.count }
                for index in start..<end where results[index] == nil {
                    results[index] = .failure(error)
                }
            }
        }
        return results.map { $0 ?? .failure(.index("append", code: 0)) }
    }

    package func append(_ message: PendingAppend) throws(StoreError) -> AppendedMessage {
        guard let result = append(batch: [message]).first else {
            throw .index("append", code: 0)
        }
        return try result.get()
    }

    private func appendNow(
        _ batch: [PendingAppend], _ range: Range<Int>,
        _ results: inout [Result<AppendedMessage, StoreError>?]
    ) throws(StoreError) {
        // A1: bytes. A message that fails here fails alone.
        var folders: [FolderBatch] = []
        var room = try quotaRoom()
        for index in range {
            do throws(StoreError) {
                let folder = try folder(batch[index].mailbox)
                // It has its room already, or had it when that was decided.
                if !batch[index].isAnswered { try room?.take(UInt64(batch[index].source.size)) }
                let at: Int
                if let known = folders.firstIndex(where: { $0.folder === folder }) {
                    at = known
                } else {
                    at = folders.count
                    folders.append(FolderBatch(folder))
                }
                try checkWanted(batch[index].wanted, folder, next: &folders[at].uidNext)
                folders[at].drafts.append(try makeDraft(index, batch[index], folder))
            } catch {
                if batch[index].isAnswered { throw error }
                results[index] = .failure(error)
            }
        }
        if batch[range.lowerBound].position == nil { prepareDrafts(&folders, &results) }
        folders.removeAll { $0.drafts.isEmpty }
        guard !folders.isEmpty else { return }
        let position = batch[range].last?.position
        let appliedBefore = applied
        if position == nil { reached(.bytesDurable) }

        // A2: names. A3: rows.
        do throws(StoreError) {
            for at in folders.indices { try placeDrafts(&folders[at], isSynced: position == nil) }
            reached(position == nil ? .nameDurable : .fileNamed)
            try transaction(position == nil ? .full : .logged) { () throws(StoreError) in
                for batch in folders { try insertDrafts(batch) }
                if let position { try setApplied(position.rawValue) }
            }
        } catch {
            for batch in folders { withdraw(batch) }
            throw error
        }
        if position != nil {
            noteUnsynced(folders.map { ($0.folder, $0.drafts[0].uid) }, before: appliedBefore)
        }
        for batch in folders { finish(batch, &results) }
        reached(position == nil ? .rowDurable : .rowWritten)
    }

    /// Makes messages permanent in one mailbox, all or none, and takes `replaced` away in the same
    /// step: states A0 to A3 with one transaction. At most `groupLimit` messages.
    ///
    /// A crash in A2 may leave some of them, or all, beside what they were to replace; nobody was
    /// told of any then.
    ///
    /// - Throws: `.badStage` if what is to be replaced is not there.
    package func append(
        group: [PendingAppend], replacing replaced: (mailbox: MailboxID, uid: UInt32)?
    ) throws(StoreError) -> (appended: [AppendedMessage], highestModSeq: UInt64) {
        try guarded { () throws(StoreError) in
            guard let first = group.first, group.count <= Self.groupLimit else { throw .limit }
            let folder = try folder(first.mailbox)
            var source: Folder?
            if let replaced {
                let found = try self.folder(replaced.mailbox)
                guard try index.entry(found.id, replaced.uid) != nil else { throw .badStage }
                source = found
            }
            var room = try quotaRoom()
            var batch = FolderBatch(folder)
            for (number, pending) in group.enumerated() {
                guard pending.mailbox == first.mailbox, pending.position == nil else {
                    throw .notPermitted
                }
                try room?.take(UInt64(pending.source.size))
                try checkWanted(pending.wanted, folder, next: &batch.uidNext)
                batch.drafts.append(try makeDraft(number, pending, folder))
            }
            var results = [Result<AppendedMessage, StoreError>?](
                repeating: nil, count: group.count)
            var folders = [batch]
            prepareDrafts(&folders, &results)
            for case .failure(let error)? in results { throw error }
            reached(.bytesDurable)
            return try commit(group: &folders[0], &results, source, replaced?.uid)
        }
    }

    private func commit(
        group batch: inout FolderBatch, _ results: inout [Result<AppendedMessage, StoreError>?],
        _ source: Folder?, _ replaced: UInt32?
    ) throws(StoreError) -> (appended: [AppendedMessage], highestModSeq: UInt64) {
        var doomed: [RemovedMessage] = []
        var modSeq: UInt64 = 0
        var way = WayOut.now
        let uids = replaced.map { [$0] } ?? []
        do throws(StoreError) {
            try placeDrafts(&batch, isSynced: true)
            reached(.nameDurable)
            if let source {
                way = try wayOut(source, uids, isMove: false)
                modSeq = try index.allocateModSeq(in: source.numbers)
            }
            let (inserted, removedAt, wayOut) = (batch, modSeq, way)
            doomed = try transaction(rows: batch.drafts.count) { () throws(StoreError) in
                try insertDrafts(inserted)
                guard let source else { return [] }
                return try removeInTransaction(source, uids, removedAt, wayOut)
            }
        } catch {
            withdraw(batch)
            throw error
        }
        finish(batch, &results)
        if let source {
            source.shrinkImage(uids, at: modSeq)
            committed(source, [], at: modSeq)
        }
        reached(.rowDurable)
        if let source { takeAway(source, doomed, way) }
        var appended: [AppendedMessage] = []
        for case .success(let message)? in results { appended.append(message) }
        return (appended, modSeq)
    }

    private func makeDraft(
        _ index: Int, _ pending: PendingAppend, _ folder: Folder
    ) throws(StoreError) -> Draft {
        switch pending.source {
        case .octets(let octets):
            let date = pending.date ?? System.now().seconds
            guard let size = UInt32(exactly: octets.count) else { throw .limit }
            let file = try folder.blobs.draft(octets, date: pending.date)
            return Draft(
                index, pending, file, size: size, date: date, MessageSummary(octets, isWhole: true))
        case .shared(let shared):
            guard let size = UInt32(exactly: shared.octets.count) else { throw .limit }
            let (file, summary) = try folder.blobs.draft(shared)
            return Draft(index, pending, file, size: size, date: shared.date, summary)
        case .slice(let staged, let offset, let size):
            let head = try System.read(
                staged.file.descriptor, from: offset, count: min(size, MessageSummary.window))
            let file = try folder.blobs.draft(
                staged.file.descriptor, from: offset, count: size, date: pending.date)
            guard let octets = UInt32(exactly: size) else { throw .limit }
            return Draft(
                index, pending, file, size: octets, date: pending.date ?? System.now().seconds,
                MessageSummary(head, isWhole: head.count == size))
        case .staged(let staged):
            guard let size = UInt32(exactly: staged.size) else { throw .limit }
            var file = staged.file
            let date = pending.date ?? staged.date
            if date != staged.date {
                // Its time is shared by every account it goes to: this one gets its own bytes.
                file = try folder.blobs.duplicate(file.descriptor, date: date)
            }
            let head = try System.read(
                file.descriptor, from: 0, count: MessageSummary.window)
            return Draft(
                index, pending, file, size: size, date: date,
                MessageSummary(head, isWhole: Int64(head.count) == staged.size))
        }
    }

    /// Bytes that are not durable yet become so, those of all folders together.
    private func prepareDrafts(
        _ folders: inout [FolderBatch], _ results: inout [Result<AppendedMessage, StoreError>?]
    ) {
        let unsynced = folders.flatMap(\.drafts).filter { draft in
            switch draft.pending.source {
            case .octets, .slice: true
            case .staged, .shared: false
            }
        }
        guard !unsynced.isEmpty else { return }
        let outcomes = folders[0].folder.blobs.prepare(unsynced.map(\.file))
        for (draft, error) in zip(unsynced, outcomes) {
            if let error { results[draft.index] = .failure(error) }
        }
        for at in folders.indices { folders[at].drafts.removeAll { results[$0.index] != nil } }
    }

    private func placeDrafts(
        _ batch: inout FolderBatch, isSynced: Bool
    ) throws(StoreError) {
        let folder = batch.folder
        var keywords = folder.keywords
        for draft in batch.drafts {
            draft.flags = Self.flags(draft.pending.flags, &keywords)
        }
        if keywords != folder.keywords {
            try folder.blobs.write(keywords)
            folder.keywords = keywords
        }
        batch.modSeq = try index.allocateModSeq(in: folder.numbers)
        for draft in batch.drafts { draft.uid = try allocateUID(draft.pending.wanted, folder) }
        let names = try folder.blobs.put(
            batch.drafts.map { draft in
                (
                    draft.file,
                    BlobLabel(
                        unique: draft.pending.unique ?? root.makeUniqueName(), size: draft.size,
                        uid: draft.uid, flags: draft.flags, date: draft.date)
                )
            }, isSynced ? .full : .logged)
        for (draft, name) in zip(batch.drafts, names) { draft.name = name }
        try folder.ownChange()
    }

    /// Flags of a new message. A mailbox without letters left keeps the message without the
    /// keyword rather than refuse it.
    static func flags(_ named: NamedFlags, _ keywords: inout KeywordTable) -> Flags {
        var flags = named.system.intersection(.system)
        for keyword in named.keywords where KeywordTable.isKeyword(keyword) {
            if let flag = keywords.makeFlag(keyword) { flags.insert(flag) }
        }
        return flags
    }

    private func insertDrafts(_ batch: FolderBatch) throws(StoreError) {
        for draft in batch.drafts {
            try index.insert(
                IndexedMessage(
                    entry: draft.entry(batch.modSeq), blob: draft.name, summary: draft.summary),
                in: batch.folder.id)
        }
        try putCounters(batch.folder)
    }

    private func finish(
        _ batch: FolderBatch, _ results: inout [Result<AppendedMessage, StoreError>?]
    ) {
        let folder = batch.folder
        let entries = batch.drafts.map { $0.entry(batch.modSeq) }
        folder.extendImage(entries, at: batch.modSeq)
        committed(folder, entries.map(\.uid), at: batch.modSeq)
        for draft in batch.drafts {
            results[draft.index] = .success(
                AppendedMessage(
                    mailbox: folder.id, uidValidity: folder.uidValidity, uid: draft.uid,
                    size: draft.size))
        }
    }

    /// Takes names back whose rows were not committed.
    private func withdraw(_ batch: FolderBatch) {
        batch.folder.needsScan = true
        for draft in batch.drafts where !draft.name.isEmpty {
            do throws(StoreError) {
                try batch.folder.blobs.delete(draft.name)
            } catch {
                notify(.postponed, "unlink in \(batch.folder.name.text): \(error)")
            }
        }
    }

    /// Takes a delivery back: the message of this name disappears from the mailbox, if it is there.
    ///
    /// A user who moved it meanwhile keeps it.
    package func retract(
        _ unique: UniqueName, from mailbox: MailboxName = .inbox
    ) throws(StoreError) {
        try guarded { () throws(StoreError) in
            let inbox: Folder
            do throws(StoreError) {
                inbox = try folder(mailbox)
            } catch .noSuchMailbox {
                return
            }
            var uids: [UInt32] = []
            try index.eachBlob(inbox.id) { uid, name in
                if FileName.unique(of: name) == unique.octets { uids.append(uid) }
            }
            if !uids.isEmpty { _ = try expungeNow(inbox, uids) }
            // A name without a row: the append failed before its last step.
            for name in try inbox.blobs.names() where FileName.unique(of: name) == unique.octets {
                try inbox.blobs.delete(name)
            }
            try inbox.ownChange()
            try inbox.synchronize()
        }
    }
}
