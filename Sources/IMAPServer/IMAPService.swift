// SPDX-License-Identifier: Apache-2.0
//
// imapd on one loop: settings, the connection to the store, the sessions. RFC 3501.

import Config
import Daemon
import IMAP
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
    private let front: Front
    let mailboxes: MailboxClient
    let knownMailboxes = KnownMailboxes()
    private(set) var settings: IMAPSettings
    private(set) var hostname: String
    /// Names of mechanisms, as mail.toml has them.
    private(set) var methods: [String]
    private(set) var maxMessageSize: Int
    private(set) var isDevelopment: Bool
    private(set) var tls: TLSContext?
    /// `[imapd] disabled_capabilities`.
    private(set) var disabled: DisabledCapabilities
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
        front = Front("imapd", census: census)
        front.reload(suite.server)
        let path = suite.server.socketPath(Door.mailbox.socketName)
        mailboxes = MailboxClient(
            StoreLink(context: context, door: .mailbox, path: path, program: "imapd"))
        settings = suite.imapd
        disabled = DisabledCapabilities(names: suite.imapd.disabledCapabilities)
        hostname = suite.server.hostname
        methods = suite.server.auth.methods
        maxMessageSize = suite.smtpd.maxMessageSize
        isDevelopment = suite.server.devMode
        loadCertificate()
    }

    func reload(_ suite: Suite) {
        front.reload(suite.server)
        settings = suite.imapd
        disabled = DisabledCapabilities(names: suite.imapd.disabledCapabilities)
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

    func reachesStore() async -> Bool? { await mailboxes.isReachable() }

    func serve(_ connection: Connection) async {
        let listener = connection.listener
        // A reload removed the listener while the client was waiting at its socket.
        guard let settings = settings.listeners.first(where: { $0.name == listener }) else {
            return
        }
        let pass: Pass
        switch await front.admit(
            connection, settings, all: self.settings.maxClients, self.settings.limits)
        {
        case .dropped: return
        case .refused(let refusal):
            metrics.connections.increment([listener])
            guard !settings.tlsImplicit else { return }
            let reason =
                refusal == .clients
                ? "Too many connections" : "Too many connections from your address or network"
            connection.write([UInt8]("* BYE [UNAVAILABLE] \(reason), try again later\r\n".utf8))
            connection.flushSoon()
            return
        case .admitted(let admitted): pass = admitted
        }
        metrics.connections.increment([listener])
        activeSessions += 1
        metrics.active.add(1, [listener])
        let session = Session(
            connection, service: self, listener: settings)
        await session.run()
        activeSessions -= 1
        metrics.active.add(-1, [listener])
        front.leave(pass)
    }
}
