// SPDX-License-Identifier: Apache-2.0
//
// How many sessions there are on all loops of a daemon, against the limits of mail.toml.

import Mail
import Synchronization

/// Counts sessions: all, per listener, and, for those logged in, per account.
package final class Census: Sendable {
    private struct Counts {
        var clients = 0
        var perListener: [String: Int] = [:]
        var perAccount: [EmailAddress: Int] = [:]
    }

    private let counts = Mutex(Counts())

    package init() {}

    /// Takes a place. False: `limit`, or the listener's own, is reached.
    package func enter(_ listener: String, limit: Int, listenerLimit: Int?) -> Bool {
        counts.withLock { counts in
            guard counts.clients < limit else { return false }
            let here = counts.perListener[listener, default: 0]
            if let listenerLimit, here >= listenerLimit { return false }
            counts.clients += 1
            counts.perListener[listener] = here + 1
            return true
        }
    }

    package func leave(_ listener: String) {
        counts.withLock { counts in
            counts.clients -= 1
            counts.perListener[listener, default: 1] -= 1
        }
    }

    /// Takes a place for an account. False: it has as many sessions as it may.
    package func enter(account: EmailAddress, limit: Int) -> Bool {
        counts.withLock { counts in
            let here = counts.perAccount[account, default: 0]
            guard here < limit else { return false }
            counts.perAccount[account] = here + 1
            return true
        }
    }

    package func leave(account: EmailAddress) {
        counts.withLock { counts in
            let left = counts.perAccount[account, default: 1] - 1
            counts.perAccount[account] = left > 0 ? left : nil
        }
    }
}
