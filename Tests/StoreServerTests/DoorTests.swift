// SPDX-License-Identifier: Apache-2.0
//
// What a door refuses, and that it harms nobody else. docs/wire.md, "What closes a connection".

import Bytes
import Glibc
import Mail
import StoreClient
import Testing
import Transport
import Wire

@testable import StoreServer

private func frame(
    _ kind: FrameKind, _ opcode: UInt16, _ request: UInt32, _ payload: [UInt8] = [],
    hasDescriptor: Bool = false
) -> [UInt8] {
    var octets: [UInt8] = []
    FrameHeader(
        kind: kind, hasDescriptor: hasDescriptor, opcode: opcode, request: request,
        payloadCount: payload.count
    ).encode(into: &octets)
    return octets + payload
}

private let assumeAlice = frame(
    .request, RequestCode.assume.rawValue, 1,
    [0, 0, 0, 5] + Array("alice") + [0, 0, 0, 12] + Array("example.test"))

/// Frames that end a connection on which a hello has been said.
private let refused: [(String, Door, [UInt8])] = [
    (
        "another door's request", .deliver,
        frame(.request, RequestCode.list.rawValue, 1, [0, 0, 0, 0, 0, 0, 0, 1])
    ),
    (
        "mailctl's request at imapd's door", .mailbox,
        frame(.request, RequestCode.listDomains.rawValue, 1)
    ),
    ("smtpd's request at imapd's door", .mailbox, frame(.request, RequestCode.deliver.rawValue, 1)),
    ("a login at mailctl's door", .control, frame(.request, RequestCode.authenticate.rawValue, 1)),
    ("a login without a password at imapd's door", .mailbox, assumeAlice),
    ("a login without a password at smtpd's door", .deliver, assumeAlice),
    ("a login without a password at the queue's door", .queue, assumeAlice),
    ("a delivery at mailctl's door", .control, frame(.request, RequestCode.deliver.rawValue, 1)),
    ("anything at the queue's door", .queue, frame(.request, RequestCode.stage.rawValue, 1)),
    ("an unknown opcode", .control, frame(.request, 0x05FF, 1)),
    ("a second hello", .control, frame(.hello, 0, 0)),
    ("a reply", .control, frame(.reply, ReplyCode.done.rawValue, 1)),
    ("an event", .control, frame(.event, EventCode.changed.rawValue, 0)),
    (
        "a descriptor", .control,
        frame(.request, RequestCode.listDomains.rawValue, 1, hasDescriptor: true)
    ),
    ("request 0", .control, frame(.request, RequestCode.listDomains.rawValue, 0)),
    (
        "a number twice", .control,
        frame(.request, RequestCode.listDomains.rawValue, 7)
            + frame(.request, RequestCode.listDomains.rawValue, 7)
    ),
    (
        "numbers that fall", .control,
        frame(.request, RequestCode.listDomains.rawValue, 7)
            + frame(.request, RequestCode.listDomains.rawValue, 6)
    ),
    ("trailing octets", .control, frame(.request, RequestCode.listDomains.rawValue, 1, [0])),
    (
        "a cut payload", .control,
        frame(.request, RequestCode.addDomain.rawValue, 1, [0, 0, 0, 9, 1])
    ),
    ("an oversized frame", .control, [0, 0x20, 0, 0, 1, 0, 5, 1, 0, 0, 0, 1]),
    ("an unknown kind", .control, [0, 0, 0, 8, 9, 0, 5, 1, 0, 0, 0, 1]),
    ("an unknown flag", .control, [0, 0, 0, 8, 1, 4, 5, 1, 0, 0, 0, 1]),
    ("a length below 8", .control, [0, 0, 0, 7, 1, 0, 5, 1, 0, 0, 0, 1]),
]

@Suite(.serialized) struct DoorTests {
    @Test func `what makes no sense closes its connection and no other`() async throws {
        let world = try World()
        let bystander = try world.control()
        for (what, door, octets) in refused {
            let client = try RawClient(path: world.path(door))
            try client.sayHello(door)
            client.send(octets)
            #expect(client.isClosed(), "\(what) should close")
            #expect(try bystander.domains().count == 1, "after \(what)")
        }
        await world.remove()
    }

    @Test func `nothing goes before the hello, and it must fit`() async throws {
        let world = try World()
        let hellos: [[UInt8]] = [
            frame(.request, RequestCode.listDomains.rawValue, 1),
            try Frame.encode(Hello(door: .deliver, program: [])),
            frame(.hello, 0, 0, [0x4D, 0x52, 0x54, 0x4C, 0, 2, 4, 0, 0, 0, 0]),
            frame(.hello, 0, 0, [0x4D, 0x52, 0x54, 0x4D, 0, 1, 4, 0, 0, 0, 0]),
            frame(.hello, 0, 0, []),
            frame(.hello, 1, 0, [0x4D, 0x52, 0x54, 0x4C, 0, 1, 4, 0, 0, 0, 0]),
            Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ]
        for hello in hellos {
            let client = try RawClient(path: world.path(.control))
            client.send(hello)
            #expect(client.isClosed(), "\(hello)")
        }
        #expect(try world.control().domains().count == 1)
        await world.remove()
    }

