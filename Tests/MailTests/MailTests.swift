// SPDX-License-Identifier: Apache-2.0

import Bytes
import IDNA
import Mail
import Testing

@Suite("mailbox names")
struct MailboxNameTests {
    private func name(_ text: String) -> MailboxName? { MailboxName(Array(text.utf8)) }

    @Test(arguments: [
        "INBOX", "Sent", "a/b/c", "Entw\u{FC}rfe/2024", "\u{65E5}\u{672C}", "a b", "...", "a.b",
        "~", "%",
    ])
    func `names are taken as they are`(_ text: String) {
        #expect(name(text)?.text == text)
    }

    @Test(arguments: ["inbox", "InBox", "INBOX"])
    func `any case of INBOX is INBOX`(_ text: String) {
        #expect(name(text) == .inbox)
        #expect(name(text)?.isInbox == true)
        #expect(name(text + "/x")?.text == "INBOX/x")
        #expect(name("x/" + text)?.text == "x/" + text)
    }

    @Test(arguments: [
        "", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/..", "a/./b", "a\u{0}b", "a\nb",
        "\u{7F}",
        String(repeating: "x", count: 1_001),
        Array(repeating: "x", count: 17).joined(separator: "/"),
    ])
    func `names that are dangerous or endless are refused`(_ text: String) {
        #expect(name(text) == nil)
    }

    @Test func `octets that are not UTF-8 are refused`() {
        #expect(MailboxName([0x61, 0xFF]) == nil)
        #expect(MailboxName([0xC0, 0xAF]) == nil)
    }

    @Test func `limits are inclusive`() {
        #expect(name(String(repeating: "x", count: 1_000)) != nil)
        #expect(name(Array(repeating: "x", count: 16).joined(separator: "/")) != nil)
    }

    @Test func `parents and children know each other`() throws {
        let child = try #require(name("a/b/c"))
        let parent = try #require(name("a/b"))
        let neighbour = try #require(name("a/bc"))
        #expect(child.parent == parent)
        #expect(name("a")?.parent == nil)
        #expect(child.isBelow(parent))
        #expect(!parent.isBelow(parent))
        #expect(!neighbour.isBelow(parent))
        #expect(!parent.isBelow(child))
        #expect(parent < child)
    }

    @Test func `two spellings of one letter are two names`() {
        #expect(name("\u{E9}") != name("e\u{301}"))
    }
}

@Suite("addresses, RFC 5321 section 4.1.2")
struct EmailAddressTests {
    @Test func `the domain is lowered and the local-part is not`() {
        let address = EmailAddress(local: Array("Joe".utf8), domain: Array("Example.ORG".utf8))
        #expect(address.text == "Joe@example.org")
        #expect(address.octets == Array("Joe@example.org".utf8))
    }

    @Test func `an address is split at its last at sign`() {
        let address = EmailAddress(splitting: Array("a@b@C".utf8))
        #expect(address?.local == Array("a@b".utf8))
        #expect(address?.domain == Array("c".utf8))
    }

    @Test(arguments: ["", "@", "a@", "@b", "ab"])
    func `an address with an empty side is none`(_ text: String) {
        #expect(EmailAddress(splitting: Array(text.utf8)) == nil)
    }

    @Test func `the null path is empty`() throws {
        let address = try #require(EmailAddress(splitting: Array("a@b".utf8)))
        #expect(ReversePath.null.octets.isEmpty)
        #expect(ReversePath.address(address).octets == Array("a@b".utf8))
    }
}

@Suite("UID ranges")
struct UIDRangeTests {
    @Test(
        arguments: [
            ([], []), ([7], [UIDRange(7, 7)]), ([1, 2, 3], [UIDRange(1, 3)]),
            ([1, 3, 4, 9], [UIDRange(1, 1), UIDRange(3, 4), UIDRange(9, 9)]),
            ([UInt32.max - 1, UInt32.max], [UIDRange(UInt32.max - 1, UInt32.max)]),
        ] as [([UInt32], [UIDRange])])
    func `rising numbers become ranges that do not touch`(
        _ uids: [UInt32], _ expected: [UIDRange]
    ) {
        #expect(UIDRange.ranges(of: uids) == expected)
    }

