// SPDX-License-Identifier: Apache-2.0
//
// One connection to one door of msgstored, shared by everything on its loop: frames with request
// ids, answers matched by a table, events handed to whoever watches. docs/wire.md.

import Bytes
import Mail
import Telemetry
import Transport
import Wire

/// Connects when first needed and again after a loss. Not Sendable; lives on one loop.
package final class StoreLink {
    /// Entries that one answer may bring in parts.
    private static let gatheredEntries = 4 << 20
    /// Octets waiting to be sent above which callers wait.
    private static let outputLimit = 4 << 20
    /// How long a caller waits for a connection at most.
    private static let connectPatience = Duration.seconds(5)
    private static let handshakeTime = Duration.seconds(10)
    private static let forever = Duration.seconds(1 << 30)

    private let context: LoopContext
    private let door: Door
    private let path: String
    private let program: String

    private var connection: Connection?
    private var isConnecting = false
    private var connectWaiters: [PendingCall] = []
    private var pending: [UInt32: PendingCall] = [:]
    private var lastID: UInt32 = 0
    private var isSweeping = false
    private var watchers: [WatchKey: () -> Void] = [:]
    private var accountWatchers: [SessionHandle: (MailboxID) -> Void] = [:]

    /// Goes up whenever the connection is lost: what belongs to an earlier one is stale.
    package private(set) var epoch: UInt64 = 0

    package init(context: LoopContext, door: Door, path: String, program: String) {
        self.context = context
        self.door = door
        self.path = path
        self.program = program
    }

    // MARK: - Calls

    /// Asks and waits for the answer.
    ///
    /// - Throws: what the store said, or `.unavailable` if there was no answer in time or the
    ///   connection was lost: then it is unknown whether a change happened.
    package func call(
        _ request: Request, within: Duration = .seconds(60)
    ) async throws(StoreFailure) -> Reply {
        let call = PendingCall(deadline: context.now.advanced(by: within))
        return try await perform(request, call)
    }

    /// As `call`, for a request that changes nothing: if the connection is lost before the answer,
    /// it is asked once more on the next one, so that a restart of the store is not noticed.
    package func ask(_ request: Request) async throws(StoreFailure) -> Reply {
        let before = epoch
        do throws(StoreFailure) {
            return try await call(request)
        } catch {
            guard error == .unavailable, epoch != before else { throw error }
            return try await call(request)
        }
    }

    /// As `call`; `call` keeps what comes with the answer (entries, a descriptor).
    func perform(_ request: Request, _ call: PendingCall) async throws(StoreFailure) -> Reply {
        let connection = try await connected(call.deadline)
        if connection.pendingOutput > Self.outputLimit {
            do {
                try await connection.flush(within: context.now.duration(to: call.deadline))
            } catch {
                throw .unavailable
            }
        }
        try start(request, call, on: connection)
        await call.finished()
        return try call.answer()
    }

    /// Sends without waiting for the answer; `call` is finished when it comes.
    /// - Throws: `.unavailable` if there is no connection now, `.limit` for a request too large.
    func post(_ request: Request, _ call: PendingCall) throws(StoreFailure) {
        guard let connection else { throw .unavailable }
        try start(request, call, on: connection)
    }

    /// Sends something whose answer nobody needs, if there is a connection.
    package func tell(_ request: Request) {
        guard connection != nil else { return }
        let call = PendingCall(deadline: context.now.advanced(by: .seconds(60)))
        do {
            try post(request, call)
        } catch {
            Log.debug("store call not sent", [LogField("reason", "\(error)")])
        }
    }

    package var now: MonotonicInstant { context.now }

    /// Whether there is a connection, or one can be made in a second.
    package func isReachable() async -> Bool {
        if connection != nil { return true }
        let limit = Duration.seconds(1)
        let waiter = PendingCall(deadline: context.now.advanced(by: limit))
        waitForConnection(waiter)
        // A handshake that gets no answer would take longer.
        context.after(limit) { [self] in
            connectWaiters.removeAll { $0 === waiter }
            waiter.finish(.failure(.unavailable))
        }
        await waiter.finished()
        return connection != nil
    }

    package func pause(_ duration: Duration) async { await context.sleep(duration) }

    private func start(
        _ request: Request, _ call: PendingCall, on connection: Connection
    ) throws(StoreFailure) {
        repeat { lastID &+= 1 } while lastID == 0 || pending[lastID] != nil
        let frame: [UInt8]
        do {
            frame = try Frame.encode(request, id: lastID)
        } catch {
            if case .authenticate = request { throw .badCredentials }
            throw .limit
        }
        pending[lastID] = call
        connection.write(frame)
        connection.flushSoon()
        sweepSoon()
    }

    // MARK: - Events

    func watch(_ session: SessionHandle, _ mailbox: MailboxID, _ handler: @escaping () -> Void) {
        watchers[WatchKey(session: session, mailbox: mailbox)] = handler
    }

    func unwatch(_ session: SessionHandle, _ mailbox: MailboxID) {
        watchers[WatchKey(session: session, mailbox: mailbox)] = nil
    }

    /// - Parameter handler: gets the mailbox that changed; 0: the list of them did, or everything.
    func watchAll(_ session: SessionHandle, _ handler: @escaping (MailboxID) -> Void) {
        accountWatchers[session] = handler
    }

    func unwatchAll(_ session: SessionHandle) { accountWatchers[session] = nil }

    // MARK: - Deadlines

    /// One timer for all calls, a quarter of a second coarse: a call costs no timer of its own.
    private func sweepSoon() {
        guard !isSweeping else { return }
        isSweeping = true
        context.spawn { await self.sweep() }
    }

    private func sweep() async {
        while !pending.isEmpty {
            await context.sleep(.milliseconds(250))
            expire()
        }
        isSweeping = false
    }

    private func expire() {
        let now = context.now
        for (id, call) in pending where call.deadline <= now {
            // The answer may still come: the id stays taken until then, its content is dropped.
            pending[id] = PendingCall(deadline: MonotonicInstant(nanoseconds: .max))
            call.finish(.failure(.unavailable))
            Log.warn("store call timed out", [LogField("reason", door.socketName)])
        }
        if pending.values.allSatisfy({ $0.deadline.nanoseconds == .max }), !pending.isEmpty,
            pending.count > WireLimit.requestsInFlight
        {
            connection?.close()  // the store has stopped answering; a new connection starts afresh
        }
    }

    // MARK: - Connecting

    private func connected(_ deadline: MonotonicInstant) async throws(StoreFailure) -> Connection {
        if let connection { return connection }
        let patience = context.now.advanced(by: Self.connectPatience)
        let waiter = PendingCall(deadline: min(deadline, patience))
        waitForConnection(waiter)
        await waiter.finished()
        guard let connection else { throw .unavailable }
        return connection
    }

    private func waitForConnection(_ waiter: PendingCall) {
        connectWaiters.append(waiter)
        guard !isConnecting else { return }
        isConnecting = true
        context.spawn { await self.connect() }
    }

    /// Tries until it is connected or nobody waits any more.
    private func connect() async {
        var pause = Duration.milliseconds(50)
        var reason = ""
        while !connectWaiters.isEmpty {
            do {
                let connection = try await context.connect(unix: path)
                try await shakeHands(connection)
                self.connection = connection
                isConnecting = false
                if !reason.isEmpty { Log.info("store is back", [LogField("reason", path)]) }
                release(connectWaiters)
                context.spawn { await self.receive(connection) }
                return
            } catch {
                if reason.isEmpty {
                    Log.warn(
                        "store unreachable", [LogField("reason", "\(path): \(error)")])
                }
                reason = "\(error)"
            }
            await context.sleep(pause)
            pause = min(pause * 2, .seconds(2))
            let now = context.now
            let late = connectWaiters.filter { $0.deadline <= now }
            connectWaiters.removeAll { $0.deadline <= now }
            for waiter in late { waiter.finish(.failure(.unavailable)) }
        }
        isConnecting = false
    }

    private func release(_ waiters: [PendingCall]) {
        connectWaiters = []
        for waiter in waiters { waiter.finish(.done) }
    }

    private func shakeHands(_ connection: Connection) async throws(LinkError) {
        do {
            let hello = Hello(door: door, program: Array(program))
            connection.write(try Frame.encode(hello))
            connection.flushSoon()
            guard let header = try await nextHeader(connection, within: Self.handshakeTime) else {
                throw LinkError.wire(.truncated)
            }
            guard header.kind == .hello else { throw LinkError.wire(.invalid("hello")) }
            let octets = try await connection.readExactly(
                header.payloadCount, within: Self.handshakeTime)
            var decoder = Decoder(octets)
            let answer = try Hello(from: &decoder)
            try decoder.finish()
            guard answer.door == door else { throw LinkError.wire(.invalid("door")) }
        } catch let error as LinkError {
            connection.close()
            throw error
        } catch let error as WireError {
            connection.close()
            throw .wire(error)
        } catch let error as ConnectionError {
            connection.close()
            throw .connection(error)
        } catch {
            connection.close()
            throw .connection(.closed)
        }
    }

    // MARK: - Receiving

    private func nextHeader(
        _ connection: Connection, within: Duration
    ) async throws -> FrameHeader? {
        while true {
            let header = try connection.withInput { input throws(WireError) in
                try FrameHeader.peek(input)
            }
            if let header {
                connection.consume(FrameHeader.octets)
                return header
            }
            guard try await connection.fill(within: within) else { return nil }
        }
    }

    private func receive(_ connection: Connection) async {
        var reason = "closed by the store"
        do {
            while let header = try await nextHeader(connection, within: Self.forever) {
                let payload =
                    header.payloadCount == 0
                    ? []
                    : try await connection.readExactly(header.payloadCount, within: .seconds(60))
                var descriptor: Descriptor?
                if header.hasDescriptor {
                    guard let taken = connection.takeDescriptor() else {
                        throw WireError.invalid("missing descriptor")
                    }
                    descriptor = .some(taken)
                }
                try handle(header, payload, descriptor)
            }
        } catch {
            reason = "\(error)"
        }
        lose(connection, reason)
    }

    private func handle(
        _ header: FrameHeader, _ payload: [UInt8], _ descriptor: consuming Descriptor?
    ) throws(WireError) {
        switch header.kind {
        case .event:
            guard let code = EventCode(rawValue: header.opcode) else {
                throw .unknownOpcode(header.opcode)
            }
            var decoder = Decoder(payload)
            switch try Event(code, from: &decoder) {
            case .changed(let session, let mailbox, _):
                watchers[WatchKey(session: session, mailbox: mailbox)]?()
                accountWatchers[session]?(mailbox)
            }
        case .part, .reply:
            guard let code = ReplyCode(rawValue: header.opcode) else {
                throw .unknownOpcode(header.opcode)
            }
            guard let call = pending[header.request] else { throw .invalid("request id") }
            if code == .fragment {
                guard header.kind == .part,
                    call.fragments.count + payload.count <= WireLimit.fragmentedReply
                else { throw .oversized }
                call.fragments += payload
                return
            }
            let whole = call.fragments.isEmpty ? payload : call.fragments + payload
            var decoder = Decoder(whole)
            let reply = try Reply(code, from: &decoder)
            let hasDescriptor = descriptor != nil
            guard reply.carriesDescriptor == hasDescriptor else { throw .invalid("descriptor") }
            if header.kind == .part {
                try part(reply, call, descriptor)
                return
            }
            pending[header.request] = nil
            call.descriptor = descriptor
            call.finish(reply)
        case .hello, .request:
            throw .invalid("frame kind")
        }
    }

    private func part(
        _ reply: Reply, _ call: PendingCall, _ descriptor: consuming Descriptor?
    ) throws(WireError) {
        switch reply {
        case .entries(let entries):
            guard call.entries.count + entries.count <= Self.gatheredEntries else {
                throw .oversized
            }
            if call.entries.isEmpty { call.entries = entries } else { call.entries += entries }
        case .found(let uids):
            guard call.found.count + uids.count <= WireLimit.replyUIDs else { throw .oversized }
            call.found += uids
            // The store is at work: it says so every few seconds.
            call.deadline = max(call.deadline, context.now.advanced(by: .seconds(60)))
        case .message(let uid, let size, let inline):
            call.reader?.received(uid: uid, size: size, inline: inline, descriptor)
        case .summaries(let rows): call.summaries?.received(rows, of: call)
        default:
            throw .invalid("part")
        }
    }

    /// Everything that waits fails; every watcher is told, so that it asks and learns it is stale.
    private func lose(_ connection: Connection, _ reason: String) {
        connection.close()
        guard self.connection === connection else { return }
        self.connection = nil
        epoch += 1
        Log.warn(
            "store connection lost",
            [LogField("reason", reason), LogField("listener", door.socketName)])
        let calls = pending
        pending = [:]
        let told = watchers
        watchers = [:]
        for call in calls.values { call.finish(.failure(.unavailable)) }
        for handler in told.values { handler() }
        let all = accountWatchers
        accountWatchers = [:]
        for handler in all.values { handler(MailboxID(rawValue: 0)) }
    }
}

private struct WatchKey: Hashable {
    var session: SessionHandle
    var mailbox: MailboxID
}

private enum LinkError: Error {
    case wire(WireError)
    case connection(ConnectionError)
}
