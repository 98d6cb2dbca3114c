// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets, bound here or passed by systemd, and the accepting of connections. One socket
// is in the epoll set of every loop (EPOLLEXCLUSIVE): the kernel wakes one of them.

import CLinux
import Glibc
import Telemetry

/// One listening socket, shared by all loops; closed when the last one lets go.
package final class ListenerSocket: Sendable {
    package let name: String
    package let localPort: UInt16
    package let isUnix: Bool
    let descriptor: Int32

    /// Takes over a socket that is already listening.
    package init(
        adopting socket: consuming Descriptor, name: String
    ) throws(ConnectionError) {
        self.name = name
        descriptor = socket.release()
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let number = descriptor
        let result = unsafe withUnsafeMutablePointer(to: &address) { address in
            unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe getsockname(number, address, &length)
            }
        }
        isUnix = address.ss_family == sa_family_t(AF_UNIX)
        localPort = PeerAddress(address).port
        guard result == 0, fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK) == 0 else {
            throw .system(errno)
        }
        _ = fcntl(number, F_SETFD, FD_CLOEXEC)
    }

    deinit { _ = close(descriptor) }

    /// Lets a socket of this process that is bound as successor have an address in common with this
    /// one. Never at the first bind: a second daemon started by mistake must fail.
    package func allowSuccessor() {
        var yes: Int32 = 1
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_REUSEPORT, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Listens on every address that `host` means; an empty host is IPv6 and IPv4 at once.
    ///
    /// - Parameter isSuccessor: another socket of this process may have the port; it was told with
    ///   `allowSuccessor`.
    package static func bind(
        host: String, port: UInt16, name: String, isSuccessor: Bool = false
    ) throws(ConnectionError) -> [ListenerSocket] {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        unsafe hints.ai_socktype = martlet_sock_stream
        var list: UnsafeMutablePointer<addrinfo>?
        let wanted = host.isEmpty ? "::" : host
        let found = unsafe getaddrinfo(wanted, String(port), &hints, &list)
        guard found == 0, unsafe list != nil else { throw .system(EADDRNOTAVAIL) }
        defer { unsafe freeaddrinfo(list) }
        var sockets: [ListenerSocket] = []
        var isUnavailable = false
        var next = unsafe list
        while let info = unsafe next, sockets.count < 8 {
            do throws(ConnectionError) {
                sockets.append(
                    try unsafe bind(
                        info.pointee, name: name, isAnyAddress: host.isEmpty,
                        isSuccessor: isSuccessor))
            } catch {
                // A family that this machine lacks is no reason to refuse the other one.
                guard error == .system(EAFNOSUPPORT) || error == .system(EADDRNOTAVAIL) else {
                    throw error
                }
                isUnavailable = true
            }
            unsafe next = info.pointee.ai_next
        }
        if sockets.isEmpty, host.isEmpty, isUnavailable {
            // a machine without IPv6
            return try bind(host: "0.0.0.0", port: port, name: name, isSuccessor: isSuccessor)
        }
        guard !sockets.isEmpty else { throw .system(EADDRNOTAVAIL) }
        return sockets
    }

    private static func bind(
        _ info: addrinfo, name: String, isAnyAddress: Bool, isSuccessor: Bool
    ) throws(ConnectionError) -> ListenerSocket {
        let socket = Descriptor(
            unsafe socket(
                info.ai_family, martlet_sock_stream | martlet_sock_nonblock | martlet_sock_cloexec,
                0))
        guard socket.rawValue >= 0 else { throw .system(errno) }
        var yes: Int32 = 1
        var onlySix: Int32 = isAnyAddress ? 0 : 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        _ = unsafe setsockopt(socket.rawValue, SOL_SOCKET, SO_REUSEADDR, &yes, size)
        if isSuccessor {
            _ = unsafe setsockopt(socket.rawValue, SOL_SOCKET, SO_REUSEPORT, &yes, size)
        }
        if unsafe info.ai_family == AF_INET6 {
            _ = unsafe setsockopt(
                socket.rawValue, martlet_ipproto_ipv6, IPV6_V6ONLY, &onlySix, size)
        }
        guard unsafe Glibc.bind(socket.rawValue, info.ai_addr, info.ai_addrlen) == 0,
            Glibc.listen(socket.rawValue, 4096) == 0
        else { throw .system(errno) }
        return try ListenerSocket(adopting: socket, name: name)
    }

    /// Listens on a Unix socket. A stale one, on which nobody accepts, is replaced.
    package static func bind(
        unix path: String, mode: UInt32 = 0o660, name: String
    ) throws(ConnectionError) -> ListenerSocket {
        let socket = Descriptor(
            socket(
                AF_UNIX, martlet_sock_stream | martlet_sock_nonblock | martlet_sock_cloexec, 0))
        guard socket.rawValue >= 0 else { throw .system(errno) }
        var address = sockaddr_un()
        let length = unsafe martlet_unix_address(&address, path)
        guard length > 0 else { throw .system(ENAMETOOLONG) }
        let number = socket.rawValue
        typealias Call = (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
        let call = { (address: inout sockaddr_un, function: Call) in
            unsafe withUnsafePointer(to: &address) { address in
                unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    unsafe function(number, address, length)
                }
            }
        }
        if unsafe call(&address, { unsafe Glibc.connect($0, $1, $2) }) == 0 {
            throw .system(EADDRINUSE)
        }
        if errno == ECONNREFUSED { _ = unsafe unlink(path) }
        // Nobody may connect between bind and chmod. Linux makes the file with the socket's own
        // mode; umask(2) would do too, but for all threads of the process.
        guard fchmod(number, 0) == 0,
            unsafe call(&address, { unsafe Glibc.bind($0, $1, $2) }) == 0
        else { throw .system(errno) }
        guard unsafe chmod(path, mode) == 0, Glibc.listen(number, 4096) == 0 else {
            throw .system(errno)
        }
        return try ListenerSocket(adopting: socket, name: name)
    }
}

