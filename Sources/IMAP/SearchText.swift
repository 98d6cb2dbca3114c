// SPDX-License-Identifier: Apache-2.0
//
// The text keys of SEARCH: is a string in this header, field or body? RFC 9051 §6.4.4. Texts are
// compared as readers see them: transfer encodings and charsets taken off, case folded. Memory does
// not grow with the message, time grows with it linearly.

import Bytes
import MIME

/// A string to look for, prepared once for many messages. Case does not matter.
package struct SearchText: Sendable {
    private let needle: Needle

    /// Octets of a body that are decoded at a time.
    private static let chunk = 16_384

    /// - Parameter octets: UTF-8; other charsets are converted before (`Charset.utf8(from:)`).
    package init(_ octets: [UInt8]) {
        needle = Needle(octets)
    }

    /// HEADER, SUBJECT, FROM, TO, CC, BCC. An empty string is in every field that exists.
    package func isIn(field name: [UInt8], ofHeader header: Span<UInt8>) -> Bool {
        var buffers = Buffers()
        var reader = HeaderReader(0..<header.count)
        while let field = reader.next(header) {
            guard field.name.count == name.count, isEqual(name, header, field.name) else {
                continue
            }
            if isIn(header, field.body, &buffers) { return true }
        }
        return false
    }

    private func isEqual(_ name: [UInt8], _ header: Span<UInt8>, _ range: Range<Int>) -> Bool {
        for index in name.indices
        where name[index].asciiLowercased != header[range.lowerBound + index].asciiLowercased {
            return false
        }
        return true
    }

    /// BODY: in a text part or in the header of a message inside, decoded.
    package func isInBody(of message: Span<UInt8>, _ structure: MessageStructure) -> Bool {
        if needle.isEmpty { return true }
        var buffers = Buffers()
        for (number, part) in structure.parts.enumerated() {
            switch part.kind {
            case .message:
                if let child = part.firstChild,
                    isInHeader(message, structure.parts[child].header, &buffers)
                {
                    return true
                }
            case .leaf:
                if isInLeaf(message, structure.parts[number], &buffers) { return true }
            case .multipart, .opaque: break
            }
        }
        return false
    }

    /// TEXT: in the header or in a text part, decoded.
    package func isInText(of message: Span<UInt8>, _ structure: MessageStructure) -> Bool {
        if needle.isEmpty { return true }
        var buffers = Buffers()
        return isInHeader(message, structure.parts[0].header, &buffers)
            || isInBody(of: message, structure)
    }

    /// Days since 1970 of the Date field as written, zone disregarded: SENTON and its siblings.
    package static func sentDay(ofHeader header: Span<UInt8>) -> Int? {
        var reader = HeaderReader(0..<header.count)
        while let field = reader.next(header) {
            if KnownField(header, field.name) == .date {
                return MessageDate(header, field.body)?.day
            }
        }
        return nil
    }

    /// Memory that is used again from field to field and chunk to chunk.
    private struct Buffers {
        var text: [UInt8] = []
        var folded: [UInt8] = []
        var decoded: [UInt8] = []
    }

    /// In a field body, decoded.
    private func isIn(
        _ header: Span<UInt8>, _ body: Range<Int>, _ buffers: inout Buffers
    ) -> Bool {
        buffers.text.removeAll(keepingCapacity: true)
        HeaderText.append(header, body, to: &buffers.text)
        return isInText(&buffers)
    }

    /// In `buffers.text`.
    private func isInText(_ buffers: inout Buffers) -> Bool {
        var matched = 0
        if needle.isASCII { return needle.isFound(inASCII: buffers.text.span, matched: &matched) }
        buffers.folded.removeAll(keepingCapacity: true)
        CaseFolding.append(buffers.text, to: &buffers.folded)
        return needle.isFound(inFolded: buffers.folded.span, matched: &matched)
    }

    /// In any field of a header, as `Name: text`.
    private func isInHeader(
        _ message: Span<UInt8>, _ header: Range<Int>, _ buffers: inout Buffers
    ) -> Bool {
        var reader = HeaderReader(header)
        while let field = reader.next(message) {
            buffers.text.removeAll(keepingCapacity: true)
            buffers.text.append(copying: message.extracting(field.name))
            buffers.text.append(": ")
            HeaderText.append(message, field.body, to: &buffers.text)
            if isInText(&buffers) { return true }
        }
        return false
    }

    /// In the body of a part, if that is text.
    private func isInLeaf(
        _ message: Span<UInt8>, _ part: MessagePart, _ buffers: inout Buffers
    ) -> Bool {
        var charset = Charset.utf8
        if let field = part.contentType,
            let type = ParameterizedField.mediaType(message, field)
        {
            guard
                FieldBody.isWord(message, type.value, "text")
                    || FieldBody.isWord(message, type.value, "multipart")  // a broken one: text
            else { return false }
            if let name = Parameter.text("charset", message, type.parameters) {
                charset = Charset(name)
            }
        }
        guard part.encoding != .unknown else { return false }
        var matched = 0
        if part.encoding == .identity, needle.isASCII, charset.isASCIICompatible {
            return needle.isFound(inASCII: message.extracting(part.body), matched: &matched)
        }
        var transfer = TransferDecoder(part.encoding)
        var decoder = CharsetDecoder(charset)
        var start = part.body.lowerBound
        while start < part.body.upperBound {
            let end = min(part.body.upperBound, start + Self.chunk)
            buffers.decoded.removeAll(keepingCapacity: true)
            transfer.decode(message.extracting(start..<end), into: &buffers.decoded)
            let isLast = end == part.body.upperBound
            if isLast { transfer.finish(into: &buffers.decoded) }
            if isFound(&decoder, charset, isLast: isLast, &buffers, &matched) { return true }
            start = end
        }
        return false
    }

    /// In `buffers.decoded`, the next piece of a body in `charset`.
    private func isFound(
        _ decoder: inout CharsetDecoder, _ charset: Charset, isLast: Bool,
        _ buffers: inout Buffers, _ matched: inout Int
    ) -> Bool {
        if needle.isASCII, charset.isASCIICompatible {
            return needle.isFound(inASCII: buffers.decoded.span, matched: &matched)
        }
        buffers.text.removeAll(keepingCapacity: true)
        decoder.decode(buffers.decoded, into: &buffers.text)
        if isLast { decoder.finish(into: &buffers.text) }
        if needle.isASCII {
            return needle.isFound(inASCII: buffers.text.span, matched: &matched)
        }
        buffers.folded.removeAll(keepingCapacity: true)
        CaseFolding.append(buffers.text, to: &buffers.folded)
        return needle.isFound(inFolded: buffers.folded.span, matched: &matched)
    }
}
