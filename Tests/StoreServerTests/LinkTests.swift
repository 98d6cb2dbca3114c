// SPDX-License-Identifier: Apache-2.0
//
// What StoreLink does when the store misbehaves, is late or goes away.

import Bytes
import Glibc
import Mail
import StoreClient
import Synchronization
import Testing
import Transport
import Wire

/// A store that does what a test says, behind a real socket.
private final class FakeStore: Sendable {
    let path: String
    private let loop: LoopThread

    init(
        _ door: Door = .mailbox,
        _ serve: @escaping @Sendable (Connection, LoopContext, Int) async throws -> Void
    ) throws {
        let path = "/tmp/martlet-fake-\(getpid())-\(UInt64.random(in: 0 ... .max)).sock"
        self.path = path
        let accepted = Atomic<Int>(0)
        let counter = Counter(accepted)
        let socket = try ListenerSocket.bind(unix: path, name: "fake")
        loop = try LoopThread(name: "fake", workers: Workers(count: 1, name: "fake")) { context in
            do throws(ConnectionError) {
                try context.listen(on: socket) { connection in
                    do {
                        _ = try await readFrame(connection)
                        connection.write(
                            try Frame.encode(Hello(door: door, program: Array("fake"))))
                        try await connection.flush(within: .seconds(5))
                        try await serve(connection, context, counter.next())
                    } catch {
                        connection.close()
                    }
                }
            } catch {
                preconditionFailure("\(error)")
            }
        }
    }

    deinit {
        loop.stop()
        unlink(path)
    }

    final class Counter: Sendable {
        private let value: Atomic<Int>
        init(_ value: consuming Atomic<Int>) { self.value = value }
        func next() -> Int { value.wrappingAdd(1, ordering: .relaxed).newValue }
    }
}

private func readFrame(_ connection: Connection) async throws -> (FrameHeader, [UInt8]) {
    let header = try FrameHeader(
        try await connection.readExactly(FrameHeader.octets, within: .seconds(10)))
    return (header, try await connection.readExactly(header.payloadCount, within: .seconds(10)))
}

private let session = SessionHandle(rawValue: 77)

private func answerLogin(_ connection: Connection) async throws {
    let (header, _) = try await readFrame(connection)
    connection.write(
        try Frame.encode(.authenticated(session, World.alice), id: header.request))
    try await connection.flush(within: .seconds(5))
}

