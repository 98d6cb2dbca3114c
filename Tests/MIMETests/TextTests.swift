// SPDX-License-Identifier: Apache-2.0

import MIME
import Testing

@Suite("encoded words, RFC 2047")
struct HeaderTextTests {
    private func decoded(_ body: [UInt8]) -> String {
        var output: [UInt8] = []
        HeaderText.append(body.span, 0..<body.count, to: &output)
        #expect(String(validating: output, as: UTF8.self) != nil)
        return text(output)
    }

    @Test(arguments: [
        // the table of section 8
        ("=?ISO-8859-1?Q?a?=", "a"),
        ("=?ISO-8859-1?Q?a?= b", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?=\n    =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a_b?=", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
        (
            "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\n"
                + " =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
            "If you can read this you understand the example."
        ),
        ("=?utf-8*en?q?lang?=", "lang"),
        // a character split between words
        ("=?utf-8?B?w6TD?= =?utf-8?B?tg==?=", "äö"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=A4?= x", "ä x"),
        ("  trimmed \n ", "trimmed"),
        ("un\n folded", "un folded"),
        ("\"=?utf-8?q?=C3=A4?=\" <a@b>", "\"ä\" <a@b>"),
        ("x =?utf-8?q?y?= z", "x y z"),
        ("=?koi8-r?B?8NLJ18XU?=", "Привет"),
        ("=?unknown-x?q?a=FFb?=", "a\u{FFFD}b"),
    ])
    func `words are decoded`(_ body: String, _ expected: String) {
        #expect(decoded(crlf(body)) == expected)
    }

    @Test(arguments: [
        "=?", "=?x", "=?utf-8", "=?utf-8?", "=?utf-8?q", "=?utf-8?q?", "=?utf-8?q?abc",
        "=?utf-8?q?abc?", "=?utf-8?x?abc?=", "=??q?abc?=", "=?utf 8?q?abc?=", "a=?b",
        "=?utf-8?qq?abc?=",
    ])
    func `what is no word stays as it is`(_ body: String) {
        #expect(decoded(crlf(body)) == body)
    }

    @Test func `octets that are not UTF-8 are read as Windows-1252`() {
        #expect(decoded([0x63, 0x61, 0x66, 0xE9]) == "café")
        #expect(decoded(Array("café".utf8)) == "café")
        #expect(decoded([0x80, 0x20, 0xC3]) == "€ Ã")
    }
}

@Suite("transfer encodings, RFC 2045 section 6")
struct TransferDecoderTests {
    /// Decodes in pieces of every size and expects the same each time.
    private func decoded(_ encoding: TransferEncoding, _ body: String) -> String {
        let octets = crlf(body)
        var results: Set<[UInt8]> = []
        for size in 1...max(1, octets.count) {
            var decoder = TransferDecoder(encoding)
            var output: [UInt8] = []
            var start = 0
            while start < octets.count {
                let end = min(octets.count, start + size)
                decoder.decode(octets.span.extracting(start..<end), into: &output)
                start = end
            }
            decoder.finish(into: &output)
            results.insert(output)
        }
        #expect(results.count == 1)
        return text(results.first ?? [])
    }

    @Test(arguments: [
        ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmFy\n", "foobar"),
        ("Zg==Zg==", "ff"), ("Z m\n9!v", "foo"), ("Zm9vYg", "foo"), ("====", ""), ("Zm8", ""),
    ])
    func `base64 is decoded`(_ body: String, _ expected: String) {
        #expect(decoded(.base64, body) == expected)
    }

    @Test(arguments: [
        ("plain", "plain"), ("a=3Db", "a=b"), ("a=3db", "a=b"), ("soft=\nbreak", "softbreak"),
        ("soft=  \nbreak", "softbreak"), ("a=zb", "a=zb"), ("a=4", "a=4"), ("a=4z", "a=4z"),
        ("a==3D", "a=="), ("=C3=A4", "ä"), ("line\nline", "line\r\nline"), ("a= b", "a= b"),
        ("x=4=41", "x=4A"), ("end=", "end"),
    ])
    func `quoted-printable is decoded`(_ body: String, _ expected: String) {
        #expect(decoded(.quotedPrintable, body) == expected)
    }
}

@Suite("charsets")
struct CharsetTests {
    @Test(
        arguments: [
            ("ISO-8859-1", [0xE4, 0x80], "ä€"), ("latin1", [0xE4], "ä"),
            ("ISO-8859-2", [0xB1], "ą"),
            ("iso-8859-5", [0xBF], "П"), ("ISO-8859-7", [0xE1], "α"), ("ISO-8859-9", [0xFD], "ı"),
            ("ISO_8859-15", [0xA4], "€"), ("windows-1250", [0x9A], "š"), ("CP1251", [0xCF], "П"),
            ("Windows-1252", [0x93], "“"), ("KOI8-R", [0xF0], "П"), ("koi8-u", [0xA4], "є"),
            ("utf-16be", [0x20, 0xAC, 0xD8, 0x3D, 0xDE, 0x00], "€😀"),
            ("utf-16le", [0xAC, 0x20, 0x3D, 0xD8, 0x00, 0xDE], "€😀"),
            ("utf-16", [0xFE, 0xFF, 0x20, 0xAC], "€"), ("utf-16", [0xFF, 0xFE, 0xAC, 0x20], "€"),
            ("utf-16", [0x00, 0x41], "A"),
            ("utf-16be", [0xD8, 0x3D, 0x00, 0x41, 0x00], "\u{FFFD}A\u{FFFD}"),
            ("utf-16be", [0xDE, 0x00], "\u{FFFD}"), ("utf-16be", [0xD8, 0x3D], "\u{FFFD}"),
            ("us-ascii", [0x41], "A"), ("utf-8", [0xE2, 0x82, 0xAC], "€"),
            ("utf-8", [0xE2, 0x82], "â‚"),
            ("utf-8", [0xC0, 0xAF], "À¯"), ("utf-8", [0xED, 0xA0, 0x80], "í\u{A0}€"),
            ("gb18030", [0x41, 0xC4, 0xE3], "A\u{FFFD}\u{FFFD}"),
            ("x-nonsense", [0xC3, 0xA4], "ä"),
        ] as [(String, [UInt8], String)])
    func `octets become UTF-8, in one piece or octet by octet`(
        _ name: String, _ octets: [UInt8], _ expected: String
    ) {
        let charset = Charset(Array(name.utf8))
        #expect(text(charset.utf8(from: octets)) == expected)
        var decoder = CharsetDecoder(charset)
        var output: [UInt8] = []
        for octet in octets {
            decoder.decode([octet], into: &output)
            #expect(String(validating: output, as: UTF8.self) != nil)
        }
        decoder.finish(into: &output)
        #expect(text(output) == expected)
    }

    @Test func `noise in any pieces is valid UTF-8 and the same`() {
        var noise = Noise(1)
        let leads: [UInt8] = [
            0xC3, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0x41, 0xED, 0xA0, 0xFF,
        ]
        for round in 0..<300 {
            let octets = (0..<40).map { _ in leads[Int(noise.next() % 12)] }
            for charset in [Charset.utf8, .unknown, .utf16, .utf16LittleEndian, .single(3)] {
                let whole = charset.utf8(from: octets)
                #expect(String(validating: whole, as: UTF8.self) != nil)
                var decoder = CharsetDecoder(charset)
                var pieces: [UInt8] = []
                var rest = octets[...]
                while !rest.isEmpty {
                    let count = min(rest.count, 1 + (round + rest.count) % 5)
                    decoder.decode(Array(rest.prefix(count)), into: &pieces)
                    rest = rest.dropFirst(count)
                }
                decoder.finish(into: &pieces)
                #expect(pieces == whole)
            }
        }
    }

    @Test func `every name of a table is found and every table is complete`() {
        for name in ["iso-8859-1", "iso-8859-16", "windows-1258", "macintosh", "ibm866"] {
            let charset = Charset(Array(name.utf8))
            #expect(charset != .unknown)
            for octet in UInt8(0)...255 {
                #expect(String(validating: charset.utf8(from: [octet]), as: UTF8.self) != nil)
            }
        }
        #expect(Charset(Array("iso-8859-99".utf8)) == .unknown)
        #expect(Charset([UInt8](repeating: 0x61, count: 100)) == .unknown)
    }
}

@Suite("search without case")
struct NeedleTests {
    private func isFound(_ needle: String, in hay: String) -> Bool {
        let prepared = Needle(Array(needle.utf8))
        var folded: [UInt8] = []
        CaseFolding.append(Array(hay.utf8), to: &folded)
        var matched = 0
        let whole = prepared.isFound(in: folded.span, matched: &matched)
        matched = 0
        var pieces = false
        for octet in folded where !pieces {
            pieces = prepared.isFound(in: [octet].span, matched: &matched)
        }
        #expect(whole == pieces || folded.isEmpty)
        return whole
    }

    @Test(arguments: [
        ("", "anything"), ("abc", "xxABCxx"), ("aab", "aaaab"), ("ÄÖ", "xäöx"),
        ("привет", "ПРИВЕТ"),
        ("ΣΑΣ", "σας"), ("ǆ", "Ǆ"), ("ﬀ", "ﬀ"), ("ß", "ß"), ("ẞ", "ß"), ("ａ", "Ａ"), ("𐐨", "𐐀"),
        ("abababc", "abababababc"), ("ſ", "ſ"), ("µ", "Μ"), ("日本", "これは日本語"),
    ])
    func `it is found`(_ needle: String, _ hay: String) {
        #expect(isFound(needle, in: hay))
    }

    @Test(arguments: [
        ("abc", ""), ("abc", "abxabd"), ("ä", "a"), ("aaab", "aaaaaa"), ("ss", "ß"), ("ſ", "s"),
    ])
    func `it is not found`(_ needle: String, _ hay: String) {
        #expect(!isFound(needle, in: hay))
    }

    @Test func `it agrees with a naive search on noise`() {
        var noise = Noise(7)
        for _ in 0..<2_000 {
            let hay = (0..<30).map { _ in UInt8(0x61 + noise.next() % 2) }
            let wanted = (0..<(1 + noise.next() % 6)).map { _ in UInt8(0x61 + noise.next() % 2) }
            let naive = hay.indices.contains { hay[$0...].starts(with: wanted) }
            var matched = 0
            #expect(Needle(wanted).isFound(in: hay.span, matched: &matched) == naive)
        }
    }
}
