// SPDX-License-Identifier: Apache-2.0
//
// Recipients and deliveries through the door `deliver`, with the client that smtpd uses.

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

@Suite(.serialized) struct DeliverDoorTests {
    @Test func `recipients are known, unknown or not ours`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            func status(_ text: String) async throws -> RecipientStatus {
                try await client.recipient(try #require(EmailAddress(splitting: Array(text))))
            }
            #expect(try await status("alice@example.test") == .accepted)
            #expect(try await status("Alice@EXAMPLE.test") == .accepted)
            #expect(try await status("alice+lists@example.test") == .accepted)
            #expect(try await status("+alice@example.test") == .unknownAccount)
            #expect(try await status("carol@example.test") == .unknownAccount)
            #expect(try await status("alice@example.org") == .notLocal)
            // What was found before must not outlive a change.
            let carol = try #require(EmailAddress(splitting: Array("carol@example.test")))
            try world.control().addAccount(carol, password: World.password)
            #expect(try await status("carol@example.test") == .accepted)
            try world.control().removeAccount(carol, keepMail: false)
            #expect(try await status("carol@example.test") == .unknownAccount)
        }
        await world.remove()
    }

    @Test func `a submitter may send as himself only`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let (session, account) = try await client.authenticate(credentials(World.alice))
            #expect(account == World.alice)
            #expect(try await client.maySend(session, as: World.alice))
            #expect(try await !client.maySend(session, as: World.bob))
            client.logout(session)
            await #expect(throws: StoreFailure.staleHandle) {
                _ = try await client.maySend(session, as: World.alice)
            }
        }
        await world.remove()
    }

    @Test(arguments: [200, 200_000, 1_000_000])
    func `a delivery is in every recipient's mailbox when it is answered`(size: Int) async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let octets = message("for both", size: size)
            let alice = try await world.login(World.alice, context)
            let events = Count()
            _ = try await alice.open(.inbox, .readWrite) { events.value += 1 }
            for recipients in [[World.alice], [World.alice, World.bob]] {
                var body = MessageBody.inline(octets)
                if size > MessageBody.inlineLimit {
                    let staged = try await client.stage()
                    body = .staged(staged.token)
                    #expect(write(staged.file.rawValue, octets, octets.count) == octets.count)
                    _ = consume staged
                }
                try await client.deliver(delivery(to: recipients, body))
            }
            #expect(await eventually(context) { events.value > 0 })
            for (account, count) in [(World.alice, 2), (World.bob, 1)] {
                let session = try await world.login(account, context)
                let inbox = try await session.open(.inbox, .readOnly) {}
                #expect(inbox.entries.count == count)
                let reader = session.read(inbox.id, uids: inbox.entries.map(\.uid))
                while let message = try await reader.next() {
                    let got = try StoreServerTests.octets(of: message)
                    let isSame = got == octets  // not in #expect, which would print all of it
                    #expect(isSame)
                }
            }
        }
        await world.remove()
    }

    @Test func `a recipient named twice gets one copy`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let lists = EmailAddress(local: Array("Alice+lists"), domain: Array("example.test"))
            try await client.deliver(
                delivery(to: [World.alice, lists, World.alice], .inline(message("once"))))
            let session = try await world.login(World.alice, context)
            #expect(try await session.status(.inbox).messages == 1)
        }
        await world.remove()
    }

    @Test func `all get it or none, for an unknown recipient`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let nobody = EmailAddress(local: Array("nobody"), domain: Array("example.test"))
            await #expect(throws: StoreFailure.noSuchAccount) {
                try await client.deliver(
                    delivery(to: [World.alice, nobody], .inline(message("none"))))
            }
            let session = try await world.login(World.alice, context)
            #expect(try await session.status(.inbox).messages == 0)
        }
        await world.remove()
    }

    @Test func `all get it or none, when one account's disk fails`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            // Carol's place on the disk is taken by a file, so nothing can be stored for her.
            let carol = EmailAddress(local: Array("carol"), domain: Array("example.test"))
            try world.core.directory.addAccount(
                carol, passwordHash: world.core.hashing.decoy)
            world.core.addresses.directoryChanged()
            let place = world.suite.msgstored.maildirRoot + "/example.test/carol"
            let file = open(place, O_CREAT | O_WRONLY, 0o600)
            try #require(file >= 0)
            close(file)
            await #expect(throws: StoreFailure.unavailable) {
                try await client.deliver(
                    delivery(to: [World.alice, carol, World.bob], .inline(message("none"))))
            }
            for account in [World.alice, World.bob] {
                let session = try await world.login(account, context)
                let inbox = try await session.open(.inbox, .readOnly) {}
                #expect(inbox.entries.isEmpty)
            }
            try await client.deliver(
                delivery(to: [World.alice, World.bob], .inline(message("both"))))
            let session = try await world.login(World.alice, context)
            #expect(try await session.status(.inbox).messages == 1)
        }
        await world.remove()
    }

    @Test func `many deliveries at once all arrive`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let done = Count()
            let failed = Count()
            for number in 0..<300 {
                context.spawn {
                    do {
                        let to = number % 3 == 0 ? [World.alice, World.bob] : [World.alice]
                        try await client.deliver(
                            delivery(to: to, .inline(message("\(number)", size: 2_000))))
                    } catch {
                        failed.value += 1
                    }
                    done.value += 1
                }
            }
            #expect(await eventually(context) { done.value == 300 })
            #expect(failed.value == 0)
            let alice = try await world.login(World.alice, context)
            #expect(try await alice.status(.inbox).messages == 300)
            let bob = try await world.login(World.bob, context)
            #expect(try await bob.status(.inbox).messages == 100)
        }
        await world.remove()
    }

    @Test func `more questions than fit at once are all answered`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let link = world.link(.deliver, context)
            let client = DeliveryClient(link)
            let answers = Count()
            for number in 0..<3_000 {
                let address = EmailAddress(
                    local: Array("user\(number)"), domain: Array("example.test"))
                context.spawn {
                    do {
                        let status = try await client.recipient(address)
                        if status == .unknownAccount { answers.value += 1 }
                    } catch {
                        Issue.record("\(error)")
                    }
                }
            }
            #expect(await eventually(context) { answers.value == 3_000 })
        }
        await world.remove()
    }
}

