// SPDX-License-Identifier: Apache-2.0
//
// The seam for notification: how those who have a mailbox open, in this process or on another
// node, hear that there is something new. docs/decisions/0003-seam.md; RFC 9051 §7, RFC 2177.

import Mail
import Synchronization

/// Hears of changes.
package protocol ChangeListener: AnyObject, Sendable {
    /// The mailbox has at least this MODSEQ now. On any thread; returns soon and publishes nothing.
    func mailboxChanged(_ account: EmailAddress, _ change: MailboxChange)
    /// The account was removed.
    func accountGone(_ account: EmailAddress)
}

/// Passes hints on. A hint is no data: whoever gets one asks the index, so that one may come twice,
/// too early for a MODSEQ that is there already, or stand for several.
///
/// Every driver promises (`NotifierTests` holds each to it):
/// - when `publish` returns, all listeners of this process were told;
/// - of every mailbox the greatest MODSEQ published reaches every listener;
/// - a hint that cannot reach other nodes costs them a delay, and the publisher nothing.
package protocol Notifier: Sendable {
    /// Listeners are never removed: they live as long as the store.
    func listen(_ listener: any ChangeListener)
    /// After the change is durable; on the thread that made it.
    func publish(_ account: EmailAddress, _ changes: [MailboxChange])
    func publishRemoval(of account: EmailAddress)
}

/// One process: a call.
package final class LocalNotifier: Notifier {
    private let listeners = Mutex<[any ChangeListener]>([])

    package init() {}

    package func listen(_ listener: any ChangeListener) {
        listeners.withLock { $0.append(listener) }
    }

    package func publish(_ account: EmailAddress, _ changes: [MailboxChange]) {
        guard !changes.isEmpty else { return }
        for listener in listeners.withLock({ $0 }) {
            for change in changes { listener.mailboxChanged(account, change) }
        }
    }

    package func publishRemoval(of account: EmailAddress) {
        for listener in listeners.withLock({ $0 }) { listener.accountGone(account) }
    }
}
