// SPDX-License-Identifier: Apache-2.0
//
// Mailboxes as they were when somebody on this loop opened them last: who opens one again, in this
// session or the next, gets only what changed since. RFC 9051 §6.3.2.

import Mail

/// One per loop. The least recently opened go first.
package final class KnownMailboxes {
    /// Messages of all mailboxes together; 32 octets each, shared with the sessions that have them
    /// open.
    package static let entryLimit = 512 << 10
    private static let mailboxLimit = 1_024

    private struct Key: Hashable {
        var account: EmailAddress
        var name: MailboxName
    }

    private struct Known {
        var snapshot: MailboxSnapshot
        var epoch: UInt64
        var lastUse: UInt64
    }

    private var known: [Key: Known] = [:]
    private var entryCount = 0
    private var uses: UInt64 = 0

    package init() {}

    /// The mailbox as it was. It is forgotten here until it is kept again, so that its entries are
    /// not copied when they change.
    func take(_ account: EmailAddress, _ name: MailboxName, epoch: UInt64) -> MailboxSnapshot? {
        guard let found = known.removeValue(forKey: Key(account: account, name: name)) else {
            return nil
        }
        entryCount -= found.snapshot.entries.count
        return found.epoch == epoch ? found.snapshot : nil
    }

    func keep(
        _ snapshot: MailboxSnapshot, _ account: EmailAddress, _ name: MailboxName, epoch: UInt64
    ) {
        guard snapshot.entries.count <= Self.entryLimit / 2 else { return }
        _ = take(account, name, epoch: epoch)
        entryCount += snapshot.entries.count
        uses += 1
        known[Key(account: account, name: name)] = Known(
            snapshot: snapshot, epoch: epoch, lastUse: uses)
        while entryCount > Self.entryLimit || known.count > Self.mailboxLimit,
            let oldest = known.min(by: { $0.value.lastUse < $1.value.lastUse })
        {
            known[oldest.key] = nil
            entryCount -= oldest.value.snapshot.entries.count
        }
    }
}
