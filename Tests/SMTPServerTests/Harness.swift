// SPDX-License-Identifier: Apache-2.0
//
// smtpd in the test's process: its service on a loop of its own, a store that keeps what it gets in
// memory behind a real socket, and blocking clients with a time limit.

import Bytes
import CLinux
import Config
import Daemon
import Glibc
import Mail
import Synchronization
import Telemetry
import Testing
import Transport
import Wire

@testable import SMTPServer

let testWorkers = Workers(count: 2, name: "test-worker")

/// What the store was asked to keep.
struct Stored: Sendable {
    var delivery: Delivery
    var octets: [UInt8]

    var text: String { String(decoding: octets, as: UTF8.self) }
    /// Behind the trace fields: from the first line that is neither of them nor folded.
    var body: String {
        guard let end = text.range(ofTraceFields: ()) else { return text }
        return String(text[end...])
    }
}

extension String {
    /// Where the message as it was sent begins.
    fileprivate func range(ofTraceFields: Void) -> Index? {
        var index = startIndex
        var isTrace = true
        while index < endIndex, isTrace {
            let line = self[index...]
            isTrace =
                line.hasPrefix("Return-Path:") || line.hasPrefix("Received: from")
                || line.hasPrefix("\t")
            guard isTrace, let end = line.firstIndex(of: "\r\n") else { break }
            index = self.index(after: end)
        }
        return index
    }
}

/// A store in memory, behind the socket `deliver.sock` of a directory of its own.
final class FakeStore: Sendable {
    private struct State {
        var stored: [Stored] = []
        var staged: [UInt64: Int32] = [:]
        var nextToken: UInt64 = 1
        var failure: StoreFailure?
        var unstaged = 0
        var asked: [String] = []
    }

    let directory: String
    private let state = Mutex(State())
    private let thread: LoopThread?

    /// - Parameter isRunning: false: nobody listens on the socket.
    init(isRunning: Bool = true) throws {
        let path = "/tmp/martlet-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        directory = path
        mkdir(path, 0o700)
        testDirectories.withLock { $0.append(path) }
        guard isRunning else {
            thread = nil
            return
        }
        let socket = try ListenerSocket.bind(unix: directory + "/deliver.sock", name: "deliver")
        let holder = Holder()
        thread = try LoopThread(name: "store-loop", workers: testWorkers) { context in
            do throws(ConnectionError) {
                try context.listen(on: socket) { connection in
                    await holder.store?.serve(connection)
                }
            } catch {
                fatalError("listen: \(error)")
            }
        }
        holder.set(self)
    }

    deinit {
        thread?.stop()
        unlink(directory + "/deliver.sock")
        rmdir(directory)
    }

    /// The loop's way to its store, without keeping it alive.
    private final class Holder: Sendable {
        private let box = Mutex<WeakStore>(WeakStore(store: nil))
        struct WeakStore: Sendable { weak let store: FakeStore? }
        var store: FakeStore? { box.withLock { $0.store } }
        func set(_ store: FakeStore) { box.withLock { $0 = WeakStore(store: store) } }
    }

    var stored: [Stored] { state.withLock { $0.stored } }
    var unstaged: Int { state.withLock { $0.unstaged } }
    var asked: [String] { state.withLock { $0.asked } }
    /// Staged files that nobody gave back or delivered.
    var openStages: Int { state.withLock { $0.staged.count } }

    /// Every later delivery fails like this; nil: succeeds.
    func fail(_ failure: StoreFailure?) { state.withLock { $0.failure = failure } }

    private func serve(_ connection: Connection) async {
        do {
            _ = try await frame(connection)
            connection.write(try Frame.encode(Hello(door: .deliver, program: Array("store"))))
            connection.flushSoon()
            while true {
                let (header, payload) = try await frame(connection)
                let code = try #require(RequestCode(rawValue: header.opcode))
                var decoder = Decoder(payload)
                let request = try Request(code, from: &decoder)
                if case .stage = request {
                    try stage(connection, header.request)
                    continue
                }
                connection.write(try Frame.encode(answer(request), id: header.request))
                connection.flushSoon()
            }
        } catch {
            connection.close()
        }
    }

    private func frame(_ connection: Connection) async throws -> (FrameHeader, [UInt8]) {
        let header = try FrameHeader(
            try await connection.readExactly(FrameHeader.octets, within: .seconds(60)))
        return (
            header, try await connection.readExactly(header.payloadCount, within: .seconds(60))
        )
    }

    private func answer(_ request: Request) -> Reply {
        switch request {
        case .checkRecipient(let address), .checkMail(let address, _):
            state.withLock { $0.asked.append(address.text) }
            guard address.domain == Array("example.test") else { return .recipient(.notLocal) }
            switch String(decoding: address.local, as: UTF8.self) {
            case "alice", "bob", "postmaster": return .recipient(.accepted)
            case "full": return .recipient(.overQuota)
            case "off": return .recipient(.disabled)
            case "away": return .failure(.unavailable)
            default: return .recipient(.unknownAccount)
            }
        case .authenticate(let credentials):
            let name = String(decoding: credentials.authenticationID, as: UTF8.self)
            if name == "away" { return .failure(.unavailable) }
            guard name == "alice@example.test", credentials.password == Array("secret"),
                credentials.authorizationID.isEmpty
            else { return .failure(.badCredentials) }
            return .authenticated(
                SessionHandle(rawValue: 7),
                EmailAddress(local: Array("alice"), domain: Array("example.test")))
        case .maySend(_, let address):
            if address.local == Array("stale") { return .failure(.staleHandle) }
            return .permission(address.local == Array("alice"))
        case .unstage(let token):
            state.withLock { state in
                state.unstaged += 1
                if let file = state.staged.removeValue(forKey: token.rawValue) { close(file) }
            }
            return .done
        case .deliver(let delivery): return deliver(delivery)
        case .logout: return .done
        default: return .failure(.notPermitted)
        }
    }

