// SPDX-License-Identifier: Apache-2.0
//
// Mail that is answered for when the delivery log has it: nobody can tell from his mailbox that it
// was not there yet, and nothing takes it away. docs/store.md, "The delivery log".

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

@Suite(.serialized) struct BacklogTests {
    private static let never = Duration.seconds(3_600)

    private static func address(_ local: String) -> EmailAddress {
        EmailAddress(local: Array(local), domain: Array("example.test"))
    }

    /// One message each, which is stored; the account is open and its limits are known: from now
    /// on it is answered early.
    private static func warmUp(
        _ world: World, _ client: DeliveryClient, _ accounts: [EmailAddress] = [World.alice]
    ) async throws {
        for account in accounts {
            #expect(try await client.recipient(account) == .accepted)
            try await client.deliver(delivery(to: [account], .inline(message("first"))))
            #expect(try await stored(world, account) == 1)
        }
    }

    /// What the account has, for whoever looks.
    private static func stored(_ world: World, _ account: EmailAddress) async throws -> UInt64 {
        let looked = await world.core.perform(AccountRef(address: account, generation: 0)) {
            store throws(StoreError) in try store.usage()
        }
        return try looked.get().messages
    }

    private static func deliver(
        _ count: Int, _ client: DeliveryClient, to accounts: [EmailAddress] = [World.alice]
    ) async throws {
        for number in 0..<count {
            try await client.deliver(delivery(to: accounts, .inline(message("\(number)"))))
        }
    }

    private static func home(_ world: World, _ account: EmailAddress) -> String {
        world.suite.msgstored.maildirRoot + "/example.test/"
            + String(decoding: account.local, as: UTF8.self)
    }

    private static func files(_ world: World, _ account: EmailAddress) -> Int {
        var count = 0
        guard let stream = opendir(home(world, account) + "/Maildir/cur") else { return -1 }
        while let entry = readdir(stream) {
            if entry.pointee.d_name.0 != 0x2E { count += 1 }
        }
        closedir(stream)
        return count
    }

