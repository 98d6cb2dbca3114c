// SPDX-License-Identifier: Apache-2.0
//
// Frames: what travels on a socket between two daemons. docs/wire.md.
//
//     0      4     5      6       8         12
//     length kind  flags  opcode  request   payload ...
//
// `length` counts everything behind itself. All integers are big-endian.

import Bytes

/// What a frame is.
package enum FrameKind: UInt8, Sendable {
    /// First frame in each direction: magic, version, door.
    case hello = 0
    case request = 1
    /// The last (mostly the only) answer to a request.
    case reply = 2
    /// An answer that more answers to the same request follow.
    case part = 3
    /// Sent by the store on its own: request id 0.
    case event = 4
}

/// The 12 octets in front of every payload.
package struct FrameHeader: Equatable, Sendable {
    package static let octets = 12
    /// Octets of payload that one frame may have: a 256 KiB message and its envelope fit.
    package static let payloadLimit = 1 << 20
    /// Flag bit: one descriptor travels with this frame (SCM_RIGHTS).
    package static let carriesDescriptor: UInt8 = 1

    package var kind: FrameKind
    package var hasDescriptor: Bool
    package var opcode: UInt16
    package var request: UInt32
    package var payloadCount: Int

    package init(
        kind: FrameKind, hasDescriptor: Bool = false, opcode: UInt16, request: UInt32,
        payloadCount: Int
    ) {
        self.kind = kind
        self.hasDescriptor = hasDescriptor
        self.opcode = opcode
        self.request = request
        self.payloadCount = payloadCount
    }

    /// Reads a header from the front of what has been received; nil with fewer than 12 octets.
    package static func peek(_ input: Span<UInt8>) throws(WireError) -> FrameHeader? {
        guard input.count >= octets else { return nil }
        let length = number(input, 0, UInt32.self)
        guard length >= UInt32(octets - 4) else { throw .truncated }
        guard length <= UInt32(octets - 4 + payloadLimit) else { throw .oversized }
        guard let kind = FrameKind(rawValue: input[4]) else { throw .invalid("frame kind") }
        guard input[5] & ~carriesDescriptor == 0 else { throw .invalid("frame flags") }
        return FrameHeader(
            kind: kind, hasDescriptor: input[5] & carriesDescriptor != 0,
            opcode: number(input, 6, UInt16.self), request: number(input, 8, UInt32.self),
            payloadCount: Int(length) - (octets - 4))
    }

    private static func number<Number: FixedWidthInteger>(
        _ input: Span<UInt8>, _ place: Int, _ type: Number.Type
    ) -> Number {
        var value: Number = 0
        for index in place..<(place + Number.bitWidth / 8) {
            value = value << 8 | Number(truncatingIfNeeded: input[index])
        }
        return value
    }

    /// Reads a header. `octets` must be exactly 12.
    package init(_ octets: [UInt8]) throws(WireError) {
        guard let header = try Self.peek(octets.span) else { throw .truncated }
        guard octets.count == Self.octets else {
            throw .trailingOctets(octets.count - Self.octets)
        }
        self = header
    }

    /// Appends the 12 octets.
    package func encode(into octets: inout [UInt8]) {
        octets.append(addingCapacity: Self.octets) { span in
            span.append(bigEndian: UInt32(Self.octets - 4 + payloadCount))
            span.append(kind.rawValue)
            span.append(hasDescriptor ? Self.carriesDescriptor : 0)
            span.append(bigEndian: opcode)
            span.append(bigEndian: request)
        }
    }
}

/// Whole frames, header and payload in one array.
package enum Frame {
    /// - Throws: `.oversized` if a value, or all of them together, are over the limits.
    package static func encode(_ request: Request, id: UInt32) throws(WireError) -> [UInt8] {
        var encoder = Encoder(reserving: request.sizeHint)
        encoder.beginFrame()
        request.encode(into: &encoder)
        return try encoder.finishFrame(.request, opcode: request.code.rawValue, request: id)
    }

    package static func encode(_ hello: Hello) throws(WireError) -> [UInt8] {
        var encoder = Encoder()
        encoder.beginFrame()
        hello.encode(into: &encoder)
        return try encoder.finishFrame(.hello, opcode: 0, request: 0)
    }

    package static func encode(_ event: Event) throws(WireError) -> [UInt8] {
        var encoder = Encoder()
        encoder.beginFrame()
        event.encode(into: &encoder)
        return try encoder.finishFrame(.event, opcode: event.code.rawValue, request: 0)
    }

    /// The frame of a reply or part; several frames if it is too long for one.
    ///
    /// - Parameter kind: `.reply` or `.part`. Only a reply can be longer than a frame.
    package static func encode(
        _ reply: Reply, kind: FrameKind = .reply, id: UInt32
    ) throws(WireError) -> [UInt8] {
        var encoder = Encoder(reserving: FrameHeader.octets + reply.sizeHint)
        encoder.beginFrame()
        reply.encode(into: &encoder)
        if encoder.octets.count <= FrameHeader.octets + FrameHeader.payloadLimit {
            return try encoder.finishFrame(
                kind, opcode: reply.code.rawValue, request: id,
                hasDescriptor: reply.carriesDescriptor)
        }
        guard kind == .reply, !reply.carriesDescriptor, !encoder.isOversized,
            encoder.octets.count <= WireLimit.fragmentedReply
        else { throw .oversized }
        return fragments(of: encoder.octets[FrameHeader.octets...], reply.code, id)
    }

    private static func fragments(
        of payload: ArraySlice<UInt8>, _ code: ReplyCode, _ id: UInt32
    ) -> [UInt8] {
        var frames: [UInt8] = []
        frames.reserveCapacity(payload.count + payload.count / 1_024)
        var rest = payload
        while !rest.isEmpty {
            let chunk = rest.prefix(FrameHeader.payloadLimit)
            rest = rest.dropFirst(chunk.count)
            let opcode = rest.isEmpty ? code : .fragment
            FrameHeader(
                kind: rest.isEmpty ? .reply : .part, opcode: opcode.rawValue, request: id,
                payloadCount: chunk.count
            ).encode(into: &frames)
            frames.append(contentsOf: chunk)
        }
        return frames
    }
}

/// The payload of the first frame of each side. A side that sees another magic or version closes.
package struct Hello: Equatable, Sendable {
    package static let magic: UInt32 = 0x4D52_544C  // "MRTL"
    package static let version: UInt16 = 1
    private static let programLimit = 64

    package var door: Door
    /// Program name of the sender, for logs: at most 64 octets.
    package var program: [UInt8]

    package init(door: Door, program: [UInt8]) {
        self.door = door
        self.program = program
    }

    package func encode(into encoder: inout Encoder) {
        encoder.put(Self.magic)
        encoder.put(Self.version)
        encoder.put(door.rawValue)
        encoder.put(Array(program.prefix(Self.programLimit)))
    }

    package init(from decoder: inout Decoder) throws(WireError) {
        guard try decoder.integer(UInt32.self) == Self.magic else { throw .invalid("magic") }
        guard try decoder.integer(UInt16.self) == Self.version else { throw .invalid("version") }
        guard let door = Door(rawValue: try decoder.octet()) else { throw .invalid("door") }
        self.door = door
        program = try decoder.string(limit: Self.programLimit)
    }
}
