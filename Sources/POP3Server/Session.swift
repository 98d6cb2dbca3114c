// SPDX-License-Identifier: Apache-2.0
//
// One POP3 connection from greeting to close: octets → Command → ServerMachine → Action → octets.
// RFC 1939 §3 to §6. Deletions happen in one place: `update`, after QUIT.

import Bytes
import Config
import Mail
import POP3
import SASL
import StoreClient
import Telemetry
import Transport
import Wire

/// Drives one connection; belongs to its loop.
final class Session {
    /// RFC 1939 §3 wants ten minutes for the session; strangers get less, so that connections that
    /// never log in cannot be piled up.
    static let loginTimeout = Duration.seconds(180)
    /// Output beyond this is sent before more is made.
    static let outputLimit = 64 << 10

    let service: POP3Service
    let connection: Connection
    let id: TraceID
    var machine: ServerMachine
    /// Set while the maildrop is ours.
    var maildrop: OpenMaildrop?
    var account: EmailAddress?

    private(set) var verb = "none"
    private var began: MonotonicInstant
    private var retrievedCount = 0
    private var topCount = 0
    private var deletedCount = 0
    private var octetsSent: UInt64 = 0

    init(service: POP3Service, connection: Connection, id: TraceID, offersTLS: Bool) {
        self.service = service
        self.connection = connection
        self.id = id
        began = service.context.now
        machine = ServerMachine(
            isTLS: connection.isTLS, offersTLS: offersTLS,
            takesPasswordsInClear: service.isDevelopment && connection.peer.isLoopback)
        machine.mechanisms = mechanisms.map(\.rawValue)
    }

    /// Serves the connection until either side ends it.
    func run() async {
        let start = service.context.now
        connection.write(machine.greeting().line)
        var reason = "quit"
        do throws(SessionEnd) {
            while let action = try await nextAction() {
                var next: ServerMachine.Action? = action
                while let current = next { next = try await perform(current) }
            }
            reason = machine.hasQuit ? "quit" : "refused"
        } catch {
            reason = await sayGoodbye(error)
        }
        // Without QUIT the marks are forgotten with the machine: nothing is deleted.
        maildrop?.release()
        maildrop = nil
        logEnd(reason, took: service.context.now - start)
    }

    /// Reads a command. Nil after the machine has closed the session.
    private func nextAction() async throws(SessionEnd) -> ServerMachine.Action? {
        if machine.isEnded { return nil }
        if connection.buffered == 0 { maildrop?.stopReadingAhead() }
        verb = "none"
        let patience =
            account == nil
            ? min(Self.loginTimeout, service.settings.idleTimeout) : service.settings.idleTimeout
        let result: LineResult
        do throws(ConnectionError) {
            result = try await connection.readLine(
                limit: Command.lineLimit, end: .crlfOrLF, within: patience)
        } catch {
            throw SessionEnd(error)
        }
        began = service.context.now
        switch result {
        case .line: break
        case .tooLong, .bareLineFeed: return machine.refused(.lineTooLong)
        case .closed: throw .clientLeft
        case .draining: throw .stopping
        }
        let command: Command
        do throws(CommandError) {
            command = try connection.withLine { line throws(CommandError) in try Command(line) }
        } catch {
            return machine.refused(error)
        }
        verb = command.verb.rawValue
        return machine.received(command)
    }

    /// Carries out one action. Returns the one that follows from it; nil: read the next command.
    private func perform(
        _ action: ServerMachine.Action
    ) async throws(SessionEnd) -> ServerMachine.Action? {
        switch action {
        case .reply(let reply):
            try await answer(reply)
            return nil
        case .lines(let reply, let lines):
            var octets = reply.line
            for line in lines { octets.append(line + "\r\n") }
            octets.append(".\r\n")
            try await answer(reply, octets)
            return nil
        case .close(let reply):
            // The lock is gone before the client hears it is, so that it can come back at once.
            await maildrop?.close()
            maildrop = nil
            try await answer(reply)
            try await flush()
            return nil
        case .startTLS(let reply):
            try await startTLS(reply)
            return nil
        case .login(let user, let password):
            return await logIn(name: user, password: password)
        case .authenticate(let mechanism, let initial):
            return try await authenticate(mechanism, initial)
        case .listing(let reply, let listing):
            try await list(reply, listing)
            return nil
        case .send(let message, let lines):
            return try await send(message, lines: lines)
        case .update(let uids):
            return machine.updated(await update(uids))
        }
    }

    // MARK: - Answers

    /// Writes a whole answer and counts its command.
    private func answer(_ reply: POP3.Reply, _ octets: [UInt8]? = nil) async throws(SessionEnd) {
        connection.write(octets ?? reply.line)
        count(reply.isPositive)
        try await keepOutputBounded()
    }

    func count(_ isPositive: Bool) {
        service.measurements.commands.increment([verb, isPositive ? "ok" : "error"])
        let took = service.context.now - began
        service.measurements.commandDuration.observe(took.inSeconds, [verb])
    }

    /// A client that asks faster than it reads waits here.
    func keepOutputBounded() async throws(SessionEnd) {
        if connection.pendingOutput > Self.outputLimit { try await flush() }
    }

