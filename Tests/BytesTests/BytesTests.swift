// SPDX-License-Identifier: Apache-2.0

import Bytes
import Testing

@Suite("ASCII, RFC 20")
struct ASCIITests {
    @Test func `classes of octets are those of ASCII, for all 256`() {
        for octet in UInt8.min...UInt8.max {
            let isUpper = (0x41...0x5A).contains(octet)
            let isLower = (0x61...0x7A).contains(octet)
            #expect(octet.isASCIILetter == (isUpper || isLower))
            #expect(octet.isASCIIDigit == (0x30...0x39).contains(octet))
            #expect(octet.isASCIIVisible == (0x21...0x7E).contains(octet))
            #expect(octet.asciiLowercased == (isUpper ? octet + 0x20 : octet))
            #expect(octet.asciiUppercased == (isLower ? octet - 0x20 : octet))
        }
    }

    @Test(arguments: [
        ("INBOX", "inbox", true), ("", "", true), ("a", "b", false), ("a", "ab", false),
        ("[", "{", false), ("\u{E4}", "\u{C4}", false),
    ])
    func `strings are equal but for the case of ASCII letters`(
        _ left: String, _ right: String, _ expected: Bool
    ) {
        #expect(Array(left.utf8).equalsIgnoringASCIICase(Array(right.utf8)) == expected)
    }

    @Test func `lowering leaves what is not a capital`() {
        #expect(Array("aB[\u{C4}9".utf8).asciiLowercased == Array("ab[\u{C4}9".utf8))
    }

    @Test(arguments: [
        0, 1, 9, 10, 11, 99, 100, 4_294_967_295, UInt64.max, UInt64.max - 1, 1_000_000_000,
    ])
    func `numbers are written in decimal behind what is there`(_ number: UInt64) {
        var octets = Array("x 9".utf8)
        octets.appendDecimal(number)
        #expect(String(decoding: octets, as: UTF8.self) == "x 9\(number)")
    }

    @Test func `copies of spans are appended whole`() {
        let source = Array("hello".utf8)
        var octets = Array("x".utf8)
        octets.append(copying: source.span)
        octets.append(copying: source.span.extracting(0..<0))
        octets.append(copying: source.span.extracting(1..<3))
        #expect(octets == Array("xhelloel".utf8))
        #expect([UInt8](copying: source.span) == source)
    }
}

@Suite("scans eight octets at a time")
struct ScanTests {
    /// All lengths around the word size, the wanted octet at every place, decoys that differ by one.
    @Test func `the first octet is found at every place of every length`() {
        for length in 0..<27 {
            for place in 0...length {
                var octets = [UInt8](repeating: 0x0B, count: length)
                if place < length { octets[place] = 0x0A }
                if place + 1 < length { octets[place + 1] = 0x0A }
                for start in 0...length {
                    let expected = octets[start...].firstIndex(of: 0x0A) ?? length
                    let found = octets.span.first(0x0A, in: start..<length)
                    #expect(found == expected)
                    let line = octets.span.firstLineEnd(from: start)
                    #expect(line == expected)
                }
                let cut = octets.span.first(0x0A, in: 0..<place)
                #expect(cut == place)
            }
        }
    }

    @Test func `octets behind the range are not looked at`() {
        let octets: [UInt8] = [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0xFF]
        let found = octets.span.first(2, in: 0..<9)
        let high = octets.span.firstNonASCII(in: 0..<10)
        #expect(found == 9)
        #expect(high == 10)
    }

    @Test func `the first octet above 7F is found at every place of every length`() {
        for length in 0..<27 {
            for place in 0...length {
                var octets = [UInt8](repeating: 0x7F, count: length)
                for index in place..<length { octets[index] = 0x80 }
                let found = octets.span.firstNonASCII(in: 0..<length)
                #expect(found == place)
            }
        }
    }

    @Test func `CR and LF both end a line`() {
        let octets = Array("abcdefghijk\rl\n".utf8)
        let first = octets.span.firstLineEnd(from: 0)
        let second = octets.span.firstLineEnd(from: 12)
        let none = octets.span.firstLineEnd(from: 14)
        #expect([first, second, none] == [11, 13, 14])
    }
}

