// SPDX-License-Identifier: Apache-2.0
//
// Charsets of mail and their conversion to UTF-8. RFC 2046 §4.1.2, names from the IANA registry.
// Octets that mean nothing in their charset never stop a conversion.

import Bytes

package enum Charset: Equatable, Sendable {
    /// UTF-8, US-ASCII, or nothing said. Octets that are not UTF-8 are taken for Windows-1252: of
    /// mail with a wrong label, most is that.
    case utf8
    /// One octet, one character: index into `Charset.tables`.
    case single(Int)
    /// With a byte order mark, big-endian without.
    case utf16
    case utf16BigEndian, utf16LittleEndian
    /// Not one of ours. What is UTF-8 anyway stays, the rest becomes U+FFFD.
    case unknown

    /// Octets of a charset name.
    private static let nameLimit = 40

    /// By name, in any case; an RFC 2231 language suffix (`*en`) is passed over.
    package init(_ text: Span<UInt8>, _ range: Range<Int>) {
        var name: [UInt8] = []
        for index in range {
            let octet = text[index]
            if octet == 0x2A { break }
            if octet == 0x2D || octet == 0x5F || octet == 0x3A || octet == 0x22 { continue }
            guard name.count < Self.nameLimit, octet.isASCIIVisible || octet == .space else {
                self = .unknown
                return
            }
            if octet != .space { name.append(octet.asciiLowercased) }
        }
        self = Self.named(String(decoding: name, as: UTF8.self))
    }

    package init(_ name: [UInt8]) { self.init(name.span, 0..<name.count) }

    /// - Parameter name: lower case, without dashes and underscores.
    private static func named(_ name: String) -> Charset {
        switch name {
        case "utf8", "usascii", "ascii", "", "ansix3.41968", "unknown8bit", "unicode11utf8": .utf8
        case "utf16": .utf16
        case "utf16be": .utf16BigEndian
        case "utf16le": .utf16LittleEndian
        default: table(name).map { .single($0) } ?? .unknown
        }
    }

    /// Tables by number; ISO-8859-1 is read as Windows-1252, which it is everywhere but in C1.
    static let tables: [[UInt16]] = [
        windows1252, iso8859_2, iso8859_3, iso8859_4, iso8859_5, iso8859_6, iso8859_7, iso8859_8,
        windows1254, iso8859_10, windows874, iso8859_13, iso8859_14, iso8859_15, iso8859_16,
        windows1250, windows1251, windows1253, windows1255, windows1256, windows1257, windows1258,
        koi8r, koi8u, ibm866, macintosh,
    ]

    private static func table(_ name: String) -> Int? {
        switch name {
        case "iso88591", "iso8859.1", "latin1", "l1", "windows1252", "cp1252", "xcp1252": 0
        case "iso88592", "latin2", "l2": 1
        case "iso88593", "latin3": 2
        case "iso88594", "latin4": 3
        case "iso88595", "cyrillic": 4
        case "iso88596", "arabic": 5
        case "iso88597", "greek": 6
        case "iso88598", "iso88598i", "iso88598e", "hebrew": 7
        case "iso88599", "latin5", "windows1254", "cp1254": 8
        case "iso885910", "latin6": 9
        case "iso885911", "tis620", "windows874", "cp874": 10
        case "iso885913": 11
        case "iso885914", "latin8": 12
        case "iso885915", "latin9": 13
        case "iso885916", "latin10": 14
        case "windows1250", "cp1250": 15
        case "windows1251", "cp1251": 16
        case "windows1253", "cp1253": 17
        case "windows1255", "cp1255": 18
        case "windows1256", "cp1256": 19
        case "windows1257", "cp1257": 20
        case "windows1258", "cp1258": 21
        case "koi8r", "koi8": 22
        case "koi8u": 23
        case "ibm866", "cp866": 24
        case "macintosh", "macroman", "mac": 25
        default: nil
        }
    }

    /// False if octets below 0x80 may be other characters than in US-ASCII.
    package var isASCIICompatible: Bool {
        switch self {
        case .utf8, .single, .unknown: true
        case .utf16, .utf16BigEndian, .utf16LittleEndian: false
        }
    }

    /// The text of `octets`, valid UTF-8 whatever they are.
    package func utf8(from octets: [UInt8]) -> [UInt8] {
        var decoder = CharsetDecoder(self)
        var text: [UInt8] = []
        text.reserveCapacity(octets.count + octets.count / 8)
        decoder.decode(octets.span, into: &text)
        decoder.finish(into: &text)
        return text
    }
}

