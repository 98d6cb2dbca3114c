// SPDX-License-Identifier: Apache-2.0
//
// FETCH: what the view knows in one tight loop, message text through a reader that is ahead of the
// client by a bounded number of messages. RFC 3501 §6.4.5, §7.4.2; RFC 7162 §3.1.4.

import Bytes
import IMAP
import Mail
import StoreClient
import Telemetry
import Transport
import Wire

extension Session {
    /// Messages whose `\Seen` is set in one step, ahead of their text.
    private static let seenBatch = 512

    func fetch(_ tag: [UInt8], _ command: FetchCommand) async throws(Failure) {
        _ = try requireSelection()
        if command.attributes.contains(.modSeq) { enableCondstore() }
        try await synchronize(expunges: command.byUID)
        let (store, selection) = try requireSelection()
        guard var ranges = selection.view.indexes(command.set, byUID: command.byUID) else {
            throw .bad("No such message")
        }
        try await tellVanished(command, store, selection)
        if let partial = command.partial { ranges = partial.stretch(of: ranges) }
        let missing = try await respond(command, ranges, store, selection)
        if missing, !command.byUID {
            throw .no("[EXPUNGEISSUED] Some messages are gone")  // RFC 2180 §4.1.2
        }
        writer.line(tag, "OK FETCH completed")
    }

    /// The FETCH responses for messages of the view.
    ///
    /// - Returns: true if some message was gone.
    func respond(
        _ command: FetchCommand, _ ranges: [Range<Int>], _ store: MailboxSession,
        _ selection: Selection
    ) async throws(Failure) -> Bool {
        guard command.need == .nothing else {
            return try await fetchText(command, ranges, store, selection)
        }
        try await fetchFromView(command, ranges, selection)
        return false
    }

    private func fetchFromView(
        _ command: FetchCommand, _ ranges: [Range<Int>], _ selection: Selection
    ) async throws(Failure) {
        for range in ranges {
            var start = range.lowerBound
            // The view is looked at again after each wait: only this session changes it, but the
            // borrow must not be held across the wait
            while start < range.upperBound {
                let end = min(start + 512, range.upperBound)
                writer.fetch(command, start..<end, of: selection.view)
                start = end
                try await drainOutput()
            }
        }
    }

    // MARK: - Message text

    /// - Returns: true if some message was gone.
    private func fetchText(
        _ command: FetchCommand, _ ranges: [Range<Int>], _ store: MailboxSession,
        _ selection: Selection
    ) async throws(Failure) -> Bool {
        let wish = command.previewWish
        let marksSeen = command.setsSeen && !selection.isReadOnly
        var uids: [UInt32] = []
        for range in ranges {
            for entry in selection.view.entries[range] {
                if let since = command.changedSince, entry.modSeq <= since { continue }
                uids.append(entry.uid)
            }
        }
        var sent = 0
        var start = 0
        while start < uids.count {
            let size =
                wish != nil
                ? WireLimit.detailUIDs
                : marksSeen ? Self.seenBatch : WireLimit.readUIDs
            let batch = Array(uids[start..<min(start + size, uids.count)])
            start += batch.count
            var fresh: Set<UInt32> = []
            if marksSeen { fresh = try await markSeen(batch, store, selection) }
            var details: [UInt32: MessageDetail] = [:]
            if let wish { details = try await loadDetails(batch, wish, store, selection) }
            if command.need == .details {
                sent += try await sendDetails(command, batch, details, selection)
            } else if let pieces = command.summaryPieces {
                sent += try await sendSummaries(
                    command, pieces, batch, fresh, details, store, selection)
            } else {
                sent += try await sendText(command, batch, fresh, details, store, selection)
            }
        }
        return sent < uids.count
    }

    /// Sets `\Seen` where it is not set.
    ///
    /// - Returns: the UIDs whose flags have changed by that.
    private func markSeen(
        _ uids: [UInt32], _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> Set<UInt32> {
        let unseen = uids.filter { uid in
            guard let index = selection.view.index(of: uid) else { return false }
            return !selection.view.entries[index].flags.contains(.seen)
        }
        guard !unseen.isEmpty else { return [] }
        let id = selection.view.id
        let result = try await asking { () async throws(StoreFailure) in
            try await store.store(
                id, uids: UIDRange.ranges(of: unseen), .add, NamedFlags(system: .seen))
        }
        selection.view.stored(result.entries, keywords: result.keywords)
        return Set(unseen)
    }

    /// - Returns: how many messages were sent.
    func sendText(
        _ command: FetchCommand, _ uids: [UInt32], _ fresh: Set<UInt32>,
        _ details: [UInt32: MessageDetail], _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> Int {
        let part: ReadPart = command.need == .header ? .header : .whole
        let reader = store.read(selection.view.id, uids: uids, part: part)
        var sent = 0
        while let message = try await next(reader) {
            guard let index = selection.view.index(of: message.uid) else { continue }
            let answer = FetchAnswer(
                command: command, number: UInt32(index) + 1, entry: selection.view.entries[index],
                keywords: selection.view.keywords, flagsAreNew: fresh.contains(message.uid),
                tellsModSeq: condstore, detail: details[message.uid])
            try await send(message, answer, mailbox: selection.view.id)
            sent += 1
            try await drainOutput()
        }
        fetchedCount += sent
        service.metrics.messagesFetched.increment(by: UInt64(sent))
        return sent
    }

    func next(_ reader: MessageReader) async throws(Failure) -> StoredMessage? {
        do throws(StoreFailure) {
            return try await reader.next()
        } catch {
            throw .store(error)
        }
    }
}

/// One FETCH response that needs text.
struct FetchAnswer {
    var command: FetchCommand
    var number: UInt32
    var entry: MessageEntry
    var keywords: [[UInt8]]
    /// `\Seen` was set by this very command: FLAGS are sent even if not asked for.
    var flagsAreNew: Bool
    /// Then with MODSEQ (RFC 7162 §3.2).
    var tellsModSeq: Bool
    /// If it was asked for.
    var detail: MessageDetail?
}
