// SPDX-License-Identifier: Apache-2.0
//
// Base64, RFC 4648 §4 and §10.

import Bytes
import Testing

@Suite("Base64, RFC 4648")
struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func `the RFC's vectors go both ways`(plain: String, coded: String) throws {
        #expect(Base64.encode(Array(plain).span) == Array(coded))
        #expect(try Base64.decode(Array(coded).span, limit: 6) == Array(plain))
    }

    @Test func `all octets survive at every length`() throws {
        for length in 0...260 {
            let octets = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ length) }
            let coded = Base64.encode(octets.span)
            #expect(try Base64.decode(coded.span, limit: length) == octets)
        }
    }

    @Test(arguments: ["Z", "Zg", "Zg=", "Zm9vZ"])
    func `a length that is no multiple of four is refused`(text: String) {
        #expect(throws: Base64Error.length) { try Base64.decode(Array(text).span, limit: 9) }
    }

    @Test(arguments: ["====", "Z===", "Zg==Zg==", "Z=g=", "Zm9\n", "Zm9-", "\u{e9}aa"])
    func `octets outside the alphabet are refused`(text: String) {
        #expect(throws: Base64Error.self) { try Base64.decode(Array(text).span, limit: 9) }
    }

    @Test(arguments: ["Zh==", "Zm9="])
    func `a second spelling of the same octets is refused`(text: String) {
        #expect(throws: Base64Error.trailingBits) { try Base64.decode(Array(text).span, limit: 9) }
    }

    @Test func `the limit counts decoded octets`() throws {
        #expect(try Base64.decode(Array("Zm9vYg==").span, limit: 4) == Array("foob"))
        #expect(throws: Base64Error.tooLong) {
            try Base64.decode(Array("Zm9vYg==").span, limit: 3)
        }
        #expect(throws: Base64Error.tooLong) {
            try Base64.decode(Array("Zm9vYmFy").span, limit: 3)
        }
    }
}
