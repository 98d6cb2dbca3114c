// SPDX-License-Identifier: Apache-2.0
//
// One IMAP connection from greeting to good-bye: reads commands, lets Session+*.swift carry them
// out, keeps output and input within bounds. RFC 3501 §3, §5.4, §7.1.

import Bytes
import Config
import Daemon
import IMAP
import Mail
import StoreClient
import Telemetry
import Transport
import Wire

/// The mailbox that a session has selected.
final class Selection {
    let name: MailboxName
    let isReadOnly: Bool
    var view: ClientView
    /// What the store says without being asked.
    let signal: ChangeSignal
    /// When the store was asked last.
    var askedAt: MonotonicInstant
    /// Where recent messages began when it was selected.
    var floor: UInt32?
    /// Searches whose results the client follows, and the state of the view that they were told.
    var contexts: [SearchContext] = []
    var contextsModSeq: UInt64 = 0

    init(
        name: MailboxName, isReadOnly: Bool, view: ClientView, signal: ChangeSignal,
        askedAt: MonotonicInstant, floor: UInt32?
    ) {
        self.floor = floor
        self.name = name
        self.isReadOnly = isReadOnly
        self.view = view
        self.signal = signal
        self.askedAt = askedAt
    }
}

/// Raised by the store when a mailbox may have changed.
final class ChangeSignal {
    var isRaised = false
}

/// Drives one connection on the loop that accepted it and owns all it touches.
final class Session {
    /// RFC 3501 §3.
    enum State {
        case notAuthenticated
        case authenticated(MailboxSession)
        case selected(MailboxSession, Selection)
    }

    /// Output beyond this waits until the client has read some.
    static let outputLimit = 64 << 10
    /// Octets of one command with its literals after login (UID sets get long).
    static let commandLimit = 64 << 10
    static let literalLimit = 64 << 10
    /// A refused literal that comes unasked is read and thrown away up to this size.
    static let skipLimit = 64 << 20
    /// BAD answers in a row before the session ends.
    static let badLimit = 20
    /// To write what is pending, when the client does not read.
    static let patience = Duration.seconds(120)

    let connection: Connection
    let service: IMAPService
    let id: TraceID
    /// When it began, or was last given back by UNAUTHENTICATE.
    private(set) var startedAt: MonotonicInstant
    private let listener: ListenerSettings?
    var state = State.notAuthenticated
    var assembler = CommandAssembler(limits: .beforeLogin)
    var writer = ResponseWriter()
    /// RFC 7162 §3.1: the client knows MODSEQ.
    var condstore = false
    /// RFC 7162 §3.2.3: and VANISHED.
    var qresync = false
    /// ENABLE IMAP4rev2 was given: no RECENT, names in UTF-8, LIST in SELECT (RFC 9051 App. E).
    var isRevision2 = false
    /// What NOTIFY asked for.
    var notifications: Notifications?
    var failedLogins = 0
    private var badInARow = 0
    /// Commands before login.
    private var strangerCommands = 0
    /// Octets of input taken so far; rather too many than too few.
    var inputPosition = 0
    /// Input up to here had arrived when the view was last brought up to date.
    var coveredPosition = -1
    // For the log line at the end.
    var commandCount = 0
    var fetchedCount = 0
    var sentOctets = 0
    /// What was handed to the connection ends with a line.
    private(set) var endsLine = true

    init(_ connection: Connection, service: IMAPService, listener: ListenerSettings?) {
        self.connection = connection
        self.service = service
        self.listener = listener
        id = service.context.nextTraceID()
        startedAt = service.context.now
    }

    /// Serves the connection until either side ends it.
    func run() async {
        var reason = End.closed
        do throws(End) {
            try await greet()
            while true { try await serveCommand() }
        } catch {
            reason = error
        }
        await finish(reason)
    }

    private func greet() async throws(End) {
        if listener?.tlsImplicit ?? false { try await startTLS() }
        writer.write("* OK [CAPABILITY ")
        writeCapabilities()
        writer.write("] ")
        writer.write(Array(service.hostname))
        writer.write(" Martlet IMAP ready\r\n")
        emit()
    }

    /// STARTTLS can be used here.
    var offersTLS: Bool {
        !connection.isTLS && service.tls != nil && listener?.encryption != "off"
    }

    func startTLS() async throws(End) {
        guard let context = service.tls else { throw .tls }
        do throws(ConnectionError) {
            try await connection.startTLS(context, within: .seconds(60))
        } catch {
            Log.info(
                "tls failed",
                [
                    LogField("rip", connection.peer.text), LogField("session", id.description),
                    LogField("reason", "\(error)"),
                ])
            throw .tls
        }
        service.metrics.tlsConnections.increment([
            connection.listener, connection.tlsDescription ?? "unknown",
        ])
    }

    // MARK: - One command