    @Test func `it is in the mailbox for whoever looks, in the order of its answers`() async throws
    {
        let world = try World(patience: Self.never)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client, [World.alice, World.bob])
            try await Self.deliver(5, client)
            try await Self.deliver(5, client, to: [World.bob, World.alice])
            // The log alone has them: this is what the test is about.
            #expect(Self.files(world, World.alice) == 1)
            #expect(Self.files(world, World.bob) == 1)
            let alice = try await world.login(World.alice, context)
            #expect(try await alice.status(.inbox).messages == 11)
            #expect(Self.files(world, World.alice) == 11)
            #expect(Self.files(world, World.bob) == 1)
            let inbox = try await alice.open(.inbox, .readOnly) {}
            #expect(inbox.entries.map(\.uid) == Array(1...11))
            let reader = alice.read(inbox.id, uids: [2, 11])
            var read: [[UInt8]] = []
            while let next = try await reader.next() { read.append(try octets(of: next)) }
            #expect(read == [message("0"), message("4")])
            let bob = try await world.login(World.bob, context)
            #expect(try await bob.status(.inbox).messages == 6)
        }
        await world.remove()
    }

    @Test func `a session that has a mailbox open hears of it at once`() async throws {
        let world = try World(patience: Self.never)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client)
            let alice = try await world.login(World.alice, context)
            let events = Count()
            let inbox = try await alice.open(.inbox, .readWrite) { events.value += 1 }
            try await Self.deliver(1, client)
            #expect(await eventually(context) { events.value > 0 })
            let changes = try await alice.changes(inbox.id, since: inbox.highestModSeq)
            #expect(changes.entries.count == 1)
            try await alice.close(inbox.id)
            let before = Self.files(world, World.alice)
            try await Self.deliver(3, client)
            #expect(Self.files(world, World.alice) == before)
        }
        await world.remove()
    }

    @Test func `it is stored without anybody looking, when many wait or it has waited`()
        async throws
    {
        let world = try World(patience: .seconds(2))
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client)
            try await Self.deliver(1, client)
            #expect(await eventually(context) { Self.files(world, World.alice) == 2 })
        }
        await world.remove()
        let patient = try World(patience: Self.never)
        try await patient.onLoop { context in
            let client = DeliveryClient(patient.link(.deliver, context))
            try await Self.warmUp(patient, client)
            try await Self.deliver(64, client)
            #expect(await eventually(context) { Self.files(patient, World.alice) == 65 })
        }
        await patient.remove()
    }

    @Test func `after a crash the start stores it`() async throws {
        let world = try World(patience: Self.never)
        let copy = "\(world.directory)-copy"
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client, [World.alice, World.bob])
            try await Self.deliver(3, client, to: [World.alice, World.bob])
            #expect(Self.files(world, World.alice) == 1)
            #expect(run("/bin/cp", "-a", world.directory, copy) == 0)
        }
        await world.remove()
        var suite = world.suite
        suite.server.stateDirectory = copy + "/state"
        suite.msgstored.maildirRoot = copy + "/mail"
        let core = try StoreCore.open(suite)
        for account in [World.alice, World.bob] {
            let reference = AccountRef(address: account, generation: 0)
            let usage = await core.perform(reference) { store throws(StoreError) in
                try store.usage()
            }
            #expect(try usage.get().messages == 4)
        }
        await core.close()
        removeTree(copy)
    }

    @Test func `what cannot be stored now is tried again, and others are refused meanwhile`()
        async throws
    {
        let world = try World(patience: Self.never)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client, [World.alice, World.bob])
            try await Self.deliver(3, client, to: [World.alice, World.bob])
            // Her Maildir is out of reach, so nothing can be stored.
            let home = Self.home(world, World.alice)
            #expect(rename(home + "/Maildir", home + "/elsewhere") == 0)
            let file = open(home + "/Maildir", O_CREAT | O_WRONLY, 0o600)
            try #require(file >= 0)
            close(file)
            let alice = try await world.login(World.alice, context)
            await #expect(throws: (any Error).self) { _ = try await alice.status(.inbox) }
            await #expect(throws: StoreFailure.unavailable) {
                try await Self.deliver(1, client)
            }
            await #expect(throws: StoreFailure.unavailable) {
                try await Self.deliver(1, client, to: [World.bob, World.alice])
            }
            #expect(unlink(home + "/Maildir") == 0)
            #expect(rename(home + "/elsewhere", home + "/Maildir") == 0)
            // Nobody looks: msgstored tries again by itself.
            #expect(await eventually(context) { Self.files(world, World.alice) == 4 })
            #expect(try await alice.status(.inbox).messages == 4)
            let bob = try await world.login(World.bob, context)
            #expect(try await bob.status(.inbox).messages == 4)
            try await Self.deliver(1, client, to: [World.bob, World.alice])
            #expect(try await alice.status(.inbox).messages == 5)
        }
        await world.remove()
    }

    @Test func `an account that moves takes it along, a removed one keeps it`() async throws {
        let world = try World(patience: Self.never)
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client, [World.alice, World.bob])
            try await Self.deliver(3, client, to: [World.alice, World.bob])
            let new = Self.address("alison")
            let control = try world.control()
            #expect(
                try control.call(
                    .directory(.renameAccount(World.alice, to: new, keepAlias: true))) == .done)
            let alison = try await world.login(new, context)
            #expect(try await alison.status(.inbox).messages == 4)
            try control.removeAccount(World.bob, keepMail: true)
            try control.addAccount(World.bob, password: World.password)
            let bob = try await world.login(World.bob, context)
            #expect(try await bob.status(.inbox).messages == 4)
            try await Self.deliver(2, client, to: [World.bob])
            try control.removeAccount(World.bob, keepMail: false)
            try control.addAccount(World.bob, password: World.password)
            let other = try await world.login(World.bob, context)
            #expect(try await other.status(.inbox).messages == 0)
        }
        await world.remove()
    }

    @Test func `a domain that gets another name takes along what was answered`() async throws {
        let world = try World(patience: Self.never)
        try await world.onLoop { context in
            let (old, new) = (Array("old.test"), Array("new.test"))
            let accounts = ["alice", "bob"].map { EmailAddress(local: Array($0), domain: old) }
            let control = try world.control()
            try control.addDomain(old)
            for account in accounts { try control.addAccount(account, password: World.password) }
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client, accounts)
            try await Self.deliver(3, client, to: accounts)
            #expect(
                try control.call(.directory(.renameDomain(old, to: new, keepAlias: false)))
                    == .done)
            for account in accounts {
                let moved = EmailAddress(local: account.local, domain: new)
                let session = try await world.login(moved, context)
                #expect(try await session.status(.inbox).messages == 4)
            }
        }
        await world.remove()
    }

    @Test func `no more is promised than a quota allows`() async throws {
        let world = try World(patience: Self.never)
        try await world.onLoop { context in
            let limit: UInt64 = 40
            #expect(
                try world.control().call(.directory(.setAccount(World.alice, .messages(limit))))
                    == .done)
            let client = DeliveryClient(world.link(.deliver, context))
            try await Self.warmUp(world, client)
            try await Self.deliver(5, client)
            #expect(Self.files(world, World.alice) == 1)  // answered early
            let stored = Count()
            let refused = Count()
            for number in 0..<60 {
                context.spawn {
                    do throws(StoreFailure) {
                        try await client.deliver(
                            delivery(to: [World.alice], .inline(message("\(number)"))))
                        stored.value += 1
                    } catch {
                        if error == .overQuota { refused.value += 1 }
                    }
                }
            }
            #expect(await eventually(context) { stored.value + refused.value == 60 })
            #expect(stored.value == Int(limit) - 6)
            let alice = try await world.login(World.alice, context)
            #expect(try await alice.status(.inbox).messages == UInt32(limit))
        }
        await world.remove()
    }

    @Test func `nothing is promised while an account closes, and what was is waited for`()
        async throws
    {
        let world = try World(patience: Self.never)
        try await world.onLoop { context in
            try await Self.warmUp(world, DeliveryClient(world.link(.deliver, context)))
            let core = world.core
            let alice = [AccountRef(address: World.alice, generation: 0)]
            func reserve() -> Bool { core.backlog.reserve(alice, 10, core.addresses, core.usages) }
            #expect(reserve())
            #expect(core.backlog.reserved(World.alice).messages == 1)
            let shared = Shared()
            Thread.start(name: "closing") {
                core.backlog.close(World.alice)
                shared.isClosed = true
            }
            // What is reserved before it closes is given back, so that only the first is waited for
            #expect(
                await eventually(context) {
                    guard reserve() else { return true }
                    core.backlog.cancel(alice, 10)
                    return false
                })
            #expect(!shared.isClosed)
            core.backlog.cancel(alice, 10)
            #expect(await eventually(context) { shared.isClosed })
            core.backlog.reopen(World.alice)
            #expect(reserve())
            core.backlog.cancel(alice, 10)
            #expect(core.backlog.reserved(World.alice).messages == 0)
        }
        await world.remove()
    }
}

private final class Shared: Sendable {
    private let flag = Atomic<Bool>(false)
    var isClosed: Bool {
        get { flag.load(ordering: .acquiring) }
        set { flag.store(newValue, ordering: .releasing) }
    }
}

/// Runs a program to its end; its exit status.
private func run(_ arguments: String...) -> Int32 {
    var pid: pid_t = 0
    var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    guard posix_spawn(&pid, arguments[0], nil, nil, words, nil) == 0 else { return -1 }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status
}
