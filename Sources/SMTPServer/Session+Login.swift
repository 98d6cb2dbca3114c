// SPDX-License-Identifier: Apache-2.0
//
// AUTH, and who may send as whom and to whom. RFC 4954; RFC 6409 §6.1; RFC 5321 §3.6.2, §7.9.

import Bytes
import Mail
import SASL
import SMTP
import Settings
import StoreClient
import Telemetry
import Transport
import Wire

extension Session {
    // MARK: AUTH

    /// Mechanisms that work on this connection as it is now.
    var mechanisms: [Mechanism] {
        guard settings.smtpd.auth.enabled else { return [] }
        return Mechanism.offered(
            settings.methods, isTLS: connection.isTLS,
            hasCertificateName: certificateName != nil)
    }

    /// Whom the client's certificate names, if one of our authorities has signed it.
    private var certificateName: [UInt8]? { connection.verifiedClientName }

    func authenticate(
        _ name: [UInt8], _ initial: [UInt8]?
    ) async throws(ConnectionError) -> Next {
        guard let mechanism = Mechanism(name: name) else {
            preconditionFailure("a mechanism was offered that is not there")
        }
        let attempt = LoginAttempt(
            mechanism: mechanism, initial: initial,
            client: LoginClient(
                remote: Array(connection.peer.text), session: id, service: Array("smtp")),
            hostname: settings.hostname,
            bindings: ChannelBindings(
                exporter: connection.tlsExporter, serverEndPoint: connection.tlsServerEndPoint),
            offersBinding: mechanisms.contains { $0.rawValue.hasSuffix("-PLUS") },
            certificateName: certificateName ?? [])
        let outcome = try await service.backend.logIn(attempt, self) {
            challenge async throws(ConnectionError) in try await self.answer(to: challenge)
        }
        switch outcome {
        case .succeeded((let handle, let account)):
            self.handle = handle
            count(mechanism, "success")
            let action = machine.authenticated(as: account)
            Log.info("login", fields([LogField("mech", mechanism.rawValue)]))
            return .action(action)
        case .malformed(.cancelled):
            count(mechanism, "cancelled")
            return .action(machine.authenticationEnded(.exchange(.cancelled)))
        case .malformed(let error):
            count(mechanism, "failure")
            logAuthFailure(mechanism, nil, reason: "bad-exchange")
            await service.context.sleep(.seconds(1))
            return .action(machine.authenticationFailed(.exchange(error)))
        case .unavailable(let name):
            // Not the client's fault: never counted against it, and worded so that no ban follows.
            count(mechanism, "error")
            logAuthFailure(mechanism, name, reason: "backend-unavailable")
            return .action(machine.authenticationEnded(.authUnavailable))
        case .refused(let reason, let name):
            count(mechanism, "failure")
            logAuthFailure(mechanism, name, reason: reason.text)
            switch reason {
            case .banned:
                connection.write(SMTP.Reply.banned.octets)
                return .hangUp
            case .throttled: return .action(machine.authenticationEnded(.authUnavailable))
            case .badCredentials, .disabled, .expired:
                return .action(machine.authenticationFailed(.badCredentials))
            }
        }
    }

    /// Sends a challenge and reads the line that answers it; nil if it is too long.
    private func answer(to challenge: [UInt8]) async throws(ConnectionError) -> [UInt8]? {
        connection.write("334 ")
        connection.write(challenge + [.cr, .lf])
        switch try await connection.readLine(
            limit: SASLLimits.line, end: .crlf, within: patience)
        {
        case .line: return connection.withLine { [UInt8](copying: $0) }
        case .tooLong, .bareLineFeed: return nil
        case .closed, .draining: throw .closed
        }
    }

    private func count(_ mechanism: Mechanism, _ result: String) {
        service.metrics.authAttempts.increment([
            connection.listener, mechanism.rawValue, result,
        ])
    }

    /// fail2ban reads this line: the address and the reason stand in front of the name.
    private func logAuthFailure(_ mechanism: Mechanism, _ name: [UInt8]?, reason: String) {
        var all = [
            LogField("rip", connection.peer.text), LogField("reason", reason),
            LogField("mech", mechanism.rawValue), LogField("listener", connection.listener),
            LogField("lport", connection.localPort),
        ]
        if let version = connection.tlsDescription { all.append(LogField("tls", version)) }
        all.append(LogField("session", id.description))
        if let name { all.append(LogField("account", name)) }
        Log.warn("auth failed", all)
    }