    private func serveCommand() async throws(End) {
        guard try await readCommand() else { return }
        commandCount += 1
        let began = service.context.now
        let command: TaggedCommand
        do throws(CommandError) {
            command = try TaggedCommand(assembler.octets)
        } catch {
            refuse(error)
            assembler.reset()
            try countBad()
            return
        }
        assembler.reset()
        if case .notAuthenticated = state {
            strangerCommands += 1
            if strangerCommands > 100 { throw .tooManyErrors }
        }
        try await answer(command.tag, command.command.name, began) { () async throws(Failure) in
            try await self.perform(command.command, command.tag)
        }
    }

    /// Runs a command and writes its tagged answer, unless `body` did.
    func answer(
        _ tag: [UInt8], _ name: String, _ began: MonotonicInstant,
        _ body: () async throws(Failure) -> Void
    ) async throws(End) {
        var result = "ok"
        do throws(Failure) {
            try await body()
            badInARow = 0
        } catch {
            result = try refused(tag, error)
        }
        emit()
        service.metrics.commands.increment([name, result])
        let took = service.context.now - began
        service.metrics.commandDuration.observe(took / .seconds(1), [name])
        if result == "bad" { try countBad() }
        try await flushIfLong()
    }

    /// Writes the tagged NO or BAD. Throws what ends the session.
    private func refused(_ tag: [UInt8], _ failure: Failure) throws(End) -> String {
        switch failure {
        case .connection(let error): throw End(error)
        case .over(let end):
            if end == .mailboxGone || end == .storeLost {
                writer.line(tag, "NO [UNAVAILABLE] Cannot go on")
            }
            throw end
        case .store(let reason):
            writer.write(tag)
            writer.write(" NO ")
            writer.write(Failure.text(reason))
            writer.write("\r\n")
            if reason == .staleHandle { throw .storeLost }
            return "no"
        case .no(let text):
            writer.write(tag)
            writer.write(" NO ")
            writer.write(Array(text))
            writer.write("\r\n")
            return "no"
        case .bad(let text):
            writer.write(tag)
            writer.write(" BAD ")
            writer.write(Array(text))
            writer.write("\r\n")
            return "bad"
        }
    }

    /// BAD to what could not be parsed.
    private func refuse(_ error: CommandError) {
        writer.write(TaggedCommand.tag(of: assembler.octets) ?? Array("*"))
        writer.write(" BAD ")
        writer.write(Array(Failure.text(error)))
        writer.write("\r\n")
        emit()
    }

    /// The time for a login starts anew.
    func beginsAgain() {
        startedAt = service.context.now
        strangerCommands = 0
    }

    func countBad() throws(End) {
        badInARow += 1
        if badInARow >= Self.badLimit { throw .tooManyErrors }
    }

    // MARK: - Reading

    /// How long to wait for the next octet of a command.
    private var patienceForInput: Duration {
        guard case .notAuthenticated = state else { return service.settings.idleTimeout }
        let left = service.settings.loginTimeout - (service.context.now - startedAt)
        return max(left, .milliseconds(1))
    }

    /// Reads one command into `assembler`. False: it was answered here (refused, or an APPEND).
    private func readCommand() async throws(End) -> Bool {
        assembler.limits =
            isAuthenticated
            ? .init(
                command: Self.commandLimit, literal: Self.literalLimit,
                message: service.maxMessageSize)
            : .beforeLogin
        while true {
            switch try await readStep() {
            case .command: return true
            case .literal(let literal):
                if literal.isSynchronizing { connection.write("+ OK\r\n") }
                assembler.add(literal: try await read(exactly: literal.count))
            case .message(let append):
                assembler.reset()
                commandCount += 1
                try await answer(append.tag, append.name, service.context.now) {
                    () async throws(Failure) in
                    try await self.append(append)
                }
                return false
            case .refused(let refusal, let literal):
                try await refuse(refusal, literal)
                return false
            }
        }
    }

    private func readStep() async throws(End) -> CommandAssembler.Step {
        if connection.buffered == 0 { rest() }
        if notifications != nil, assembler.octets.isEmpty { try await waitForCommand() }
        switch try await readLine(limit: assembler.limits.command - assembler.octets.count) {
        case .line: break
        case .tooLong, .bareLineFeed: throw .tooLong
        case .closed: throw .closed
        case .draining: throw .draining
        }
        return connection.withLine { assembler.add(line: $0) }
    }

    /// All lines of the client are read here.
    func readLine(limit: Int) async throws(End) -> LineResult {
        do throws(ConnectionError) {
            let result = try await connection.readLine(
                limit: max(1, limit), end: .crlfOrLF, within: patienceForInput)
            inputPosition += connection.withLine { $0.count } + 2
            return result
        } catch {
            throw End(error)
        }
    }

    func read(exactly count: Int) async throws(End) -> [UInt8] {
        inputPosition += count
        do throws(ConnectionError) {
            return try await connection.readExactly(count, within: patienceForInput)
        } catch {
            throw End(error)
        }
    }

