// SPDX-License-Identifier: Apache-2.0
//
// Which messages some session, on whichever loop, has already been the first to see (`\Recent`,
// RFC 3501 §2.3.2). Kept in memory, never stored.

import Mail
import Synchronization

/// Remembers, per mailbox, the UID below which some session was told of every message.
final class RecentLedger: Sendable {
    struct Key: Hashable {
        var account: EmailAddress
        var mailbox: MailboxName
        var uidValidity: UInt32
    }

    /// Mailboxes remembered; beyond that the ledger starts again, which makes messages recent once
    /// more and nothing worse.
    private static let limit = 20_000

    private let floors = Mutex([Key: UInt32]())

    /// The floor, nil if no session has been there; with `claims` everything below `uidNext` is
    /// this session's from now on.
    func floor(_ key: Key, uidNext: UInt32, claims: Bool) -> UInt32? {
        floors.withLock { floors in
            let floor = floors[key]
            if claims, uidNext > floor ?? 0 {
                if floor == nil, floors.count >= Self.limit {
                    floors.removeAll(keepingCapacity: true)
                }
                floors[key] = uidNext
            }
            return floor
        }
    }
}
