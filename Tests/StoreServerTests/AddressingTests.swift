// SPDX-License-Identifier: Apache-2.0
//
// Aliases, rights, quota and disabled accounts through the doors, as smtpd, imapd and mailctl see
// them.

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

@Suite(.serialized) struct AddressingTests {
    private static func address(_ text: String) -> EmailAddress {
        if text.hasPrefix("@") {
            return EmailAddress(local: [], domain: Array(text.utf8.dropFirst()))
        }
        guard let address = EmailAddress(splitting: Array(text)) else { preconditionFailure(text) }
        return address
    }

    private static func add(
        _ world: World, _ source: String, _ targets: String...
    ) throws -> Reply {
        try world.control().call(
            .directory(
                .changeAliases(
                    [Alias(address: address(source), targets: targets.map { address($0) })], .add,
                    force: false)))
    }

    private static func count(
        _ world: World, _ account: EmailAddress, _ context: LoopContext
    ) async throws -> UInt32 {
        try await world.login(account, context).status(.inbox).messages
    }

    @Test func `mail for an alias is in every target's mailbox, once`() async throws {
        let world = try World()
        try world.control().addAccount(Self.address("carol@example.test"), password: World.password)
        #expect(try Self.add(world, "team@example.test", "alice@example.test") == .done)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let team = Self.address("team@example.test")
            #expect(try await client.recipient(team) == .accepted)
            // What was found before must not outlive a change.
            #expect(
                try Self.add(
                    world, "team@example.test", "bob@example.test", "carol@example.test") == .done)
            try await client.deliver(
                delivery(to: [World.alice, team], .inline(message("one"))))
            try await client.deliver(delivery(to: [team], .inline(message("two"))))
            for account in [World.alice, World.bob, Self.address("carol@example.test")] {
                #expect(try await Self.count(world, account, context) == 2)
            }
            #expect(
                try world.control().call(
                    .directory(
                        .changeAliases([Alias(address: team, targets: [])], .remove, force: false)))
                    == .done)
            #expect(try await client.recipient(team) == .unknownAccount)
        }
        await world.remove()
    }

    @Test func `mailctl is told why an alias cannot be`() async throws {
        let world = try World()
        #expect(
            try Self.add(world, "x@example.test", "y@gmail.example")
                == .directory(
                    .problem(
                        AddressProblem(
                            .remoteTarget, Self.address("x@example.test"),
                            target: Self.address("y@gmail.example")))))
        #expect(try Self.add(world, "x@example.test", "alice@example.test") == .done)
        guard
            case .directory(.problem(let problem)) = try Self.add(
                world, "alice@example.test", "x@example.test")
        else {
            Issue.record("no problem")
            return
        }
        #expect(problem.kind == .loop)
        #expect(
            try world.control().call(.directory(.listAliases(domain: [])))
                == .directory(
                    .aliases([
                        Alias(address: Self.address("x@example.test"), targets: [World.alice])
                    ])))
        #expect(
            try world.control().call(.directory(.expand(Self.address("x+tag@example.test"))))
                == .directory(
                    .expansion([
                        ExpansionStep(
                            depth: 0, address: Self.address("x+tag@example.test"),
                            outcome: .subaddress),
                        ExpansionStep(depth: 1, address: World.alice, outcome: .account),
                    ])))
        await world.remove()
    }

    @Test func `an alias domain takes mail and logins`() async throws {
        let world = try World()
        #expect(
            try world.control().call(
                .directory(.setDomain(Array("example.org"), .aliasOf(Array("example.test")))))
                == .done)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let other = Self.address("alice@example.org")
            #expect(try await client.recipient(other) == .accepted)
            #expect(
                try await client.recipient(Self.address("zoe@example.org")) == .unknownAccount)
            try await client.deliver(delivery(to: [other], .inline(message("one"))))
            #expect(try await Self.count(world, World.alice, context) == 1)
            let (session, account) = try await client.authenticate(credentials(other))
            #expect(account == World.alice)
            #expect(try await client.maySend(session, as: other))
            #expect(try await !client.maySend(session, as: Self.address("bob@example.org")))
        }
        await world.remove()
    }

    @Test func `a full account takes nothing, and takes mail again when there is room`()
        async throws
    {
        let world = try World()
        let octets = message("full", size: 10_000)
        let limit = UInt64(octets.count * 2 + 100)
        #expect(
            try world.control().call(.directory(.setAccount(World.alice, .octets(limit)))) == .done)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            #expect(try await client.recipient(World.alice, size: limit + 1) == .overQuota)
            #expect(try await client.recipient(World.alice, size: limit) == .accepted)
            for _ in 0..<2 {
                try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            }
            #expect(try await client.recipient(World.alice, size: 10_000) == .overQuota)
            #expect(try await client.recipient(World.alice, size: 50) == .accepted)
            await #expect(throws: StoreFailure.overQuota) {
                try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            }
            // All or none: what bob has room for he does not get alone.
            await #expect(throws: StoreFailure.overQuota) {
                try await client.deliver(delivery(to: [World.bob, World.alice], .inline(octets)))
            }
            #expect(try await Self.count(world, World.bob, context) == 0)
            let session = try await world.login(World.alice, context)
            await #expect(throws: StoreFailure.overQuota) {
                _ = try await session.append(
                    .inbox, flags: NamedFlags(), date: nil, body: .inline(octets))
            }
            let inbox = try await session.open(.inbox, .readWrite) {}
            await #expect(throws: StoreFailure.overQuota) {
                _ = try await session.copy(
                    inbox.id, uids: [UIDRange(1, 1)], to: try name("Trash"))
            }
            let (usage, limits) = try await session.quota()
            #expect(usage.messages == 2 && usage.octets == UInt64(octets.count * 2))
            #expect(limits == QuotaLimits(octets: limit))
            _ = try await session.expunge(inbox.id, uids: [UIDRange(1, 1)], force: true)
            #expect(try await client.recipient(World.alice, size: 10_000) == .accepted)
            try await client.deliver(delivery(to: [World.alice], .inline(octets)))
            // Without a limit again.
            #expect(
                try world.control().call(.directory(.setAccount(World.alice, .octets(0)))) == .done)
            try await client.deliver(delivery(to: [World.alice], .inline(octets)))
        }
        await world.remove()
    }

    @Test func `deliveries at the same time keep to the limit`() async throws {
        let world = try World()
        #expect(
            try world.control().call(.directory(.setAccount(World.alice, .messages(25)))) == .done)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let done = Count()
            let stored = Count()
            for number in 0..<100 {
                context.spawn {
                    do {
                        try await client.deliver(
                            delivery(to: [World.alice], .inline(message("\(number)"))))
                        stored.value += 1
                    } catch StoreFailure.overQuota {
                        // What the limit is there for.
                    } catch {
                        Issue.record("\(error)")
                    }
                    done.value += 1
                }
            }
            #expect(await eventually(context) { done.value == 100 })
            #expect(stored.value == 25)
            let kept = try await Self.count(world, World.alice, context)
            #expect(kept == 25)
        }
        await world.remove()
    }

    @Test func `nobody can log in to a disabled account, and sessions end`() async throws {
        let world = try World()
        @Sendable func set(_ state: AccountStanding) throws -> Reply {
            try world.control().call(.directory(.setAccount(World.alice, .state(state))))
        }
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let session = try await world.login(World.alice, context)
            #expect(try set(.loginDisabled) == .done)
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await session.status(.inbox)
            }
            await #expect(throws: StoreFailure.badCredentials) {
                _ = try await world.login(World.alice, context)
            }
            // Mail still comes.
            #expect(try await client.recipient(World.alice) == .accepted)
            try await client.deliver(delivery(to: [World.alice], .inline(message("one"))))
            #expect(try Self.add(world, "team@example.test", "alice@example.test") == .done)
            #expect(try set(.disabled) == .done)
            #expect(try await client.recipient(World.alice) == .disabled)
            #expect(
                try await client.recipient(Self.address("team@example.test")) == .disabled)
            // One who takes mail is enough; who takes none is left out.
            #expect(try Self.add(world, "team@example.test", "bob@example.test") == .done)
            let team = Self.address("team@example.test")
            #expect(try await client.recipient(team) == .accepted)
            try await client.deliver(delivery(to: [team], .inline(message("two"))))
            #expect(try await Self.count(world, World.bob, context) == 1)
            #expect(try set(.active) == .done)
            #expect(try await Self.count(world, World.alice, context) == 1)
        }
        await world.remove()
    }

    @Test func `a renamed account keeps its mail, and its sessions end`() async throws {
        let world = try World()
        let new = Self.address("alicia@example.test")
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await client.deliver(delivery(to: [World.alice], .inline(message("one"))))
            let session = try await world.login(World.alice, context)
            #expect(
                try world.control().call(
                    .directory(.renameAccount(World.alice, to: new, keepAlias: true))) == .done)
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await session.status(.inbox)
            }
            await #expect(throws: StoreFailure.badCredentials) {
                _ = try await world.login(World.alice, context)
            }
            try await client.deliver(delivery(to: [World.alice], .inline(message("two"))))
            #expect(try await Self.count(world, new, context) == 2)
            guard
                case .directory(.problem(let problem)) = try world.control().call(
                    .directory(.renameAccount(new, to: World.bob, keepAlias: false)))
            else {
                Issue.record("renamed over another account")
                return
            }
            #expect(problem.kind == .exists)
            #expect(try await Self.count(world, new, context) == 2)
        }
        await world.remove()
    }

    @Test func `lists know totals without opening accounts`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await client.deliver(delivery(to: [World.alice], .inline(message("one"))))
        }
        @Sendable func rows() throws -> [AccountDetails] {
            guard
                case .directory(.accounts(let rows)) = try world.control().call(
                    .directory(.listAccounts(domain: [], exact: false)))
            else { return [] }
            return rows
        }
        #expect(try rows().map(\.address) == [World.alice, World.bob])
        #expect(try rows().map(\.usage?.messages) == [1, 0])
        #expect(
            try world.control().call(
                .directory(.setAccount(World.bob, .addSender(Self.address("@b.test")))))
                == .done)
        guard
            case .directory(.accounts(let shown)) = try world.control().call(
                .directory(.showAccount(World.bob)))
        else {
            Issue.record("not shown")
            return
        }
        #expect(shown.first?.senders == [Self.address("@b.test")])
        guard
            case .directory(.accounts(let counted)) = try world.control().call(
                .directory(.recount(World.alice)))
        else {
            Issue.record("not counted")
            return
        }
        #expect(counted.first?.usage?.messages == 1)
        // They outlive a restart.
        await world.core.close()
        let again = try Directory.open(
            stateDirectory: world.suite.server.stateDirectory, configured: [])
        #expect(try again.rows(in: nil).map(\.usage?.messages) == [1, 0])
        again.close()
        await world.remove()
    }
}
