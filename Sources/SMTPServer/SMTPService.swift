// SPDX-License-Identifier: Apache-2.0
//
// smtpd on one loop: settings, the connection to the store, the sessions. RFC 5321.

import Mail
import SMTP
import Serving
import Settings
import StoreClient
import Telemetry
import Transport
import Wire

extension Program {
    /// The whole of smtpd.
    package static func smtpd() -> Program {
        let census = Census()
        let rates = Rates()
        let metrics = SMTPMetrics(.shared)
        return Program(
            name: "smtpd",
            listeners: { $0.smtpd.isEnabled ? $0.smtpd.listeners : [] },
            makeService: { context, suite in
                SMTPService(
                    context: context, suite: suite, census: census, rates: rates, metrics: metrics)
            })
    }
}

/// Everything that the sessions of one loop share. Not Sendable.
package final class SMTPService: LoopService {
    let context: LoopContext
    let metrics: SMTPMetrics
    /// Whoever owns the mail.
    package let backend: any Backend
    let rates: Rates
    let front: Front
    private(set) var settings: ServiceSettings
    package private(set) var activeSessions = 0

    /// - Parameter backend: nil: msgstored at the path that the settings name.
    package init(
        context: LoopContext, suite: Suite, census: Census, rates: Rates, metrics: SMTPMetrics,
        registry: Metrics = .shared, backend: (any Backend)? = nil
    ) {
        self.context = context
        self.rates = rates
        self.metrics = metrics
        front = Front("smtpd", census: census, metrics: registry)
        front.reload(suite.server)
        let path = suite.server.socketPath(Door.deliver.socketName)
        self.backend =
            backend
            ?? DeliveryClient(
                StoreLink(context: context, door: .deliver, path: path, program: "smtpd"))
        settings = ServiceSettings(suite)
    }

    package func reload(_ suite: Suite) {
        front.reload(suite.server)
        settings = ServiceSettings(suite, keeping: settings.tls)
    }

    package func reachesStore() async -> Bool? {
        await (backend as? DeliveryClient)?.isReachable()
    }

    package func serve(_ connection: Connection) async {
        let settings = settings
        let name = connection.listener
        // A reload removed the listener while the client was waiting at its socket.
        guard let listener = settings.listener(name) else { return }
        let pass: Pass
        switch await front.admit(
            connection, listener, all: settings.smtpd.maxClients, settings.smtpd.limits.clients)
        {
        case .dropped: return
        case .refused(let refusal):
            metrics.connections.increment([name, connection.peer.text])
            await refuse(connection, refusal, isTLS: listener.tlsImplicit)
            return
        case .admitted(let admitted): pass = admitted
        }
        metrics.connections.increment([name, connection.peer.text])
        activeSessions += 1
        metrics.active.add(1, [name])
        let session = Session(
            connection, service: self, settings: settings, listener: listener,
            isExempt: pass.isExempt)
        await session.run()
        activeSessions -= 1
        metrics.active.add(-1, [name])
        front.leave(pass)
    }

    /// One client too many. Behind implicit TLS it is not told why: a handshake is what a flood
    /// of clients must not get from us.
    private func refuse(_ connection: Connection, _ refusal: Refusal, isTLS: Bool) async {
        guard !isTLS else { return }
        connection.write(SMTP.Reply.refused(refusal).octets)
        do throws(ConnectionError) {
            try await connection.flush(within: .seconds(5))
        } catch {
            Log.debug("refusal not sent", [LogField("rip", connection.peer.text)])
        }
    }
}