    @Test(arguments: Door.allCases)
    func `random octets do no harm`(door: Door) async throws {
        let world = try World()
        let bystander = try world.control()
        var random = SplitMix(state: UInt64(door.rawValue) &* 0x9E37_79B9)
        for round in 0..<150 {
            let client = try RawClient(path: world.path(door))
            if round % 3 != 0 { try client.sayHello(door) }
            var octets: [UInt8] = []
            for number in 1...UInt32(1 + random.next() % 8) {
                let payload = (0..<Int(random.next() % 200)).map { _ in
                    UInt8(truncatingIfNeeded: random.next())
                }
                let codes = RequestCode.allCases.filter { door.allows($0) }
                if round % 3 == 2, let code = codes.randomElement(using: &random) {
                    octets += frame(.request, code.rawValue, number, payload)
                } else {
                    octets += payload
                }
            }
            client.send(octets)
        }
        #expect(try bystander.domains().count == 1)
        #expect(try bystander.accounts().count == 2)
        await world.remove()
    }

    @Test func `what a peer held goes with its connection`() async throws {
        let world = try World()
        var client: RawClient? = try RawClient(path: world.path(.mailbox))
        try client?.sayHello(.mailbox)
        client?.send(try Frame.encode(.authenticate(credentials(World.alice)), id: 1))
        let header = try FrameHeader(try #require(client).receive(FrameHeader.octets))
        var decoder = Decoder(try #require(client).receive(header.payloadCount))
        guard case .authenticated(let handle, _) = try Reply(.authenticated, from: &decoder) else {
            Issue.record("no handle")
            return
        }
        client?.send(try Frame.encode(.open(handle, .inbox, .maildrop), id: 2))
        let opened = try FrameHeader(try #require(client).receive(FrameHeader.octets))
        #expect(opened.opcode == ReplyCode.opened.rawValue)
        client = nil
        try await world.onLoop { context in
            let session = try await world.login(World.alice, context)
            var isFree = false
            for _ in 0..<100 where !isFree {
                do {
                    _ = try await session.open(.inbox, .maildrop) {}
                    isFree = true
                } catch StoreFailure.inUse {
                    await context.sleep(.milliseconds(20))
                }
            }
            #expect(isFree)
            #expect(world.core.watchers.count == 1)
        }
        await world.remove()
    }

    @Test func `mailctl acts on an account's mail without its password`() async throws {
        let world = try World()
        let control = try world.control()
        let capitals = EmailAddress(local: Array("ALICE"), domain: Array("example.test"))
        guard case .authenticated(let session, let address) = try control.call(.assume(capitals))
        else {
            Issue.record("not assumed")
            return
        }
        #expect(address == World.alice)
        let body = MessageBody.inline(message("by mailctl"))
        guard
            case .appended(_, let uid) = try control.call(
                .append(session, .inbox, flags: NamedFlags(), date: 1, body: body))
        else {
            Issue.record("not appended")
            return
        }
        #expect(uid == 1)
        guard case .status(let status) = try control.call(.status(session, .inbox)) else {
            Issue.record("no status")
            return
        }
        #expect(status.messages == 1)
        #expect(throws: ControlError.refused(.noSuchAccount)) {
            try control.call(
                .assume(EmailAddress(local: Array("nobody"), domain: Array("example.test"))))
        }
        #expect(try control.call(.logout(session)) == .done)
        #expect(throws: ControlError.refused(.staleHandle)) {
            try control.call(.status(session, .inbox))
        }
        await world.remove()
    }

    @Test func `domains and accounts are managed at the control door`() async throws {
        let world = try World()
        let control = try world.control()
        try control.addDomain(Array("Example.ORG"))
        #expect(throws: ControlError.refused(.alreadyExists)) {
            try control.addDomain(Array("example.org"))
        }
        let domains = try control.domains()
        #expect(
            Set(domains.map { String(decoding: $0.name, as: UTF8.self) })
                == ["example.test", "example.org"])
        #expect(domains.first { $0.name == Array("example.test") }?.isConfigured == true)
        #expect(domains.first { $0.name == Array("example.org") }?.isConfigured == false)
        #expect(throws: ControlError.refused(.notPermitted)) {
            try control.removeDomain(Array("example.test"))
        }
        let dave = EmailAddress(local: Array("dave"), domain: Array("example.org"))
        try control.addAccount(dave, password: Array("one"))
        #expect(throws: ControlError.refused(.alreadyExists)) {
            try control.addAccount(dave, password: Array("one"))
        }
        #expect(try control.accounts(domain: Array("example.org")).map(\.address) == [dave])
        #expect(try control.accounts().count == 3)
        try control.setPassword(dave, password: Array("two"))
        try await world.onLoop { context in
            let client = MailboxClient(world.link(.mailbox, context))
            await #expect(throws: StoreFailure.badCredentials) {
                _ = try await client.login(credentials(dave, password: Array("one")))
            }
            _ = try await client.login(credentials(dave, password: Array("two")))
        }
        #expect(throws: ControlError.refused(.notPermitted)) {
            try control.change(.setPassword(address: dave, password: [], hash: Array("{NOPE}x")))
        }
        try control.rebuildIndex(dave)
        let status = try control.status()
        #expect(status.accounts == 3)
        #expect(status.domains == 2)
        try control.removeAccount(dave, keepMail: false)
        #expect(throws: ControlError.refused(.noSuchAccount)) {
            try control.removeAccount(dave, keepMail: false)
        }
        try control.removeDomain(Array("example.org"))
        #expect(try control.domains().count == 1)
        await world.remove()
    }
}

/// Random numbers that are the same in every run.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
