// SPDX-License-Identifier: Apache-2.0
//
// What an owner does while mail flows: a domain gets another name, accounts fill up, and the search
// index of an account nobody uses is found behind after a start.

import Bytes
import Config
import Glibc
import Mail
import Store
import StoreClient
import Testing
import Transport
import Wire

@testable import StoreServer

@Suite(.serialized) struct OwnerTests {
    private static func address(_ local: String, _ domain: String) -> EmailAddress {
        EmailAddress(local: Array(local.utf8), domain: Array(domain.utf8))
    }

    private static func texts(
        _ world: World, _ account: EmailAddress, _ context: LoopContext
    ) async throws -> [String] {
        let session = try await world.login(account, context)
        let inbox = try await session.open(.inbox, .readOnly) {}
        var texts: [String] = []
        for entry in inbox.entries {
            let reader = session.read(inbox.id, uids: [entry.uid])
            while let message = try await reader.next() {
                texts.append(String(decoding: try octets(of: message), as: UTF8.self))
            }
        }
        return texts
    }

    @Test func `a domain that is renamed under way keeps all mail, and its sessions end`()
        async throws
    {
        let world = try World()
        let control = try world.control()
        try control.addDomain(Array("old.test"))
        let (old, new) = (Self.address("carol", "old.test"), Self.address("carol", "new.test"))
        try control.addAccount(old, password: World.password)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let session = try await world.login(old, context)
            var acknowledged = 0
            let done = OwnerCount()
            let stored = OwnerCount()
            // Mail comes all the time; what is refused is refused for now or because it is gone.
            for number in 0..<200 {
                context.spawn {
                    do {
                        try await client.deliver(
                            delivery(to: [old], .inline(message("\(number)"))))
                        stored.value += 1
                    } catch StoreFailure.noSuchAccount, StoreFailure.unavailable {
                        // Not acknowledged.
                    } catch {
                        Issue.record("\(error)")
                    }
                    done.value += 1
                }
                if number == 100 { await context.sleep(.milliseconds(5)) }
            }
            #expect(
                try world.control().call(
                    .directory(
                        .renameDomain(
                            Array("Old.test"), to: Array("new.test"), keepAlias: true)))
                    == .done)
            #expect(await eventually(context) { done.value == 200 })
            acknowledged = stored.value
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await session.status(.inbox)
            }
            #expect(
                try await world.login(new, context).status(.inbox).messages
                    == UInt32(acknowledged))
            // The old name leads to the same account.
            try await client.deliver(delivery(to: [old], .inline(message("late"))))
            #expect(
                try await world.login(old, context).status(.inbox).messages
                    == UInt32(acknowledged + 1))
            guard
                case .directory(.problem(let problem)) = try world.control().call(
                    .directory(
                        .renameDomain(
                            Array("new.test"), to: Array("example.test"), keepAlias: false)))
            else {
                Issue.record("renamed over another domain")
                return
            }
            #expect(problem.kind == .exists)
            #expect(try await client.recipient(new) == .accepted)
            #expect(try await client.recipient(World.alice) == .accepted)
        }
        let mail = world.directory + "/mail"
        #expect(access(mail + "/new.test/carol", F_OK) == 0)
        #expect(access(mail + "/old.test", F_OK) != 0)
        await world.remove()
    }

    @Test func `an account is told once for each mark, and that it is full`() async throws {
        let world = try World(quotaMail: ["50", "80", "100"])
        let octets = message("load", size: 10_000)
        let limit = UInt64(octets.count * 10)
        #expect(
            try world.control().call(.directory(.setAccount(World.alice, .octets(limit)))) == .done)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            func subjects() async throws -> [Substring] {
                // Behind what was answered for and is still to be stored.
                _ = try await world.login(World.alice, context).status(.inbox)
                await world.core.mailQuotaWarnings()
                return try await Self.warnings(world, context)
            }
            for _ in 0..<4 {
                try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            }
            #expect(try await subjects() == [])
            for _ in 0..<2 {
                try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            }
            #expect(try await subjects() == ["Subject: Your mailbox is 50% full"])
            try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            #expect(try await subjects().count == 1)
            for _ in 0..<2 {
                try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            }
            #expect(try await subjects().last == "Subject: Your mailbox is 80% full")
            for _ in 0..<3 {
                await #expect(throws: StoreFailure.overQuota) {
                    try await client.deliver(delivery(to: [World.alice], .inline(octets)))
                }
                #expect(
                    try await client.recipient(World.alice, size: UInt64(octets.count))
                        == .overQuota)
            }
            // Full, and yet told so; once.
            #expect(try await subjects().last == "Subject: Your mailbox is full")
            #expect(try await subjects().count == 3)
            // Below a mark and over it again.
            let session = try await world.login(World.alice, context)
            let inbox = try await session.open(.inbox, .readWrite) {}
            _ = try await session.expunge(inbox.id, uids: [UIDRange(1, 4)], force: true)
            for _ in 0..<3 {
                try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            }
            #expect(try await subjects().count == 4)
            #expect(try await subjects().last == "Subject: Your mailbox is 80% full")
        }
        await world.remove()
    }

    /// The subjects of those messages in alice's INBOX that the server wrote.
    private static func warnings(
        _ world: World, _ context: LoopContext
    ) async throws -> [Substring] {
        try await texts(world, World.alice, context)
            .filter { $0.contains("Auto-Submitted: auto-generated") }
            .compactMap { $0.split(separator: "\r\n").first { $0.hasPrefix("Subject:") } }
    }

    @Test func `dates are those of RFC 5322`() {
        #expect(QuotaWarnings.date(0) == "Thu, 1 Jan 1970 00:00:00 +0000")
        #expect(QuotaWarnings.date(1_709_210_096) == "Thu, 29 Feb 2024 12:34:56 +0000")
    }

    @Test func `an account that nobody opens is indexed after a start, and closed again`()
        async throws
    {
        // As a stop before the indexer's turn leaves it.
        let world = try World(search: "none")
        try await world.onLoop { context in
            let session = try await world.login(World.bob, context)
            for number in 0..<5 {
                _ = try await session.append(
                    .inbox, flags: NamedFlags(), date: nil, body: .inline(message("\(number)")))
            }
            let core = world.core
            let lane = core.lane(of: World.bob)
            await core.run(on: lane) { lane.close(World.bob) }
            let root = core.root
            core.indexer.apply(StoreSettings())
            #expect(try root.mayLackSearch(World.bob))
            let account = AccountRef(
                address: World.bob, generation: core.addresses.generation(of: World.bob))
            core.indexer.noteSwept(account)
            var isDone = false
            for _ in 0..<300 where !isDone {
                await context.sleep(.milliseconds(20))
                isDone = try !root.mayLackSearch(World.bob)
            }
            #expect(isDone)
            let isOpen = await core.run(on: lane) { lane.isOpen(World.bob) }
            #expect(!isOpen)
            guard case .searchStats(let stats) = try world.control().call(.searchStats(World.bob))
            else {
                Issue.record("no statistics")
                return
            }
            #expect(stats.messages == 5 && stats.indexed == 5)
        }
        await world.remove()
    }
}

/// Of tasks of one loop.
private final class OwnerCount {
    var value = 0
}
