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

    func login(_ tag: [UInt8], _ name: [UInt8], _ password: [UInt8]) async throws(Failure) {
        try requireStranger()
        let response = PlainResponse(authenticationID: name, password: password)
        try await authenticate(tag, response, mechanism: "LOGIN-COMMAND")
    }

    func authenticate(
        _ tag: [UInt8], _ name: [UInt8], _ initial: [UInt8]?
    ) async throws(Failure) {
        try requireStranger()
        guard let mechanism = Mechanism(name: name) else {
            throw .no("[CANNOT] Mechanism is not supported")
        }
        var exchange = Exchange(mechanism)
        var step: SASL.Step = .challenge([])
        if let initial {
            step = try valid { () throws(SASLError) in
                try exchange.begin(initial: initial.span)
            }
        } else {
            step = exchange.begin()
        }
        while case .challenge(let challenge) = step {
            writer.write("+ ")
            writer.write(challenge)
            writer.write("\r\n")
            emit()
            let line = try await reading { () async throws(End) in try await readResponse() }
            step = try valid { () throws(SASLError) in try exchange.received(line.span) }
        }
        guard case .finished(let response) = step else { return }
        try await authenticate(tag, response, mechanism: mechanism.rawValue)
    }

    private func valid(_ body: () throws(SASLError) -> SASL.Step) throws(Failure) -> SASL.Step {
        do throws(SASLError) {
            return try body()
        } catch {
            throw .bad(error == .cancelled ? "Cancelled" : "Not a valid response")
        }
    }

    private func readResponse() async throws(End) -> [UInt8] {
        switch try await readLine(limit: SASLLimits.line) {
        case .line: return connection.withLine { [UInt8](copying: $0) }
        case .tooLong, .bareLineFeed: throw .tooLong
        case .closed: throw .closed
        case .draining: throw .draining
        }
    }

    private func authenticate(
        _ tag: [UInt8], _ response: PlainResponse, mechanism: String
    ) async throws(Failure) {
        let listener = connection.listener
        guard response.authenticationID.count <= WireLimit.identity,
            response.authorizationID.count <= WireLimit.identity,
            (1...WireLimit.password).contains(response.password.count),
            !response.authenticationID.isEmpty
        else {
            return try await loginFailed(response, mechanism, "malformed")
        }
        let store: MailboxSession
        do throws(StoreFailure) {
            store = try await service.mailboxes.login(
                Credentials(
                    authorizationID: response.authorizationID,
                    authenticationID: response.authenticationID, password: response.password,
                    remote: Array(connection.peer.text), session: id, service: Array("imap")))
        } catch {
            switch error {
            case .badCredentials, .noSuchAccount, .notPermitted, .noSuchDomain:
                return try await loginFailed(response, mechanism, "bad-password")
            default:
                service.metrics.authentications.increment([listener, mechanism, "error"])
                logFailure(response, mechanism, "backend-unavailable")
                throw .no("[UNAVAILABLE] Cannot check the password now, try again")
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

    /// The same answer for every reason, after a delay that makes guessing slow.
    private func loginFailed(
        _ response: PlainResponse, _ mechanism: String, _ reason: String
    ) async throws(Failure) {
        failedLogins += 1
        service.metrics.authentications.increment([connection.listener, mechanism, "failure"])
        logFailure(response, mechanism, reason)
        await service.context.sleep(failedLogins < 3 ? .seconds(1) : .seconds(2))
        if failedLogins >= Self.failureLimit { throw .over(.loginLimit) }
        throw .no("[AUTHENTICATIONFAILED] Authentication failed")
    }

    /// The address comes before anything that the client chose: log watchers ban by this line.
    private func logFailure(_ response: PlainResponse, _ mechanism: String, _ reason: String) {
        Log.warn(
            "auth failed",
            [
                LogField("rip", connection.peer.text), LogField("reason", reason),
                LogField("mech", mechanism), LogField("lport", connection.localPort),
                LogField("tls", connection.tlsDescription ?? "none"),
                LogField("session", id.description), LogField("user", response.authenticationID),
            ])
    }
}
