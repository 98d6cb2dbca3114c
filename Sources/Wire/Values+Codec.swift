// SPDX-License-Identifier: Apache-2.0
//
// The encoding of every value that more than one message carries. docs/wire.md, "Values".

import Bytes
import IDNA
import Mail

extension Encoder {
    mutating func put(_ address: EmailAddress) {
        put(address.local, limit: WireLimit.address)
        put(address.domain, limit: WireLimit.domain)
        if address.local.count + address.domain.count > WireLimit.address { refuse() }
        if address.domain.isEmpty { refuse() }
    }

    mutating func put(_ path: ReversePath) {
        switch path {
        case .null: put(false)
        case .address(let address):
            put(true)
            put(address)
        }
    }

    mutating func put(_ name: MailboxName) { put(name.octets, limit: MailboxName.octetLimit) }
    mutating func put(_ handle: SessionHandle) { put(handle.rawValue) }
    mutating func put(_ token: StageToken) { put(token.rawValue) }
    mutating func put(_ id: MailboxID) { put(id.rawValue) }
    mutating func put(_ id: TraceID) { put(id.rawValue) }

    mutating func put(_ flags: NamedFlags) {
        put(flags.system.rawValue)
        if !Flags.system.contains(flags.system) { refuse() }
        put(keywords: flags.keywords)
    }

    mutating func put(keywords: [[UInt8]]) {
        put(list: keywords, limit: WireLimit.keywords) { $0.put($1, limit: WireLimit.keyword) }
    }

    mutating func put(_ body: MessageBody) {
        switch body {
        case .inline(let octets):
            put(UInt8(0))
            put(octets, limit: MessageBody.inlineLimit)
        case .staged(let token):
            put(UInt8(1))
            put(token)
        }
    }

    mutating func put(_ credentials: Credentials) {
        put(credentials.authorizationID, limit: WireLimit.identity)
        put(credentials.authenticationID, limit: WireLimit.identity)
        put(credentials.password, limit: WireLimit.password)
        put(credentials.remote, limit: WireLimit.remote)
        put(credentials.session)
        put(credentials.service, limit: WireLimit.service)
    }

    mutating func put(ranges: [UIDRange]) {
        put(fixed: ranges, width: 8, limit: WireLimit.ranges) { range, span in
            span.append(bigEndian: range.first)
            span.append(bigEndian: range.last)
        }
    }

    mutating func put(uids: [UInt32], limit: Int = WireLimit.replyUIDs) {
        put(fixed: uids, width: 4, limit: limit) { $1.append(bigEndian: $0) }
    }

    /// 32 octets each: mailboxes of 100,000 messages cross the wire at every SELECT.
    mutating func put(entries: [MessageEntry], limit: Int = WireLimit.entries) {
        put(fixed: entries, width: 32, limit: limit) { entry, span in
            span.append(bigEndian: entry.uid)
            span.append(bigEndian: entry.size)
            span.append(bigEndian: entry.flags.rawValue)
            span.append(bigEndian: entry.modSeq)
            span.append(bigEndian: entry.internalDate)
        }
    }
}

extension Decoder {
    mutating func address() throws(WireError) -> EmailAddress {
        let local = try string(limit: WireLimit.address)
        let domain = try string(limit: WireLimit.domain)
        guard local.count + domain.count <= WireLimit.address else { throw .oversized }
        guard !domain.isEmpty else { throw .invalid("address") }
        return EmailAddress(local: local, domain: domain)
    }

    /// A domain by its one spelling; empty stands for all where a request says so.
    mutating func domain() throws(WireError) -> [UInt8] {
        DomainName.canonical(try string(limit: WireLimit.domain))
    }

    mutating func reversePath() throws(WireError) -> ReversePath {
        try bool() ? .address(try address()) : .null
    }

    mutating func mailboxName() throws(WireError) -> MailboxName {
        guard let name = MailboxName(try string(limit: MailboxName.octetLimit)) else {
            throw .invalid("mailbox name")
        }
        return name
    }

    mutating func sessionHandle() throws(WireError) -> SessionHandle {
        SessionHandle(rawValue: try integer(UInt64.self))
    }

    mutating func stageToken() throws(WireError) -> StageToken {
        StageToken(rawValue: try integer(UInt64.self))
    }

    mutating func mailboxID() throws(WireError) -> MailboxID {
        MailboxID(rawValue: try integer(Int64.self))
    }

    mutating func traceID() throws(WireError) -> TraceID {
        TraceID(rawValue: try integer(UInt64.self))
    }

    mutating func namedFlags() throws(WireError) -> NamedFlags {
        let system = Flags(rawValue: try integer(UInt64.self))
        guard Flags.system.contains(system) else { throw .invalid("system flags") }
        return NamedFlags(system: system, keywords: try keywords())
    }

    mutating func keywords() throws(WireError) -> [[UInt8]] {
        try list(limit: WireLimit.keywords, minimum: 4) { decoder throws(WireError) in
            try decoder.string(limit: WireLimit.keyword)
        }
    }

    mutating func body() throws(WireError) -> MessageBody {
        switch try octet() {
        case 0: .inline(try string(limit: MessageBody.inlineLimit))
        case 1: .staged(try stageToken())
        default: throw .invalid("body")
        }
    }

    mutating func credentials() throws(WireError) -> Credentials {
        Credentials(
            authorizationID: try string(limit: WireLimit.identity),
            authenticationID: try string(limit: WireLimit.identity),
            password: try string(limit: WireLimit.password),
            remote: try string(limit: WireLimit.remote),
            session: try traceID(),
            service: try string(limit: WireLimit.service))
    }

    /// Rising and not overlapping, from 1: what `UIDRange` promises.
    mutating func ranges() throws(WireError) -> [UIDRange] {
        let ranges = try fixed(limit: WireLimit.ranges, width: 8) { octets, place in
            UIDRange(
                Self.number(octets, place, UInt32.self), Self.number(octets, place + 4, UInt32.self)
            )
        }
        var floor: UInt32 = 0
        for range in ranges {
            guard range.first > floor, range.last >= range.first else { throw .invalid("UID set") }
            floor = range.last
        }
        return ranges
    }

    mutating func uids(limit: Int = WireLimit.replyUIDs) throws(WireError) -> [UInt32] {
        try fixed(limit: limit, width: 4) { Self.number($0, $1, UInt32.self) }
    }

    mutating func entries(limit: Int = WireLimit.entries) throws(WireError) -> [MessageEntry] {
        try fixed(limit: limit, width: 32) { octets, place in
            MessageEntry(
                uid: Self.number(octets, place, UInt32.self),
                size: Self.number(octets, place + 4, UInt32.self),
                flags: Flags(rawValue: Self.number(octets, place + 8, UInt64.self)),
                modSeq: Self.number(octets, place + 16, UInt64.self),
                internalDate: Self.number(octets, place + 24, Int64.self))
        }
    }

    mutating func choice<Choice: RawRepresentable<UInt8>>(
        _ type: Choice.Type, _ what: StaticString
    ) throws(WireError) -> Choice {
        guard let choice = Choice(rawValue: try octet()) else { throw .invalid(what) }
        return choice
    }

    @inline(__always)
    private static func number<Number: FixedWidthInteger>(
        _ octets: [UInt8], _ place: Int, _ type: Number.Type
    ) -> Number {
        var value: Number = 0
        for index in place..<(place + Number.bitWidth / 8) {
            value = (value << 8) | Number(truncatingIfNeeded: octets[index])
        }
        return value
    }
}