    @Test func `ranges hold exactly the numbers they were made of`() {
        let uids = (UInt32(1)...2_000).filter { $0 % 7 != 0 && $0 % 11 != 3 }
        #expect(UIDRange.ranges(of: uids).flatMap { Array($0.first...$0.last) } == uids)
    }
}

@Suite("trace ids")
struct TraceIDTests {
    @Test func `an id is 13 characters of Crockford base32`() {
        let alphabet = Set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
        for value in [0, 1, 31, 32, UInt64.max, 0x0123_4567_89AB_CDEF] {
            let text = TraceID(rawValue: value).description
            #expect(text.count == 13)
            #expect(text.allSatisfy { alphabet.contains($0) })
        }
        #expect(TraceID(rawValue: 0).description == "0000000000000")
        #expect(TraceID(rawValue: 32).description == "0000000000010")
        #expect(TraceID(rawValue: UInt64.max).description == "FZZZZZZZZZZZZ")
    }

    @Test func `texts sort as the ids do, and these by time`() {
        let ids = (0..<200).map { step in
            TraceID(milliseconds: 1_700_000_000_000 + UInt64(step), random: UInt64(step) &* 99_991)
        }
        #expect(ids.map(\.rawValue) == ids.map(\.rawValue).sorted())
        #expect(ids.map(\.description) == ids.map(\.description).sorted())
        #expect(Set(ids).count == ids.count)
    }

    @Test func `only 20 bits are random`() {
        #expect(TraceID(milliseconds: 1, random: UInt64.max).rawValue == 0x1F_FFFF)
    }
}

@Suite("flags and statuses")
struct FlagsTests {
    @Test func `keywords do not touch system flags`() {
        for number in 0..<Flags.keywordLimit {
            let keyword = Flags.keyword(number)
            #expect(keyword.isDisjoint(with: .system))
            #expect(keyword.union(.seen).keywords == keyword)
        }
        #expect(Flags.system.keywords.isEmpty)
        #expect(Flags.keyword(0) != Flags.keyword(25))
    }

    @Test func `an enhanced status is written with dots`() {
        #expect(EnhancedStatus(5, 1, 1).description == "5.1.1")
    }
}

@Suite("domains, RFC 5890 and RFC 5891")
struct DomainNameTests {
    @Test(arguments: [
        ("EXAMPLE.Test", "example.test"), ("b\u{fc}cher.test", "xn--bcher-kva.test"),
        ("B\u{dc}CHER.Test", "xn--bcher-kva.test"), ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("bu\u{308}cher.test", "xn--bcher-kva.test"), ("fa\u{df}.test", "xn--fa-hia.test"),
        ("\u{65e5}\u{672c}.test", "xn--wgv71a.test"),
        ("b\u{fc}cher\u{3002}test", "xn--bcher-kva.test"),
        ("", ""), ("[192.0.2.1]", "[192.0.2.1]"),
    ])
    func `each domain has one spelling`(domain: String, canonical: String) {
        #expect(DomainName.canonical(Array(domain)) == Array(canonical))
        #expect(EmailAddress(local: [0x61], domain: Array(domain)).domain == Array(canonical))
    }

    @Test(arguments: [
        "\u{200d}.test", "a\u{ff0f}b.test", "\u{308}.test", "\u{fc}\0.test",
        String(repeating: "\u{fc}", count: 64) + ".test", String(repeating: "\u{fc}.", count: 200),
    ])
    func `what cannot be a domain has no ASCII form and equals only itself`(domain: String) {
        #expect(DomainName.ascii(Array(domain)) == nil)
        #expect(DomainName.canonical(Array(domain)) == Array(domain))
    }
}