/// Converts a text that comes in pieces. Output always ends with a whole character.
package struct CharsetDecoder: Sendable {
    private let charset: Charset
    private let table: [UInt16]
    /// The beginning of a character, at most 3 octets.
    private var pending: [UInt8] = []
    /// UTF-16: byte order, and the first half of a pair.
    private var isLittleEndian: Bool
    private var isAtStart = true
    private var highSurrogate: UInt32?

    package init(_ charset: Charset) {
        self.charset = charset
        if case .single(let number) = charset {
            table = Charset.tables[number]
        } else {
            table = Charset.windows1252
        }
        isLittleEndian = charset == .utf16LittleEndian
    }

    package mutating func decode(_ octets: Span<UInt8>, into text: inout [UInt8]) {
        switch charset {
        case .single: decodeSingle(octets, into: &text)
        case .utf8, .unknown: decodeUTF8(octets, into: &text)
        case .utf16, .utf16BigEndian, .utf16LittleEndian: decodeUTF16(octets, into: &text)
        }
    }

    /// The same for an array; for callers whose input and output live in one value.
    package mutating func decode(_ octets: [UInt8], into text: inout [UInt8]) {
        decode(octets.span, into: &text)
    }

    /// Ends the text: what is pending is no character.
    package mutating func finish(into text: inout [UInt8]) {
        switch charset {
        case .single: break
        case .utf8, .unknown:
            for octet in pending { appendInvalid(octet, into: &text) }
        case .utf16, .utf16BigEndian, .utf16LittleEndian:
            if highSurrogate != nil || !pending.isEmpty { text.append(scalar: 0xFFFD) }
        }
        highSurrogate = nil
        pending = []
    }

    private func decodeSingle(_ octets: Span<UInt8>, into text: inout [UInt8]) {
        var index = 0
        while index < octets.count {
            let run = index..<octets.firstNonASCII(in: index..<octets.count)
            text.append(copying: octets.extracting(run))
            index = run.upperBound
            while index < octets.count, octets[index] >= 0x80 {
                text.append(scalar: UInt32(table[Int(octets[index] - 0x80)]))
                index += 1
            }
        }
    }

    private mutating func decodeUTF8(_ octets: Span<UInt8>, into text: inout [UInt8]) {
        var index = 0
        if !pending.isEmpty {
            // At most 3 octets of the new ones are needed to know what the pending ones are.
            var joined = pending
            let borrowed = min(3, octets.count)
            for position in 0..<borrowed { joined.append(octets[position]) }
            let before = pending.count
            pending = []
            var position = 0
            while position < before {
                let length = UTF8Sequence.length(joined.span, position, joined.count)
                if length == 0 {
                    guard octets.count <= borrowed else { preconditionFailure("4 octets suffice") }
                    pending = Array(joined[position...])
                    return
                }
                if length < 0 {
                    appendInvalid(joined[position], into: &text)
                    position += 1
                } else {
                    text.append(contentsOf: joined[position..<(position + length)])
                    position += length
                }
            }
            index = position - before
        }
        let count = octets.count
        while index < count {
            let octet = octets[index]
            if octet < 0x80 {
                let run = index..<octets.firstNonASCII(in: index..<count)
                text.append(copying: octets.extracting(run))
                index = run.upperBound
                continue
            }
            let length = UTF8Sequence.length(octets, index, count)
            if length == 0 {
                while index < count {
                    pending.append(octets[index])
                    index += 1
                }
                return
            }
            if length < 0 {
                appendInvalid(octet, into: &text)
                index += 1
            } else {
                for position in index..<(index + length) { text.append(octets[position]) }
                index += length
            }
        }
    }

    private func appendInvalid(_ octet: UInt8, into text: inout [UInt8]) {
        if octet < 0x80 {
            text.append(octet)
        } else if charset == .utf8 {
            text.append(scalar: UInt32(table[Int(octet - 0x80)]))
        } else {
            text.append(scalar: 0xFFFD)
        }
    }

    private mutating func decodeUTF16(_ octets: Span<UInt8>, into text: inout [UInt8]) {
        for index in octets.indices {
            guard let first = pending.last else {
                pending.append(octets[index])
                continue
            }
            pending.removeLast()
            let second = octets[index]
            let unit =
                isLittleEndian
                ? UInt32(second) << 8 | UInt32(first) : UInt32(first) << 8 | UInt32(second)
            if isAtStart {
                isAtStart = false
                if unit == 0xFEFF { continue }
                if charset == .utf16, unit == 0xFFFE {
                    isLittleEndian = true
                    continue
                }
            }
            appendUnit(unit, into: &text)
        }
    }

    private mutating func appendUnit(_ unit: UInt32, into text: inout [UInt8]) {
        if let high = highSurrogate {
            highSurrogate = nil
            if unit & 0xFC00 == 0xDC00 {
                text.append(scalar: 0x1_0000 + ((high & 0x3FF) << 10 | unit & 0x3FF))
                return
            }
            text.append(scalar: 0xFFFD)
        }
        if unit & 0xFC00 == 0xD800 {
            highSurrogate = unit
        } else {
            text.append(scalar: unit & 0xFC00 == 0xDC00 ? 0xFFFD : unit)
        }
    }
}

