// SPDX-License-Identifier: Apache-2.0
//
// One front daemon's connection to one door: frames in, answers and events out. Anything that is
// not a frame this door understands ends the connection, and only it. docs/wire.md.

import Bytes
import Mail
import Store
import Telemetry
import Transport
import Wire

/// A login on this connection.
final class Session {
    let handle: SessionHandle
    let account: AccountRef
    var open: [MailboxID: OpenMode] = [:]
    /// Held while INBOX is open as a maildrop.
    var maildrop: Lease?

    init(handle: SessionHandle, account: AccountRef) {
        self.handle = handle
        self.account = account
    }
}

/// Reads requests in order, answers them as they are done. Lives on one loop.
final class DoorConnection {
    private static let helloTime = Duration.seconds(10)
    private static let payloadTime = Duration.seconds(60)
    private static let forever = Duration.seconds(1 << 30)
    /// Octets of unsent answers above which no further request is read.
    private static let outputLimit = 4 << 20
    /// A front daemon that takes nothing for so long has hung.
    private static let outputTime = Duration.seconds(120)

    let number: UInt64
    let door: Door
    let connection: Connection
    let context: LoopContext
    let core: StoreCore
    let inbox: LoopInbox
    var sessions: [SessionHandle: Session] = [:]
    var staged: [StageToken: StagedFile] = [:]
    /// Accounts of which a snapshot is being read here.
    var held: Set<EmailAddress> = []

    private var program: [UInt8] = []
    private var lastRequest: UInt32 = 0
    private var inFlight = 0
    private let idle: Gate
    private var isOver = false

    init(
        number: UInt64, door: Door, connection: Connection, context: LoopContext, core: StoreCore,
        inbox: LoopInbox
    ) {
        self.number = number
        self.door = door
        self.connection = connection
        self.context = context
        self.core = core
        self.inbox = inbox
        idle = Gate()
    }

    /// Serves until the peer closes, misbehaves or the daemon stops; then all that was asked is
    /// finished and all that the peer held is released.
    func run() async {
        do {
            try await receiveHello()
            while let (header, code) = try await nextRequest() {
                let payload =
                    header.payloadCount == 0
                    ? []
                    : try await connection.readExactly(
                        header.payloadCount, within: Self.payloadTime)
                var decoder = Decoder(payload)
                start(try Request(code, from: &decoder), header.request)
                try await makeRoom()
            }
        } catch {
            refuse(error)
        }
        isOver = true
        while inFlight > 0 { await idle.wait() }
        release()
        await releaseHolds()
    }

    private func refuse(_ error: any Error) {
        var reason = "\(error)"
        switch error {
        case ConnectionError.closed:
            Log.debug("door closed", [LogField("listener", door.passedName)])
            return
        case let wire as WireError:
            reason = wire.reason
            core.metrics.refusedFrames.increment([door.passedName])
        default: break
        }
        Log.warn(
            "door connection closed",
            [
                LogField("listener", door.passedName), LogField("peer", program),
                LogField("reason", reason),
            ])
        connection.close()
    }

    // MARK: - Reading

    /// Nil when the peer has closed or the daemon stops, between two frames.
    private func nextHeader(_ patience: Duration) async throws -> FrameHeader? {
        while true {
            let header = try connection.withInput { input throws(WireError) in
                try FrameHeader.peek(input)
            }
            if let header {
                connection.consume(FrameHeader.octets)
                return header
            }
            if connection.buffered == 0 {
                switch await connection.wait(within: patience) {
                case .input, .woken: break
                case .closed, .draining: return nil
                case .timedOut: throw ConnectionError.timedOut
                }
            } else {
                guard try await connection.fill(within: Self.payloadTime) else {
                    throw WireError.truncated
                }
            }
        }
    }

    private func receiveHello() async throws {
        guard let header = try await nextHeader(Self.helloTime) else { return }
        guard header.kind == .hello, header.opcode == 0, header.request == 0,
            !header.hasDescriptor
        else { throw WireError.invalid("hello") }
        var decoder = Decoder(
            try await connection.readExactly(header.payloadCount, within: Self.helloTime))
        let hello = try Hello(from: &decoder)
        try decoder.finish()
        guard hello.door == door else { throw WireError.invalid("door") }
        program = hello.program
        connection.write(try Frame.encode(Hello(door: door, program: Array("msgstored"))))
        connection.flushSoon()
    }

    private func nextRequest() async throws -> (FrameHeader, RequestCode)? {
        guard let header = try await nextHeader(Self.forever) else { return nil }
        guard header.kind == .request else { throw WireError.invalid("frame kind") }
        guard !header.hasDescriptor else { throw WireError.invalid("descriptor") }
        guard let code = RequestCode(rawValue: header.opcode) else {
            throw WireError.unknownOpcode(header.opcode)
        }
        guard door.allows(code) else { throw WireError.invalid("request for this door") }
        // Ids go up, so that an id is never in use twice; past the end they start again.
        guard header.request != 0, Int32(bitPattern: header.request &- lastRequest) > 0 else {
            throw WireError.invalid("request id")
        }
        lastRequest = header.request
        return (header, code)
    }

