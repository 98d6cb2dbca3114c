// SPDX-License-Identifier: Apache-2.0
//
// Long work on one account, with all accounts on one thread: the others are served meanwhile, and
// what is asked of the account itself waits, in order.

import Bytes
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

@Suite(.serialized) struct AsideTests {
    private static let files = 4_000

    /// As another program delivers, with LF line ends.
    private static func drop(_ count: Int, into directory: String) throws {
        let text =
            Array("From: a@b.test\nSubject: dropped\n\n") + [UInt8](repeating: 0x78, count: 3_000)
            + Array("\n")
        for number in 0..<count {
            let path = "\(directory)/1600000000.M\(number)P1.other:2,S"
            let file = try #require(fopen(path, "w"))
            #expect(fwrite(text, 1, text.count, file) == text.count)
            fclose(file)
        }
    }

    /// How often alice is answered until `work` is done.
    private static func answers(
        _ world: World, _ context: LoopContext, _ work: @escaping () async throws -> Void
    ) async throws -> Int {
        let session = try await world.login(World.alice, context)
        _ = try await session.status(.inbox)
        let done = Flag()
        context.spawn {
            do {
                try await work()
            } catch {
                Issue.record("\(error)")
            }
            done.isSet = true
        }
        var count = 0
        while !done.isSet {
            #expect(try await session.status(.inbox).messages == 0)
            count += 1
            await context.sleep(.milliseconds(1))
        }
        return count
    }

    @Test func `others are served while an index is made`() async throws {
        let world = try World(search: "none", workers: 1)
        let home = world.directory + "/mail/example.test/bob"
        try await world.onLoop { context in
            let core = world.core
            await core.run(on: core.lane(of: World.bob)) { core.lanes[0].close(World.bob) }
            for name in ["index.sqlite", "index.sqlite-wal", "index.closed"] {
                unlink(home + "/" + name)
            }
            try Self.drop(Self.files, into: home + "/Maildir/cur")
            #expect(core.root.mayOpenSlowly(World.bob))
            let session = try await world.login(World.bob, context)
            let second = try await world.login(World.bob, context)
            let client = DeliveryClient(world.link(.deliver, context))
            let finished = Flag()
            let count = try await Self.answers(world, context) {
                context.spawn {
                    do {
                        try await client.deliver(
                            delivery(to: [World.bob], .inline(message("meanwhile"))))
                    } catch {
                        Issue.record("\(error)")
                    }
                    finished.isSet = true
                }
                let found = [
                    try await second.status(.inbox).messages,
                    try await session.status(.inbox).messages,
                ]
                let isWhole = found.allSatisfy { $0 >= UInt32(Self.files) }
                #expect(isWhole)
            }
            #expect(count >= 10)
            #expect(await eventually(context) { finished.isSet })
            #expect(try await session.status(.inbox).messages == UInt32(Self.files + 1))
            #expect(!core.root.mayOpenSlowly(World.bob))
        }
        await world.remove()
    }

    @Test func `others are served while a mailbox takes in what was dropped into it`() async throws
    {
        let world = try World(search: "none", workers: 1)
        let home = world.directory + "/mail/example.test/bob"
        try await world.onLoop { context in
            let session = try await world.login(World.bob, context)
            _ = try await session.status(.inbox)
            try Self.drop(Self.files, into: home + "/Maildir/cur")
            let count = try await Self.answers(world, context) {
                let inbox = try await session.open(.inbox, .readWrite) {}
                #expect(inbox.entries.count == Self.files)
                #expect(inbox.entries.map(\.uid) == Array(1...UInt32(Self.files)))
            }
            #expect(count >= 5)
        }
        await world.remove()
    }

    @Test func `an account that is away answers in order when it is back`() async throws {
        let world = try World(search: "none", workers: 1)
        try await world.onLoop { context in
            let session = try await world.login(World.bob, context)
            let core = world.core
            let account = AccountRef(
                address: World.bob, generation: core.addresses.generation(of: World.bob))
            let order = Order()
            let mayEnd = Once()
            func waiting(_ count: Int) async -> Bool {
                for _ in 0..<500 {
                    let now = await core.run(on: core.lanes[0]) {
                        core.lanes[0].away[World.bob]?.count
                    }
                    if now == count { return true }
                    await context.sleep(.milliseconds(10))
                }
                return false
            }
            context.spawn {
                let outcome = await core.performAside(account) { store throws(StoreError) in
                    while !mayEnd.isSet { usleep(1_000) }
                    return try store.optimizeIndex()
                }
                if case .failure(let error) = outcome { Issue.record("\(error)") }
                order.names.append("aside")
            }
            #expect(await waiting(0))
            context.spawn {
                do {
                    _ = try await session.append(
                        .inbox, flags: NamedFlags(), date: nil, body: .inline(message("a")))
                } catch {
                    Issue.record("\(error)")
                }
                order.names.append("append")
            }
            #expect(await waiting(1))
            context.spawn {
                _ = await core.performAside(account) { _ throws(StoreError) in usleep(50_000) }
                order.names.append("second")
            }
            #expect(await waiting(2))
            #expect(order.names == [])
            mayEnd.set()
            #expect(try await session.status(.inbox).messages == 1)
            order.names.append("status")
            #expect(await eventually(context) { order.names.count == 4 })
            #expect(order.names == ["aside", "append", "second", "status"])
            // What fails aside is told, and the account is back.
            let failed = await core.performAside(account) { _ throws(StoreError) in
                throw .notPermitted
            }
            guard case .failure(.notPermitted) = failed else {
                Issue.record("did not fail")
                return
            }
            #expect(try await session.status(.inbox).messages == 1)
        }
        await world.remove()
    }

    @Test func `the end waits for what is away`() async throws {
        let world = try World(search: "none", workers: 1)
        let home = world.directory + "/mail/example.test/bob"
        try await world.onLoop { context in
            let core = world.core
            let account = AccountRef(
                address: World.bob, generation: core.addresses.generation(of: World.bob))
            context.spawn {
                _ = await core.performAside(account) { store throws(StoreError) in
                    usleep(200_000)
                    _ = try store.append(
                        PendingAppend(mailbox: .inbox, source: .octets(message("late"))))
                }
            }
            await context.sleep(.milliseconds(20))
            await core.close()
            // Closed in order: with a mark, and without a log.
            #expect(access(home + "/index.closed", F_OK) == 0)
            #expect(access(home + "/index.sqlite-wal", F_OK) != 0)
        }
        await world.remove()
    }
}

private final class Flag {
    var isSet = false
}

/// Usable from any thread.
private final class Once: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

private final class Order {
    var names: [String] = []
}
