// SPDX-License-Identifier: Apache-2.0
//
// Field bodies as readable UTF-8: unfolded, encoded words decoded. RFC 2047, RFC 5322 §2.2.3.
// Words are decoded wherever they stand, also in quoted strings: that is where people put them.

import Bytes

package enum HeaderText {
    /// Appends the text of a field body to `output`, without blanks at its ends. Valid UTF-8.
    package static func append(
        _ message: Span<UInt8>, _ body: Range<Int>, to output: inout [UInt8]
    ) {
        let range = StructuredText.trim(message, body)
        var index = range.lowerBound
        var runStart = index
        // Nearly all fields are plain ASCII on one line or a few.
        while index < range.upperBound {
            let octet = message[index]
            if octet >= 0x80 || (octet == 0x3D && isWordStart(message, index, range.upperBound)) {
                output.append(copying: message.extracting(runStart..<index))
                var decoder = HeaderTextDecoder()
                decoder.run(message, index..<range.upperBound, into: &output)
                return
            }
            if octet == .cr || octet == .lf || octet == 0 {
                output.append(copying: message.extracting(runStart..<index))
                runStart = index + 1
            }
            index += 1
        }
        output.append(copying: message.extracting(runStart..<index))
    }

    /// `=?` at `index`.
    @inline(__always)
    fileprivate static func isWordStart(_ text: Span<UInt8>, _ index: Int, _ end: Int) -> Bool {
        index + 1 < end && text[index] == 0x3D && text[index + 1] == 0x3F
    }

    /// The whole characters of `text` that fit into `limit` octets. `text` must be UTF-8.
    package static func truncate(_ text: inout [UInt8], to limit: Int) {
        guard text.count > limit else { return }
        var end = limit
        while end > 0, text[end] & 0xC0 == 0x80 { end -= 1 }
        text.removeSubrange(end...)
    }
}

private struct HeaderTextDecoder {
    /// Decoded octets of adjacent words in one charset: characters may be split between words.
    private var octets: [UInt8] = []
    private var charset: Charset?
    /// Blanks since the last encoded word: dropped if another one follows.
    private var blanks = 0..<0
    /// Octets outside of words that are not ASCII yet to be converted.
    private var plain = CharsetDecoder(.utf8)

    mutating func run(_ text: Span<UInt8>, _ range: Range<Int>, into output: inout [UInt8]) {
        var index = range.lowerBound
        let end = range.upperBound
        while index < end {
            if HeaderText.isWordStart(text, index, end),
                let word = EncodedWord(text, index, end)
            {
                if charset != word.charset {
                    flush(into: &output)
                    charset = word.charset
                }
                blanks = 0..<0
                word.decode(text, into: &octets)
                index = word.end
                continue
            }
            if charset != nil, StructuredText.isBlank(text[index]) {
                let start = index
                while index < end, StructuredText.isBlank(text[index]) { index += 1 }
                blanks = start..<index
                continue
            }
            if charset != nil {
                flush(into: &output)
                appendPlain(text, blanks, into: &output)
                charset = nil
                blanks = 0..<0
            }
            let start = index
            repeat {
                index = text.first(0x3D, in: (index + 1)..<end)
            } while index < end && !HeaderText.isWordStart(text, index, end)
            // blanks between plain text and a word stay, so nothing more to look at here
            appendPlain(text, start..<index, into: &output)
        }
        flush(into: &output)
    }

    private mutating func flush(into output: inout [UInt8]) {
        guard let charset else { return }
        output.append(contentsOf: charset.utf8(from: octets))
        octets.removeAll(keepingCapacity: true)
    }

    private mutating func appendPlain(
        _ text: Span<UInt8>, _ range: Range<Int>, into output: inout [UInt8]
    ) {
        var start = range.lowerBound
        while start < range.upperBound {
            var end = start
            while end < range.upperBound, text[end] != .cr, text[end] != .lf, text[end] != 0 {
                end += 1
            }
            plain.decode(text.extracting(start..<end), into: &output)
            start = end + 1
        }
        plain.finish(into: &output)
    }
}

/// `=?charset?encoding?text?=`.
private struct EncodedWord {
    var charset: Charset
    private var isBase64: Bool
    private var content: Range<Int>
    /// Behind the closing `?=`.
    var end: Int

    /// Octets of a charset with its language; more is no encoded word.
    private static let charsetLimit = 64

    /// Nil if there is none at `start`, where `=?` is.
    init?(_ text: Span<UInt8>, _ start: Int, _ limit: Int) {
        var index = start + 2
        while index < limit, text[index] != 0x3F {
            guard text[index].isASCIIVisible, index - start < Self.charsetLimit else { return nil }
            index += 1
        }
        let name = (start + 2)..<index
        guard !name.isEmpty, index + 2 < limit, text[index + 2] == 0x3F else { return nil }
        switch text[index + 1].asciiLowercased {
        case 0x62: isBase64 = true
        case 0x71: isBase64 = false
        default: return nil
        }
        index += 3
        let contentStart = index
        // Blanks are not allowed inside, but some programs leave them in; a line end is the end.
        while index < limit, text[index] != 0x3F, text[index] != .lf { index += 1 }
        guard index + 1 < limit, text[index] == 0x3F, text[index + 1] == 0x3D else { return nil }
        content = contentStart..<index
        end = index + 2
        charset = Charset(text, name)
    }

    func decode(_ text: Span<UInt8>, into octets: inout [UInt8]) {
        if isBase64 {
            var decoder = TransferDecoder(.base64)
            decoder.decode(text.extracting(content), into: &octets)
            return
        }
        var index = content.lowerBound
        while index < content.upperBound {
            let octet = text[index]
            if octet == 0x3D, index + 2 < content.upperBound,
                let high = text[index + 1].hexadecimalValue,
                let low = text[index + 2].hexadecimalValue
            {
                octets.append(high << 4 | low)
                index += 3
            } else {
                octets.append(octet == 0x5F ? .space : octet)
                index += 1
            }
        }
    }
}
