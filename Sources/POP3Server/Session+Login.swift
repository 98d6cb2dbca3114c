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
    /// A wrong password is answered after this long, so that guessing is slow on one connection.
    private static let failureDelay = Duration.seconds(1)

    /// USER and PASS.
    func logIn(name: [UInt8], password: [UInt8]) async -> ServerMachine.Action {
        await logIn(
            PlainResponse(authenticationID: name, password: password), mechanism: "USER")
    }

    /// The exchange of AUTH, then the login.
    func authenticate(
        _ mechanism: ServerMachine.Mechanism, _ initial: [UInt8]?
    ) async throws(SessionEnd) -> ServerMachine.Action {
        guard let known = SASL.Mechanism(rawValue: mechanism.rawValue) else {
            throw .broken("mechanism without exchange")
        }
        var exchange = Exchange(known)
        var challenge: [UInt8]
        if let initial {
            do throws(SASLError) {
                switch try exchange.begin(initial: initial.span) {
                case .finished(let response):
                    return await logIn(response, mechanism: mechanism.rawValue)
                case .challenge(let next): challenge = next
                }
            } catch {
                return machine.loginRefused(error == .cancelled ? .cancelled : .malformed)
            }
        } else {
            guard case .challenge(let first) = exchange.begin() else {
                throw .broken("exchange without a challenge")
            }
            challenge = first
        }
        // Two challenges are the most that any mechanism has.
        for _ in 0..<2 {
            connection.write([0x2B, .space] + challenge + [.cr, .lf])
            guard let line = try await exchangeLine() else {
                return machine.loginRefused(.malformed)
            }
            do throws(SASLError) {
                switch try exchange.received(line.span) {
                case .finished(let response):
                    return await logIn(response, mechanism: mechanism.rawValue)
                case .challenge(let next): challenge = next
                }
            } catch {
                return machine.loginRefused(error == .cancelled ? .cancelled : .malformed)
            }
        }
        return machine.loginRefused(.malformed)
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

    /// Checks the password and locks the maildrop.
    private func logIn(_ response: PlainResponse, mechanism: String) async -> ServerMachine.Action {
        let refusal: ServerMachine.LoginRefusal
        do throws(StoreFailure) {
            // What does not fit the wire is nobody's name or password.
            guard response.authorizationID.count <= WireLimit.identity,
                response.authenticationID.count <= WireLimit.identity,
                response.password.count <= WireLimit.password
            else { throw .badCredentials }
            let session = try await service.client.login(
                Credentials(
                    authorizationID: response.authorizationID,
                    authenticationID: response.authenticationID, password: response.password,
                    remote: [UInt8](connection.peer.text.utf8), session: id,
                    service: [UInt8]("pop3".utf8)))
            let opened = try await OpenMaildrop.open(session)
            account = session.account
            maildrop = opened.0
            noteLogin(mechanism, messages: opened.1.count)
            return machine.opened(opened.1)
        } catch {
            refusal =
                switch error {
                case .badCredentials: .badCredentials
                case .inUse: .inUse
                case .unavailable, .staleHandle, .limit: .unavailable
                case .noSuchMailbox, .mailboxExists, .notPermitted, .noSuchAccount, .noSuchDomain,
                    .alreadyExists, .overQuota, .badStage:
                    .notPossible
                }
        }
        noteRefusal(refusal, mechanism, response.authenticationID)
        if refusal == .badCredentials { await service.context.sleep(Self.failureDelay) }
        return machine.loginRefused(refusal)
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
        _ refusal: ServerMachine.LoginRefusal, _ mechanism: String, _ name: [UInt8]
    ) {
        let reason =
            switch refusal {
            case .badCredentials: "bad-password"
            case .inUse: "in-use"
            case .unavailable: "backend-unavailable"
            case .malformed, .cancelled, .notPossible: "not-possible"
            }
        service.measurements.authentications.increment([
            connection.listener, mechanism, refusal == .badCredentials ? "failure" : "unavailable",
        ])
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
