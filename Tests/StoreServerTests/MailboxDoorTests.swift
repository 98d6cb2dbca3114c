// SPDX-License-Identifier: Apache-2.0
//
// Logins and mailboxes through the door `mailbox`, with the client that imapd and pop3d use.

import Bytes
import Glibc
import Mail
import StoreClient
import Testing
import Transport
import Wire

@testable import StoreServer

@Suite(.serialized) struct MailboxDoorTests {
    @Test func `a login needs the right password and its own name`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = MailboxClient(world.link(.mailbox, context))
            let nobody = EmailAddress(local: Array("nobody"), domain: Array("example.test"))
            let wrong = [
                credentials(World.alice, password: Array("wrong")),
                credentials(World.alice, password: []),
                credentials(World.alice, password: [UInt8](repeating: 0x61, count: 2_000)),
                credentials(nobody),
                credentials(World.alice, authorizationID: World.bob.octets),
            ]
            for credentials in wrong {
                await #expect(throws: StoreFailure.badCredentials) {
                    _ = try await client.login(credentials)
                }
            }
            let session = try await client.login(
                credentials(EmailAddress(local: Array("ALICE"), domain: Array("Example.Test"))))
            #expect(session.account == World.alice)
            #expect(try await session.list().contains { $0.name == .inbox && $0.isSelectable })
        }
        await world.remove()
    }

    @Test func `mailboxes are made, renamed, subscribed and deleted`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            let work = try name("Work/Plans")
            try await session.create(work)
            await #expect(throws: StoreFailure.mailboxExists) { try await session.create(work) }
            try await session.subscribe(work, true)
            try await session.rename(from: work, to: try name("Old"))
            await #expect(throws: StoreFailure.noSuchMailbox) { _ = try await session.status(work) }
            #expect(try await session.status(try name("Old")).messages == 0)
            try await session.delete(try name("Old"))
            await #expect(throws: StoreFailure.notPermitted) { try await session.delete(.inbox) }
        }
        await world.remove()
    }

    @Test func `what one session appends another one hears of`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let reader = try await world.login(World.alice, context)
            let writer = try await world.login(World.alice, context)
            let stranger = try await world.login(World.bob, context)
            let events = Count()
            let strange = Count()
            let inbox = try await reader.open(.inbox, .readWrite) { events.value += 1 }
            _ = try await stranger.open(.inbox, .readWrite) { strange.value += 1 }
            #expect(inbox.entries.isEmpty)

            let body = message("hello")
            let flags = NamedFlags(system: .flagged, keywords: [Array("$Work")])
            let appended = try await writer.append(
                .inbox, flags: flags, date: 1_000_000_000, body: .inline(body))
            #expect(appended.uidValidity == inbox.uidValidity)
            #expect(await eventually(context) { events.value > 0 })

            let changes = try await reader.changes(inbox.id, since: inbox.highestModSeq)
            let entry = try #require(changes.entries.first)
            #expect(changes.entries.count == 1)
            #expect(entry.uid == appended.uid)
            #expect(entry.size == UInt32(body.count))
            #expect(entry.internalDate == 1_000_000_000)
            #expect(entry.flags.contains(.flagged))
            #expect(changes.keywords.contains(Array("$Work")))
            #expect(strange.value == 0)

            try await reader.close(inbox.id)
            let before = events.value
            _ = try await writer.append(
                .inbox, flags: NamedFlags(), date: nil, body: .inline(message("unheard")))
            await context.sleep(.milliseconds(100))
            #expect(events.value == before)
        }
        await world.remove()
    }

    @Test func `flags, copies, moves and expunges reach the other session`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let one = try await world.login(World.alice, context)
            let two = try await world.login(World.alice, context)
            for number in 1...5 {
                _ = try await one.append(
                    .inbox, flags: NamedFlags(), date: nil, body: .inline(message("\(number)")))
            }
            let events = Count()
            let mine = try await one.open(.inbox, .readWrite) {}
            let theirs = try await two.open(.inbox, .readWrite) { events.value += 1 }
            let uids = mine.entries.map(\.uid)
            #expect(uids.count == 5)

            let stored = try await one.store(
                mine.id, uids: [UIDRange(uids[0], uids[1])], .add, NamedFlags(system: .deleted))
            #expect(stored.entries.map(\.uid) == Array(uids[0...1]))
            #expect(await eventually(context) { events.value > 0 })
            let changes = try await two.changes(theirs.id, since: theirs.highestModSeq)
            #expect(changes.entries.map(\.uid) == Array(uids[0...1]))

            let archive = try name("Keep")
            try await one.create(archive)
            let copied = try await one.copy(
                mine.id, uids: [UIDRange(uids[2], uids[2])], to: archive)
            #expect(copied.source == [uids[2]])
            let moved = try await one.copy(
                mine.id, uids: [UIDRange(uids[3], uids[3])], to: archive, move: true)
            #expect(moved.source == [uids[3]])
            #expect(try await one.status(archive).messages == 2)

            let gone = try await one.expunge(mine.id)
            #expect(gone.uids == Array(uids[0...1]))
            let later = try await two.changes(theirs.id, since: changes.highestModSeq)
            #expect(Set(later.vanished) == Set([uids[0], uids[1], uids[3]]))
        }
        await world.remove()
    }

    @Test func `a mailbox opened for reading only cannot be changed`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            _ = try await session.append(
                .inbox, flags: NamedFlags(), date: nil, body: .inline(message("x")))
            let inbox = try await session.open(.inbox, .readOnly) {}
            let all = [UIDRange(1, .max)]
            await #expect(throws: StoreFailure.notPermitted) {
                _ = try await session.store(inbox.id, uids: all, .add, NamedFlags(system: .seen))
            }
            await #expect(throws: StoreFailure.notPermitted) {
                _ = try await session.expunge(inbox.id, uids: all, force: true)
            }
            await #expect(throws: StoreFailure.notPermitted) {
                _ = try await session.copy(inbox.id, uids: all, to: .inbox, move: true)
            }
            #expect(try await session.status(.inbox).messages == 1)
        }
        await world.remove()
    }

    @Test func `a long message is staged, and only when nobody can write to it any more`()
        async throws
    {
        let world = try World()
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            let body = message("long", size: 1_000_000)
            let early = try await session.stage()
            #expect(write(early.file.rawValue, body, body.count) == body.count)
            let token = early.token
            await #expect(throws: StoreFailure.badStage) {
                _ = try await session.append(
                    .inbox, flags: NamedFlags(), date: nil, body: .staged(token))
            }
            _ = consume early

            let staged = try await session.stage()
            let good = staged.token
            #expect(write(staged.file.rawValue, body, body.count) == body.count)
            _ = consume staged
            let appended = try await session.append(
                .inbox, flags: NamedFlags(), date: nil, body: .staged(good))
            await #expect(throws: StoreFailure.badStage) {
                _ = try await session.append(
                    .inbox, flags: NamedFlags(), date: nil, body: .staged(good))
            }
            let inbox = try await session.open(.inbox, .readWrite) {}
            #expect(inbox.entries.map(\.uid) == [appended.uid])
            let reader = session.read(inbox.id, uids: [appended.uid])
            guard let message = try await reader.next() else {
                Issue.record("no message")
                return
            }
            let got = try octets(of: message)
            let isSame = got == body
            #expect(isSame)
            if let more = try await reader.next() { Issue.record("and UID \(more.uid)") }
        }
        await world.remove()
    }

    @Test func `messages come in the order asked, whole or their headers`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            var bodies: [UInt32: [UInt8]] = [:]
            for number in 0..<70 {
                let body = message("\(number)", size: number % 7 == 0 ? 40_000 : 300)
                let appended = try await session.append(
                    .inbox, flags: NamedFlags(), date: nil, body: .inline(body))
                bodies[appended.uid] = body
            }
            let inbox = try await session.open(.inbox, .readOnly) {}
            let uids = Array(inbox.entries.map(\.uid).reversed())
            let reader = session.read(inbox.id, uids: [999_999] + uids)
            var seen: [UInt32] = []
            while let message = try await reader.next() {
                seen.append(message.uid)
                let uid = message.uid
                let got = try octets(of: message)
                let isSame = got == bodies[uid]
                #expect(isSame)
            }
            #expect(seen == uids)

            let headers = session.read(inbox.id, uids: uids, part: .header)
            while let message = try await headers.next() {
                let body = try #require(bodies[message.uid])
                let end = Array("\r\n\r\n")
                let octets = try octets(of: message)
                #expect(octets.suffix(4).elementsEqual(end))
                #expect(body.starts(with: octets))
            }
            do {  // Nobody wants the rest: its descriptors must not stay open.
                let abandoned = session.read(inbox.id, uids: uids)
                _ = try await abandoned.next()
            }
            _ = try await session.status(.inbox)
            #expect(await eventually(context) { openMessages(of: world) == 0 })
        }
        await world.remove()
    }

    @Test func `one POP3 session at a time has the maildrop`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let first = try await world.login(World.alice, context)
            let second = try await world.login(World.alice, context)
            _ = try await first.open(.inbox, .maildrop) {}
            await #expect(throws: StoreFailure.inUse) {
                _ = try await second.open(.inbox, .maildrop) {}
            }
            _ = try await second.open(.inbox, .readWrite) {}
            first.logout()
            var isFree = false
            for _ in 0..<50 where !isFree {
                do {
                    _ = try await second.open(.inbox, .maildrop) {}
                    isFree = true
                } catch StoreFailure.inUse {
                    await context.sleep(.milliseconds(20))
                }
            }
            #expect(isFree)
        }
        await world.remove()
    }

    @Test func `a handle is good on its own connection until logout`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let mine = world.link(.mailbox, context)
            let other = world.link(.mailbox, context)
            let reply = try await mine.call(.authenticate(credentials(World.alice)))
            guard case .authenticated(let handle, _) = reply else {
                Issue.record("no handle: \(reply)")
                return
            }
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await other.call(.list(handle))
            }
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await mine.call(.changes(handle, MailboxID(rawValue: 1), since: 0))
            }
            _ = try await mine.call(.list(handle))
            _ = try await mine.call(.logout(handle))
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await mine.call(.list(handle))
            }
        }
        await world.remove()
    }

    @Test func `a removed account's sessions are stale`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let session = try await world.login(World.bob, context)
            let told = Count()
            _ = try await session.open(.inbox, .readWrite) { told.value += 1 }
            try world.control().removeAccount(World.bob, keepMail: false)
            await #expect(throws: StoreFailure.staleHandle) { _ = try await session.list() }
            #expect(await eventually(context) { told.value > 0 })
            try world.control().addAccount(World.bob, password: World.password)
            await #expect(throws: StoreFailure.staleHandle) { _ = try await session.list() }
            let again = try await world.login(World.bob, context)
            #expect(try await again.status(.inbox).messages == 0)
        }
        await world.remove()
    }
}

/// A counter that a closure on the same loop can raise.
final class Count {
    var value = 0
}

func octets(of message: consuming StoredMessage) throws -> [UInt8] {
    let size = Int(message.size)
    switch consume message.body {
    case .inline(let octets):
        #expect(octets.count == size)
        return octets
    case .file(let descriptor):
        var octets = [UInt8](repeating: 0, count: size)
        let got = pread(descriptor.rawValue, &octets, size, 0)
        #expect(got == size)
        return octets
    }
}

/// Descriptors of this process that are message files of `world`; other tests run beside it.
func openMessages(of world: World) -> Int {
    var path = [CChar](repeating: 0, count: 4_096)
    return (0..<4_096).count { number in
        let count = readlink("/proc/self/fd/\(number)", &path, path.count)
        guard count > 0 else { return false }
        let name = String(decoding: path[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return name.contains(world.directory) && name.contains("/cur/")
    }
}
