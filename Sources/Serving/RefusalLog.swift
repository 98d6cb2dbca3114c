// SPDX-License-Identifier: Apache-2.0
//
// Log lines about refused connections. Whoever floods us with connections must not flood the disk
// with lines as well: some are written, the rest is counted.

import Synchronization
import Telemetry
import Transport

/// One for the process.
package final class RefusalLog: Sendable {
    package static let shared = RefusalLog()

    /// Lines of one period.
    static let limit = 20

    private struct State {
        var written = 0
        var suppressed = 0
    }

    private let state = Mutex(State())

    init() {}

    /// Whether one more line may be written in this period; it is counted if not.
    func admits() -> Bool {
        state.withLock { state in
            guard state.written < Self.limit else {
                state.suppressed += 1
                return false
            }
            state.written += 1
            return true
        }
    }

    /// A period ends. Called every ten seconds.
    package func sumUp() {
        let suppressed = endPeriod()
        guard suppressed > 0 else { return }
        Log.warn("more connections refused", [LogField("count", suppressed)])
    }

    /// - Returns: lines that were not written.
    func endPeriod() -> Int {
        state.withLock { state in
            defer { state = State() }
            return state.suppressed
        }
    }

    func connection(_ peer: PeerAddress, listener: String, reason: String) {
        guard admits() else { return }
        Log.warn(
            "connection refused",
            [
                LogField("rip", peer.text), LogField("reason", reason),
                LogField("listener", listener),
            ])
    }
}
