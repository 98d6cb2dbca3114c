// SPDX-License-Identifier: Apache-2.0
//
// One SMTP connection from greeting to close: octets, Command, ServerMachine, Action, octets.
// Straight-line: what the machine decides is carried out here and in Session+*.swift.

import Bytes
import Mail
import SASL
import SMTP
import Settings
import StoreClient
import Telemetry
import Transport
import Wire

/// Drives one connection. Lives on the loop that accepted it.
package final class Session {
    /// What follows an action.
    enum Next {
        case action(ServerMachine.Action)
        case command
        case hangUp
    }

    static let handshakeTime = Duration.seconds(30)
    static let flushTime = Duration.seconds(60)

    let connection: Connection
    let service: SMTPService
    let settings: ServiceSettings
    let listener: ListenerSettings?
    let id: TraceID
    var machine: ServerMachine
    /// The login at the store, while there is one.
    var handle: SessionHandle?
    /// The message of which BDAT brings chunks.
    var chunked: ChunkedMessage?
    /// No limit on rates of its address, no tarpit.
    var isExempt: Bool
    /// The end of the session, put off by each message that is taken.
    private var deadline: MonotonicInstant
    /// The end of the message under way.
    private var messageDeadline: MonotonicInstant?
    private var refusals = 0
    /// For the log: commands, messages taken, recipients and messages refused.
    private var commands = 0
    var messages = 0
    private var rejections = 0
    private let startedAt: MonotonicInstant

    init(
        _ connection: Connection, service: SMTPService, settings: ServiceSettings,
        listener: ListenerSettings?, isExempt: Bool
    ) {
        self.isExempt = isExempt
        self.connection = connection
        self.service = service
        self.settings = settings
        self.listener = listener
        id = service.context.nextTraceID()
        startedAt = service.context.now
        deadline = service.context.now.advanced(by: settings.smtpd.connectionTimeout)
        machine = ServerMachine(
            policy: settings.policy(listener, peer: connection.peer), isEncrypted: false)
    }

    /// Serves the connection until either side ends it.
    func run() async {
        var reason = "closed"
        do throws(ConnectionError) {
            reason = try await converse()
            try await connection.flush(within: Self.flushTime)
        } catch .timedOut {
            reason = "timed out"
            await sayTimeout()
        } catch {
            reason = "lost: \(error)"
        }
        chunked?.collector.abandon()
        if let handle { service.backend.logout(handle) }
        logEnd(reason)
    }

    /// - Returns: why it ended, for the log.
    private func converse() async throws(ConnectionError) -> String {
        if listener?.tlsImplicit ?? false {
            guard let tls = settings.tls else { return "no certificate" }
            try await startTLS(tls)
        }
        if let reply = await service.backend.connected(self) {
            reject(reply, reason: "policy")
            return "refused"
        }
        // Nobody may speak before the greeting; spam software that cannot wait does.
        if await connection.wait(within: greetDelay) == .input {
            reject(.tooEarly, reason: "early-talker")
            return "refused"
        }
        connection.write(machine.policy.greeting.octets)
        while true {
            switch try await connection.readLine(
                limit: Command.authLineLimit, end: .crlf, within: patience)
            {
            case .line: break
            case .tooLong:
                guard try await perform(machine.refused(.lineTooLong)) else { return "refused" }
                continue
            case .bareLineFeed:
                // Where such a line ends, servers disagree; what follows is not looked at.
                reject(CommandError.illegalOctet.reply, reason: "bare-newline")
                return "refused"
            case .closed: return "client left"
            case .draining:
                connection.write(SMTP.Reply.shuttingDown.octets)
                return "stopping"
            }
            let began = service.context.now
            let (name, action) = await nextAction()
            commands += 1
            let goesOn = try await perform(action)
            service.metrics.commandSeconds.observe(
                (service.context.now - began).seconds, [name])
            guard goesOn else { return name == "QUIT" ? "quit" : "refused" }
        }
    }

    /// For strangers on the ports for other servers; people's programs have to log in anyway.
    private var greetDelay: Duration {
        guard !isExempt, !machine.policy.requiresAuthentication else { return .zero }
        return settings.smtpd.limits.greetDelay
    }

    /// Time for the next line: the command's, but no more than is left of the connection's, or of
    /// the message between two of its chunks.
    var patience: Duration {
        let left = (messageDeadline ?? deadline) - service.context.now
        return min(settings.smtpd.commandTimeout, max(left, .zero))
    }

    /// Time for the next piece of a message.
    var dataPatience: Duration {
        let left = (messageDeadline ?? deadline) - service.context.now
        return min(settings.smtpd.dataTimeout, max(left, .zero))
    }

    /// A message begins, or goes on: the time for all of it runs from its first octet.
    func messageBegins() {
        guard messageDeadline == nil else { return }
        messageDeadline = service.context.now.advanced(by: settings.smtpd.messageTimeout)
    }

    /// The last line, parsed and put to the machine; with its name for the metrics.
    private func nextAction() async -> (String, ServerMachine.Action) {
        do throws(CommandError) {
            let command = try connection.withLine { line throws(CommandError) in
                try Command(line)
            }
            let action = machine.received(command)
            if case .mail(let from, let parameters) = command, machine.envelope != nil {
                if let limit = rateOfMessages(from) {
                    return (command.name, machine.limited(limit.reply))
                }
                if let reply = await service.backend.sender(from, size: parameters.size, self) {
                    logRejected(reply, reason: "policy")
                    return (command.name, machine.limited(reply))
                }
            }
            return (command.name, action)
        } catch {
            return ("other", machine.refused(error))
        }
    }

    /// Carries out `action` and what follows from it. False: hang up.
    private func perform(_ action: ServerMachine.Action) async throws(ConnectionError) -> Bool {
        var next = Next.action(action)
        while true {
            // RSET, EHLO, QUIT and errors end a transaction: its chunks go with it.
            if machine.envelope == nil {
                chunked?.collector.abandon()
                chunked = nil
                messageDeadline = nil
            }
            switch next {
            case .command: return true
            case .hangUp: return false
            case .action(let action): next = try await carryOut(action)
            }
        }
    }

    private func carryOut(_ action: ServerMachine.Action) async throws(ConnectionError) -> Next {
        switch action {
        case .reply(let reply):
            await delay(reply)
            connection.write(reply.octets)
            return .command
        case .speakFor(let claim): return .action(speak(for: claim))
        case .describe:
            connection.write(describe().octets)
            return .command
        case .close(let reply):
            connection.write(reply.octets)
            if reply == .tooManyCommands {
                logRejected(reply, reason: "idle-commands")
            } else if reply != .bye {
                logRejected(reply, reason: "protocol-errors")
            }
            return .hangUp
        case .startTLS(let reply):
            return try await startTLS(after: reply)
        case .authenticate(let mechanism, let initial):
            return try await authenticate(mechanism, initial)
        case .checkSender(let address):
            return await checkSender(address)
        case .checkRecipient(let recipient):
            return await checkRecipient(recipient)
        case .receiveText(let reply):
            connection.write(reply.octets)
            messageBegins()
            return .action(messageEnded(try await receiveText()))
        case .receiveChunk(let size, let isLast):
            return .action(try await receiveChunk(size, isLast: isLast))
        case .skipChunk(let size, let reply):
            return try await skipChunk(size, reply)
        }
    }

    /// A message that was taken is what the connection is for: its time begins again.
    func messageEnded(_ reply: SMTP.Reply) -> ServerMachine.Action {
        if reply.isPositive {
            deadline = service.context.now.advanced(by: settings.smtpd.connectionTimeout)
        }
        return machine.messageEnded(reply)
    }

    // MARK: Limits

    /// The rate that one more message from here would exceed.
    private func rateOfMessages(_ from: ReversePath) -> RateLimit? {
        var sender: EmailAddress?
        if case .address(let address) = from { sender = address }
        let limit = service.rates.message(
            address: isExempt ? nil : connection.peer.address, account: machine.account,
            sender: sender, service.settings.smtpd.limits, now: service.context.now.nanoseconds)
        if let limit { logRejected(limit.reply, reason: limit.reason) }
        return limit
    }

    /// The tarpit: who makes mistake after mistake is guessing, and waits for each further answer.
    private func delay(_ reply: SMTP.Reply) async {
        guard !reply.isPositive, !reply.isTemporary else { return }
        refusals += 1
        let limits = settings.smtpd.limits
        guard !isExempt, limits.tarpit > .zero, refusals > limits.tarpitAfter else { return }
        service.metrics.tarpitted.increment([connection.listener])
        await service.context.sleep(limits.tarpit)
    }

    // MARK: TLS

    /// RFC 3207 §4: what was read behind the command is never looked at, in clear or later.
    private func startTLS(after reply: SMTP.Reply) async throws(ConnectionError) -> Next {
        guard let tls = settings.tls else {
            preconditionFailure("STARTTLS offered without a certificate")
        }
        if connection.hasReadAhead {
            reject(.readAhead, reason: "starttls-injection")
            return .hangUp
        }
        connection.write(reply.octets)
        try await connection.flush(within: Self.flushTime)
        try await startTLS(tls)
        return .command
    }

    private func startTLS(_ context: TLSContext) async throws(ConnectionError) {
        do throws(ConnectionError) {
            try await connection.startTLS(context, within: Self.handshakeTime)
        } catch {
            Log.info("tls failed", fields([LogField("reason", error.description)]))
            throw error
        }
        machine.tlsStarted()
        if settings.listener(connection.listener)?.authentication != "off" {
            machine.offer(mechanisms: mechanisms.map { Array($0.rawValue) })
        }
        service.metrics.tlsConnections.increment([
            connection.listener, connection.tlsDescription ?? "unknown",
        ])
    }

    private func sayTimeout() async {
        connection.write(SMTP.Reply.idleTooLong.octets)
        do throws(ConnectionError) {
            try await connection.flush(within: .seconds(5))
        } catch {
            Log.debug("timeout not told", fields([LogField("reason", "\(error)")]))
        }
    }

    // MARK: Log

    /// Who and where in front of what else is to be said, and what the client chose (`claimed`) at
    /// the very end: a program that reads the log never meets a client's words first.
    func fields(_ more: [LogField], claimed: [LogField] = []) -> [LogField] {
        var all = [LogField("rip", connection.peer.text)]
        all += more
        all.append(LogField("listener", connection.listener))
        if let version = connection.tlsDescription { all.append(LogField("tls", version)) }
        all.append(LogField("session", id.description))
        if let account = machine.account { all.append(LogField("account", account.octets)) }
        return all + claimed
    }

    private func logEnd(_ reason: String) {
        var claimed: [LogField] = []
        if !machine.clientName.isEmpty { claimed.append(LogField("helo", machine.clientName)) }
        Log.info(
            "session end",
            fields(
                [
                    LogField("reason", reason), LogField("commands", commands),
                    LogField("messages", messages), LogField("rejected", rejections),
                    LogField("took", Int((service.context.now - startedAt) / .milliseconds(1))),
                ],
                claimed: claimed))
    }

    func reject(_ reply: SMTP.Reply, reason: StaticString) {
        connection.write(reply.octets)
        logRejected(reply, reason: reason)
    }

    /// One line and one count for something that was refused.
    func logRejected(
        _ reply: SMTP.Reply, reason: StaticString, domain: [UInt8]? = nil, rcpt: [UInt8]? = nil
    ) {
        countRejected(reason, domain: domain)
        var claimed: [LogField] = []
        if let envelope = machine.envelope {
            claimed.append(LogField("from", envelope.from.bracketed))
        }
        if let rcpt { claimed.append(LogField("rcpt", rcpt)) }
        Log.info(
            "rejected",
            fields(
                [LogField("reason", reason.description), LogField("reply", reply.summary)],
                claimed: claimed))
    }
}

extension Session {
    /// - Parameter domain: of the recipient, if it is ours.
    func countRejected(_ reason: StaticString, domain: [UInt8]? = nil) {
        rejections += 1
        service.metrics.rejected.increment([
            connection.listener, reason.description,
            domain.map { String(decoding: $0, as: UTF8.self) } ?? "other",
        ])
    }
}

extension Command {
    /// For metrics: the verb.
    var name: String {
        switch self {
        case .hello(_, let isExtended): isExtended ? "EHLO" : "HELO"
        case .mail: "MAIL"
        case .rcpt: "RCPT"
        case .data: "DATA"
        case .bdat: "BDAT"
        case .rset: "RSET"
        case .noop: "NOOP"
        case .help: "HELP"
        case .startTLS: "STARTTLS"
        case .quit: "QUIT"
        case .vrfy: "VRFY"
        case .auth: "AUTH"
        case .xclient: "XCLIENT"
        case .xdebug: "XDEBUG"
        }
    }
}

extension Duration {
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
