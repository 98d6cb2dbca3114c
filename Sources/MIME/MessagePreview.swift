// SPDX-License-Identifier: Apache-2.0
//
// The first words of a message, as lists show them below the subject. RFC 8970 §3. Charsets, transfer
// encodings and HTML are taken off by `SearchableText`; quoted lines are left out unless there is
// nothing else.

import Bytes

package enum MessagePreview {
    /// RFC 8970 §3.1: at most 256; 200 are wanted.
    package static let characterLimit = 200
    /// Octets of a message in which the text is looked for.
    package static let window = 256 << 10
    /// Parts that are looked at.
    private static let partLimit = 64

    /// UTF-8 without control characters; empty if there is no text.
    ///
    /// - Parameter message: a message with CRLF line ends, or the beginning of one.
    package static func text(of message: Span<UInt8>) -> [UInt8] {
        let structure = MessageStructure(message)
        var walker = SearchableText(needsUnicode: true)
        for wanted in [PartKind.plain, .html] {
            var left = partLimit
            for part in structure.parts where kind(message, part) == wanted {
                left -= 1
                if left < 0 { break }
                var sink = PreviewText(isHTML: wanted == .html)
                _ = walker.leaf(message, part, into: &sink)
                let text = sink.finish()
                if !text.isEmpty { return text }
            }
        }
        return []
    }

    private enum PartKind { case plain, html, other }

    private static func kind(_ message: Span<UInt8>, _ part: MessagePart) -> PartKind {
        guard part.kind == .leaf, !isAttachment(message, part) else { return .other }
        guard let field = part.contentType,
            let type = ParameterizedField.mediaType(message, field)
        else { return .plain }
        guard FieldBody.isWord(message, type.value, "text"), let subtype = type.subtype else {
            return .other
        }
        if FieldBody.isWord(message, subtype, "html") { return .html }
        return FieldBody.isWord(message, subtype, "plain") ? .plain : .other
    }

    private static func isAttachment(_ message: Span<UInt8>, _ part: MessagePart) -> Bool {
        var reader = HeaderReader(part.header)
        while let field = reader.next(message) {
            guard FieldBody.isWord(message, field.name, "content-disposition") else { continue }
            var start = field.body.lowerBound
            while start < field.body.upperBound,
                message[start] == .space || message[start] == .tab || message[start] == .cr
                    || message[start] == .lf
            { start += 1 }
            var end = start
            while end < field.body.upperBound, message[end].isASCIILetter { end += 1 }
            return FieldBody.isWord(message, start..<end, "attachment")
        }
        return false
    }
}

/// Takes text until there is enough of it: lines of the writer, and apart from them quoted ones.
private struct PreviewText: TextSink {
    private let isHTML: Bool
    private var own: [UInt8] = []
    private var ownCount = 0
    private var quoted: [UInt8] = []
    private var quotedCount = 0
    private var isAtLineStart = true
    private var isQuoted = false

    init(isHTML: Bool) { self.isHTML = isHTML }

    mutating func begin() {}

    mutating func take(_ text: Span<UInt8>) -> Bool {
        var index = 0
        while index < text.count {
            let first = text[index]
            let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
            let end = min(index + length, text.count)
            defer { index = end }
            if first == .lf || first == .cr {
                isAtLineStart = true
                blank()
                continue
            }
            if isAtLineStart {
                isQuoted = first == 0x3E && !isHTML
                isAtLineStart = false
            }
            if first <= .space || first == 0x7F {
                blank()
                continue
            }
            if length == 2, end - index == 2, first == 0xC2, text[index + 1] < 0xA1 {
                blank()  // C1 controls and the no-break space
                continue
            }
            if isIgnorable(text, index, end) { continue }
            if isQuoted {
                guard quotedCount < MessagePreview.characterLimit else { continue }
                quoted.append(copying: text.extracting(index..<end))
                quotedCount += 1
            } else {
                own.append(copying: text.extracting(index..<end))
                ownCount += 1
                if ownCount >= MessagePreview.characterLimit { return false }
            }
        }
        return true
    }

    /// Zero-width characters and soft hyphens, with which newsletters pad their previews.
    private func isIgnorable(_ text: Span<UInt8>, _ index: Int, _ end: Int) -> Bool {
        switch end - index {
        case 2:
            return text[index] == 0xC2 && text[index + 1] == 0xAD
                || text[index] == 0xCD && text[index + 1] == 0x8F
        case 3:
            if text[index] == 0xEF { return text[index + 1] == 0xBB && text[index + 2] == 0xBF }
            guard text[index] == 0xE2 else { return false }
            return text[index + 1] == 0x80 && (0x8B...0x8F).contains(text[index + 2])
                || text[index + 1] == 0x80 && (0xAA...0xAE).contains(text[index + 2])
        default: return false
        }
    }

    private mutating func blank() {
        if isQuoted {
            if let last = quoted.last, last != .space,
                quotedCount < MessagePreview.characterLimit
            {
                quoted.append(.space)
                quotedCount += 1
            }
        } else if let last = own.last, last != .space {
            own.append(.space)
            ownCount += 1
        }
    }

    mutating func finish() -> [UInt8] {
        while own.last == .space { own.removeLast() }
        if !own.isEmpty { return own }
        while quoted.last == .space { quoted.removeLast() }
        return quoted
    }
}