/// Runs a test on a loop of its own.
private func onLoop<R: Sendable>(
    _ body: @escaping @Sendable (LoopContext) async throws -> R
) async throws -> R {
    let thread = try LoopThread(name: "client", workers: Workers(count: 1, name: "client")) { _ in }
    let result: Result<R, any Error> = await withCheckedContinuation { continuation in
        thread.submit { context in
            context.spawn {
                do {
                    continuation.resume(returning: .success(try await body(context)))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
    }
    thread.stop()
    return try result.get()
}

@Suite(.serialized) struct LinkTests {
    @Test func `a lost connection fails what waits, stales sessions and comes back`() async throws {
        let store = try FakeStore { connection, context, number in
            try await answerLogin(connection)
            if number == 1 {
                let (open, _) = try await readFrame(connection)
                connection.write(
                    try Frame.encode(
                        .opened(
                            MailboxSnapshot(
                                id: MailboxID(rawValue: 1), uidValidity: 1, uidNext: 1,
                                highestModSeq: 1, keywords: [], entries: [])), id: open.request))
                try await connection.flush(within: .seconds(5))
                _ = try await readFrame(connection)  // the question that is never answered
                connection.close()
            } else {
                let (list, _) = try await readFrame(connection)
                connection.write(try Frame.encode(.mailboxes([]), id: list.request))
                try await connection.flush(within: .seconds(5))
                await context.sleep(.seconds(1))
            }
        }
        try await onLoop { context in
            let link = StoreLink(
                context: context, door: .mailbox, path: store.path, program: "test")
            let client = MailboxClient(link)
            let first = try await client.login(credentials(World.alice))
            let told = Count()
            let mailbox = try await first.open(.inbox, .readWrite) { told.value += 1 }
            await #expect(throws: StoreFailure.unavailable) { _ = try await first.list() }
            #expect(told.value == 1)
            #expect(!first.isValid)
            await #expect(throws: StoreFailure.staleHandle) { _ = try await first.list() }
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await first.read(mailbox.id, uids: [1]).next()
            }
            let second = try await client.login(credentials(World.alice))
            #expect(try await second.list().isEmpty)
        }
    }

    @Test func `a recipient is asked again when the store restarts in between`() async throws {
        let store = try FakeStore(.deliver) { connection, context, number in
            let (header, _) = try await readFrame(connection)
            if number == 1 { return connection.close() }
            connection.write(try Frame.encode(.recipient(.accepted), id: header.request))
            try await connection.flush(within: .seconds(5))
            await context.sleep(.seconds(1))
        }
        try await onLoop { context in
            let link = StoreLink(
                context: context, door: .deliver, path: store.path, program: "test")
            let status = try await DeliveryClient(link).recipient(World.alice)
            #expect(status == .accepted)
        }
    }

    @Test func `a question has a time limit`() async throws {
        let store = try FakeStore { connection, context, _ in
            let (late, _) = try await readFrame(connection)
            let (next, _) = try await readFrame(connection)
            // The late answer must not be taken for another one's.
            connection.write(try Frame.encode(.permission(true), id: late.request))
            connection.write(try Frame.encode(.done, id: next.request))
            try await connection.flush(within: .seconds(5))
            await context.sleep(.seconds(1))
        }
        try await onLoop { context in
            let link = StoreLink(
                context: context, door: .mailbox, path: store.path, program: "test")
            await #expect(throws: StoreFailure.unavailable) {
                _ = try await link.call(.logout(session), within: .milliseconds(300))
            }
            let reply = try await link.call(.logout(session))
            #expect(reply == .done)
        }
    }

    @Test func `without a store a question fails in time`() async throws {
        try await onLoop { context in
            let link = StoreLink(
                context: context, door: .mailbox, path: "/tmp/martlet-no-such.sock",
                program: "test")
            let start = context.now
            await #expect(throws: StoreFailure.unavailable) {
                _ = try await link.call(.logout(session), within: .milliseconds(500))
            }
            #expect(start.duration(to: context.now) < .seconds(4))
        }
    }

    @Test func `a store that starts a moment later is found`() async throws {
        let path = "/tmp/martlet-late-\(getpid())-\(UInt64.random(in: 0 ... .max)).sock"
        try await onLoop { context in
            let link = StoreLink(context: context, door: .mailbox, path: path, program: "test")
            context.spawn {
                await context.sleep(.milliseconds(300))
                do {
                    let socket = try ListenerSocket.bind(unix: path, name: "late")
                    try context.listen(on: socket) { connection in
                        do {
                            _ = try await readFrame(connection)
                            connection.write(try Frame.encode(Hello(door: .mailbox, program: [])))
                            let (header, _) = try await readFrame(connection)
                            connection.write(try Frame.encode(.done, id: header.request))
                            try await connection.flush(within: .seconds(5))
                            await context.sleep(.seconds(1))
                        } catch {
                            Issue.record("\(error)")
                        }
                    }
                } catch {
                    Issue.record("\(error)")
                }
            }
            let reply = try await link.call(.logout(session))
            #expect(reply == .done)
        }
        unlink(path)
    }

    @Test(arguments: [
        "unknown reply", "unasked reply", "a request", "no descriptor", "oversized", "cut",
    ])
    func `a store that speaks nonsense is left`(what: String) async throws {
        let store = try FakeStore { connection, context, number in
            let (header, _) = try await readFrame(connection)
            var octets: [UInt8] = []
            func put(_ kind: FrameKind, _ opcode: UInt16, _ request: UInt32, _ count: Int) {
                FrameHeader(kind: kind, opcode: opcode, request: request, payloadCount: count)
                    .encode(into: &octets)
            }
            if number > 1 {
                octets = try Frame.encode(.done, id: header.request)
            } else {
                switch what {
                case "unknown reply": put(.reply, 0x80EE, header.request, 0)
                case "unasked reply": put(.reply, ReplyCode.done.rawValue, header.request + 1, 0)
                case "a request": put(.request, RequestCode.list.rawValue, header.request, 0)
                case "no descriptor":
                    put(.reply, ReplyCode.staged.rawValue, header.request, 8)
                    octets += [UInt8](repeating: 1, count: 8)
                case "oversized": octets = [0xFF, 0, 0, 0, 2, 0, 0x80, 2, 0, 0, 0, 1]
                default: put(.reply, ReplyCode.staged.rawValue, header.request, 0)
                }
            }
            connection.write(octets)
            try await connection.flush(within: .seconds(5))
            await context.sleep(.seconds(1))
        }
        try await onLoop { context in
            let link = StoreLink(
                context: context, door: .mailbox, path: store.path, program: "test")
            await #expect(throws: StoreFailure.unavailable) {
                _ = try await link.call(.logout(session))
            }
            let reply = try await link.call(.logout(session))
            #expect(reply == .done)
        }
    }

    @Test func `a reply in fragments is put together`() async throws {
        let uids = (1...600_000).map { UInt32($0) }
        let store = try FakeStore { connection, context, _ in
            let (header, _) = try await readFrame(connection)
            connection.write(
                try Frame.encode(.expunged(uids: uids, highestModSeq: 5), id: header.request))
            try await connection.flush(within: .seconds(10))
            await context.sleep(.seconds(1))
        }
        try await onLoop { context in
            let link = StoreLink(
                context: context, door: .mailbox, path: store.path, program: "test")
            let reply = try await link.call(
                .expunge(session, MailboxID(rawValue: 1), uids: nil, force: false))
            #expect(reply == .expunged(uids: uids, highestModSeq: 5))
        }
    }
}