@Suite("Cursor")
struct CursorTests {
    @Test func `octets are taken from front to back`() {
        let octets = Array("ab".utf8)
        var cursor = Cursor(octets.span)
        let first = cursor.takeOctet()
        let isOther = cursor.take(0x63)
        let isNext = cursor.take(0x62)
        let end = cursor.takeOctet()
        let isAtEnd = cursor.isAtEnd
        #expect(first == 0x61)
        #expect(!isOther)
        #expect(isNext)
        #expect(end == nil)
        #expect(isAtEnd)
    }

    @Test(arguments: [
        ("FETCH x", true, 5), ("fetch", true, 5), ("fetc", false, 0), ("fetcx", false, 0),
        ("", false, 0),
    ])
    func `a literal is taken in any case or not at all`(
        _ text: String, _ expected: Bool, _ offset: Int
    ) {
        let octets = Array(text.utf8)
        var cursor = Cursor(octets.span)
        let isTaken = cursor.take("fetch")
        let position = cursor.offset
        #expect(isTaken == expected)
        #expect(position == offset)
    }

    @Test func `looking ahead does not move`() {
        let octets = Array("abc".utf8)
        let cursor = Cursor(octets.span)
        let seen = [cursor.peek(0), cursor.peek(2), cursor.peek(3), cursor.peek(-1), cursor.next]
        let remaining = cursor.remaining
        #expect(seen == [0x61, 0x63, nil, nil, 0x61])
        #expect(remaining == 3)
    }

    @Test func `runs are skipped, taken and copied`() {
        let octets = Array("123abc456".utf8)
        var cursor = Cursor(octets.span)
        let skipped = cursor.skip(while: \.isASCIIDigit)
        let letters = cursor.take(while: \.isASCIILetter)
        let none = cursor.take(while: \.isASCIILetter)
        let copy = cursor.copy(1..<4)
        let tooMany = cursor.take(count: 4)
        let negative = cursor.take(count: -1)
        let two = cursor.take(count: 2)
        let rest = cursor.takeRest()
        let isAtEnd = cursor.isAtEnd
        #expect(skipped == 3)
        #expect(letters == Array("abc".utf8))
        #expect(none.isEmpty)
        #expect(copy == Array("23a".utf8))
        #expect(tooMany == nil)
        #expect(negative == nil)
        #expect(two == Array("45".utf8))
        #expect(rest == Array("6".utf8))
        #expect(isAtEnd)
    }

    @Test func `advancing stops at the end and rewinding never goes forward`() {
        let octets = Array("abc".utf8)
        var cursor = Cursor(octets.span)
        cursor.advance(by: 2)
        cursor.rewind(to: 3)
        let kept = cursor.offset
        cursor.advance(by: 9)
        let end = cursor.offset
        cursor.rewind(to: 1)
        let back = cursor.offset
        cursor.rewind(to: -1)
        let start = cursor.offset
        #expect([kept, end, back, start] == [2, 3, 1, 0])
    }

    @Test(arguments: [
        ("select x", "SELECT", 6), ("", "", 0), (" x", "", 0), ("ab12-", "AB12", 4),
        ("abcdefghijklmnopqrs", "ABCDEFGHIJKLMNO", 15),
    ])
    func `a keyword is upper case and at most 15 letters`(
        _ text: String, _ expected: String, _ offset: Int
    ) {
        let octets = Array(text.utf8)
        var cursor = Cursor(octets.span)
        let keyword = cursor.keyword()
        let position = cursor.offset
        #expect(keyword == expected)
        #expect(position == offset)
    }

    @Test(
        arguments: [
            ("0", 0, UInt64.max), ("123x", 123, UInt64.max), ("0007", 7, UInt64.max),
            ("18446744073709551615", UInt64.max, UInt64.max), ("255", 255, 255),
        ] as [(String, UInt64, UInt64)])
    func `numbers are read`(_ text: String, _ expected: UInt64, _ limit: UInt64) {
        let octets = Array(text.utf8)
        var cursor = Cursor(octets.span)
        let number = cursor.number(limit: limit)
        #expect(number == expected)
    }

    @Test(
        arguments: [
            ("", UInt64.max), ("x1", UInt64.max), ("-1", UInt64.max), ("256", 255),
            ("18446744073709551616", UInt64.max), ("99999999999999999999", UInt64.max),
        ] as [(String, UInt64)])
    func `what is no number or too big is nil and stays`(_ text: String, _ limit: UInt64) {
        let octets = Array(text.utf8)
        var cursor = Cursor(octets.span)
        let number = cursor.number(limit: limit)
        let position = cursor.offset
        #expect(number == nil)
        #expect(position == 0)
    }
}