    /// Answers a command whose literal is not wanted and, if the client sends it all the same,
    /// reads past it and the rest of the command.
    private func refuse(
        _ refusal: CommandAssembler.Refusal, _ literal: CommandAssembler.Literal
    ) async throws(End) {
        let tag = TaggedCommand.tag(of: assembler.octets) ?? Array("*")
        assembler.reset()
        if !literal.isSynchronizing { try await skip(literal.count) }
        writer.write(tag)
        switch refusal {
        case .tooBig: writer.write(" NO [TOOBIG] Literal is too long")
        case .wrong(let error):
            writer.write(" BAD ")
            writer.write(Array(Failure.text(error)))
        }
        writer.write("\r\n")
        emit()
        try countBad()
    }

    /// Reads and forgets a literal and what follows up to the end of its command.
    func skip(_ announced: Int) async throws(End) {
        var budget = isAuthenticated ? Self.skipLimit : 64 << 10
        var count = announced
        while true {
            guard count <= budget else { throw .tooLong }
            budget -= count
            try await discard(count)
            guard case .line = try await readLine(limit: Self.commandLimit) else { throw .tooLong }
            let rest = connection.withLine { [UInt8](copying: $0) }
            budget -= rest.count
            guard let next = CommandAssembler.literal(atEndOf: rest), !next.waits,
                let length = next.count
            else { return }
            count = length
        }
    }

    func discard(_ count: Int) async throws(End) {
        var left = count
        while left > 0 {
            if connection.buffered == 0 {
                let more: Bool
                do throws(ConnectionError) {
                    more = try await connection.fill(within: patienceForInput)
                } catch {
                    throw End(error)
                }
                guard more else { throw .closed }
            }
            let part = min(left, connection.buffered)
            connection.consume(part)
            inputPosition += part
            left -= part
        }
    }

    // MARK: - Writing

    /// Hands what was written to the connection.
    func emit() {
        guard writer.count > 0 else { return }
        sentOctets += writer.count
        endsLine = writer.octets.last == .lf
        connection.write(writer.octets)
        writer.removeAll()
    }

    /// Back-pressure: a client that asks and does not read is waited for.
    func flushIfLong() async throws(End) {
        guard connection.pendingOutput > Self.outputLimit else { return }
        do throws(ConnectionError) {
            try await connection.flush(within: Self.patience)
        } catch {
            throw End(error)
        }
    }

    /// `emit` and `flushIfLong` for the inside of long answers.
    func drainOutput() async throws(Failure) {
        guard writer.count + connection.pendingOutput > Self.outputLimit else { return }
        emit()
        do throws(ConnectionError) {
            try await connection.flush(within: Self.patience)
        } catch {
            throw .connection(error)
        }
    }

    /// Nothing to do until the client says something: buffers are given back.
    private func rest() {
        if writer.octets.capacity > 1_024 { _ = writer.take() }
    }

    // MARK: - The end

    private func finish(_ reason: End) async {
        emit()
        if let farewell = reason.farewell { connection.write(farewell) }
        var account: EmailAddress?
        if let store {
            account = store.account
            store.logout()
            service.census.leave(account: store.account)
        }
        if service.largeMessage?.owner === self { service.largeMessage = nil }
        if reason != .closed, reason != .failed {
            do throws(ConnectionError) {
                try await connection.flush(within: .seconds(5))
            } catch {
                Log.debug("farewell lost", [LogField("session", id.description)])
            }
        }
        var fields = [
            LogField("rip", connection.peer.text), LogField("reason", reason.rawValue),
            LogField("listener", connection.listener), LogField("session", id.description),
            LogField("commands", commandCount),
            LogField("fetched", fetchedCount), LogField("out", sentOctets),
            LogField("took", Int((service.context.now - startedAt) / .milliseconds(1))),
        ]
        if let account { fields.append(LogField("account", account.octets)) }
        Log.info("session end", fields)
    }
}

extension Session {
    var isAuthenticated: Bool {
        if case .notAuthenticated = state { false } else { true }
    }

    var store: MailboxSession? {
        switch state {
        case .notAuthenticated: nil
        case .authenticated(let store), .selected(let store, _): store
        }
    }

    /// The login, or why there is none.
    func requireLogin() throws(Failure) -> MailboxSession {
        guard let store else { throw .bad("Log in first") }
        return store
    }

    /// The selected mailbox, or why there is none.
    func requireSelection() throws(Failure) -> (MailboxSession, Selection) {
        switch state {
        case .selected(let store, let selection): return (store, selection)
        case .authenticated: throw .bad("No mailbox is selected")
        case .notAuthenticated: throw .bad("Log in first")
        }
    }

    /// Turns a name as the client wrote it into a name.
    func mailboxName(_ octets: [UInt8]) throws(Failure) -> MailboxName {
        // RFC 6855 §3: no modified UTF-7 then
        guard let name = writer.isUTF8 ? MailboxName(octets) : MailboxName(wire: octets) else {
            throw .no("[CANNOT] Not a valid mailbox name")
        }
        return name
    }
}
