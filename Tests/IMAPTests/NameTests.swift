// SPDX-License-Identifier: Apache-2.0
//
// Mailbox names and LIST patterns. RFC 3501 §5.1.3, §6.3.8.

import Bytes
import IMAP
import Mail
import Testing

@Suite("Modified UTF-7, RFC 3501 §5.1.3")
struct ModifiedUTF7Tests {
    @Test(arguments: [
        ("INBOX", "INBOX"), ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("Entwürfe", "Entw&APw-rfe"), ("A&B", "A&-B"), ("&", "&-"), ("😀", "&2D3eAA-"),
        ("Gesendete Objekte", "Gesendete Objekte"), ("ü&ü", "&APw-&-&APw-"),
    ])
    func `names go both ways`(utf8: String, wire: String) {
        #expect(ModifiedUTF7.encode(Array(utf8)) == Array(wire))
        #expect(ModifiedUTF7.decode(Array(wire)) == Array(utf8))
    }

    @Test(arguments: [
        "&", "&U,BTFw", "&AGE-", "&!!-", "&2D0-", "&APw-&APw-", "a\u{7F}", "&AA-", "&APx-", "é",
    ])
    func `spellings that are wrong or not the only one are refused`(wire: String) {
        #expect(ModifiedUTF7.decode(Array(wire)) == nil)
    }

    @Test func `names in plain UTF-8 are taken as they are`() {
        #expect(MailboxName(wire: Array("Entwürfe")) == MailboxName(Array("Entwürfe")))
        #expect(MailboxName(wire: Array("inbox/a")) == MailboxName(Array("INBOX/a")))
        #expect(MailboxName(wire: [0x61, 0xFF]) == nil)
        #expect(MailboxName(wire: Array("a//b")) == nil)
        #expect(MailboxName(wire: Array("../x")) == nil)
    }
}

@Suite("LIST patterns, RFC 3501 §6.3.8")
struct ListPatternTests {
    @Test(arguments: [
        ("*", "a/b/c", true), ("%", "a", true), ("%", "a/b", false), ("a/%", "a/b", true),
        ("a/%", "a/b/c", false), ("a*c", "a/b/c", true), ("a%c", "a/b/c", false),
        ("%/%", "a/b", true), ("*b", "a/b", true), ("a", "A", false), ("inbox", "INBOX", true),
        ("InBox/%", "INBOX/a", true), ("INBOX/A", "INBOX/a", false), ("", "a", false),
        ("*%", "a/b", true), ("%*", "a/b", true), ("%%", "ab", true), ("a%", "a", true),
        ("Entw&APw-rfe", "Entwürfe", true), ("Entwürfe", "Entwürfe", true), ("**a", "b/a", true),
        ("in%", "INBOX", true), ("%box", "INBOX", true), ("inboxes", "INBOXES", false),
    ])
    func `patterns match as the RFC says`(pattern: String, name: String, matches: Bool) throws {
        let name = try #require(MailboxName(Array(name)))
        #expect(try #require(ListPattern(Array(pattern))).matches(name) == matches)
    }

    @Test func `a pattern made to backtrack is quick`() throws {
        let pattern = try #require(
            ListPattern(Array(String(repeating: "*a", count: 400) + "b")))
        let name = try #require(MailboxName([UInt8](repeating: 0x61, count: 1_000)))
        let clock = ContinuousClock()
        let took = clock.measure { #expect(!pattern.matches(name)) }
        #expect(took < .seconds(1))
    }

    /// Against a matcher so simple that it is right.
    @Test func `agrees with a naive matcher on all short inputs`() throws {
        func naive(_ pattern: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>) -> Bool {
            guard let first = pattern.first else { return name.isEmpty }
            let rest = pattern.dropFirst()
            if first == 0x2A || first == 0x25 {
                if naive(rest, name) { return true }
                guard let octet = name.first, first == 0x2A || octet != 0x2F else { return false }
                return naive(pattern, name.dropFirst())
            }
            return name.first == first && naive(rest, name.dropFirst())
        }
        func words(_ alphabet: [UInt8], _ limit: Int) -> [[UInt8]] {
            var words: [[UInt8]] = [[]]
            var last: [[UInt8]] = [[]]
            for _ in 0..<limit {
                last = last.flatMap { word in alphabet.map { word + [$0] } }
                words += last
            }
            return words
        }
        let names = words(Array("ab/"), 4).compactMap { (octets: [UInt8]) in MailboxName(octets) }
        for pattern in words(Array("a/*%"), 4) {
            let prepared = try #require(ListPattern(pattern))
            for name in names {
                #expect(
                    prepared.matches(name) == naive(pattern[...], name.octets[...]),
                    "\(pattern) \(name.text)")
            }
        }
    }
}
