// SPDX-License-Identifier: Apache-2.0
//
// What the store knows of messages beside their octets, for FETCH and SEARCH, and the ids of
// mailboxes. RFC 8474, RFC 8514, RFC 8970.

import Bytes
import IMAP
import Mail
import StoreClient
import Wire

extension Session {
    /// - Parameter uids: rising, at most `WireLimit.detailUIDs`.
    func loadDetails(
        _ uids: [UInt32], _ wish: PreviewWish, _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> [UInt32: MessageDetail] {
        let id = selection.view.id
        let rows = try await asking { () async throws(StoreFailure) in
            try await store.details(id, uids: UIDRange.ranges(of: uids), wish)
        }
        return Dictionary(rows.map { ($0.uid, $0) }) { first, _ in first }
    }

    /// FETCH responses that need nothing else.
    func sendDetails(
        _ command: FetchCommand, _ uids: [UInt32], _ details: [UInt32: MessageDetail],
        _ selection: Selection
    ) async throws(Failure) -> Int {
        var sent = 0
        for uid in uids {
            // THREADID alone needs no row
            guard let index = selection.view.index(of: uid),
                details[uid] != nil || command.previewWish == nil
            else { continue }
            let entry = selection.view.entries[index]
            writer.startFetch(number: UInt32(index) + 1)
            for (place, attribute) in command.attributes.enumerated() {
                if place > 0 { writer.write(" ") }
                if writer.item(attribute, of: entry, keywords: selection.view.keywords) { continue }
                _ = writer.detail(attribute, details[uid], of: entry)
            }
            writer.write(")\r\n")
            sent += 1
            try await drainOutput()
        }
        return sent
    }

    /// Keys about details become the UIDs that they mean.
    func resolvingDetails(
        _ program: SearchProgram, _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> SearchProgram {
        guard program.needsDetails else { return program }
        var details: [MessageDetail] = []
        var next: UInt32 = 1
        let last = selection.view.largestUID
        while next <= last {
            let start = next
            let rows = try await asking { () async throws(StoreFailure) in
                try await store.details(
                    selection.view.id, uids: [UIDRange(start, last)], PreviewWish.none)
            }
            details += rows
            guard rows.count == WireLimit.detailUIDs, let end = rows.last?.uid else { break }
            next = end + 1
        }
        return program.resolved(details)
    }

    /// The number behind MAILBOXID, if that is wanted.
    func mailboxNumber(
        _ name: MailboxName, _ items: StatusItems, _ store: MailboxSession
    ) async throws(Failure) -> UInt64 {
        guard items.contains(.mailboxID) else { return 0 }
        return try await asking { () async throws(StoreFailure) in
            try await store.number(of: name)
        }
    }
}