    private func deliver(_ delivery: Delivery) -> Reply {
        state.withLock { state in
            var octets: [UInt8] = []
            switch delivery.body {
            case .inline(let inline): octets = inline
            case .staged(let token):
                guard let file = state.staged.removeValue(forKey: token.rawValue) else {
                    return .failure(.badStage)
                }
                octets = contents(file)
                close(file)
            }
            if let failure = state.failure { return .failure(failure) }
            state.stored.append(Stored(delivery: delivery, octets: octets))
            return .delivered
        }
    }

    private func stage(_ connection: Connection, _ id: UInt32) throws {
        var path = Array("\(directory)/stage-XXXXXX".utf8CString)
        let file = mkstemp(&path)
        unlink(path)
        let token = state.withLock { state in
            defer { state.nextToken += 1 }
            state.staged[state.nextToken] = file
            return StageToken(rawValue: state.nextToken)
        }
        connection.write(
            try Frame.encode(.staged(token), id: id), attaching: Descriptor(dup(file)))
        connection.flushSoon()
    }

    private func contents(_ file: Int32) -> [UInt8] {
        var all: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 1 << 16)
        var offset = 0
        while true {
            let count = pread(file, &room, room.count, off_t(offset))
            guard count > 0 else { return all }
            all += room[..<count]
            offset += count
        }
    }
}

/// smtpd with one listener on a free port.
final class TestDaemon: Sendable {
    private let thread: LoopThread
    private let port: UInt16
    private let store: FakeStore
    let metrics: Metrics

    /// - Parameter change: settings other than the harness's.
    init(
        _ store: FakeStore, mode: String = "smtp",
        change: (inout Suite) -> Void = { _ in }
    ) throws {
        var suite = Suite()
        suite.server.runDirectory = store.directory
        suite.server.tls = TLSSettings()
        suite.smtpd.hostname = "mx.example.test"
        suite.smtpd.listeners = [
            ListenerSettings(name: "smtp", address: .tcp(host: "", port: 25), mode: mode)
        ]
        suite.domains = ["example.test"]
        change(&suite)
        self.store = store
        let settings = suite
        let metrics = Metrics()
        self.metrics = metrics
        let socket = try #require(
            try ListenerSocket.bind(host: "127.0.0.1", port: 0, name: "smtp").first)
        port = socket.localPort
        thread = try LoopThread(name: "smtp-loop", workers: testWorkers) { context in
            let service = SMTPService(
                context: context, suite: settings, census: Census(), rates: Rates(),
                metrics: SMTPMetrics(metrics), registry: metrics)
            do throws(ConnectionError) {
                try context.listen(on: socket) { connection in await service.serve(connection) }
            } catch {
                fatalError("listen: \(error)")
            }
        }
    }

    deinit { thread.stop() }

    func drain() { thread.submit { $0.drain {} } }

    /// A client that has not read the greeting.
    func connect() throws -> Client { try Client(port: port, of: self) }

    /// A client behind EHLO.
    func greeted() throws -> Client {
        let client = try connect()
        #expect(client.reply().hasPrefix("220 "))
        #expect(client.command("EHLO client.test").hasPrefix("250-"))
        return client
    }

    /// A client that has named a sender and a recipient.
    func ready() throws -> Client {
        let client = try greeted()
        #expect(client.command("MAIL FROM:<carol@elsewhere.test>") == "250 2.1.0 OK\r\n")
        #expect(client.command("RCPT TO:<alice@example.test>") == "250 2.1.5 OK\r\n")
        return client
    }
}

/// A blocking client; every call gives up after ten seconds.
final class Client {
    private let descriptor: Int32
    /// Lives as long as its clients.
    private let daemon: TestDaemon

    init(port: UInt16, of daemon: TestDaemon) throws {
        self.daemon = daemon
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
        var time = timeval(tv_sec: 10, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, size)
    }

    deinit { close(descriptor) }

    func send(_ text: String) { send(Array(text.utf8)) }

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

    /// One line with its end; empty when the server has closed.
    func line() -> String {
        var result: [UInt8] = []
        var octet: UInt8 = 0
        while result.last != 0x0A, recv(descriptor, &octet, 1, 0) == 1 { result.append(octet) }
        return String(decoding: result, as: UTF8.self)
    }

    /// One reply, all its lines.
    func reply() -> String {
        var text = ""
        while true {
            let next = line()
            text += next
            if next.utf8.count < 4 || Array(next.utf8)[3] != 0x2D { return text }
        }
    }

    func command(_ text: String) -> String {
        send(text + "\r\n")
        return reply()
    }

    /// DATA with this text, which must bring its own end.
    func data(_ text: [UInt8]) -> String {
        #expect(command("DATA").hasPrefix("354 "))
        send(text)
        return reply()
    }

    func data(_ text: String) -> String { data(Array(text.utf8)) }
}

/// The directories of all stores of this process. A loop that still serves a connection keeps its
/// store, so what is left of them goes when the process ends.
private let testDirectories: Mutex<[String]> = {
    atexit {
        for directory in testDirectories.withLock({ $0 }) {
            unlink(directory + "/deliver.sock")
            rmdir(directory)
        }
    }
    return Mutex([])
}()