    // MARK: MAIL and RCPT

    func checkSender(_ address: EmailAddress) async -> Next {
        guard let handle else { preconditionFailure("an account without a login") }
        do throws(StoreFailure) {
            if try await service.backend.maySend(handle, as: address) {
                return .action(machine.senderChecked(.senderOK))
            }
            let action = machine.senderChecked(.notYourAddress)
            logRejected(.notYourAddress, reason: "sender-not-owned")
            return .action(action)
        } catch .staleHandle {
            // The store was restarted: only a new login helps, so the client is sent to make one.
            _ = machine.senderChecked(.sessionLost)
            self.handle = nil
            reject(.sessionLost, reason: "store-restarted")
            return .hangUp
        } catch {
            let action = machine.senderChecked(.tryAgain)
            logRejected(.tryAgain, reason: "store-unavailable")
            return .action(action)
        }
    }

    func checkRecipient(_ recipient: Recipient) async -> Next {
        let address: EmailAddress
        switch recipient {
        case .address(let named): address = named
        case .postmaster:
            address = EmailAddress(
                local: Array("postmaster"), domain: settings.postmasterDomain)
        }
        do throws(StoreFailure) {
            let size = machine.envelope?.parameters.size ?? 0
            let verdict = try await service.backend.recipient(address, size: UInt64(size), self)
            let status: RecipientStatus
            switch verdict {
            case .status(let known): status = known
            case .refused(let reply):
                logRejected(
                    reply, reason: "policy", domain: address.domain, rcpt: address.octets)
                return .action(machine.recipientChecked(address, reply))
            }
            if status == .notLocal { return .action(refuseRelay(address)) }
            let reply = SMTP.Reply.recipient(
                status, isFullTemporary: settings.isFullTemporary)
            if let reason = status.reason {
                logRejected(
                    reply, reason: reason, domain: address.domain, rcpt: address.octets)
            }
            if reply.isPositive, let limit = rateOfRecipients(address) {
                logRejected(
                    limit.reply, reason: limit.reason, domain: address.domain,
                    rcpt: address.octets)
                return .action(machine.recipientChecked(address, limit.reply))
            }
            return .action(machine.recipientChecked(address, reply))
        } catch {
            logRejected(.tryAgain, reason: "store-unavailable", rcpt: address.octets)
            return .action(machine.recipientChecked(address, .tryAgain))
        }
    }

    /// The rate that one more recipient would exceed.
    private func rateOfRecipients(_ address: EmailAddress) -> RateLimit? {
        let others = machine.envelope?.recipients ?? []
        return service.rates.recipient(
            account: machine.account, domain: address.domain,
            isNewDomain: !others.contains { $0.domain == address.domain },
            service.settings.smtpd.limits, now: service.context.now.nanoseconds)
    }

    /// A recipient elsewhere. Nobody can relay yet: those who may are told so, others are strangers.
    private func refuseRelay(_ address: EmailAddress) -> ServerMachine.Action {
        if machine.account != nil || settings.isAllowedRelay(connection.peer) {
            logRejected(.noOutbound, reason: "no-outbound", rcpt: address.octets)
            return machine.recipientChecked(address, .noOutbound)
        }
        countRejected("relay")
        var all = [
            LogField("rip", connection.peer.text), LogField("kind", "relay-attempt"),
            LogField("listener", connection.listener), LogField("lport", connection.localPort),
            LogField("session", id.description),
        ]
        if let envelope = machine.envelope {
            all.append(LogField("from", envelope.from.bracketed))
        }
        all.append(LogField("rcpt", address.octets))
        Log.warn("abuse", all)
        return machine.recipientChecked(address, .relayingDenied)
    }
}

extension RecipientStatus {
    /// For logs and metrics; nil for one that is accepted.
    var reason: StaticString? {
        switch self {
        case .accepted: nil
        case .unknownAccount: "unknown-user"
        case .notLocal: "relay"
        case .overQuota: "over-quota"
        case .disabled: "disabled"
        }
    }
}
