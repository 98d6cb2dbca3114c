// SPDX-License-Identifier: Apache-2.0
//
// Every case goes through its octets and back; nothing else is accepted.

import Bytes
import Mail
import Testing

@testable import Wire

@Test func `every request has a sample`() {
    #expect(Set(Samples.requests.map(\.code)) == Set(RequestCode.allCases))
}

@Test func `every reply has a sample`() {
    #expect(Set(Samples.replies.map(\.code)) == Set(ReplyCode.allCases).subtracting([.fragment]))
}

@Test func `every event has a sample`() {
    #expect(Set(Samples.events.map(\.code)) == Set(EventCode.allCases))
}

@Test(arguments: Samples.requests)
func `a request comes back as it was`(request: Request) throws {
    #expect(try decodedRequest(request.code, encoded(request)) == request)
}

@Test(arguments: Samples.replies)
func `a reply comes back as it was`(reply: Reply) throws {
    #expect(try decodedReply(reply.code, encoded(reply)) == reply)
}

@Test(arguments: Samples.events)
func `an event comes back as it was`(event: Event) throws {
    #expect(try decodedEvent(event.code, encoded(event)) == event)
}

@Test(arguments: Samples.requests)
func `a request cut short or with something behind it is refused`(request: Request) {
    let octets = encoded(request)
    for count in 0..<octets.count {
        #expect(throws: WireError.self) {
            try decodedRequest(request.code, Array(octets[..<count]))
        }
    }
    #expect(throws: WireError.trailingOctets(1)) {
        try decodedRequest(request.code, octets + [0])
    }
}

@Test(arguments: Samples.replies)
func `a reply cut short or with something behind it is refused`(reply: Reply) {
    let octets = encoded(reply)
    for count in 0..<octets.count {
        #expect(throws: WireError.self) { try decodedReply(reply.code, Array(octets[..<count])) }
    }
    #expect(throws: WireError.trailingOctets(1)) { try decodedReply(reply.code, octets + [0]) }
}

@Test(arguments: Samples.events)
func `an event cut short or with something behind it is refused`(event: Event) {
    let octets = encoded(event)
    for count in 0..<octets.count {
        #expect(throws: WireError.self) { try decodedEvent(event.code, Array(octets[..<count])) }
    }
    #expect(throws: WireError.trailingOctets(1)) { try decodedEvent(event.code, octets + [0]) }
}

/// Values over a limit, which the other side would answer by closing the connection.
private let oversized: [Request] = [
    .addDomain([UInt8](repeating: 0x61, count: 256)),
    .checkRecipient(EmailAddress(local: [UInt8](repeating: 0x61, count: 321), domain: [0x62])),
    .checkRecipient(
        EmailAddress(
            local: [UInt8](repeating: 0x61, count: 100),
            domain: [UInt8](repeating: 0x61, count: 221))),
    .checkRecipient(EmailAddress(local: [0x61], domain: [])),
    .changeAccount(
        .add(
            address: Samples.alice, password: [UInt8](repeating: 0x61, count: 1_025), hash: [])),
    .changeAccount(.add(address: Samples.alice, password: [], hash: [])),
    .changeAccount(.setPassword(address: Samples.alice, password: [1], hash: [1])),
    .append(
        Samples.session, .inbox, flags: NamedFlags(), date: nil,
        body: .inline([UInt8](repeating: 0, count: MessageBody.inlineLimit + 1))),
    .append(
        Samples.session, .inbox,
        flags: NamedFlags(keywords: [[UInt8]](repeating: [0x61], count: 27)), date: nil,
        body: .inline([])),
    .append(
        Samples.session, .inbox, flags: NamedFlags(system: .keyword(0)), date: nil,
        body: .inline([])),
    .read(
        Samples.session, Samples.mailbox,
        uids: [UInt32](repeating: 1, count: WireLimit.readUIDs + 1), .whole),
    .deliver(
        Delivery(
            id: Samples.trace, session: Samples.trace, sender: .null, recipients: [],
            body: .inline([]))),
    .deliver(
        Delivery(
            id: Samples.trace, session: Samples.trace, sender: .null,
            recipients: [EmailAddress](repeating: Samples.alice, count: 1_001), body: .inline([]))),
]

@Test(arguments: oversized)
func `a value over its limit is noticed by the sender`(request: Request) {
    var encoder = Encoder()
    request.encode(into: &encoder)
    #expect(encoder.isOversized)
}

@Test func `the largest inline body fits one frame`() throws {
    let request = Request.deliver(
        Delivery(
            id: Samples.trace, session: Samples.trace, sender: .address(Samples.bob),
            recipients: [EmailAddress](
                repeating: EmailAddress(
                    local: [UInt8](repeating: 0x61, count: 64),
                    domain: [UInt8](repeating: 0x62, count: 255)), count: 1_000),
            body: .inline([UInt8](repeating: 0x61, count: MessageBody.inlineLimit))))
    let octets = encoded(request)
    #expect(octets.count <= FrameHeader.payloadLimit)
    #expect(try decodedRequest(.deliver, octets) == request)
}