/// Well-formed UTF-8. RFC 3629 §4.
enum UTF8Sequence {
    /// Octets of the character at `index`; 0 if it is cut off by the end, -1 if it is none.
    static func length(_ octets: Span<UInt8>, _ index: Int, _ end: Int) -> Int {
        let first = octets[index]
        if first < 0x80 { return 1 }
        let length: Int
        var lowest: UInt8 = 0x80
        var highest: UInt8 = 0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0...0xEF:
            length = 3
            if first == 0xE0 { lowest = 0xA0 }
            if first == 0xED { highest = 0x9F }
        case 0xF0...0xF4:
            length = 4
            if first == 0xF0 { lowest = 0x90 }
            if first == 0xF4 { highest = 0x8F }
        default: return -1
        }
        for offset in 1..<length {
            guard index + offset < end else { return 0 }
            let octet = octets[index + offset]
            guard octet >= lowest, octet <= highest else { return -1 }
            lowest = 0x80
            highest = 0xBF
        }
        return length
    }
}

extension [UInt8] {
    /// Appends a character that is no surrogate as UTF-8.
    mutating func append(scalar: UInt32) {
        if scalar < 0x80 {
            append(UInt8(truncatingIfNeeded: scalar))
        } else if scalar < 0x800 {
            append(0xC0 | UInt8(truncatingIfNeeded: scalar >> 6))
            append(0x80 | UInt8(truncatingIfNeeded: scalar & 0x3F))
        } else if scalar < 0x1_0000 {
            append(0xE0 | UInt8(truncatingIfNeeded: scalar >> 12))
            append(0x80 | UInt8(truncatingIfNeeded: scalar >> 6 & 0x3F))
            append(0x80 | UInt8(truncatingIfNeeded: scalar & 0x3F))
        } else {
            append(0xF0 | UInt8(truncatingIfNeeded: scalar >> 18))
            append(0x80 | UInt8(truncatingIfNeeded: scalar >> 12 & 0x3F))
            append(0x80 | UInt8(truncatingIfNeeded: scalar >> 6 & 0x3F))
            append(0x80 | UInt8(truncatingIfNeeded: scalar & 0x3F))
        }
    }
}
