// SPDX-License-Identifier: Apache-2.0
//
// A client that blocks, and an agent that remembers.

import CLinux
import Glibc
import MartletSMTP
import Synchronization
import Testing

/// A connection; every read gives up after ten seconds.
final class Client {
    private let descriptor: Int32

    init(_ server: MailServer, _ listener: String = "smtp") throws {
        let port = try #require(server.port(of: listener))
        descriptor = socket(AF_INET, martlet_sock_stream, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience,
            socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0, "connect: \(errno)")
    }

    deinit { close(descriptor) }

    func send(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// One line without its end; empty at the end of the connection.
    func line() -> String {
        var line: [UInt8] = []
        var octet: UInt8 = 0
        while recv(descriptor, &octet, 1, 0) == 1 {
            if octet == 0x0A { break }
            if octet != 0x0D { line.append(octet) }
        }
        return String(decoding: line, as: UTF8.self)
    }

    /// The last line of a reply.
    @discardableResult
    func reply() -> String {
        while true {
            let line = line()
            if line.utf8.count < 4 || Array(line.utf8)[3] != 0x2D { return line }
        }
    }

    @discardableResult
    func command(_ line: String) -> String {
        send(line + "\r\n")
        return reply()
    }

    /// From the greeting to `354`, for `alice@example.test`.
    func begin() {
        #expect(reply().hasPrefix("220 "))
        #expect(command("EHLO client.test").hasPrefix("250 "))
        #expect(command("MAIL FROM:<carol@elsewhere.test>") == "250 2.1.0 OK")
        #expect(command("RCPT TO:<alice@example.test>") == "250 2.1.5 OK")
        #expect(command("DATA").hasPrefix("354 "))
    }
}

/// Keeps messages, and answers as it is told.
final class Recorder: DeliveryAgent {
    let messages = Mutex<[Message]>([])
    let verdict: @Sendable (Message) async throws -> Verdict

    init(_ verdict: @escaping @Sendable (Message) async throws -> Verdict = { _ in .accept }) {
        self.verdict = verdict
    }

    func recipient(_ recipient: Address, _ transaction: Transaction) async throws -> Verdict {
        switch recipient.local {
        case "nobody": .unknownUser
        case "broken": throw Trouble()
        default: recipient.domain == "example.test" ? .accept : .relayingDenied
        }
    }

    func deliver(_ message: Message) async throws -> Verdict {
        let answer = try await verdict(message)
        if answer == .accept { messages.withLock { $0.append(message) } }
        return answer
    }

    var last: Message? { messages.withLock { $0.last } }
}

struct Trouble: Error {}

/// A server on a free port.
func started(
    _ agent: any DeliveryAgent, filters: [any Filter] = [], limits: Limits = Limits(),
    handlerTimeout: Duration = .seconds(20), executor: (any TaskExecutor)? = nil,
    temporaryDirectory: String = "/tmp"
) throws -> MailServer {
    let server = MailServer(
        hostname: "mx.example.test", listeners: [.smtp(host: "127.0.0.1", port: 0)],
        delivery: agent, filters: filters, limits: limits, handlerTimeout: handlerTimeout,
        executor: executor, temporaryDirectory: temporaryDirectory)
    try server.start()
    return server
}

/// Open descriptors of this process.
func openDescriptors() -> Int {
    guard let handle = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(handle) }
    var count = 0
    while readdir(handle) != nil { count += 1 }
    return count
}
