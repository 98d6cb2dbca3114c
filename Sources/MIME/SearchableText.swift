// SPDX-License-Identifier: Apache-2.0
//
// The text that SEARCH looks in, defined here once: for the exact search and for whoever makes an
// index of it. RFC 9051 §6.4.4 (BODY, TEXT, HEADER); RFC 2045, RFC 2047. Transfer encodings and
// charsets are taken off, HTML is read as people see it. Case is folded by whoever compares.
//
// Header: each field is one text, `Name: decoded body`. Body: the header of each message inside, and
// the content of each part that is text and can be decoded. Nothing is found across two texts.

import Bytes

/// Gets the texts of a message.
package protocol TextSink {
    /// Another text begins. What `take` gets until the next call belongs together.
    mutating func begin()
    /// The next piece, ending with a whole character.
    ///
    /// - Returns: false if nothing more is wanted.
    mutating func take(_ text: Span<UInt8>) -> Bool
}

/// Walks through the texts of messages; memory that it needs is used again.
package struct SearchableText {
    /// Octets of a body that are decoded at a time.
    private static let chunk = 32_768

    /// False: text in ASCII-compatible charsets stays as it is, because only ASCII is looked for.
    private let needsUnicode: Bool
    private var text: [UInt8] = []
    private var decoded: [UInt8] = []
    private var shown: [UInt8] = []

    package init(needsUnicode: Bool) { self.needsUnicode = needsUnicode }

    /// Every field of the header that begins at `range`.
    ///
    /// - Returns: false if the sink wants no more.
    package mutating func header<Sink: TextSink>(
        _ message: Span<UInt8>, _ range: Range<Int>, into sink: inout Sink
    ) -> Bool {
        var reader = HeaderReader(range)
        while let field = reader.next(message) {
            text.removeAll(keepingCapacity: true)
            text.append(copying: message.extracting(field.name))
            text.append(0x3A)
            text.append(.space)
            HeaderText.append(message, field.body, to: &text)
            sink.begin()
            if !sink.take(text.span) { return false }
        }
        return true
    }

    /// All that BODY looks in.
    ///
    /// - Returns: false if the sink wants no more.
    package mutating func body<Sink: TextSink>(
        _ message: Span<UInt8>, _ structure: MessageStructure, into sink: inout Sink
    ) -> Bool {
        for number in structure.parts.indices {
            let part = structure.parts[number]
            switch part.kind {
            case .message:
                if let child = part.firstChild,
                    !header(message, structure.parts[child].header, into: &sink)
                {
                    return false
                }
            case .leaf:
                if !leaf(message, part, into: &sink) { return false }
            case .multipart, .opaque: break
            }
        }
        return true
    }

    /// The body of a part, if that is text.
    mutating func leaf<Sink: TextSink>(
        _ message: Span<UInt8>, _ part: MessagePart, into sink: inout Sink
    ) -> Bool {
        var charset = Charset.utf8
        var isHTML = false
        if let field = part.contentType,
            let type = ParameterizedField.mediaType(message, field)
        {
            let isText = FieldBody.isWord(message, type.value, "text")
            // A broken multipart is read as text.
            guard isText || FieldBody.isWord(message, type.value, "multipart") else { return true }
            if isText, let subtype = type.subtype {
                isHTML = FieldBody.isWord(message, subtype, "html")
            }
            if let name = Parameter.text("charset", message, type.parameters) {
                charset = Charset(name)
            }
        }
        guard part.encoding != .unknown else { return true }
        sink.begin()
        let decodes = needsUnicode || !charset.isASCIICompatible
        if part.encoding == .identity, !decodes, !isHTML {
            return sink.take(message.extracting(part.body))
        }
        var pipe = TextPipe(part.encoding, decodes ? charset : nil, isHTML: isHTML)
        var start = part.body.lowerBound
        while start < part.body.upperBound {
            let end = min(part.body.upperBound, start + Self.chunk)
            let isLast = end == part.body.upperBound
            text.removeAll(keepingCapacity: true)
            pipe.run(message.extracting(start..<end), isLast: isLast, &decoded, &shown, into: &text)
            if !sink.take(text.span) { return false }
            start = end
        }
        return true
    }
}

/// Transfer encoding, charset and HTML taken off one body.
private struct TextPipe {
    private let isPlain: Bool
    private var transfer: TransferDecoder
    private var charset: CharsetDecoder?
    private var html: HTMLText?

    /// - Parameter charset: nil: octets stay as they are.
    init(_ encoding: TransferEncoding, _ charset: Charset?, isHTML: Bool) {
        isPlain = encoding == .identity
        transfer = TransferDecoder(encoding)
        self.charset = charset.map { CharsetDecoder($0) }
        html = isHTML ? HTMLText() : nil
    }

    mutating func run(
        _ octets: Span<UInt8>, isLast: Bool, _ decoded: inout [UInt8], _ shown: inout [UInt8],
        into text: inout [UInt8]
    ) {
        decoded.removeAll(keepingCapacity: true)
        if !isPlain {
            transfer.decode(octets, into: &decoded)
            if isLast { transfer.finish(into: &decoded) }
        } else if charset == nil {
            decoded.append(copying: octets)
        }
        guard charset != nil else {
            show(decoded.span, isLast: isLast, into: &text)
            return
        }
        guard html != nil else {
            characters(octets, decoded, isLast: isLast, into: &text)
            return
        }
        shown.removeAll(keepingCapacity: true)
        characters(octets, decoded, isLast: isLast, into: &shown)
        show(shown.span, isLast: isLast, into: &text)
    }

    private mutating func characters(
        _ octets: Span<UInt8>, _ decoded: [UInt8], isLast: Bool, into text: inout [UInt8]
    ) {
        if isPlain {
            charset?.decode(octets, into: &text)
        } else {
            charset?.decode(decoded.span, into: &text)
        }
        if isLast { charset?.finish(into: &text) }
    }

    private mutating func show(_ octets: Span<UInt8>, isLast: Bool, into text: inout [UInt8]) {
        guard html != nil else {
            text.append(copying: octets)
            return
        }
        html?.append(octets, to: &text)
        if isLast { html?.finish(into: &text) }
    }
}