@Test func `the most that 1,000 recipients may bring fits one frame`() throws {
    // A path has at most 256 octets with its brackets, ORCPT 500 with its type.
    let recipient = EmailAddress(
        local: [UInt8](repeating: 0x61, count: 64), domain: [UInt8](repeating: 0x62, count: 189))
    let original = OriginalRecipient(
        type: Array("rfc822"), address: [UInt8](repeating: 0x63, count: 493))
    let request = Request.deliver(
        Delivery(
            id: Samples.trace, session: Samples.trace, sender: .address(Samples.bob),
            recipients: [EmailAddress](repeating: recipient, count: 1_000),
            body: .inline([UInt8](repeating: 0x61, count: MessageBody.inlineLimit)),
            terms: Samples.terms,
            recipientTerms: [RecipientTerms](
                repeating: RecipientTerms(notify: .all, original: original), count: 1_000)))
    let octets = encoded(request)
    #expect(octets.count <= FrameHeader.payloadLimit)
    #expect(try decodedRequest(.deliverOnTerms, octets) == request)
}

@Test func `the largest set of UIDs fits one frame`() throws {
    let ranges = (0..<UInt32(WireLimit.ranges)).map { UIDRange($0 * 2 + 1, $0 * 2 + 1) }
    let request = Request.copy(
        Samples.session, Samples.mailbox, uids: ranges, to: .inbox, move: false)
    let octets = encoded(request)
    #expect(octets.count <= FrameHeader.payloadLimit)
    #expect(try decodedRequest(.copy, octets) == request)
}

@Test(arguments: [
    [UIDRange(0, 1)], [UIDRange(2, 1)], [UIDRange(1, 5), UIDRange(5, 6)],
    [UIDRange(4, 5), UIDRange(1, 2)],
])
func `a set of UIDs that does not rise is refused`(ranges: [UIDRange]) {
    let request = Request.copy(
        Samples.session, Samples.mailbox, uids: ranges, to: .inbox, move: false)
    #expect(throws: WireError.invalid("UID set")) { try decodedRequest(.copy, encoded(request)) }
}

@Test func `a count is not believed before the octets are there`() {
    var encoder = Encoder()
    encoder.put(Samples.session.rawValue)
    encoder.put(Samples.mailbox.rawValue)
    encoder.put(UInt32(16_384))
    encoder.put(UInt32(1))
    #expect(throws: WireError.truncated) { try decodedRequest(.read, encoder.octets) }
}

@Test func `a boolean is 0 or 1`() {
    #expect(throws: WireError.invalid("boolean")) { try decodedReply(.permission, [2]) }
}

@Test func `a fragment is no reply`() {
    #expect(throws: WireError.unknownOpcode(0x80FF)) { try decodedReply(.fragment, []) }
}

@Test func `copied UIDs come in pairs`() {
    let reply = Reply.copied(CopyResult(uidValidity: 1, source: [1], destination: []))
    #expect(throws: WireError.invalid("copied UIDs")) {
        try decodedReply(.copied, encoded(reply))
    }
}

@Test func `the numbers of failures are distinct`() {
    #expect(Set(StoreFailure.all.map(\.code)).count == StoreFailure.all.count)
}

@Test(arguments: Door.allCases)
func `a door lets only its own requests through`(door: Door) {
    for code in RequestCode.allCases {
        let group = code.rawValue >> 8
        let expected =
            switch door {
            case .deliver: group == 1 || group == 2
            case .mailbox: group == 1 || group == 3
            case .queue: group == 4
            case .control:
                group == 5 || group == 3
                    || group == 1 && code != .authenticate && code != .attempt
            }
        #expect(door.allows(opcode: code.rawValue) == expected)
    }
    #expect(!door.allows(opcode: 0))
    #expect(!door.allows(opcode: 0x02FF))
    #expect(!door.allows(opcode: 0x8002))
}

@Test func `ten thousand entries pass quickly`() throws {
    let entries = (1...10_000).map {
        MessageEntry(uid: $0, size: $0, flags: .seen, modSeq: UInt64($0), internalDate: Int64($0))
    }
    let clock = ContinuousClock()
    var octets: [UInt8] = []
    let writing = clock.measure { octets = encoded(Reply.entries(entries)) }
    #expect(octets.count == 4 + 32 * 10_000)
    let start = clock.now
    let back = try decodedReply(.entries, octets)
    let reading = clock.now - start
    #expect(back == .entries(entries))
    print("10,000 entries: written in \(writing), read in \(reading)")
}
