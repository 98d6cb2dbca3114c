// SPDX-License-Identifier: Apache-2.0
//
// What tasks see of their loop. One actor per loop, so that the compiler proves that sessions and
// all they share stay on it; `LoopContext` is that loop's clock, timers, threads and sockets.

import CLinux
import Glibc
import Mail
import Synchronization

/// The isolation of everything on one loop.
actor Reactor {
    private let loop: EventLoop

    init(_ loop: EventLoop) { self.loop = loop }

    nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe loop.asUnownedSerialExecutor() }

    /// Stops a debug build when a task of a loop has lost the loop's isolation: it still runs on
    /// the loop, but each of its suspensions takes a turn of the queue, and events that come in
    /// between find nobody waiting. Swift 6.3 does that to closures with a capture list: write
    /// `spawn { await self.work() }`, never `spawn { [self] in await work() }`.
    static func assertIsolated(_ isolation: (any Actor)?) {
        assert(isolation is Reactor, "an async closure with a capture list runs here")
    }

    /// Runs a session; returns when it has ended.
    func run(_ body: Confined<() async -> Void>) async { await body.value() }
}

/// Carries a value from one place on a loop to another place on the same loop.
struct Confined<Value>: @unchecked Sendable {  // safe: made and used on the same loop only
    let value: Value
}

/// What a server is given on each loop. Not Sendable: it stays there.
package final class LoopContext {
    let loop: EventLoop
    /// Threads for blocking work, shared by all loops.
    package let workers: Workers
    /// Whatever the owner of the loop wants to find again on it.
    package var attachment: AnyObject?

    init(loop: EventLoop, workers: Workers) {
        self.loop = loop
        self.workers = workers
    }

    /// CLOCK_MONOTONIC.
    package var now: MonotonicInstant { .now }

    /// Whether the daemon is stopping.
    package var isDraining: Bool { loop.isDraining }

    /// Milliseconds since 1970.
    package func wallMilliseconds() -> UInt64 {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
    }

    private static let traceSequence = Atomic(UInt64.random(in: 0 ... .max))

    /// A new id for a session or a message.
    package func nextTraceID() -> TraceID {
        // Counting up from a random start keeps ids of one millisecond apart.
        let next = Self.traceSequence.wrappingAdd(1, ordering: .relaxed).newValue
        return TraceID(milliseconds: wallMilliseconds(), random: next)
    }

    /// Waits.
    package func sleep(_ duration: Duration) async {
        let deadline = MonotonicInstant.now.nanoseconds.addingClamped(duration)
        let timer = LoopTimer()
        await unsafe withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            loop.timers.arm(
                timer, at: deadline, TimerClosure { unsafe continuation.resume() })
        }
    }

    /// Starts another task on this loop.
    package func spawn(_ body: @escaping () async -> Void) { loop.spawn(body) }

    /// Calls `body` on the loop after `duration`, outside of any task.
    package func after(_ duration: Duration, _ body: @escaping () -> Void) {
        let deadline = MonotonicInstant.now.nanoseconds.addingClamped(duration)
        loop.timers.arm(LoopTimer(), at: deadline, TimerClosure(body))
    }

    /// Connects to a Unix socket. The caller closes the connection.
    package func connect(unix path: String) async throws(ConnectionError) -> Connection {
        var attempts = 0
        while true {
            let socket = Descriptor(
                socket(
                    AF_UNIX, martlet_sock_stream | martlet_sock_nonblock | martlet_sock_cloexec, 0))
            guard socket.rawValue >= 0 else { throw .system(errno) }
            var address = sockaddr_un()
            let length = unsafe martlet_unix_address(&address, path)
            guard length > 0 else { throw .system(ENAMETOOLONG) }
            let result = unsafe withUnsafePointer(to: &address) { address in
                unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    unsafe Glibc.connect(socket.rawValue, address, length)
                }
            }
            if result == 0 { return try adopt(socket, listener: path) }
            let error = errno
            attempts += 1
            // EAGAIN: the other side's backlog is full, and Unix sockets cannot wait for it.
            guard error == EAGAIN, attempts < 20 else { throw .system(error) }
            await sleep(.milliseconds(10 * attempts))
        }
    }

    /// Makes a connection out of a connected socket (a Unix one, or TCP). The caller closes it.
    package func adopt(
        _ socket: consuming Descriptor, listener: String
    ) throws(ConnectionError) -> Connection {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let number = socket.rawValue
        let result = unsafe withUnsafeMutablePointer(to: &address) { address in
            unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe getpeername(number, address, &length)
            }
        }
        guard result == 0 else { throw .system(errno) }
        _ = fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK)
        return try Connection(
            loop: loop, socket: socket, peer: PeerAddress(address), localPort: 0,
            listener: listener, isAccepted: false)
    }

    /// Accepts connections from `socket` on this loop; each is served by a task of its own, and
    /// closed when `serve` returns.
    ///
    /// - Parameter survivesDraining: goes on accepting when the daemon stops.
    package func listen(
        on socket: ListenerSocket, survivesDraining: Bool = false,
        serve: @escaping (Connection) async -> Void
    ) throws(ConnectionError) {
        loop.add(
            try Acceptor(loop, socket, survivesDraining: survivesDraining, serve: serve))
    }

    /// Accepts no more, tells idle sessions, and calls `done` on the loop when the last is gone.
    package func drain(_ done: @escaping () -> Void) {
        loop.whenDrained = done
        loop.beginDraining()
    }

    /// Ends every accepted connection: what their tasks wait for throws `.killed`.
    package func killConnections() { loop.killConnections() }

    /// Stops accepting from `socket` on this loop.
    package func stopListening(on socket: ListenerSocket) {
        loop.retire(socket)
    }
}

extension LoopContext {
    /// Calls `body` on the loop, outside of any task, whenever `descriptor` is readable, as long as
    /// the loop lives. `body` must read what is there.
    package func watch(
        _ descriptor: consuming Descriptor, _ body: @escaping (borrowing Descriptor) -> Void
    ) throws(ConnectionError) {
        let number = descriptor.rawValue
        let watcher = Watcher(descriptor, body)
        try loop.register(number, events: martlet_epoll_in, watcher)
        loop.watchers.append(watcher)
    }
}

/// A descriptor that is not a stream, such as a signalfd.
final class Watcher: EventTarget {
    private let descriptor: Descriptor
    private let body: (borrowing Descriptor) -> Void

    init(_ descriptor: consuming Descriptor, _ body: @escaping (borrowing Descriptor) -> Void) {
        self.descriptor = descriptor
        self.body = body
    }

    override func handle(_ events: UInt32) { body(descriptor) }
}

extension PeerAddress {
    init(_ address: sockaddr_storage) {
        var address = address
        var port: UInt16 = 0
        var isLoopback: Int32 = 0
        var family: Int32 = 0
        let octets = unsafe [CChar](unsafeUninitializedCapacity: 64) { room, count in
            family = unsafe martlet_address_text(
                &address, room.baseAddress, room.count, &port, &isLoopback)
            count = unsafe room.firstIndex(of: 0) ?? 0
        }
        if family == AF_INET || family == AF_INET6 {
            let text = String(decoding: octets.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            self.init(text: text, port: port, isLoopback: isLoopback != 0)
        } else {
            self = .unix
        }
    }
}
