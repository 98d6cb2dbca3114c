// SPDX-License-Identifier: Apache-2.0
//
// What the sessions of all loops share: how many there are, and which messages some session has
// already been the first to see (`\Recent`, RFC 3501 §2.3.2). Kept in memory, never stored.

import Mail
import Synchronization

/// Counts sessions against the limits of mail.toml.
final class Census: Sendable {
    private struct Counts {
        var clients = 0
        var perListener: [String: Int] = [:]
        var perAccount: [EmailAddress: Int] = [:]
    }

    private let counts = Mutex(Counts())

    /// Takes a place. False: `limit`, or the listener's own, is reached.
    func enter(_ listener: String, limit: Int, listenerLimit: Int?) -> Bool {
        counts.withLock { counts in
            guard counts.clients < limit else { return false }
            let here = counts.perListener[listener, default: 0]
            if let listenerLimit, here >= listenerLimit { return false }
            counts.clients += 1
            counts.perListener[listener] = here + 1
            return true
        }
    }

    func leave(_ listener: String) {
        counts.withLock { counts in
            counts.clients -= 1
            counts.perListener[listener, default: 1] -= 1
        }
    }

    /// Takes a place for an account. False: it has as many sessions as it may.
    func enter(account: EmailAddress, limit: Int) -> Bool {
        counts.withLock { counts in
            let here = counts.perAccount[account, default: 0]
            guard here < limit else { return false }
            counts.perAccount[account] = here + 1
            return true
        }
    }

    func leave(account: EmailAddress) {
        counts.withLock { counts in
            let left = counts.perAccount[account, default: 1] - 1
            counts.perAccount[account] = left > 0 ? left : nil
        }
    }
}

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
