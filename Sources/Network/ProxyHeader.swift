// SPDX-License-Identifier: Apache-2.0
//
// The PROXY protocol, versions 1 and 2: what a load balancer says about the client in front of the
// first octet of a connection (haproxy.org, doc/proxy-protocol.txt §2.1, §2.2).

import Bytes

/// Why octets are no PROXY header.
package enum ProxyError: Error, Equatable, Sendable {
    /// Neither signature.
    case signature
    case tooLong
    case malformed
    /// A version, command or family that no TCP proxy sends.
    case unsupported
}

package struct ProxyHeader: Equatable, Sendable {
    /// Octets of a version 1 line with its end (§2.1).
    static let lineLimit = 107
    /// Octets behind the 16 fixed ones of version 2; §2.2 wants 520 at least.
    static let bodyLimit = 4_096

    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let word = Array("PROXY ".utf8)

    /// The client; nil: the proxy speaks for itself (LOCAL, UNKNOWN), as for a health check.
    package let client: (address: IPAddress, port: UInt16)?

    package static func == (left: ProxyHeader, right: ProxyHeader) -> Bool {
        left.client?.address == right.client?.address && left.client?.port == right.client?.port
    }

    package init(address: IPAddress, port: UInt16) { client = (address, port) }

    private init() { client = nil }

    /// The header that `input` begins with, and its octets; nil: more of it is needed.
    package static func parse(
        _ input: Span<UInt8>
    ) throws(ProxyError) -> (header: ProxyHeader, count: Int)? {
        guard input.count > 0 else { return nil }
        if input[0] == word[0] { return try line(input) }
        for index in 0..<min(input.count, signature.count) where input[index] != signature[index] {
            throw .signature
        }
        return input.count < 16 ? nil : try binary(input)
    }

    // MARK: Version 1

    private static func line(
        _ input: Span<UInt8>
    ) throws(ProxyError) -> (header: ProxyHeader, count: Int)? {
        for index in 0..<min(input.count, word.count) where input[index] != word[index] {
            throw .signature
        }
        var end = 0
        while end < input.count, input[end] != .lf {
            end += 1
            if end >= lineLimit { throw .tooLong }
        }
        guard end < input.count else { return nil }
        guard end > word.count, input[end - 1] == .cr else { throw .malformed }
        var text: [UInt8] = []
        for index in word.count..<(end - 1) { text.append(input[index]) }
        let parts = text.split(separator: .space, omittingEmptySubsequences: false)
        switch parts[0] {
        case ArraySlice("UNKNOWN".utf8): return (ProxyHeader(), end + 1)
        case ArraySlice("TCP4".utf8): return (try client(parts, isIPv4: true), end + 1)
        case ArraySlice("TCP6".utf8): return (try client(parts, isIPv4: false), end + 1)
        default: throw .unsupported
        }
    }

    private static func client(
        _ parts: [ArraySlice<UInt8>], isIPv4: Bool
    ) throws(ProxyError) -> ProxyHeader {
        guard parts.count == 5, parts[1].contains(0x3A) != isIPv4,
            parts[2].contains(0x3A) != isIPv4, let source = IPAddress(parts[1]),
            IPAddress(parts[2]) != nil, let port = portNumber(parts[3]), portNumber(parts[4]) != nil
        else { throw .malformed }
        return ProxyHeader(address: source, port: port)
    }

    private static func portNumber(_ text: ArraySlice<UInt8>) -> UInt16? {
        guard (1...5).contains(text.count), text.allSatisfy(\.isASCIIDigit),
            text.count == 1 || text.first != 0x30
        else { return nil }
        return UInt16(String(decoding: text, as: UTF8.self))
    }

    // MARK: Version 2

    private static func binary(
        _ input: Span<UInt8>
    ) throws(ProxyError) -> (header: ProxyHeader, count: Int)? {
        guard input[12] >> 4 == 2 else { throw .unsupported }
        let length = Int(input[14]) << 8 | Int(input[15])
        guard length <= bodyLimit else { throw .tooLong }
        guard input.count >= 16 + length else { return nil }
        switch input[12] & 0x0F {
        case 0: return (ProxyHeader(), 16 + length)  // LOCAL: the rest is not looked at
        case 1: break
        default: throw .unsupported
        }
        let header: ProxyHeader
        let addresses: Int
        switch input[13] {
        case 0x00: (header, addresses) = (ProxyHeader(), 0)  // UNSPEC
        case 0x11:
            addresses = 12
            guard length >= addresses else { throw .malformed }
            header = ProxyHeader(
                address: IPAddress(ipv4: UInt32(truncatingIfNeeded: number(input, 16, 4))),
                port: UInt16(number(input, 24, 2)))
        case 0x21:
            addresses = 36
            guard length >= addresses else { throw .malformed }
            header = ProxyHeader(
                address: IPAddress(bits: number(input, 16, 16)), port: UInt16(number(input, 48, 2)))
        case 0x31:
            // A Unix socket has no address that we could use: as UNSPEC (§2.2).
            (header, addresses) = (ProxyHeader(), 216)
            guard length >= addresses else { throw .malformed }
        default: throw .unsupported
        }
        // Behind UNSPEC there may be anything.
        if input[13] != 0 { try checkExtensions(input, 16 + addresses, 16 + length) }
        return (header, 16 + length)
    }

    /// What else the proxy says, type, length and value (§2.2.1 to §2.2.7): we need none of it, but
    /// its form must be right, and the header's checksum, if there is one (PP2_TYPE_CRC32C).
    private static func checkExtensions(
        _ input: Span<UInt8>, _ start: Int, _ end: Int
    ) throws(ProxyError) {
        var place = start
        while place < end {
            guard end - place >= 3 else { throw .malformed }
            let value = place + 3
            let count = Int(number(input, place + 1, 2))
            guard count <= end - value else { throw .malformed }
            if input[place] == 0x03 {
                guard count == 4,
                    UInt32(number(input, value, 4)) == checksum(input, end, zero: value)
                else { throw .malformed }
            }
            place = value + count
        }
    }

    /// CRC-32C of the header, with four octets at `zero` taken as 0.
    private static func checksum(_ input: Span<UInt8>, _ end: Int, zero: Int) -> UInt32 {
        var value: UInt32 = 0xFFFF_FFFF
        for index in 0..<end {
            value ^= zero..<(zero + 4) ~= index ? 0 : UInt32(input[index])
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
        }
        return ~value
    }

    private static func number(_ input: Span<UInt8>, _ start: Int, _ count: Int) -> UInt128 {
        var value: UInt128 = 0
        for index in start..<(start + count) { value = value << 8 | UInt128(input[index]) }
        return value
    }
}
