// SPDX-License-Identifier: Apache-2.0
//
// How many sessions the process has, over all loops: the loops share `max_clients`.

import Synchronization

/// Sessions by listener.
final class SessionCount: Sendable {
    static let shared = SessionCount()

    private let counts = Mutex<[String: Int]>([:])

    /// Counts one more, unless a limit is reached.
    ///
    /// - Parameters:
    ///   - limit: of all listeners together.
    ///   - listenerLimit: of this listener; nil: none of its own.
    func enter(_ listener: String, limit: Int, listenerLimit: Int?) -> Bool {
        counts.withLock { counts in
            let here = counts[listener] ?? 0
            var all = 0
            for count in counts.values { all += count }
            guard all < limit, here < listenerLimit ?? .max else { return false }
            counts[listener] = here + 1
            return true
        }
    }

    func leave(_ listener: String) {
        counts.withLock { counts in
            counts[listener, default: 1] -= 1
        }
    }
}
