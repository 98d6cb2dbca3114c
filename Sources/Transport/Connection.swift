// SPDX-License-Identifier: Apache-2.0
//
// One stream on one loop: TCP, TLS over TCP, or Unix. State, readiness and the end of it; reading
// is in ConnectionInput.swift, writing in ConnectionOutput.swift, TLS in ConnectionTLS.swift.

import CLinux
import Glibc

/// One accepted or connected stream on one loop. Not Sendable; never leaves its loop.
///
/// One task reads; any number of tasks of the loop may write and flush.
@safe package final class Connection: EventTarget, TimerTarget {
    /// What the reading task waits for.
    enum ReadWait {
        case nothing
        /// A line; an idle session hears of draining.
        case line
        /// Octets in the middle of something; draining does not interrupt.
        case octets
        /// IDLE: input, `wake()` or draining.
        case anything
        /// A TLS handshake: readable or writable.
        case handshake
    }

    @safe struct FlushWaiter {
        /// Resumed when so many octets of the stream have been sent.
        var target: UInt64
        var deadline: UInt64
        var continuation: UnsafeContinuation<Bool, Never>
    }

    /// Who is at the other end; after `speaks(for:)`, on whose behalf it speaks.
    package private(set) var peer: PeerAddress
    package let localPort: UInt16
    /// Name of the listener: `smtp`, `imaps`; the path for a connection that we made.
    package let listener: String
    let isAccepted: Bool
    let isUnix: Bool

    let loop: EventLoop
    var descriptor: Int32
    var tls: TLSStream?
    var compression: Compression?

    // Readiness, as the edges of epoll tell it.
    var readable = false
    var writable = true
    /// The peer will send no more, or the socket is broken: reading must go on to its end.
    var sawHangup = false
    /// A read or a handshake step waits for the socket to become writable (TLS only).
    var readNeedsWritable = false
    /// The other way round.
    var writeNeedsReadable = false

    // Reading.
    var input = InputBuffer()
    var sawEnd = false
    /// The last line, counted from the start of the block.
    var lineStart = 0
    var lineEnd = 0
    /// Octets behind `input.head` known not to hold an LF.
    var scanned = 0
    var isDiscarding = false
    var discardedCR = false
    /// Since the reading task last waited.
    var readsInARow = 0
    var octetsInARow = 0
    var linesInARow = 0
    var descriptors: [Int32] = []
    var isWoken = false
    var readWait = ReadWait.nothing
    var reader: UnsafeContinuation<Bool, Never>?
    /// What `resumeReader` was told before the reading task had suspended.
    var earlyResume: Bool?
    var readTimer: LoopTimer?

    // Writing.
    var output: [UInt8] = []
    var outputHead = 0
    /// Octets of the stream sent so far, as `flush` counts them.
    var sent: UInt64 = 0
    var attachments: [(at: UInt64, descriptor: Int32)] = []
    var isDirty = false
    /// A file is being sent: the output buffer has to wait.
    var isStreaming = false
    var flushWaiters: [FlushWaiter] = []
    var writer: UnsafeContinuation<Bool, Never>?
    var isWriterWaiting = false
    var earlyWriterResume: Bool?
    var writeTimer: LoopTimer?
    var writerTimer: LoopTimer?

    /// Set once; every later operation throws it.
    var failure: ConnectionError?

    init(
        loop: EventLoop, socket: consuming Descriptor, peer: PeerAddress, localPort: UInt16,
        listener: String, isAccepted: Bool
    ) throws(ConnectionError) {
        self.loop = loop
        self.peer = peer
        self.localPort = localPort
        self.listener = listener
        self.isAccepted = isAccepted
        isUnix = peer == .unix
        descriptor = socket.release()
        super.init()
        let events =
            martlet_epoll_in | martlet_epoll_out | martlet_epoll_rdhup | martlet_epoll_edge
        do throws(ConnectionError) {
            try loop.register(descriptor, events: events, self)
        } catch {
            _ = Glibc.close(descriptor)
            descriptor = -1
            throw error
        }
    }

    deinit { close() }

    /// Whether TLS is on.
    package var isTLS: Bool { tls != nil }

    /// `TLSv1.3`; nil without TLS.
    package var tlsDescription: String? { tls?.version }

    /// The name in the client's certificate, if one of our authorities has signed it: what AUTH
    /// EXTERNAL may use (RFC 4422 App. A). Its first rfc822Name, else emailAddress, else CN.
    package var verifiedClientName: [UInt8]? { tls?.clientName }

    /// The peer is a proxy, and this is its client (PROXY protocol, XCLIENT).
    package func speaks(for client: PeerAddress) { peer = client }

    /// The daemon is stopping and this session should end soon. Never true for connections that
    /// this process made itself.
    package var isDraining: Bool { isAccepted && loop.isDraining }

    // MARK: Readiness

    override func handle(_ events: UInt32) {
        let broken = martlet_epoll_hup | martlet_epoll_err
        if events & (martlet_epoll_in | martlet_epoll_rdhup | broken) != 0 { readable = true }
        if events & (martlet_epoll_rdhup | broken) != 0 { sawHangup = true }
        if events & (martlet_epoll_out | broken) != 0 { writable = true }
        if writeNeedsReadable, readable { writable = true }
        if readWait == .handshake || readable || (readNeedsWritable && writable) {
            resumeReader()
        }
        if writable {
            resumeWriter()
            if pendingOutput > 0 { pump() }
        }
    }

    func timerFired(_ timer: LoopTimer) {
        if timer === readTimer {
            resumeReader(timedOut: true)
        } else if timer === writerTimer {
            resumeWriter(timedOut: true)
        } else {
            resumeFlushWaiters()
        }
    }

    func resumeReader(timedOut: Bool = false) {
        guard let waiting = unsafe reader else {
            if readWait != .nothing { earlyResume = timedOut }
            return
        }
        unsafe reader = nil
        readTimer?.disarm()
        unsafe waiting.resume(returning: timedOut)
    }

    func resumeWriter(timedOut: Bool = false) {
        guard let waiting = unsafe writer else {
            if isWriterWaiting { earlyWriterResume = timedOut }
            return
        }
        unsafe writer = nil
        writerTimer?.disarm()
        unsafe waiting.resume(returning: timedOut)
    }

    /// Suspends the reading task.
    ///
    /// - Returns: true if `deadline` came first.
    func suspendReader(_ kind: ReadWait, until deadline: UInt64) async -> Bool {
        precondition(readWait == .nothing, "two tasks read one connection")
        Reactor.assertIsolated(#isolation)
        if deadline != .max {
            let timer = readTimer ?? LoopTimer()
            readTimer = timer
            loop.timers.arm(timer, at: deadline, self)
        }
        readWait = kind
        earlyResume = nil
        turnBegins()
        let timedOut = await unsafe withUnsafeContinuation {
            (continuation: UnsafeContinuation<Bool, Never>) in
            // On the way here the task may have queued behind others, and the loop have looked at
            // its sockets and timers: what it had to say then was kept, not lost.
            if let earlyResume {
                readTimer?.disarm()
                unsafe continuation.resume(returning: earlyResume)
            } else {
                unsafe reader = continuation
            }
        }
        readWait = .nothing
        return timedOut
    }

    /// Suspends a task that writes past the output buffer until the socket is writable.
    func suspendWriter(until deadline: UInt64) async -> Bool {
        precondition(unsafe writer == nil, "two tasks stream on one connection")
        if deadline != .max {
            let timer = writerTimer ?? LoopTimer()
            writerTimer = timer
            loop.timers.arm(timer, at: deadline, self)
        }
        isWriterWaiting = true
        earlyWriterResume = nil
        defer { isWriterWaiting = false }
        return await unsafe withUnsafeContinuation {
            (continuation: UnsafeContinuation<Bool, Never>) in
            // As in suspendReader.
            if let earlyWriterResume {
                writerTimer?.disarm()
                unsafe continuation.resume(returning: earlyWriterResume)
            } else {
                unsafe writer = continuation
            }
        }
    }

    /// Lets other tasks of the loop run.
    func yieldTurn() async {
        turnBegins()
        await unsafe withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            unsafe continuation.resume()
        }
    }

    private func turnBegins() {
        readsInARow = 0
        octetsInARow = 0
        linesInARow = 0
    }

    func deadline(_ within: Duration) -> UInt64 {
        MonotonicInstant.now.nanoseconds.addingClamped(within)
    }

    // MARK: Draining and the end

    /// An idle session is told; others go on.
    func drainBegins() {
        guard isAccepted else { return }
        switch readWait {
        case .anything: resumeReader()
        case .line: if input.count == 0 { resumeReader() }
        case .nothing, .octets, .handshake: break
        }
    }

    /// Makes every present and later operation fail with `.killed`.
    package func kill() { fail(.killed) }

    func fail(_ error: ConnectionError) {
        if failure == nil { failure = error }
        resumeReader()
        resumeWriter()
        resumeFlushWaiters()
    }

    /// Ends the connection at once. What `flush` has not sent is tried once more, then lost.
    package func close() {
        guard descriptor >= 0 else { return }
        if failure == nil, !isStreaming, readWait != .handshake {
            pump()
            if failure == nil { tls?.sayGoodbye() }
        }
        loop.unregister(descriptor, self)
        tls = nil
        _ = Glibc.close(descriptor)
        descriptor = -1
        for received in descriptors { _ = Glibc.close(received) }
        descriptors = []
        for attachment in attachments { _ = Glibc.close(attachment.descriptor) }
        attachments = []
        compression?.input.release(&loop.buffers)
        compression = nil
        input.release(&loop.buffers)
        output = []
        outputHead = 0
        fail(.closed)
    }

    /// Ends a served connection: what was written goes out, and unread input does not make the
    /// kernel throw the last reply away (a close with unread input sends RST).
    func finish() async {
        guard descriptor >= 0 else { return }
        do throws(ConnectionError) {
            try await flush(within: .seconds(10))
            if tls == nil, !isUnix, !sawEnd { try await linger() }
        } catch {
            // The peer is gone or too slow; nothing is owed to it any more.
        }
        close()
    }

    private func linger() async throws(ConnectionError) {
        let deadline = deadline(.seconds(2))
        input.consume(input.count)
        guard readable else { return }
        _ = shutdown(descriptor, Int32(SHUT_WR))
        var discarded = 0
        while !sawEnd, discarded < 1 << 20 {
            if readable {
                try readSome(limit: BufferPool.sizes[2])
                discarded += input.count
                input.consume(input.count)
            } else if await suspendReader(.octets, until: deadline) {
                return
            }
            if let failure { throw failure }
        }
    }
}