    private func flush() async throws(SessionEnd) {
        do throws(ConnectionError) {
            try await connection.flush(within: service.settings.idleTimeout)
        } catch {
            throw SessionEnd(error)
        }
    }

    private func startTLS(_ reply: POP3.Reply) async throws(SessionEnd) {
        guard let tls = service.tls else { throw .broken("certificate is gone") }
        // Commands sent behind STLS in clear would be carried out as if encrypted (CVE-2011-0411).
        guard !connection.hasReadAhead else { throw .broken("plaintext behind STLS") }
        connection.write(reply.line)
        count(true)
        try await flush()
        do throws(ConnectionError) {
            try await connection.startTLS(tls, within: POP3Service.handshakeTimeout)
        } catch {
            service.logHandshakeFailure(connection, id, error)
            throw SessionEnd(error)
        }
        machine.tlsStarted()
        machine.mechanisms = mechanisms.map(\.rawValue)
        service.countHandshake(connection)
    }

    private func list(
        _ reply: POP3.Reply, _ listing: Maildrop.Listing
    ) async throws(SessionEnd) {
        connection.write(reply.line)
        var next: Int? = 1
        while let number = next, let maildrop = machine.maildrop {
            var piece: [UInt8] = []
            piece.reserveCapacity(Self.outputLimit / 2 + 64)
            next = maildrop.append(listing, from: number, to: &piece, limit: Self.outputLimit / 2)
            connection.write(piece)
            try await keepOutputBounded()
        }
        connection.write(".\r\n")
        count(true)
    }

    // MARK: - Messages

    private func send(
        _ message: Maildrop.Message, lines: Int?
    ) async throws(SessionEnd) -> ServerMachine.Action? {
        guard let maildrop, let all = machine.maildrop else { throw .broken("no maildrop") }
        let stored: StoredMessage?
        do throws(StoreFailure) {
            // More commands are waiting: most likely they ask for the messages behind this one.
            let isPipelined = connection.buffered > 0
            stored =
                lines == nil
                ? try await maildrop.message(message.uid, of: all, readsAhead: isPipelined)
                : try await maildrop.top(message.uid, isHeaderOnly: lines == 0)
        } catch {
            logStoreFailure(error)
            return maildrop.isValid ? machine.messageIsUnavailable() : machine.storeWasLost()
        }
        guard let stored else { return machine.messageIsGone() }
        let reply = POP3.Reply.ok(lines == nil ? "\(message.size) octets" : "top follows")
        connection.write(reply.line)
        octetsSent += try await write(stored, MessageEncoder(lines: lines))
        count(true)
        if lines == nil {
            retrievedCount += 1
            service.measurements.retrieved.increment()
        } else {
            topCount += 1
        }
        try await keepOutputBounded()
        return nil
    }

    /// The update state (RFC 1939 §6): removes the marked messages.
    private func update(_ uids: [UInt32]) async -> Bool {
        guard let maildrop else { return false }
        do throws(StoreFailure) {
            let removed = try await maildrop.remove(uids)
            deletedCount += removed
            service.measurements.deleted.increment(by: UInt64(removed))
            return true
        } catch {
            logStoreFailure(error)
            return false
        }
    }

    // MARK: - Endings

    /// Tells the client why, if that is possible. Returns the reason for the log.
    private func sayGoodbye(_ end: SessionEnd) async -> String {
        let last: ServerMachine.Action
        let reason: String
        switch end {
        case .clientLeft: return "client left"
        case .lost(let error): return "lost: \(error)"
        case .broken(let what): return what
        case .timedOut: (last, reason) = (machine.timedOut(), "timed out")
        case .stopping: (last, reason) = (machine.stopping(), "stopping")
        }
        guard case .close(let reply) = last else { return reason }
        connection.write(reply.line)
        do throws(ConnectionError) {
            try await connection.flush(within: .seconds(5))
        } catch {
            Log.debug("goodbye not sent", [LogField("reason", "\(error)")])
        }
        return reason
    }

    func logStoreFailure(_ failure: StoreFailure) {
        Log.warn(
            "store failed",
            [
                LogField("rip", connection.peer.text), LogField("reason", "\(failure)"),
                LogField("command", verb), LogField("session", id.description),
            ])
    }

    private func logEnd(_ reason: String, took: Duration) {
        service.measurements.octetsSent.increment(by: octetsSent)
        var fields = [
            LogField("rip", connection.peer.text), LogField("reason", reason),
            LogField("listener", connection.listener), LogField("session", id.description),
            LogField("retrieved", retrievedCount), LogField("top", topCount),
            LogField("deleted", deletedCount), LogField("size", octetsSent),
            LogField("took", Int(took / .milliseconds(1))),
        ]
        if let account { fields.append(LogField("account", account.octets)) }
        Log.info("session end", fields)
    }
}

/// Why a session ended without the machine closing it.
enum SessionEnd: Error {
    case clientLeft
    case timedOut
    case stopping
    case lost(ConnectionError)
    /// Ours or the protocol's: what happened, for the log. The connection is closed as it is, in
    /// particular without the dot that would make half a message look whole.
    case broken(String)

    init(_ error: ConnectionError) {
        self =
            switch error {
            case .closed: .clientLeft
            case .timedOut: .timedOut
            case .killed, .system, .tls: .lost(error)
            }
    }
}
