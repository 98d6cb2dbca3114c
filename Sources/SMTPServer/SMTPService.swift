// SPDX-License-Identifier: Apache-2.0
//
// smtpd on one loop: settings, the connection to the store, the sessions. RFC 5321.

import Config
import Daemon
import Mail
import SMTP
import StoreClient
import Telemetry
import Transport
import Wire

extension Program {
    /// The whole of smtpd.
    package static func smtpd() -> Program {
        let census = Census()
        let metrics = SMTPMetrics(.shared)
        return Program(
            name: "smtpd",
            listeners: { $0.smtpd.isEnabled ? $0.smtpd.listeners : [] },
            makeService: { context, suite in
                SMTPService(context: context, suite: suite, census: census, metrics: metrics)
            })
    }
}

/// Everything that the sessions of one loop share. Not Sendable.
final class SMTPService: LoopService {
    let context: LoopContext
    let metrics: SMTPMetrics
    let store: DeliveryClient
    private let census: Census
    private(set) var settings: ServiceSettings
    private(set) var activeSessions = 0

    init(context: LoopContext, suite: Suite, census: Census, metrics: SMTPMetrics) {
        self.context = context
        self.census = census
        self.metrics = metrics
        let path = suite.server.socketPath(Door.deliver.socketName)
        store = DeliveryClient(
            StoreLink(context: context, door: .deliver, path: path, program: "smtpd"))
        settings = ServiceSettings(suite)
    }

    func reload(_ suite: Suite) {
        settings = ServiceSettings(suite, keeping: settings.tls)
    }

    func serve(_ connection: Connection) async {
        let settings = settings
        let name = connection.listener
        let listener = settings.listener(name)
        metrics.connections.increment([name, connection.peer.text])
        guard
            census.enter(
                name, limit: settings.smtpd.maxClients, listenerLimit: listener?.maxClients)
        else {
            await refuse(connection, isTLS: listener?.tlsImplicit ?? false)
            return
        }
        activeSessions += 1
        metrics.active.add(1, [name])
        let session = Session(connection, service: self, settings: settings, listener: listener)
        await session.run()
        activeSessions -= 1
        metrics.active.add(-1, [name])
        census.leave(name)
    }

    /// One client too many. Behind implicit TLS it is not told why: a handshake is what a flood
    /// of clients must not get from us.
    private func refuse(_ connection: Connection, isTLS: Bool) async {
        Log.warn(
            "connection refused",
            [
                LogField("rip", connection.peer.text), LogField("listener", connection.listener),
                LogField("reason", "max-clients"),
            ])
        guard !isTLS else { return }
        connection.write(SMTP.Reply.tooManyClients.octets)
        do throws(ConnectionError) {
            try await connection.flush(within: .seconds(5))
        } catch {
            Log.debug("refusal not sent", [LogField("rip", connection.peer.text)])
        }
    }
}
