// SPDX-License-Identifier: Apache-2.0
//
// Addresses, blocks, PROXY headers and rates.

import Bytes
import Testing

@testable import Network

struct AddressTests {
    @Test(
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("::", "::"),
            ("::1", "::1"), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("fe80::", "fe80::"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ])
    func `addresses are written in one way`(text: String, canonical: String) {
        #expect(IPAddress(text)?.text == canonical)
    }

    @Test(
        arguments: [
            "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9", "1::2::3", ":::", "12345::", "g::", "1:2:3:4:5:6:7:8::",
            "::1.2.3.4:5", "unix", "+1::",
        ])
    func `what is no address is none`(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(
        arguments: [
            ("192.0.2.77", "192.0.2.0", "192.0.2.77"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1:2::"),
        ])
    func `a network is a /24 or a /64, a host an address or a /64`(
        text: String, network: String, host: String
    ) {
        #expect(IPAddress(text)?.network.text == network)
        #expect(IPAddress(text)?.host.text == host)
    }

    @Test(
        arguments: [
            ("0.0.0.0/0", true), ("::/0", true), ("::ffff:0:0/96", true), ("128.0.0.0/1", true),
            ("203.0.0.0/15", true), ("203.0.0.0/16", false), ("2001:db8::/31", true),
            ("2001:db8::/32", false), ("10.0.0.0/8", false), ("127.0.0.0/8", false),
            ("192.168.0.0/16", false), ("172.16.0.0/12", false), ("172.0.0.0/8", true),
            ("fd00::/8", false), ("fc00::/7", false), ("f000::/4", true), ("10.0.0.0/7", true),
        ])
    func `a block that lets strangers in is open`(text: String, isOpen: Bool) throws {
        #expect(try #require(AddressBlock(text)).isOpen == isOpen)
    }
}

struct ProxyHeaderTests {
    static let signature = "\r\n\r\n\0\r\nQUIT\n"

    static func binary(_ head: [UInt8], _ body: [UInt8], length: Int? = nil) -> [UInt8] {
        let count = length ?? body.count
        return Array(signature.utf8) + head + [UInt8(count >> 8), UInt8(count & 0xFF)] + body
    }

    static let four: [UInt8] = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0, 25]
    static let six: [UInt8] =
        [0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [9]
        + [UInt8](repeating: 0, count: 15) + [1] + [0x30, 0x39, 0, 25]

    /// A checksum that another program has worked out.
    static let checked = four + [4, 0, 1, 0] + [3, 0, 4, 0x72, 0xCD, 0x84, 0xC7]
    /// PP2_TYPE_SSL, with the version inside.
    static let secured: [UInt8] =
        [0x20, 0, 15, 1, 0, 0, 0, 0, 0x21, 0, 7] + Array("TLSv1.3".utf8)

    @Test(
        arguments: [
            (Array("PROXY TCP4 192.0.2.7 198.51.100.1 12345 25\r\n".utf8), "192.0.2.7 12345"),
            (Array("PROXY TCP6 2001:db8::9 2001:db8::1 1 25\r\n".utf8), "2001:db8::9 1"),
            (Array("PROXY UNKNOWN\r\n".utf8), "-"),
            (Array("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".utf8), "-"),
            (binary([0x21, 0x11], four), "192.0.2.7 12345"),
            (binary([0x21, 0x11], four + [4, 0, 1, 0]), "192.0.2.7 12345"),
            (binary([0x21, 0x21], six), "2001:db8::9 12345"),
            (binary([0x20, 0x00], []), "-"), (binary([0x20, 0x11], four), "-"),
            (binary([0x21, 0x00], []), "-"), (binary([0x21, 0x00], [1, 2]), "-"),
            (binary([0x21, 0x31], [UInt8](repeating: 0x2F, count: 216)), "-"),
            // ALPN, then PP2_TYPE_CRC32C; PP2_TYPE_SSL with two values inside; NOOPs.
            (binary([0x21, 0x11], checked), "192.0.2.7 12345"),
            (binary([0x21, 0x11], four + secured), "192.0.2.7 12345"),
            (
                binary([0x21, 0x21], six + [4, 0, 0] + secured + [4, 0, 1, 9]), "2001:db8::9 12345"
            ),
        ] as [([UInt8], String)])
    func `headers, whole, with more behind, and in pieces`(octets: [UInt8], client: String) throws {
        for end in 0..<octets.count {
            #expect(try ProxyHeader.parse(Array(octets[..<end]).span) == nil, "after \(end)")
        }
        for more in ["", "EHLO x\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"] {
            let input = octets + Array(more.utf8)
            let found = try #require(try ProxyHeader.parse(input.span))
            #expect(found.count == octets.count)
            let text = found.header.client.map { "\($0.address.text) \($0.port)" } ?? "-"
            #expect(text == client)
        }
    }

    @Test(
        arguments: [
            (Array("EHLO x\r\n".utf8), .signature), (Array("PROXX".utf8), .signature),
            (Array("\r\n\r\n\r".utf8), .signature), (Array([0x16, 3, 1]), .signature),
            (Array("PROXY TCP4 192.0.2.7 198.51.100.1 12345 25\n".utf8), .malformed),
            (Array("PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n".utf8), .malformed),
            (Array("PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n".utf8), .malformed),
            (Array("PROXY TCP4 192.0.2.7 198.51.100.1 012 25\r\n".utf8), .malformed),
            (Array("PROXY TCP4  192.0.2.7 198.51.100.1 12 25\r\n".utf8), .malformed),
            (Array("PROXY TCP4 ::1 ::1 12 25\r\n".utf8), .malformed),
            (Array("PROXY TCP6 192.0.2.7 198.51.100.1 12 25\r\n".utf8), .malformed),
            (Array("PROXY TCP4 192.0.2.7 198.51.100.1 12 25 x\r\n".utf8), .malformed),
            (Array("PROXY UDP4 192.0.2.7 198.51.100.1 12 25\r\n".utf8), .unsupported),
            (Array("PROXY \r\n".utf8), .unsupported),
            (Array(("PROXY UNKNOWN " + String(repeating: "x", count: 100)).utf8), .tooLong),
            (binary([0x11, 0x11], four), .unsupported), (binary([0x22, 0x11], four), .unsupported),
            (binary([0x21, 0x12], four), .unsupported), (binary([0x21, 0x31], four), .malformed),
            (binary([0x21, 0x41], four), .unsupported),
            (binary([0x21, 0x11], checked.dropLast() + [0]), .malformed),
            (binary([0x21, 0x11], four + [3, 0, 3, 1, 2, 3]), .malformed),
            (binary([0x21, 0x11], four + [4, 0]), .malformed),
            (binary([0x21, 0x11], four + [4, 0, 2, 1]), .malformed),
            (binary([0x21, 0x11], four + [4, 0xFF, 0xFF, 1]), .malformed),
            (binary([0x21, 0x11], Array(four.dropLast())), .malformed),
            (binary([0x21, 0x21], four), .malformed),
            (binary([0x21, 0x11], four, length: 4_097), .tooLong),
        ] as [([UInt8], ProxyError)])
    func `what is no header is refused`(octets: [UInt8], error: ProxyError) {
        #expect(throws: error) { try ProxyHeader.parse(octets.span) }
    }
}

/// `#expect` calls no mutating function.
private final class Rates {
    private var table: RateTable<Int>

    init(capacity: Int = 1_000) { table = RateTable(capacity: capacity) }

    var count: Int { table.count }

    func take(_ key: Int, limit: Int, period: UInt64, now: UInt64) -> Bool {
        table.take(key, limit: limit, period: period, now: now)
    }

    func putBack(_ key: Int, limit: Int, period: UInt64) {
        table.putBack(key, limit: limit, period: period)
    }
}

struct RateTableTests {
    @Test(arguments: [1, 2, 7, 100]) func `N in a period, and not one more`(limit: Int) {
        var table = RateTable<String>()
        let period: UInt64 = 3_600_000_000_000
        let take = { (now: UInt64) in
            table.take("a", limit: limit, period: period, now: now)
        }
        for _ in 0..<limit { #expect(take(5)) }
        #expect(!take(5))
        // One more after one part of the period (nanoseconds, rounded), all after all of it.
        let step = period / UInt64(limit)
        #expect(!take(5 + step - 1))
        #expect(take(5 + step))
        #expect(!take(5 + step))
        for _ in 0..<limit { #expect(take(5 + step + period)) }
        #expect(!take(5 + step + period))
    }

    @Test func `keys do not share, and a token can come back`() {
        let table = Rates()
        #expect(table.take(1, limit: 1, period: 1_000, now: 0))
        #expect(!table.take(1, limit: 1, period: 1_000, now: 0))
        #expect(table.take(2, limit: 1, period: 1_000, now: 0))
        table.putBack(1, limit: 1, period: 1_000)
        #expect(table.take(1, limit: 1, period: 1_000, now: 0))
    }

    @Test func `a flood of keys fills no memory and frees nobody at the limit`() {
        let table = Rates(capacity: 100)
        for _ in 0..<10 { #expect(table.take(-1, limit: 10, period: 1_000_000, now: 0)) }
        for key in 0..<10_000 {
            _ = table.take(key, limit: 10, period: 1_000_000, now: 0)
            #expect(table.count <= 100)
        }
        #expect(!table.take(-1, limit: 10, period: 1_000_000, now: 0))
    }

    @Test func `a higher limit counts at once`() {
        let table = Rates()
        for _ in 0..<2 { #expect(table.take(1, limit: 2, period: 1_000, now: 0)) }
        #expect(!table.take(1, limit: 2, period: 1_000, now: 0))
        #expect(table.take(1, limit: 4, period: 1_000, now: 600))
    }
}

@Suite("Address blocks, RFC 4632")
struct AddressBlockTests {
    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1", true), ("127.0.0.1", "127.0.0.2", false),
        ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.0", false),
        ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "::1", false), ("::1", "::1", true),
        ("2001:db8::/32", "2001:db8:1::5", true), ("2001:db8::/32", "2001:db9::", false),
        ("::/0", "203.0.113.9", true), ("192.0.2.128/25", "192.0.2.127", false),
        ("::ffff:192.0.2.1", "192.0.2.1", true), ("127.0.0.0/8", "unix", false),
    ])
    func `a block contains its addresses only`(block: String, address: String, isIn: Bool) throws {
        let block = try #require(AddressBlock(block))
        let number = IPAddress(address)
        #expect((number.map(block.contains) ?? false) == isIn)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/", "::1/129",
        "1:2", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "g::", "12345::", "1:2:3:4:5:6:7:",
        "localhost",
        "+1::", "1.2.3.4::",
    ])
    func `what is no block is refused`(text: String) {
        #expect(AddressBlock(text) == nil)
    }
}
