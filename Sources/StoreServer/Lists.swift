// SPDX-License-Identifier: Apache-2.0
//
// The long answers: what lists show of messages, and mailboxes too large for one go. No more waits
// to be sent than the asker takes. docs/wire.md.

import Mail
import Store
import Wire

extension DoorConnection {
    /// Sends what lists show of messages, as much per hop as fits into one part.
    func summaries(
        _ mailbox: MailboxID, _ uids: [UIDRange], _ pieces: SummaryPieces, _ session: Session,
        _ id: UInt32
    ) async throws(StoreFailure) -> Reply {
        guard session.open[mailbox] != nil else { throw .staleHandle }
        var next: UInt32? = 1
        while let start = next {
            let page = try await onAccount(session) { store throws(StoreError) in
                try store.summaries(
                    mailbox, uids: uids, pieces, from: start, limit: Reply.summaryOctets)
            }
            if !page.rows.isEmpty { send(.summaries(page.rows), id, kind: .part) }
            next = page.next
            do {
                try await outputRoom()
            } catch {
                throw .unavailable
            }
        }
        return .done
    }

    /// The messages of a mailbox too large for one go, as they are when their turn comes: what
    /// changed since the beginning is told again by `changes`, and what came since is left to it.
    func sendRest(
        of opened: OpenSnapshot, _ session: Session, _ id: UInt32
    ) async throws(StoreFailure) {
        let mailbox = opened.snapshot.id
        let end = opened.snapshot.uidNext
        var next = opened.next
        while let start = next {
            do {
                try await outputRoom()
            } catch {
                throw .unavailable
            }
            let limit = 2 * Reply.entriesPerPart
            let entries = try await onAccount(session) { store throws(StoreError) in
                try store.entries(mailbox, from: start, below: end, limit: limit)
            }
            sendEntries(entries, id)
            next = entries.count == limit ? entries.last.map { $0.uid + 1 } : nil
        }
    }
}
