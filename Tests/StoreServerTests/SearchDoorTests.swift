// SPDX-License-Identifier: Apache-2.0
//
// Searching through the door `mailbox` while the index is made in the background.

import Bytes
import Glibc
import Mail
import Store
import StoreClient
import Testing
import Transport
import Wire

@testable import StoreServer

@Suite(.serialized) struct SearchDoorTests {
    private func stats(_ world: World) throws -> SearchStats {
        let control = try world.control()
        guard case .searchStats(let stats) = try control.call(.searchStats(World.alice)) else {
            throw StoreFailure.unavailable
        }
        return stats
    }

    private func fill(_ session: MailboxSession, _ count: Int) async throws {
        for number in 0..<count {
            let long = number % 50 == 7
            _ = try await session.append(
                .inbox, flags: NamedFlags(), date: nil,
                body: .inline(
                    message(
                        "number\(number) " + (long ? "needle" : "hay"), size: long ? 90_000 : 300)))
        }
    }

    /// Waits for the background indexer.
    private func indexed(
        _ world: World, _ context: LoopContext, _ count: UInt64
    ) async throws -> Bool {
        for _ in 0..<300 {
            if try stats(world).indexed == count { return true }
            await context.sleep(.milliseconds(100))
        }
        return false
    }

    @Test func `answers are the same before, while and after messages are indexed`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            let inbox = try await session.open(.inbox, .readWrite) {}
            try await fill(session, 200)
            let everything = [UIDRange(1, .max)]
            let query = TextQuery.all([
                .header(name: Array("Subject"), Array("NEEDLE")), .body(Array("0123456789 01")),
                .not(.text(Array("number57"))),
            ])
            let expected: [UInt32] = [8, 108, 158]
            let before = try await session.search(inbox.id, uids: everything, query)
            #expect(before.sorted() == expected)
            #expect(try await indexed(world, context, 200))
            let after = try await session.search(inbox.id, uids: everything, query)
            #expect(after.sorted() == expected)
            let some = try await session.search(inbox.id, uids: [UIDRange(100, 120)], query)
            #expect(some == [108])
            let state = try stats(world)
            #expect(state.isEnabled && state.messages == 200 && state.segments >= 1)

            let control = try world.control()
            try control.done(.rebuildSearch(World.alice))
            let during = try await session.search(inbox.id, uids: everything, query)
            #expect(during.sorted() == expected)
            #expect(try await indexed(world, context, 200))
            #expect(
                try await session.search(inbox.id, uids: everything, query).sorted() == expected)
        }
        await world.remove()
    }

    @Test func `without an index messages are read`() async throws {
        let world = try World(search: "none")
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            let inbox = try await session.open(.inbox, .readWrite) {}
            try await fill(session, 70)
            let query = TextQuery.text(Array("needle"))
            let found = try await session.search(inbox.id, uids: [UIDRange(1, .max)], query)
            #expect(found.sorted() == [8, 58])
            #expect(try stats(world).isEnabled == false)
            #expect(try stats(world).segments == 0)
        }
        await world.remove()
    }

    @Test func `only an open mailbox can be searched`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await session.search(
                    MailboxID(rawValue: 1), uids: [UIDRange(1, 9)], .all([]))
            }
        }
        await world.remove()
    }
}
