// SPDX-License-Identifier: Apache-2.0
//
// How values become octets on the sockets between the daemons: big-endian integers, length-prefixed
// octet strings, counted lists. docs/wire.md is the reference. Every count is checked against what
// is left before anything is allocated for it.

import Bytes
import Mail

/// Why a payload is not what its opcode promises. The connection that sent it is closed.
package enum WireError: Error, Equatable, Sendable {
    case truncated
    case oversized
    /// A value out of its range: an unknown enum case, a bad name, a flag that must be 0 or 1.
    case invalid(StaticStringBox)
    case unknownOpcode(UInt16)
    case trailingOctets(Int)

    package static func invalid(_ what: StaticString) -> WireError {
        .invalid(StaticStringBox(what))
    }
}

/// A literal that can be compared, for `WireError`.
package struct StaticStringBox: Equatable, Sendable, CustomStringConvertible {
    private let literal: StaticString
    init(_ literal: StaticString) { self.literal = literal }
    package var description: String { literal.description }
    package static func == (left: Self, right: Self) -> Bool {
        left.description == right.description
    }
}

/// Appends values to a payload.
///
/// A value over its limit is remembered, not written: `isOversized` says so at the end, and the
/// sender fails the one request instead of having its connection closed by the other side.
package struct Encoder {
    package private(set) var octets: [UInt8] = []
    package private(set) var isOversized = false

    package init() {}

    package init(reserving count: Int) { octets.reserveCapacity(count) }

    package init(appendingTo octets: [UInt8]) { self.octets = octets }

    /// Remembers that a value is not one that the other side would accept.
    mutating func refuse() { isOversized = true }

    package mutating func put(_ value: UInt8) { octets.append(value) }
    package mutating func put(_ value: Bool) { octets.append(value ? 1 : 0) }

    package mutating func put<Number: FixedWidthInteger>(_ value: Number) {
        var shift = Number.bitWidth - 8
        while shift >= 0 {
            octets.append(UInt8(truncatingIfNeeded: value >> Number(shift)))
            shift -= 8
        }
    }

    /// Octets with a 32-bit length in front.
    package mutating func put(_ value: [UInt8], limit: Int = .max) {
        guard value.count <= limit else {
            isOversized = true
            return
        }
        put(UInt32(truncatingIfNeeded: value.count))
        octets.append(contentsOf: value)
    }

    package mutating func put<Element>(
        list: [Element], limit: Int = .max, _ each: (inout Encoder, Element) -> Void
    ) {
        guard list.count <= limit else {
            isOversized = true
            return
        }
        put(UInt32(truncatingIfNeeded: list.count))
        for element in list { each(&self, element) }
    }

    /// 1 and the value, or 0.
    package mutating func put<Value>(
        optional: Value?, _ each: (inout Encoder, Value) -> Void
    ) {
        put(optional != nil)
        if let value = optional { each(&self, value) }
    }

    /// A counted run of elements that all take `width` octets. `write` appends exactly that many.
    mutating func put<Element>(
        fixed list: [Element], width: Int, limit: Int,
        _ write: (Element, inout OutputSpan<UInt8>) -> Void
    ) {
        guard list.count <= limit else {
            isOversized = true
            return
        }
        put(UInt32(truncatingIfNeeded: list.count))
        octets.append(addingCapacity: list.count * width) { span in
            for element in list { write(element, &span) }
        }
    }
}

extension OutputSpan where Element == UInt8 {
    @inline(__always)
    @_lifetime(self: copy self)
    mutating func append<Number: FixedWidthInteger>(bigEndian value: Number) {
        var shift = Number.bitWidth - 8
        while shift >= 0 {
            append(UInt8(truncatingIfNeeded: value >> Number(shift)))
            shift -= 8
        }
    }
}

extension Encoder {
    /// Leaves room for the header.
    mutating func beginFrame() {
        octets.append(contentsOf: repeatElement(0, count: FrameHeader.octets))
    }

    /// Fills in the header and gives the frame away.
    mutating func finishFrame(
        _ kind: FrameKind, opcode: UInt16, request: UInt32, hasDescriptor: Bool = false
    ) throws(WireError) -> [UInt8] {
        let payloadCount = octets.count - FrameHeader.octets
        guard !isOversized, payloadCount <= FrameHeader.payloadLimit else { throw .oversized }
        var header: [UInt8] = []
        FrameHeader(
            kind: kind, hasDescriptor: hasDescriptor, opcode: opcode, request: request,
            payloadCount: payloadCount
        ).encode(into: &header)
        for index in header.indices { octets[index] = header[index] }
        let frame = octets
        octets = []
        return frame
    }
}

/// Takes values from a payload.
package struct Decoder {
    private let octets: [UInt8]
    private var position: Int
    private let end: Int

    package init(_ octets: [UInt8]) {
        self.octets = octets
        position = 0
        end = octets.count
    }

    package var remaining: Int { end - position }

    package mutating func octet() throws(WireError) -> UInt8 {
        guard position < end else { throw .truncated }
        defer { position += 1 }
        return octets[position]
    }

    package mutating func bool() throws(WireError) -> Bool {
        switch try octet() {
        case 0: return false
        case 1: return true
        default: throw .invalid("boolean")
        }
    }

    package mutating func integer<Number: FixedWidthInteger>(
        _ type: Number.Type
    ) throws(WireError) -> Number {
        let width = Number.bitWidth / 8
        guard remaining >= width else { throw .truncated }
        var value: Number = 0
        for index in position..<(position + width) {
            value = (value << 8) | Number(truncatingIfNeeded: octets[index])
        }
        position += width
        return value
    }

    /// Reads a counted run of elements of exactly `width` octets each. `read` gets the payload and
    /// the place of the element's first octet.
    mutating func fixed<Element>(
        limit: Int, width: Int, _ read: ([UInt8], Int) -> Element
    ) throws(WireError) -> [Element] {
        let count = Int(try integer(UInt32.self))
        guard count <= limit else { throw .oversized }
        guard count <= remaining / width else { throw .truncated }
        var elements: [Element] = []
        elements.reserveCapacity(count)
        for _ in 0..<count {
            elements.append(read(octets, position))
            position += width
        }
        return elements
    }

    /// - Parameter limit: octets; a longer string is `.oversized`.
    package mutating func string(limit: Int) throws(WireError) -> [UInt8] {
        let count = Int(try integer(UInt32.self))
        guard count <= limit else { throw .oversized }
        guard count <= remaining else { throw .truncated }
        defer { position += count }
        return Array(octets[position..<(position + count)])
    }

    /// - Parameters:
    ///   - limit: elements.
    ///   - minimum: octets that one element takes at least, so that a count can be believed.
    package mutating func list<Element>(
        limit: Int, minimum: Int, _ each: (inout Decoder) throws(WireError) -> Element
    ) throws(WireError) -> [Element] {
        let count = Int(try integer(UInt32.self))
        guard count <= limit else { throw .oversized }
        guard count <= remaining / minimum else { throw .truncated }
        var elements: [Element] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(try each(&self)) }
        return elements
    }

    package mutating func optional<Value>(
        _ each: (inout Decoder) throws(WireError) -> Value
    ) throws(WireError) -> Value? {
        try bool() ? try each(&self) : nil
    }

    /// Must be called last: a payload has nothing behind its values.
    package func finish() throws(WireError) {
        guard remaining == 0 else { throw .trailingOctets(remaining) }
    }
}
