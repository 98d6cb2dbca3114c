// SPDX-License-Identifier: Apache-2.0
//
// A whole msgstored in this process: a real store in a directory of its own, real sockets, two
// loops; and a loop for clients.

import Bytes
import CLinux
import Config
import Glibc
import Mail
import Store
import StoreClient
import Synchronization
import Testing
import Transport
import Wire

@testable import StoreServer

/// Use one per test; `remove` at its end.
final class World: Sendable {
    static let alice = EmailAddress(local: Array("alice"), domain: Array("example.test"))
    static let bob = EmailAddress(local: Array("bob"), domain: Array("example.test"))
    static let password = Array("correct horse")

    let directory: String
    let suite: Suite
    let core: StoreCore
    private let servers: [LoopThread]
    private let clients: LoopThread

    init(
        search: String = "sqlite", quotaMail: [String] = [], patience: Duration = .seconds(1),
        workers: Int = 0
    ) throws {
        directory = "/tmp/martlet-store-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        mkdir(directory, 0o700)
        var suite = Suite()
        suite.server.runDirectory = directory
        suite.server.stateDirectory = directory + "/state"
        mkdir(suite.server.stateDirectory, 0o700)
        suite.msgstored.maildirRoot = directory + "/mail"
        suite.msgstored.argon2.memoryKiB = 64
        suite.msgstored.argon2.iterations = 1
        suite.msgstored.search = search
        suite.msgstored.quotaMail = quotaMail
        suite.msgstored.workers = workers
        suite.domains = ["example.test"]
        self.suite = suite
        let core = try StoreCore.open(suite, patience: patience)
        self.core = core
        let workers = Workers(count: 1, name: "test")
        let sockets = try Door.allCases.map { door in
            try ListenerSocket.bind(
                unix: suite.server.socketPath(door.socketName), name: door.passedName)
        }
        servers = try (0..<2).map { number in
            try LoopThread(name: "server-\(number)", workers: workers) { context in
                let service = StoreService(context: context, core: core)
                do throws(ConnectionError) {
                    for socket in sockets {
                        try context.listen(on: socket) { await service.serve($0) }
                    }
                } catch {
                    preconditionFailure("listen: \(error)")
                }
            }
        }
        clients = try LoopThread(name: "clients", workers: workers) { _ in }
        let control = try control()
        try control.addAccount(Self.alice, password: Self.password)
        try control.addAccount(Self.bob, password: Self.password)
    }

    func remove() async {
        for server in servers { server.stop() }
        clients.stop()
        await core.close()
        removeTree(directory)
    }

    func path(_ door: Door) -> String { suite.server.socketPath(door.socketName) }

    func control() throws -> ControlClient { try ControlClient(path: path(.control), patience: 20) }

    /// Runs `body` on the clients' loop.
    func onLoop<R: Sendable>(
        _ body: @escaping @Sendable (LoopContext) async throws -> R
    ) async throws -> R {
        let result: Result<R, any Error> = await withCheckedContinuation { continuation in
            clients.submit { context in
                context.spawn {
                    do {
                        continuation.resume(returning: .success(try await body(context)))
                    } catch {
                        continuation.resume(returning: .failure(error))
                    }
                }
            }
        }
        return try result.get()
    }

    func link(_ door: Door, _ context: LoopContext) -> StoreLink {
        StoreLink(context: context, door: door, path: path(door), program: "test")
    }

    func login(_ account: EmailAddress, _ context: LoopContext) async throws -> MailboxSession {
        try await MailboxClient(link(.mailbox, context)).login(credentials(account))
    }
}

func credentials(
    _ account: EmailAddress, password: [UInt8] = World.password, authorizationID: [UInt8] = []
) -> Credentials {
    Credentials(
        authorizationID: authorizationID, authenticationID: account.octets, password: password,
        remote: Array("127.0.0.1"), session: TraceID(rawValue: 1), service: Array("imap"))
}

func name(_ text: String) throws -> MailboxName { try #require(MailboxName(Array(text))) }

/// A message of about `size` octets that says `subject`.
func message(_ subject: String, size: Int = 200) -> [UInt8] {
    var octets = Array("From: a@example.test\r\nSubject: \(subject)\r\n\r\n")
    let line = Array("0123456789 0123456789 0123456789 0123456789\r\n")
    while octets.count < size { octets += line }
    return octets
}

func delivery(
    to recipients: [EmailAddress], _ body: MessageBody, id: UInt64 = .random(in: 1 ... .max)
) -> Delivery {
    Delivery(
        id: TraceID(rawValue: id), session: TraceID(rawValue: 2), sender: .null,
        recipients: recipients, body: body)
}

/// Looks until `isDone`, at most five seconds.
func eventually(_ context: LoopContext, _ isDone: () -> Bool) async -> Bool {
    for _ in 0..<500 {
        if isDone() { return true }
        await context.sleep(.milliseconds(10))
    }
    return isDone()
}

/// Removes a directory and all below it; follows no symbolic link.
func removeTree(_ path: String, depth: Int = 0) {
    if depth < 12, let stream = opendir(path) {
        var names: [String] = []
        while let entry = readdir(stream) {
            var length = 0
            let name = String(cString: martlet_entry_name(entry, &length))
            if name != ".", name != ".." { names.append(name) }
        }
        closedir(stream)
        for name in names {
            let inner = path + "/" + name
            if unlink(inner) != 0 { removeTree(inner, depth: depth + 1) }
        }
    }
    rmdir(path)
}

/// A blocking socket that says anything.
final class RawClient {
    private let descriptor: Int32

    init(path: String) throws {
        descriptor = socket(AF_UNIX, martlet_sock_stream, 0)
        var address = sockaddr_un()
        let length = martlet_unix_address(&address, path)
        let result = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, length)
            }
        }
        try #require(result == 0)
        var time = timeval(tv_sec: 5, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
    }

    deinit { close(descriptor) }

    func send(_ octets: [UInt8]) {
        var done = 0
        while done < octets.count {
            let count = octets.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress.map { $0 + done }, octets.count - done,
                    martlet_msg_nosignal)
            }
            guard count > 0 else { return }
            done += count
        }
    }

    func sayHello(_ door: Door) throws {
        send(try Frame.encode(Hello(door: door, program: Array("raw"))))
        let header = try FrameHeader(receive(FrameHeader.octets))
        #expect(header.kind == .hello)
        #expect(receive(header.payloadCount).count == header.payloadCount)
    }

    /// Fewer at the end of the stream or after five seconds.
    func receive(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65_536)
        while result.count < count {
            let got = recv(descriptor, &room, min(room.count, count - result.count), 0)
            guard got > 0 else { break }
            result += room[0..<got]
        }
        return result
    }

    /// Whether the other side closes within five seconds.
    func isClosed() -> Bool {
        var octet: UInt8 = 0
        while true {
            let got = recv(descriptor, &octet, 1, 0)
            if got > 0 { continue }
            return got == 0 || errno == ECONNRESET
        }
    }
}
