// SPDX-License-Identifier: Apache-2.0
//
// The lexical pieces that structured header fields share: blanks, comments, quoted strings.
// RFC 5322 §3.2. Everything is read by position and in linear time; nothing is refused.

import Bytes

/// Functions that look at `text` from `position` on and move it; `end` is never passed.
enum StructuredText {
    /// White space, line ends of folds, and controls, which have no meaning here.
    @inline(__always)
    static func isBlank(_ octet: UInt8) -> Bool { octet <= 0x20 || octet == 0x7F }

    /// Skips blanks and comments, nested to any depth without recursion.
    ///
    /// - Returns: the inside of the last outermost comment, if there was one.
    static func skipBlanksAndComments(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int
    ) -> Range<Int>? {
        var comment: Range<Int>?
        while position < end {
            let octet = text[position]
            if octet == 0x28 {
                comment = skipComment(text, &position, end)
            } else if isBlank(octet) {
                position += 1
            } else {
                break
            }
        }
        return comment
    }

    /// Skips one comment whose `(` is at `position`; without `)` it reaches to the end.
    private static func skipComment(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int
    ) -> Range<Int> {
        let start = position + 1
        var depth = 0
        while position < end {
            switch text[position] {
            case 0x28: depth += 1
            case 0x29:
                depth -= 1
                if depth == 0 {
                    position += 1
                    return start..<(position - 1)
                }
            case 0x5C: position += 1
            default: break
            }
            position += 1
        }
        position = end
        return start..<max(start, end)
    }

    /// Appends the inside of the quoted string whose `"` is at `position`, without backslashes and
    /// line ends. Without a closing quote it reaches to the end.
    static func takeQuotedString(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int, into output: inout [UInt8]
    ) {
        position += 1
        while position < end {
            var octet = text[position]
            if octet == 0x22 {
                position += 1
                return
            }
            if octet == 0x5C, position + 1 < end {
                position += 1
                octet = text[position]
            }
            if octet != .cr, octet != .lf, octet != 0 { output.append(octet) }
            position += 1
        }
    }

    /// `range` without the blanks at its ends.
    static func trim(_ text: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var start = range.lowerBound
        var end = range.upperBound
        while start < end, isBlank(text[start]) { start += 1 }
        while end > start, isBlank(text[end - 1]) { end -= 1 }
        return start..<end
    }
}

/// Helpers that the IMAP data items need of field bodies.
package enum FieldBody {
    /// `body` without the blanks at its ends.
    package static func trimmed(_ message: Span<UInt8>, _ body: Range<Int>) -> Range<Int> {
        StructuredText.trim(message, body)
    }

    /// The first token of `body`, comments skipped: a transfer encoding, say. May be empty.
    package static func token(_ message: Span<UInt8>, _ body: Range<Int>) -> Range<Int> {
        var position = body.lowerBound
        let end = body.upperBound
        _ = StructuredText.skipBlanksAndComments(message, &position, end)
        let start = position
        while position < end {
            let octet = message[position]
            if StructuredText.isBlank(octet) || octet == 0x28 || octet == 0x3B || octet == 0x2C {
                break
            }
            position += 1
        }
        return start..<position
    }

    /// True if the octets at `range` are `word` in any case; `word` has no capitals.
    package static func isWord(
        _ message: Span<UInt8>, _ range: Range<Int>, _ word: StaticString
    ) -> Bool {
        guard range.count == word.utf8CodeUnitCount else { return false }
        var cursor = Cursor(message.extracting(range))
        return cursor.take(word)
    }
}

extension TransferEncoding {
    /// - Parameter field: body of Content-Transfer-Encoding; nil without one.
    package init(_ message: Span<UInt8>, _ field: Range<Int>?) {
        guard let field else {
            self = .identity
            return
        }
        let token = FieldBody.token(message, field)
        if FieldBody.isWord(message, token, "base64") {
            self = .base64
        } else if FieldBody.isWord(message, token, "quoted-printable") {
            self = .quotedPrintable
        } else if token.isEmpty || FieldBody.isWord(message, token, "7bit")
            || FieldBody.isWord(message, token, "8bit")
            || FieldBody.isWord(message, token, "binary")
        {
            self = .identity
        } else {
            self = .unknown
        }
    }
}
