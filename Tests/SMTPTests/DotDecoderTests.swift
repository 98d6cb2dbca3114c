// SPDX-License-Identifier: Apache-2.0
//
// The end of data and everything that only looks like it. RFC 5321 §4.5.2; THREATS "smuggling".

import Bytes
import SMTP
import Testing

/// Text, octets used, fault.
private struct Outcome: Equatable {
    var text: [UInt8]
    var used: Int
    var fault: TextFault?
    var isComplete: Bool
}

/// Feeds `input` in pieces that end at `cuts`.
private func decode(_ input: [UInt8], cuts: [Int] = [], limit: Int = 1 << 20) -> Outcome {
    var decoder = DotDecoder(limit: limit)
    var text: [UInt8] = []
    var used = 0
    var start = 0
    for end in cuts + [input.count] {
        used += decoder.decode(Array(input[start..<end]).span, into: &text)
        start = end
        if decoder.isComplete { break }
    }
    return Outcome(text: text, used: used, fault: decoder.fault, isComplete: decoder.isComplete)
}

/// Spellings that some server somewhere took for the end.
let lookAlikes: [[UInt8]] = [
    "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r.\n", "\n.\r", "\n\n.\n",
    "\r\n\0.\r\n", "\r\n.\0\r\n", "\r\n.\r\r\n", "\r\r\n.\n", "\n\r.\r\n", "\r\n.\r\0\n",
    "\u{85}.\u{85}", "\u{2028}.\u{2028}", "\r\n..\r\n", "\r\n .\r\n",
].map { Array($0) }

@Suite("End of data, RFC 5321 §4.1.1.4")
struct DotDecoderTests {
    @Test(arguments: [
        (".\r\n", ""), ("a\r\n.\r\n", "a\r\n"), ("\r\n.\r\n", "\r\n"),
        ("..\r\n.\r\n", ".\r\n"), ("..a\r\n...\r\n.\r\n", ".a\r\n..\r\n"),
        (".a\r\n.\r\n", "a\r\n"), ("a.\r\n.\r\n", "a.\r\n"), ("a\r\n.b.\r\n.\r\n", "a\r\nb.\r\n"),
        ("a\u{1}\u{ff}\r\n.\r\n", "a\u{1}\u{ff}\r\n"),
    ])
    func `text is undotted up to its end`(input: String, text: String) {
        let octets = Array(input)
        #expect(
            decode(octets)
                == Outcome(
                    text: Array(text), used: octets.count, fault: nil, isComplete: true))
    }

    @Test(arguments: ["\0\r\n.\r\n", "a\0b\r\n.\r\n", "0123456789\0\r\n.\r\n", "x\r\n\0.\r\n.\r\n"])
    func `a NUL is a fault, and the end is found all the same`(input: String) {
        var decoder = DotDecoder(limit: 100)
        var text: [UInt8] = []
        #expect(decoder.decode(Array(input).span, into: &text) == input.utf8.count)
        #expect(decoder.isComplete && decoder.fault == .nullByte)
    }

    @Test func `what follows the end is not touched`() {
        let outcome = decode(Array("a\r\n.\r\nQUIT\r\n"))
        #expect(outcome.used == 6)
        #expect(outcome.isComplete)
    }

    @Test func `every cut gives the same text`() {
        let input = Array(
            "Subject: x\r\n\r\n..dot\r\n.\u{e9} a longer line, of many octets\r\n.\r\nQ")
        let whole = decode(input)
        #expect(whole.fault == nil && whole.isComplete)
        for first in 0...input.count {
            #expect(decode(input, cuts: [first]) == whole, "cut at \(first)")
            for second in first...input.count {
                #expect(decode(input, cuts: [first, second]) == whole)
            }
        }
        #expect(decode(input, cuts: Array(0...input.count)) == whole)
    }

    @Test func `every cut of a bad text finds the same fault and the same end`() {
        for lookAlike in lookAlikes {
            let input = Array("a") + lookAlike + Array("MAIL FROM:<>\r\n.\r\n")
            let whole = decode(input)
            for cut in 0...input.count {
                let parts = decode(input, cuts: [cut])
                #expect(parts.fault == whole.fault && parts.used == whole.used)
            }
        }
    }

    @Test(arguments: lookAlikes)
    func `a look-alike never ends the text`(lookAlike: [UInt8]) {
        let outcome = decode(Array("a") + lookAlike + Array("MAIL FROM:<>"))
        #expect(!outcome.isComplete)
    }

    @Test(arguments: lookAlikes)
    func `a look-alike with a lone CR or LF spoils the message, to its real end`(
        lookAlike: [UInt8]
    ) {
        let input = Array("a") + lookAlike + Array("MAIL FROM:<x@y>\r\nDATA\r\n.\r\n")
        let outcome = decode(input)
        #expect(outcome.isComplete)
        #expect(outcome.used == input.count)
        var hasLone = false
        for index in lookAlike.indices {
            let octet = lookAlike[index]
            let isLoneCR =
                octet == 0x0D
                && (index + 1 == lookAlike.count || lookAlike[index + 1] != 0x0A)
            let isLoneLF = octet == 0x0A && (index == 0 || lookAlike[index - 1] != 0x0D)
            if isLoneCR || isLoneLF { hasLone = true }
        }
        #expect((outcome.fault == .bareNewline) == hasLone)
    }

    @Test func `no prefix of a text is complete`() {
        let input = Array("a\r\n..b\r\n.\r\n")
        for length in 0..<input.count {
            #expect(!decode(Array(input[..<length])).isComplete)
        }
    }

    @Test func `text over the limit is counted, not kept, and read to its end`() {
        let line = [UInt8](repeating: 0x61, count: 998) + [0x0D, 0x0A]
        var decoder = DotDecoder(limit: 10_000)
        var text: [UInt8] = []
        for _ in 0..<10 { _ = decoder.decode(line.span, into: &text) }
        #expect(decoder.fault == nil && text.count == 10_000)
        for _ in 0..<1_000 { _ = decoder.decode(line.span, into: &text) }
        #expect(decoder.fault == .tooLarge && decoder.size == 1_010_000)
        #expect(text.count == 10_000)
        #expect(decoder.decode(Array(".\r\n").span, into: &text) == 3)
        #expect(decoder.isComplete)
    }

    @Test func `a line without end keeps no more than the limit`() {
        let piece = [UInt8](repeating: 0x61, count: 1 << 16)
        var decoder = DotDecoder(limit: 1 << 17)
        var text: [UInt8] = []
        for _ in 0..<64 { #expect(decoder.decode(piece.span, into: &text) == 1 << 16) }
        #expect(text.count <= 1 << 17)
        #expect(decoder.fault == .tooLarge)
    }
}

