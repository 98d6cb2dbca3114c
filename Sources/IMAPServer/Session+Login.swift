// SPDX-License-Identifier: Apache-2.0
//
// LOGIN and AUTHENTICATE. RFC 3501 §6.2.2, §6.2.3; RFC 4959 (SASL-IR); RFC 5530 for the codes.
// Never without TLS: the name and password would be readable by anyone on the way. The one
// exception is this very machine in dev_mode, where there is no way between.

import Bytes
import Config
import Daemon
import IMAP
import Mail
import SASL
import StoreClient
import Telemetry
import Transport
import Wire

extension Session {
    /// Failed logins before the connection ends.
    private static let failureLimit = 10

    var takesPasswords: Bool {
        connection.isTLS || (service.isDevelopment && connection.peer.isLoopback)
    }

    private func requireStranger() throws(Failure) {
        guard !isAuthenticated else { throw .bad("Logged in already") }
        guard takesPasswords else {
            throw .no("[PRIVACYREQUIRED] Not without TLS: use STARTTLS first")
        }
    }

    /// Mechanisms that work on this connection as it is now.
    var mechanisms: [Mechanism] {
        Mechanism.offered(
            service.methods, isTLS: connection.isTLS, hasCertificateName: certificateName != nil)
    }

    /// Whom the client's certificate names, if one of our authorities has signed it.
    private var certificateName: [UInt8]? { connection.verifiedClientName }

    private var client: LoginClient {
        LoginClient(remote: Array(connection.peer.text), session: id, service: Array("imap"))
    }

    func login(_ tag: [UInt8], _ name: [UInt8], _ password: [UInt8]) async throws(Failure) {
        try requireStranger()
        let outcome = await service.mailboxes.logIn(
            PlainResponse(authenticationID: name, password: password), client)
        try await finish(tag, outcome, mechanism: "LOGIN-COMMAND")
    }

    func authenticate(
        _ tag: [UInt8], _ name: [UInt8], _ initial: [UInt8]?
    ) async throws(Failure) {
        try requireStranger()
        guard let mechanism = Mechanism(name: name), mechanisms.contains(mechanism) else {
            throw .no("[CANNOT] Mechanism is not supported")
        }
        let attempt = LoginAttempt(
            mechanism: mechanism, initial: initial, client: client,
            hostname: Array(service.hostname),
            bindings: ChannelBindings(
                exporter: connection.tlsExporter, serverEndPoint: connection.tlsServerEndPoint),
            offersBinding: mechanisms.contains { $0.rawValue.hasSuffix("-PLUS") },
            certificateName: certificateName ?? [])
        let outcome = try await service.mailboxes.logIn(attempt) {
            challenge async throws(Failure) in
            writer.write("+ ")
            writer.write(challenge)
            writer.write("\r\n")
            emit()
            return try await reading { () async throws(End) in try await readResponse() }
        }
        try await finish(tag, outcome, mechanism: mechanism.rawValue)
    }

    private func readResponse() async throws(End) -> [UInt8] {
        switch try await readLine(limit: SASLLimits.line) {
        case .line: return connection.withLine { [UInt8](copying: $0) }
        case .tooLong, .bareLineFeed: throw .tooLong
        case .closed: throw .closed
        case .draining: throw .draining
        }
    }

    private func finish(
        _ tag: [UInt8], _ outcome: LoginOutcome<MailboxSession>, mechanism: String
    ) async throws(Failure) {
        let listener = connection.listener
        let store: MailboxSession
        switch outcome {
        case .succeeded(let session): store = session
        case .malformed(let error):
            throw .bad(error == .cancelled ? "Cancelled" : "Not a valid response")
        case .unavailable(let name):
            service.metrics.authentications.increment([listener, mechanism, "error"])
            logFailure(name, mechanism, "backend-unavailable")
            throw .no("[UNAVAILABLE] Cannot check the password now, try again")
        case .refused(let reason, let name):
            service.metrics.authentications.increment([listener, mechanism, "failure"])
            logFailure(name, mechanism, reason.text)
            switch reason {
            case .banned: throw .over(.loginLimit)
            case .throttled:
                throw .no("[UNAVAILABLE] Too many failed logins of this user, try again")
            case .badCredentials, .disabled, .expired:
                failedLogins += 1
                if failedLogins >= Self.failureLimit { throw .over(.loginLimit) }
                throw .no("[AUTHENTICATIONFAILED] Authentication failed")
            }
        }
        guard
            service.census.enter(account: store.account, limit: service.settings.maxClientsPerUser)
        else {
            store.logout()
            service.metrics.authentications.increment([listener, mechanism, "limit"])
            throw .no("[LIMIT] Too many connections of this user")
        }
        failedLogins = 0
        state = .authenticated(store)
        service.metrics.authentications.increment([listener, mechanism, "success"])
        Log.info(
            "login",
            [
                LogField("rip", connection.peer.text), LogField("session", id.description),
                LogField("mech", mechanism), LogField("listener", listener),
                LogField("tls", connection.tlsDescription ?? "none"),
                LogField("account", store.account.octets),
            ])
        writer.write(tag)
        writer.write(" OK [CAPABILITY ")
        writeCapabilities()
        writer.write("] Logged in\r\n")
    }

    /// The address comes before anything that the client chose: log watchers ban by this line.
    private func logFailure(_ name: [UInt8], _ mechanism: String, _ reason: String) {
        Log.warn(
            "auth failed",
            [
                LogField("rip", connection.peer.text), LogField("reason", reason),
                LogField("mech", mechanism), LogField("lport", connection.localPort),
                LogField("tls", connection.tlsDescription ?? "none"),
                LogField("session", id.description), LogField("account", name),
            ])
    }
}
