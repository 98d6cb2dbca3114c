// SPDX-License-Identifier: Apache-2.0
//
// pop3d on one loop: its settings, its connection to the store, its sessions.

import Bytes
import Config
import Daemon
import Mail
import POP3
import StoreClient
import Telemetry
import Transport
import Wire

extension Program {
    /// The daemon of this module.
    package static var pop3d: Program {
        let census = Census()
        return Program(
            name: "pop3d",
            listeners: { suite in suite.pop3d.isEnabled ? suite.pop3d.listeners : [] },
            makeService: { context, suite in
                POP3Service(context: context, suite: suite, census: census)
            })
    }
}

/// Serves POP3 connections. One per loop, never leaves it.
package final class POP3Service: LoopService {
    /// How long a client may take for a TLS handshake.
    static let handshakeTimeout = Duration.seconds(30)

    let context: LoopContext
    let client: MailboxClient
    let measurements = Measurements(.shared)
    private(set) var settings: POP3Settings
    private(set) var isDevelopment: Bool
    private(set) var hostname: String
    /// Names of mechanisms, as mail.toml has them.
    private(set) var methods: [String]
    private(set) var tls: TLSContext?
    package private(set) var activeSessions = 0
    private let front: Front

    package init(context: LoopContext, suite: Suite, census: Census) {
        self.context = context
        front = Front("pop3d", census: census)
        front.reload(suite.server)
        settings = suite.pop3d
        isDevelopment = suite.server.devMode
        hostname = suite.server.hostname
        methods = suite.server.auth.methods
        let path = suite.server.socketPath(Door.mailbox.socketName)
        client = MailboxClient(
            StoreLink(context: context, door: .mailbox, path: path, program: "pop3d"))
        readCertificate()
    }

    package func reload(_ suite: Suite) {
        front.reload(suite.server)
        settings = suite.pop3d
        isDevelopment = suite.server.devMode
        hostname = suite.server.hostname
        methods = suite.server.auth.methods
        readCertificate()
    }

    /// A certificate that cannot be read leaves the one before in use.
    private func readCertificate() {
        do throws(TLSContextError) {
            tls = try TLSContext.server(settings.tls, session: "pop3d")
        } catch {
            Log.error("certificate not usable", [LogField("reason", error.description)])
        }
    }

    package func reachesStore() async -> Bool? { await client.isReachable() }

    package func serve(_ connection: Connection) async {
        let listener = connection.listener
        // A reload removed the listener while the client was waiting at its socket.
        guard let own = settings.listeners.first(where: { $0.name == listener }) else { return }
        let pass: Pass
        switch await front.admit(connection, own, all: settings.maxClients, settings.limits) {
        case .dropped: return
        case .refused(let refusal):
            await refuse(connection, refusal, isImplicitTLS: own.tlsImplicit)
            return
        case .admitted(let admitted): pass = admitted
        }
        activeSessions += 1
        measurements.connections.increment([listener])
        measurements.activeConnections.add(1, [listener])
        await converse(connection, own)
        measurements.activeConnections.add(-1, [listener])
        activeSessions -= 1
        front.leave(pass)
    }

    private func converse(_ connection: Connection, _ listener: ListenerSettings?) async {
        let id = context.nextTraceID()
        if listener?.tlsImplicit ?? false {
            guard let tls else {
                Log.error("no certificate", [LogField("listener", connection.listener)])
                return
            }
            do throws(ConnectionError) {
                try await connection.startTLS(tls, within: Self.handshakeTimeout)
            } catch {
                logHandshakeFailure(connection, id, error)
                return
            }
            countHandshake(connection)
        }
        let offersTLS = tls != nil && listener?.encryption != "off"
        await Session(service: self, connection: connection, id: id, offersTLS: offersTLS).run()
    }

    func countHandshake(_ connection: Connection) {
        measurements.tlsConnections.increment([
            connection.listener, connection.tlsDescription ?? "unknown",
        ])
    }

    func logHandshakeFailure(_ connection: Connection, _ id: TraceID, _ error: ConnectionError) {
        Log.info(
            "tls failed",
            [
                LogField("rip", connection.peer.text), LogField("reason", "\(error)"),
                LogField("listener", connection.listener), LogField("session", id.description),
            ])
    }

    /// One session too many. Under implicit TLS nothing can be said before a handshake, which is
    /// what an overloaded server does not want to do.
    private func refuse(
        _ connection: Connection, _ refusal: Refusal, isImplicitTLS: Bool
    ) async {
        guard !isImplicitTLS else { return }
        let reply = POP3.Reply.error(
            refusal == .clients
                ? "too many connections, try later"
                : "too many connections from your address or network, try later",
            .systemTemporary)
        connection.write(reply.line)
        do throws(ConnectionError) {
            try await connection.flush(within: .seconds(5))
        } catch {
            Log.debug("refusal not sent", [LogField("reason", "\(error)")])
        }
    }
}
