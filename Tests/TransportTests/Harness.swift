// SPDX-License-Identifier: Apache-2.0
//
// A server on one loop of its own, and blocking clients with a time limit.

import CLinux
import Glibc
import Synchronization
import Testing
import Transport

/// Serves every connection with one function, on a fresh loop.
final class TestServer: Sendable {
    static let workers = Workers(count: 2, name: "test-worker")

    let thread: LoopThread
    let socket: ListenerSocket
    let path: String?

    /// - Parameter path: a Unix socket instead of TCP on 127.0.0.1.
    init(
        path: String? = nil,
        serve: @escaping @Sendable (Connection, LoopContext) async -> Void
    ) throws {
        self.path = path
        if let path {
            socket = try ListenerSocket.bind(unix: path, name: "test")
        } else {
            socket = try #require(
                try ListenerSocket.bind(host: "127.0.0.1", port: 0, name: "test").first)
        }
        let socket = socket
        thread = try LoopThread(name: "test-loop", workers: Self.workers) { context in
            do throws(ConnectionError) {
                try context.listen(on: socket) { connection in await serve(connection, context) }
            } catch {
                fatalError("listen: \(error)")
            }
        }
    }

    deinit { thread.stop() }

    func connect() throws -> Client {
        if let path { return try Client(path: path) }
        return try Client(port: socket.localPort)
    }
}

/// A blocking client; every call gives up after five seconds.
final class Client {
    let descriptor: Int32

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, martlet_sock_stream, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        setTimeout()
    }

    init(path: String) throws {
        descriptor = socket(AF_UNIX, martlet_sock_stream, 0)
        var address = sockaddr_un()
        let length = martlet_unix_address(&address, path)
        let result = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, length)
            }
        }
        try #require(result == 0)
        setTimeout()
    }

    deinit { close(descriptor) }

    private func setTimeout() {
        var time = timeval(tv_sec: 5, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
    }

    func send(_ text: String) { send([UInt8](text.utf8)) }

    func send(_ octets: [UInt8]) {
        var done = 0
        while done < octets.count {
            let count = octets.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress?.advanced(by: done), octets.count - done,
                    martlet_msg_nosignal)
            }
            guard count > 0 else { return }
            done += count
        }
    }

    /// Sends each octet in its own packet, with a moment between.
    func sendSlowly(_ text: String) {
        for octet in text.utf8 {
            send([octet])
            usleep(300)
        }
    }

    /// Up to `count` octets; fewer at the end or after five seconds.
    func receive(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65_536)
        while result.count < count {
            let got = recv(descriptor, &room, min(room.count, count - result.count), 0)
            guard got > 0 else { break }
            result.append(contentsOf: room[0..<got])
        }
        return result
    }

    /// One line with its LF.
    func line() -> String {
        var result: [UInt8] = []
        while result.last != 0x0A {
            let next = receive(1)
            guard !next.isEmpty else { break }
            result += next
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Everything until the server closes.
    func rest() -> String { String(decoding: receive(.max), as: UTF8.self) }

    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }
}

/// Collects values from loops.
final class Recorder<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])

    func add(_ value: Value) { values.withLock { $0.append(value) } }
    var all: [Value] { values.withLock { $0 } }

    /// Waits until `count` values are there, at most five seconds.
    func wait(_ count: Int) -> [Value] {
        for _ in 0..<5000 {
            let now = all
            if now.count >= count { return now }
            usleep(1000)
        }
        return all
    }
}

/// A file or directory name that nobody else has.
func temporaryPath(_ name: String) -> String {
    "/tmp/martlet-test-\(getpid())-\(UInt32.random(in: 0 ... .max))-\(name)"
}