    /// Waits until the peer may send more.
    private func makeRoom() async throws {
        while inFlight >= WireLimit.requestsInFlight { await idle.wait() }
        try await outputRoom()
    }

    /// Waits while the peer does not take what it asked for.
    func outputRoom() async throws(ConnectionError) {
        if connection.pendingOutput > Self.outputLimit {
            try await connection.flush(within: Self.outputTime)
        }
    }

    // MARK: - Answering

    private func start(_ request: Request, _ id: UInt32) {
        inFlight += 1
        core.requestStarted()
        context.spawn { await self.answer(request, id) }
    }

    private func answer(_ request: Request, _ id: UInt32) async {
        let start = context.now
        do throws(StoreFailure) {
            if let reply = try await perform(request, id) { send(reply, id) }
        } catch {
            send(.failure(error), id)
        }
        core.metrics.requests.observe(start.duration(to: context.now), [request.code.name])
        inFlight -= 1
        core.requestEnded()
        idle.open()
    }

    /// Queues an answer; it leaves at the end of this turn of the loop.
    func send(_ reply: Reply, _ id: UInt32, kind: FrameKind = .reply) {
        do throws(WireError) {
            connection.write(try Frame.encode(reply, kind: kind, id: id))
            connection.flushSoon()
        } catch {
            // Larger than the limits, so the other side would refuse it.
            Log.error("answer too large", [LogField("reason", error.reason)])
            if kind == .reply { send(.failure(.limit), id) }
        }
    }

    func send(_ reply: Reply, _ id: UInt32, kind: FrameKind, attaching file: consuming Descriptor) {
        do throws(WireError) {
            connection.write(try Frame.encode(reply, kind: kind, id: id), attaching: file)
            connection.flushSoon()
        } catch {
            Log.error("answer too large", [LogField("reason", error.reason)])
        }
    }

    /// One `.changed` event, if the session still has the mailbox open.
    func notify(_ notice: Notice, _ highestModSeq: UInt64) {
        guard !isOver, let session = sessions[notice.session],
            session.open[notice.mailbox] != nil || session.open[.all] != nil
        else { return }
        do throws(WireError) {
            connection.write(
                try Frame.encode(
                    Event.changed(notice.session, notice.mailbox, highestModSeq: highestModSeq)))
            connection.flushSoon()
        } catch {
            Log.error("event too large", [LogField("reason", error.reason)])
        }
    }

    // MARK: - Sessions

    func makeSession(_ account: AccountRef) throws(StoreFailure) -> Session {
        guard sessions.count < WireLimit.sessions else { throw .limit }
        var handle = SessionHandle(rawValue: .random(in: 1 ... .max))
        while sessions[handle] != nil {
            handle = SessionHandle(rawValue: .random(in: 1 ... .max))
        }
        let session = Session(handle: handle, account: account)
        sessions[handle] = session
        core.metrics.sessions.add(1)
        return session
    }

    func session(_ handle: SessionHandle) throws(StoreFailure) -> Session {
        guard let session = sessions[handle] else { throw .staleHandle }
        // The owner's tools still reach an account that nobody may log in to.
        if door != .control, core.addresses.isBlocked(session.account.address) {
            throw .staleHandle
        }
        return session
    }

    func watcher(_ session: Session) -> Watcher {
        Watcher(inbox: inbox, connection: number, session: session.handle)
    }

    func closeMailbox(_ mailbox: MailboxID, of session: Session) {
        guard let mode = session.open.removeValue(forKey: mailbox) else { return }
        core.watchers.remove(watcher(session), session.account.address, mailbox)
        if mode == .maildrop, let lease = session.maildrop {
            session.maildrop = nil
            core.leases.release(lease)
        }
    }

    func end(_ session: Session) {
        for mailbox in Array(session.open.keys) { closeMailbox(mailbox, of: session) }
        if sessions.removeValue(forKey: session.handle) != nil { core.metrics.sessions.add(-1) }
    }

    private func release() {
        for session in Array(sessions.values) { end(session) }
        staged = [:]
    }
}

extension WireError {
    /// For logs: without any of the peer's octets.
    var reason: String {
        switch self {
        case .truncated: "truncated frame"
        case .oversized: "oversized frame"
        case .invalid(let what): "bad \(what)"
        case .unknownOpcode(let code): "unknown opcode \(code)"
        case .trailingOctets(let count): "\(count) octets behind the payload"
        }
    }
}

/// Where one task waits until another on the same loop opens it.
final class Gate {
    private var waiter: CheckedContinuation<Void, Never>?

    func wait() async { await withCheckedContinuation { waiter = $0 } }

    func open() {
        guard let waiting = waiter else { return }
        waiter = nil
        waiting.resume()
    }
}
