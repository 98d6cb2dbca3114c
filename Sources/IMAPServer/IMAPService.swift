// SPDX-License-Identifier: Apache-2.0
//
// imapd on one loop: settings, the connection to the store, the sessions. RFC 3501.

import Config
import Daemon
import Mail
import StoreClient
import Telemetry
import Transport
import Wire

extension Program {
    /// The whole of imapd.
    package static func imapd() -> Program {
        let census = Census()
        let ledger = RecentLedger()
        let metrics = IMAPMetrics(.shared)
        return Program(
            name: "imapd",
            listeners: { $0.imapd.isEnabled ? $0.imapd.listeners : [] },
            makeService: { context, suite in
                IMAPService(
                    context: context, suite: suite, census: census, ledger: ledger,
                    metrics: metrics)
            })
    }
}

/// Everything that the sessions of one loop share. Not Sendable.
final class IMAPService: LoopService {
    let context: LoopContext
    let census: Census
    let ledger: RecentLedger
    let metrics: IMAPMetrics
    let mailboxes: MailboxClient
    let knownMailboxes = KnownMailboxes()
    private(set) var settings: IMAPSettings
    private(set) var hostname: String
    /// Names of mechanisms, as mail.toml has them.
    private(set) var methods: [String]
    private(set) var maxMessageSize: Int
    private(set) var isDevelopment: Bool
    private(set) var tls: TLSContext?
    private(set) var activeSessions = 0
    /// The last large message that a session read in pieces.
    var largeMessage: LargeMessage?

    init(
        context: LoopContext, suite: Suite, census: Census, ledger: RecentLedger,
        metrics: IMAPMetrics
    ) {
        self.context = context
        self.census = census
        self.ledger = ledger
        self.metrics = metrics
        let path = suite.server.socketPath(Door.mailbox.socketName)
        mailboxes = MailboxClient(
            StoreLink(context: context, door: .mailbox, path: path, program: "imapd"))
        settings = suite.imapd
        hostname = suite.server.hostname
        methods = suite.server.auth.methods
        maxMessageSize = suite.smtpd.maxMessageSize
        isDevelopment = suite.server.devMode
        loadCertificate()
    }

    func reload(_ suite: Suite) {
        settings = suite.imapd
        hostname = suite.server.hostname
        methods = suite.server.auth.methods
        maxMessageSize = suite.smtpd.maxMessageSize
        isDevelopment = suite.server.devMode
        loadCertificate()
    }

    /// Without a usable certificate the old one stays, or there is no TLS and so no login.
    private func loadCertificate() {
        do throws(TLSContextError) {
            tls = try TLSContext.server(settings.tls, session: "imapd")
        } catch {
            Log.error("tls unavailable", [LogField("reason", error.description)])
        }
    }

    func serve(_ connection: Connection) async {
        let listener = connection.listener
        let settings = settings.listeners.first { $0.name == listener }
        metrics.connections.increment([listener])
        guard
            census.enter(
                listener, limit: self.settings.maxClients, listenerLimit: settings?.maxClients)
        else {
            Log.warn(
                "connection refused",
                [LogField("rip", connection.peer.text), LogField("reason", "max-clients")])
            connection.write("* BYE [UNAVAILABLE] Too many connections, try again later\r\n")
            connection.flushSoon()
            return
        }
        activeSessions += 1
        metrics.active.add(1, [listener])
        let session = Session(
            connection, service: self, tlsImplicit: settings?.tlsImplicit ?? false)
        await session.run()
        activeSessions -= 1
        metrics.active.add(-1, [listener])
        census.leave(listener)
    }
}
