// SPDX-License-Identifier: Apache-2.0
//
// What BODYSTRUCTURE says of a message, read out of it once. RFC 9051 §7.5.2, RFC 2045, RFC 2183.

import Bytes

/// Packs the tree of a message's parts, each part in front of the next.
///
///     part      = kind, (children | single), disposition, languages, location
///     children  = count, parts, subtype, parameters
///     single    = type, subtype, parameters, id, description, encoding, octets,
///                 [envelope, part], [lines], md5
///     parameters = count, (name, value) ...
///     disposition = 0 | 1, value, parameters
///     languages = count, texts
package enum PackedStructure {
    package enum Kind: Int, Sendable {
        case single = 0
        /// Has a line count.
        case text = 1
        /// Has an envelope, a part and a line count.
        case message = 2
        case multipart = 3
    }

    /// Parts inside parts that a reader follows: more than any parser makes.
    package static let depthLimit = 128

    /// Appends the structure of a message.
    ///
    /// - Parameters:
    ///   - structure: made from exactly `message`.
    ///   - limit: octets; what is longer is not packed to its end.
    /// - Returns: false if it was longer.
    package static func append(
        _ structure: MessageStructure, of message: Span<UInt8>, limit: Int = .max,
        to packed: inout [UInt8]
    ) -> Bool {
        var packer = StructurePacker(structure: structure, end: packed.count, limit: limit)
        return packer.append(0, message, &packed)
    }
}

private struct StructurePacker {
    let structure: MessageStructure
    let limit: Int
    let start: Int

    init(structure: MessageStructure, end: Int, limit: Int) {
        self.structure = structure
        self.limit = limit
        start = end
    }

    /// Recursion ends with `MessageStructure.Limits.depth`.
    mutating func append(
        _ number: Int, _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) -> Bool {
        guard packed.count - start <= limit else { return false }
        let part = structure.parts[number]
        let fields = ContentFields(message, header: part.header)
        let type = ParameterizedField.mediaType(message, fields.type)
        if part.kind == .multipart {
            packed.pack(PackedStructure.Kind.multipart.rawValue)
            guard children(of: number, message, &packed) else { return false }
            packed.pack(type?.subtype ?? 0..<0, of: message)
            Self.parameters(type?.parameters, message, &packed)
        } else {
            guard single(part, fields, type, message, &packed) else { return false }
        }
        Self.extensions(fields, message, &packed)
        return packed.count - start <= limit
    }

    private mutating func children(
        of number: Int, _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) -> Bool {
        var count = 0
        var child = structure.parts[number].firstChild
        while let current = child {
            count += 1
            child = structure.parts[current].nextSibling
        }
        packed.pack(count)
        child = structure.parts[number].firstChild
        while let current = child {
            guard append(current, message, &packed) else { return false }
            child = structure.parts[current].nextSibling
        }
        return true
    }

    /// `media-basic SP body-fields` of RFC 9051 §9 and what else a part without parts has.
    private mutating func single(
        _ part: MessagePart, _ fields: ContentFields, _ type: ParameterizedField?,
        _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) -> Bool {
        let isNamed =
            part.kind != .opaque && type?.subtype != nil
            && type.map { !FieldBody.isWord(message, $0.value, "multipart") } == true
        let isUntypedMessage = part.kind == .message && type == nil
        let kind: PackedStructure.Kind
        if part.kind == .message {
            kind = part.firstChild == nil ? .text : .message
        } else if part.kind == .opaque {
            kind = .single
        } else if isNamed, let type, !FieldBody.isWord(message, type.value, "text") {
            kind = .single
        } else {
            kind = .text
        }
        packed.pack(kind.rawValue)
        if part.kind == .opaque {
            packed.pack(plain: "application")
            packed.pack(plain: "octet-stream")
            packed.pack(0)
        } else if isUntypedMessage {
            packed.pack(plain: "message")  // RFC 2046 §5.1.5
            packed.pack(plain: "rfc822")
            packed.pack(0)
        } else if isNamed, let type {
            packed.pack(type.value, of: message)
            packed.pack(type.subtype, of: message)
            Self.parameters(type.parameters, message, &packed)
        } else {
            // No type, or one that cannot be: RFC 2045 §5.2.
            packed.pack(plain: "text")
            packed.pack(plain: "plain")
            packed.pack(1)
            packed.pack(plain: "charset")
            packed.pack(plain: "us-ascii")
        }
        Self.text(fields.id, message, &packed)
        Self.text(fields.description, message, &packed)
        let encoding = fields.encoding.map { FieldBody.token(message, $0) } ?? 0..<0
        if encoding.isEmpty {
            packed.pack(plain: "7bit")
        } else {
            packed.pack(encoding, of: message)
        }
        packed.pack(part.body.count)
        if kind == .message, let child = part.firstChild {
            PackedEnvelope.append(message, structure.parts[child].header, to: &packed)
            guard append(child, message, &packed) else { return false }
        }
        if kind != .single { packed.pack(part.lines) }
        Self.text(fields.md5, message, &packed)
        return true
    }

    private static func extensions(
        _ fields: ContentFields, _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) {
        if let body = fields.disposition, let field = ParameterizedField(message, body) {
            packed.pack(1)
            packed.pack(field.value, of: message)
            parameters(field.parameters, message, &packed)
        } else {
            packed.pack(0)
        }
        languages(fields.language, message, &packed)
        text(fields.location, message, &packed)
    }

    private static func text(
        _ body: Range<Int>?, _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) {
        packed.pack(body.map { FieldBody.trimmed(message, $0) }, of: message)
    }

    /// Values in pieces are joined, other charsets stay encoded under `name*`.
    private static func parameters(
        _ range: Range<Int>?, _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) {
        let parameters = range.map { Parameter.all(message, $0) } ?? []
        packed.pack(parameters.count)
        for parameter in parameters {
            packed.pack(parameter.isExtended ? parameter.name + [0x2A] : parameter.name)
            packed.pack(parameter.value)
        }
    }

    /// Content-Language is a list of tags (RFC 3282).
    private static func languages(
        _ body: Range<Int>?, _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) {
        var tags: [Range<Int>] = []
        var start = body?.lowerBound ?? 0
        let end = body?.upperBound ?? 0
        while start < end, tags.count < 100 {
            let tag = FieldBody.token(message, start..<end)
            if !tag.isEmpty { tags.append(tag) }
            start = tag.upperBound
            while start < end, message[start] != 0x2C { start += 1 }
            start += 1
        }
        packed.pack(tags.count)
        for tag in tags { packed.pack(tag, of: message) }
    }
}