/// NOTIFY=SUCCESS, RFC 3461 §4.1.
@Suite(.serialized) struct ReportTests {
    private func delivery(
        _ body: MessageBody, from sender: ReversePath = .address(World.alice),
        to recipients: [EmailAddress] = [World.bob], notify: [NotifyConditions?] = [.success],
        mayReport: Bool = true
    ) -> Delivery {
        var terms = EnvelopeTerms()
        terms.mayReport = mayReport
        terms.envelopeID = Array("QQ314")
        return Delivery(
            id: TraceID(rawValue: .random(in: 1 ... .max)), session: TraceID(rawValue: 2),
            sender: sender, recipients: recipients, body: body, terms: terms,
            recipientTerms: notify.map { RecipientTerms(notify: $0) })
    }

    private func count(
        _ world: World, _ account: EmailAddress, _ context: LoopContext
    ) async throws -> Int {
        let session = try await world.login(account, context)
        return try await session.open(.inbox, .readOnly) {}.entries.count
    }

    @Test(arguments: [200, 500_000])
    func `the sender is told when it was delivered`(size: Int) async throws {
        let world = try World()
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let sent = message("for bob", size: size)
            var body = MessageBody.inline(sent)
            if size > MessageBody.inlineLimit {
                let staged = try await client.stage()
                body = .staged(staged.token)
                #expect(write(staged.file.rawValue, sent, sent.count) == sent.count)
                _ = consume staged
            }
            try await client.deliver(delivery(body))
            #expect(try await count(world, World.bob, context) == 1)
            #expect(try await count(world, World.alice, context) == 1)
            let session = try await world.login(World.alice, context)
            let inbox = try await session.open(.inbox, .readOnly) {}
            var text = ""
            let reader = session.read(inbox.id, uids: inbox.entries.map(\.uid))
            while let message = try await reader.next() {
                text = String(decoding: try octets(of: message), as: UTF8.self)
            }
            #expect(text.contains("Subject: Successful Mail Delivery Report\r\n"))
            #expect(text.contains("Original-Envelope-Id: QQ314\r\n"))
            #expect(text.contains("Final-Recipient: rfc822; bob@example.test\r\n"))
            #expect(text.contains("\r\nSubject: for bob\r\n"))
            #expect(!text.contains("0123456789 0123456789"))
        }
        await world.remove()
    }

    @Test func `nobody else is told anything`() async throws {
        let world = try World()
        let elsewhere = EmailAddress(local: Array("x"), domain: Array("elsewhere.test"))
        try await world.onLoop { context in
            let client = DeliveryClient(world.link(.deliver, context))
            let body = MessageBody.inline(message("for bob"))
            try await client.deliver(delivery(body, mayReport: false))
            try await client.deliver(delivery(body, from: .null))
            try await client.deliver(delivery(body, from: .address(elsewhere)))
            try await client.deliver(delivery(body, notify: [[.failure, .delay]]))
            try await client.deliver(delivery(body, notify: [[]]))
            try await client.deliver(delivery(body, notify: []))
            #expect(try await count(world, World.bob, context) == 6)
            #expect(try await count(world, World.alice, context) == 0)
        }
        await world.remove()
    }
}