/// Accepts from one socket on one loop.
final class Acceptor: EventTarget, TimerTarget {
    /// Connections accepted in one go before other loops and sessions get a chance.
    private static let batch = 16

    let socket: ListenerSocket
    let survivesDraining: Bool
    private let loop: EventLoop
    private let serve: (Connection) async -> Void
    private let timer = LoopTimer()
    /// A log line for every pause would be ten a second.
    private var quietUntil: UInt64 = 0

    init(
        _ loop: EventLoop, _ socket: ListenerSocket, survivesDraining: Bool,
        serve: @escaping (Connection) async -> Void
    ) throws(ConnectionError) {
        self.loop = loop
        self.socket = socket
        self.survivesDraining = survivesDraining
        self.serve = serve
        super.init()
        try resume()
    }

    private func resume() throws(ConnectionError) {
        try loop.register(
            socket.descriptor, events: martlet_epoll_in | martlet_epoll_exclusive, self)
    }

    func close() {
        timer.disarm()
        loop.unregister(socket.descriptor, self)
    }

    /// Takes what waits in the queue of a socket that is going to close: these clients are
    /// connected already.
    func acceptLast() {
        for _ in 0..<256 { if !acceptOne() { return } }
    }

    func timerFired(_ timer: LoopTimer) {
        do throws(ConnectionError) {
            try resume()
        } catch {
            pause(error)
        }
    }

    /// Out of descriptors or memory: a level-triggered socket would make the loop spin.
    private func pause(_ error: ConnectionError) {
        loop.unregister(socket.descriptor, self)
        let now = MonotonicInstant.now.nanoseconds
        if now > quietUntil {
            quietUntil = now + 5_000_000_000
            Log.warn(
                "cannot accept, pausing",
                [LogField("listener", socket.name), LogField("reason", "\(error)")])
        }
        loop.timers.arm(timer, at: now + 100_000_000, self)
    }

    override func handle(_ events: UInt32) {
        for _ in 0..<Self.batch { if !acceptOne() { return } }
    }

    /// - Returns: false if there is nobody, or no room.
    private func acceptOne() -> Bool {
        while true {
            var address = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let number = unsafe withUnsafeMutablePointer(to: &address) { address in
                unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    unsafe accept4(
                        socket.descriptor, address, &length,
                        martlet_sock_nonblock | martlet_sock_cloexec)
                }
            }
            guard number >= 0 else {
                switch errno {
                case EAGAIN: return false
                case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                    if slot >= 0 { pause(.system(errno)) }
                    return false
                default: continue  // the connection died in the queue, accept(2)
                }
            }
            start(Descriptor(number), address)
            return true
        }
    }

    private func start(_ accepted: consuming Descriptor, _ address: sockaddr_storage) {
        if !socket.isUnix {
            var yes: Int32 = 1
            _ = unsafe setsockopt(
                accepted.rawValue, martlet_ipproto_tcp, TCP_NODELAY, &yes,
                socklen_t(MemoryLayout<Int32>.size))
        }
        let connection: Connection
        do throws(ConnectionError) {
            connection = try Connection(
                loop: loop, socket: accepted, peer: socket.isUnix ? .unix : PeerAddress(address),
                localPort: socket.localPort, listener: socket.name, isAccepted: !survivesDraining)
        } catch {
            Log.error(
                "cannot watch a connection",
                [LogField("listener", socket.name), LogField("reason", "\(error)")])
            return
        }
        let counted = survivesDraining ? 0 : 1
        loop.serving += counted
        let serve = serve
        let loop = loop
        loop.spawn {
            await serve(connection)
            await connection.finish()
            loop.connectionEnded(counted)
        }
    }
}
