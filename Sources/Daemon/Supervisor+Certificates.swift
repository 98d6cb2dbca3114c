// SPDX-License-Identifier: Apache-2.0
//
// What a clock does for TLS, `tls.reload_interval`: certificates that were renewed are taken over
// without anybody asking, and the keys of session tickets change.

import Config
import Telemetry
import Transport

extension Supervisor {
    /// Begins to look, as often as the settings now say. Called at the start and after a reload.
    func keepCertificates() {
        certificateWatch += 1
        guard let tls = suite.tls(name), tls.reloadInterval > .zero else { return }
        lookLater(tls.reloadInterval, watch: certificateWatch)
    }

    private func lookLater(_ interval: Duration, watch: Int) {
        context.after(interval) { [context] in
            guard let supervisor = context.state?.supervisor, !supervisor.isStopping,
                supervisor.certificateWatch == watch
            else { return }
            supervisor.look()
            supervisor.lookLater(interval, watch: watch)
        }
    }

    private func look() {
        if !TLSContext.rotateTicketKeys() { Log.error("no randomness for session tickets") }
        guard !isReloading, let tls = suite.tls(name),
            TLSContext.isOutdated(tls, session: name)
        else { return }
        // Where TLS works, it goes on working: a half-written certificate changes nothing.
        if let trouble = suite.tlsTrouble(name) {
            Log.error("certificate not usable", [LogField("reason", trouble)])
            return
        }
        fleet.reload(suite, added: [], removed: []) { context in
            guard let supervisor = context.state?.supervisor else { return }
            supervisor.certificateTaken()
            Log.info("certificate taken over", [LogField("file", tls.certificateFile)])
        }
    }
}
