// SPDX-License-Identifier: Apache-2.0
//
// Headers and the hello.

import Bytes
import Testing

@testable import Wire

private let headers = [
    FrameHeader(kind: .hello, opcode: 0, request: 0, payloadCount: 0),
    FrameHeader(kind: .request, opcode: 0x0101, request: 1, payloadCount: 77),
    FrameHeader(
        kind: .part, hasDescriptor: true, opcode: 0x8011, request: .max,
        payloadCount: FrameHeader.payloadLimit),
    FrameHeader(kind: .event, opcode: 0xC001, request: 0, payloadCount: 24),
]

@Test(arguments: headers)
func `a header comes back as it was`(header: FrameHeader) throws {
    var octets: [UInt8] = []
    header.encode(into: &octets)
    #expect(octets.count == FrameHeader.octets)
    #expect(try FrameHeader(octets) == header)
}

@Test func `the example in docs-wire is what is sent`() {
    var octets: [UInt8] = []
    FrameHeader(kind: .request, opcode: RequestCode.changes.rawValue, request: 5, payloadCount: 24)
        .encode(into: &octets)
    #expect(octets == [0, 0, 0, 0x20, 1, 0, 0x03, 0x09, 0, 0, 0, 5])
}

@Test(arguments: [
    ([0, 0, 0, 7, 1, 0, 0, 0, 0, 0, 0, 0] as [UInt8], WireError.truncated),
    ([0, 0x10, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0], .oversized),
    ([0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0], .oversized),
    ([0, 0, 0, 8, 5, 0, 0, 0, 0, 0, 0, 0], .invalid("frame kind")),
    ([0, 0, 0, 8, 1, 2, 0, 0, 0, 0, 0, 0], .invalid("frame flags")),
    ([0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0], .truncated),
    ([0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0], .trailingOctets(1)),
])
func `a bad header is refused`(octets: [UInt8], error: WireError) {
    #expect(throws: error) { try FrameHeader(octets) }
}

@Test(arguments: Door.allCases)
func `a hello comes back as it was`(door: Door) throws {
    let hello = Hello(door: door, program: Array("imapd"))
    var encoder = Encoder()
    hello.encode(into: &encoder)
    var decoder = Decoder(encoder.octets)
    #expect(try Hello(from: &decoder) == hello)
    try decoder.finish()
}

@Test(arguments: [
    ("4d52544c 0002 02 00000000", WireError.invalid("version")),
    ("4d52544d 0001 02 00000000", .invalid("magic")),
    ("4d52544c 0001 05 00000000", .invalid("door")),
    ("4d52544c 0001 02 00000041", .oversized),
    ("4d52544c 0001 02 00000001", .truncated),
])
func `a bad hello is refused`(hex: String, error: WireError) {
    let digits = hex.utf8.filter { $0 != 0x20 }.map { ascii($0) }
    let octets = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    #expect(throws: error) {
        var decoder = Decoder(octets)
        _ = try Hello(from: &decoder)
    }
}

private func ascii(_ digit: UInt8) -> UInt8 { digit.isASCIIDigit ? digit - 0x30 : digit - 0x57 }
