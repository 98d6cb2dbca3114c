// SPDX-License-Identifier: Apache-2.0
//
// The text that SEARCH looks in: HTML as people see it, and the keys that an index keeps of it.

import Bytes
import MIME
import Mail
import Testing

@Suite("HTML as text")
struct HTMLTextTests {
    private func text(_ html: String, pieces: Int = .max) -> String {
        var reader = HTMLText()
        var output: [UInt8] = []
        var rest = Array(html.utf8)[...]
        while !rest.isEmpty {
            let piece = rest.prefix(pieces)
            rest = rest.dropFirst(piece.count)
            reader.append(Array(piece), to: &output)
        }
        reader.finish(into: &output)
        return String(decoding: output, as: UTF8.self)
    }

    private static let cases: [(html: String, text: String)] = [
        ("plain", "plain"), ("a  b\r\n\tc", "a b c"), (" x", "x"),
        ("wo<b>rd</b>s", "words"), ("one<br>two<p>three</p>four", "one two three four"),
        ("<p class=\"a > b\">x</p>y", "x y"), ("<p class='>'>x", "x"),
        ("it's <i>o'clock</i>", "it's o'clock"),
        ("1 < 2 && 3 > 2", "1 < 2 && 3 > 2"), ("a <3 b", "a <3 b"), ("<", "<"), ("a<", "a<"),
        ("&lt;b&gt; &amp; &quot;&apos;", "<b> & \"'"), ("&uuml;&#228;&#xdf;", "üäß"),
        ("a&nbsp;b&#160;c", "a b c"), ("&nothing; &", "&nothing; &"), ("&euro;5 &copy", "€5 ©"),
        ("&#0;&#xD800;&#99999999;", "\u{FFFD}\u{FFFD}\u{FFFD}"), ("&#150;", "–"),
        ("AT&T&T;", "AT&T&T;"),
        ("a<!-- b > c -->d", "ad"), ("a<!---->b<!-->c", "abc"), ("<!DOCTYPE html>x", "x"),
        ("<?xml ?>x", "x"), ("<style>p { a < b }</style>x", "x"),
        ("<SCRIPT>if (a </ b) '</scrip' </script >x", "x"), ("<script/>y</script>x", "x"),
        ("<title>T</title><style></style>x", "T x"), ("</p x='>'>y", "'>y"),
    ]

    @Test func `tags go, references are replaced, blanks run together`() {
        for (html, expected) in Self.cases { #expect(text(html) == expected, "\(html)") }
    }

    @Test func `the pieces in which it comes do not matter`() {
        for (html, expected) in Self.cases {
            for pieces in 1...3 { #expect(text(html, pieces: pieces) == expected, "\(html)") }
        }
    }
}

@Suite("keys of a search index")
struct SearchTermsTests {
    private func key(_ zone: SearchTerms.Zone, _ text: String) -> UInt32 {
        text.utf8.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } | zone.rawValue << 24
    }

    /// Outside of `#expect`, which cannot take spans.
    private func take(_ message: [UInt8], _ terms: inout SearchTerms) -> Bool {
        terms.take(message.span)
    }

    @Test func `every triple of every text is a key, in its zone`() {
        var terms = SearchTerms()
        let message = crlf(
            """
            Subject: =?utf-8?q?ABC=C3=84?=
            Cc: one
            cc: Two
            Date: Mon, 1 Jan 2024 23:30:00 -0500
            Content-Type: text/html

            x&amp;<b>y</b>z
            """)
        let isTaken1 = take(message, &terms)
        #expect(isTaken1)
        let keys = Set(terms.keys)
        #expect(keys.count == terms.keys.count)
        for text in ["abc", "sub", ": a", "cä", "ä\u{0}"] {
            #expect(keys.contains(key(.header, text)), "\(text)")
            #expect(!keys.contains(key(.body, text)), "\(text)")
        }
        for text in ["x&y", "&yz", "yz\u{0}", "z\u{0}\u{0}"] {
            #expect(keys.contains(key(.body, text)), "\(text)")
        }
        #expect(!keys.contains(key(.body, "amp")))
        #expect(terms.sentDay == 19_723)
        #expect(
            terms.columns[SearchTerms.Column.cc.rawValue] == crlf("one") + [255]
                + crlf("two") + [255])
        #expect(terms.columns[SearchTerms.Column.bcc.rawValue].isEmpty)
    }

    @Test func `nothing of one message is left in the next`() {
        var terms = SearchTerms()
        let isTaken2 = take(crlf("Subject: first\n\nfirst\n"), &terms)
        #expect(isTaken2)
        let isTaken3 = take(crlf("Subject: other\n\nother\n"), &terms)
        #expect(isTaken3)
        #expect(!terms.keys.contains(key(.body, "fir")))
        #expect(terms.keys.contains(key(.body, "oth")))
        #expect(terms.columns[0] == crlf("other") + [255])
    }

    @Test func `a header that is too long is not taken apart`() {
        var terms = SearchTerms()
        let long = String(repeating: "x", count: 600_000)
        let isTaken4 = take(crlf("Subject: \(long)\n\nbody\n"), &terms)
        #expect(!isTaken4)
        let isTaken5 = take(crlf("Subject: short\n\n\(long)\n"), &terms)
        #expect(isTaken5)
    }

    @Test func `a text made to look right at every place costs linear time`() {
        let hay = [UInt8](repeating: 0x61, count: 2_000_000)
        let needle = Needle([UInt8](repeating: 0x61, count: 5_000) + [0x62] + [0x61])
        let nowhere = needle.firstIndex(in: hay.span, from: 0)
        let whole = hay + needle.octets
        let atEnd = needle.firstIndex(in: whole.span, from: 7)
        #expect(nowhere == nil)
        #expect(atEnd == hay.count)
    }
}
