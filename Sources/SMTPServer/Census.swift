// SPDX-License-Identifier: Apache-2.0
//
// How many sessions there are on all loops, against the limits of mail.toml.

import Synchronization

final class Census: Sendable {
    private struct Counts {
        var clients = 0
        var perListener: [String: Int] = [:]
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
}
