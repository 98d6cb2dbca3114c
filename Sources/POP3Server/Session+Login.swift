// SPDX-License-Identifier: Apache-2.0
//
// Logging in: USER and PASS, AUTH (RFC 5034 §4), and opening the maildrop (RFC 1939 §4).

import Bytes
import Mail
import POP3
import SASL
import StoreClient
import Telemetry
import Transport
import Wire

extension Session {
    /// Mechanisms that work on this connection as it is now.
    var mechanisms: [Mechanism] {
        Mechanism.offered(
            service.methods, isTLS: connection.isTLS, hasCertificateName: certificateName != nil)
    }

    /// Whom the client's certificate names, if one of our authorities has signed it.
    private var certificateName: [UInt8]? { connection.verifiedClientName }

    private var client: LoginClient {
        LoginClient(remote: Array(connection.peer.text.utf8), session: id, service: Array("pop3"))
    }

    /// USER and PASS.
    func logIn(name: [UInt8], password: [UInt8]) async -> ServerMachine.Action {
        let response = PlainResponse(authenticationID: name, password: password)
        return await finish(await service.client.logIn(response, client), mechanism: "USER")
    }

    /// The exchange of AUTH, then the login.
    func authenticate(
        _ name: [UInt8], _ initial: [UInt8]?
    ) async throws(SessionEnd) -> ServerMachine.Action {
        guard let mechanism = SASL.Mechanism(name: name) else {
            throw .broken("mechanism without exchange")
        }
        let attempt = LoginAttempt(
            mechanism: mechanism, initial: initial, client: client,
            hostname: Array(service.hostname.utf8),
            bindings: ChannelBindings(
                exporter: connection.tlsExporter, serverEndPoint: connection.tlsServerEndPoint),
            offersBinding: mechanisms.contains { $0.rawValue.hasSuffix("-PLUS") },
            certificateName: certificateName ?? [])
        let outcome = try await service.client.logIn(attempt) {
            challenge async throws(SessionEnd) in
            connection.write([0x2B, .space] + challenge + [.cr, .lf])
            return try await exchangeLine()
        }
        return await finish(outcome, mechanism: mechanism.rawValue)
    }

    /// A line of the exchange; nil if it was too long.
    private func exchangeLine() async throws(SessionEnd) -> [UInt8]? {
        let result: LineResult
        do throws(ConnectionError) {
            result = try await connection.readLine(
                limit: Command.responseLimit, end: .crlfOrLF, within: Self.loginTimeout)
        } catch {
            throw SessionEnd(error)
        }
        switch result {
        case .line: return connection.withLine { [UInt8](copying: $0) }
        case .tooLong, .bareLineFeed: return nil
        case .closed: throw .clientLeft
        case .draining: throw .stopping
        }
    }

    /// Locks the maildrop of whoever has logged in.
    private func finish(
        _ outcome: LoginOutcome<MailboxSession>, mechanism: String
    ) async -> ServerMachine.Action {
        switch outcome {
        case .succeeded(let session):
            do throws(StoreFailure) {
                let opened = try await OpenMaildrop.open(session)
                account = session.account
                maildrop = opened.0
                noteLogin(mechanism, messages: opened.1.count)
                return machine.opened(opened.1)
            } catch {
                let refusal: ServerMachine.LoginRefusal =
                    switch error {
                    case .inUse: .inUse
                    case .unavailable, .staleHandle, .limit: .unavailable
                    case .badCredentials, .noSuchMailbox, .mailboxExists, .notPermitted,
                        .noSuchAccount, .noSuchDomain, .alreadyExists, .overQuota, .badStage:
                        .notPossible
                    }
                let reason =
                    switch refusal {
                    case .inUse: "in-use"
                    case .unavailable: "backend-unavailable"
                    default: "not-possible"
                    }
                noteRefusal("unavailable", reason, mechanism, session.account.octets)
                return machine.loginRefused(refusal)
            }
        case .malformed(let error):
            return machine.loginRefused(error == .cancelled ? .cancelled : .malformed)
        case .unavailable(let name):
            noteRefusal("unavailable", "backend-unavailable", mechanism, name)
            return machine.loginRefused(.unavailable)
        case .refused(let reason, let name):
            noteRefusal("failure", reason.text, mechanism, name)
            switch reason {
            case .banned: return machine.loginRefused(.banned)
            case .throttled: return machine.loginRefused(.unavailable)
            case .badCredentials, .disabled, .expired:
                return machine.loginRefused(.badCredentials)
            }
        }
    }

    private func noteLogin(_ mechanism: String, messages: Int) {
        service.measurements.authentications.increment([connection.listener, mechanism, "success"])
        Log.info(
            "login",
            [
                LogField("rip", connection.peer.text), LogField("mech", mechanism),
                LogField("listener", connection.listener),
                LogField("tls", connection.tlsDescription ?? "none"),
                LogField("session", id.description), LogField("messages", messages),
                LogField("account", account?.octets ?? []),
            ])
    }

    /// The address, then the reason, then everything the client chose: etc/fail2ban counts on it.
    private func noteRefusal(
        _ result: String, _ reason: String, _ mechanism: String, _ name: [UInt8]
    ) {
        service.measurements.authentications.increment([connection.listener, mechanism, result])
        Log.warn(
            "auth failed",
            [
                LogField("rip", connection.peer.text), LogField("reason", reason),
                LogField("mech", mechanism), LogField("listener", connection.listener),
                LogField("tls", connection.tlsDescription ?? "none"),
                LogField("session", id.description), LogField("account", name),
            ])
    }
}