@Suite("Line ends in chunks, RFC 3030")
struct LineEndCheckTests {
    private func hasBareNewline(_ pieces: [[UInt8]]) -> Bool {
        var check = LineEndCheck()
        for piece in pieces { check.check(piece.span) }
        check.finish()
        return check.hasBareNewline
    }

    @Test(arguments: [
        ("", false), ("a", false), ("\r\n", false), ("a\r\nb\r\n", false), ("\n", true),
        ("\r", true), ("a\rb", true), ("a\nb", true), ("\r\r\n", true), ("\r\n\n", true),
        ("a\r\n.\r\n", false), ("0123456789012345\r\n01234567\n", true), ("a\r\n\r", true),
    ])
    func `lone CRs and LFs are found in any cut`(text: String, isBad: Bool) {
        let octets = Array(text)
        #expect(hasBareNewline([octets]) == isBad)
        for cut in 0...octets.count {
            #expect(hasBareNewline([Array(octets[..<cut]), Array(octets[cut...])]) == isBad)
        }
        #expect(hasBareNewline(octets.map { [$0] }) == isBad)
    }
}

@Suite("Searching")
struct ScanTests {
    @Test func `the first line end is found at every place, whatever surrounds it`() {
        for length in 0...40 {
            for place in 0..<max(length, 1) {
                for filler: UInt8 in [0x61, 0x00, 0x0B, 0x0C, 0x0E, 0x09, 0x8A, 0x8D, 0xFF] {
                    for end: UInt8 in [0x0A, 0x0D] {
                        var octets = [UInt8](repeating: filler, count: length)
                        #expect(octets.span.firstLineEnd(from: 0) == length)
                        guard length > 0 else { continue }
                        octets[place] = end
                        #expect(octets.span.firstLineEnd(from: 0) == place)
                        #expect(octets.span.firstLineEnd(from: place) == place)
                        #expect(octets.span.firstLineEnd(from: place + 1) == length)
                    }
                }
            }
        }
    }
}
