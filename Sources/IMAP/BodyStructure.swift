// SPDX-License-Identifier: Apache-2.0
//
// The BODY and BODYSTRUCTURE data items. RFC 9051 §7.5.2, RFC 3501 §7.4.2.

import Bytes
import MIME

package enum BodyStructure {
    package enum Form: Sendable {
        /// `BODY`: without extension data.
        case body
        /// `BODYSTRUCTURE`: with MD5, disposition, language and location.
        case bodyStructure
    }

    /// Appends the parenthesized list to `output`.
    ///
    /// - Parameters:
    ///   - structure: made from exactly `message`.
    ///   - message: all octets of the message.
    package static func append(
        _ structure: MessageStructure, of message: Span<UInt8>, form: Form,
        to output: inout [UInt8]
    ) {
        append(structure, part: 0, of: message, form: form, to: &output)
    }

    /// Recursion ends with `MessageStructure.Limits.depth`.
    private static func append(
        _ structure: MessageStructure, part number: Int, of message: Span<UInt8>, form: Form,
        to output: inout [UInt8]
    ) {
        let part = structure.parts[number]
        let fields = ContentFields(message, header: part.header)
        let type = ParameterizedField.mediaType(message, fields.type)
        output.append(0x28)
        if part.kind == .multipart {
            multipart(structure, number, type, of: message, form: form, to: &output)
        } else {
            let isText = single(part, fields, type, of: message, to: &output)
            if part.kind == .message, let child = part.firstChild {
                output.append(.space)
                Envelope.append(message, structure.parts[child].header, to: &output)
                output.append(.space)
                append(structure, part: child, of: message, form: form, to: &output)
            }
            if isText || part.kind == .message {
                output.append(.space)
                output.appendDecimal(UInt(part.lines))
            }
        }
        if form == .bodyStructure {
            output.append(.space)
            if part.kind == .multipart {
                parameters(type?.parameters, of: message, to: &output)
            } else {
                output.append(unstructured: fields.md5, of: message)
            }
            extensions(fields, of: message, to: &output)
        }
        output.append(0x29)
    }

    /// The children, and the subtype.
    private static func multipart(
        _ structure: MessageStructure, _ number: Int, _ type: ParameterizedField?,
        of message: Span<UInt8>, form: Form, to output: inout [UInt8]
    ) {
        var child = structure.parts[number].firstChild
        if child == nil {
            // The grammar wants at least one part.
            output.append("(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0")
            if form == .bodyStructure { output.append(" NIL NIL NIL NIL") }
            output.append(0x29)
        }
        while let current = child {
            append(structure, part: current, of: message, form: form, to: &output)
            child = structure.parts[current].nextSibling
        }
        output.append(.space)
        output.append(string: type?.subtype ?? 0..<0, of: message)
    }

    /// `media-basic SP body-fields` of RFC 3501 §9: all that parts without children share.
    ///
    /// - Returns: true for text, which has a line count.
    private static func single(
        _ part: MessagePart, _ fields: ContentFields, _ type: ParameterizedField?,
        of message: Span<UInt8>, to output: inout [UInt8]
    ) -> Bool {
        var isText = false
        if part.kind == .opaque {
            output.append("\"application\" \"octet-stream\" NIL")
        } else if part.kind == .message, type == nil {
            output.append("\"message\" \"rfc822\" NIL")  // RFC 2046 §5.1.5
        } else if let type, let subtype = type.subtype,
            !FieldBody.isWord(message, type.value, "multipart")
        {
            isText = FieldBody.isWord(message, type.value, "text")
            output.append(string: type.value, of: message)
            output.append(.space)
            output.append(string: subtype, of: message)
            output.append(.space)
            parameters(type.parameters, of: message, to: &output)
        } else {
            // No type, or one that cannot be: RFC 2045 §5.2.
            isText = true
            output.append("\"text\" \"plain\" (\"charset\" \"us-ascii\")")
        }
        output.append(.space)
        output.append(unstructured: fields.id, of: message)
        output.append(.space)
        output.append(unstructured: fields.description, of: message)
        output.append(.space)
        let encoding = fields.encoding.map { FieldBody.token(message, $0) } ?? 0..<0
        if encoding.isEmpty {
            output.append("\"7bit\"")
        } else {
            output.append(string: encoding, of: message)
        }
        output.append(.space)
        output.appendDecimal(UInt(part.body.count))
        return isText
    }

    /// `SP body-fld-dsp SP body-fld-lang SP body-fld-loc`.
    private static func extensions(
        _ fields: ContentFields, of message: Span<UInt8>, to output: inout [UInt8]
    ) {
        output.append(.space)
        if let body = fields.disposition, let field = ParameterizedField(message, body) {
            output.append(0x28)
            output.append(string: field.value, of: message)
            output.append(.space)
            parameters(field.parameters, of: message, to: &output)
            output.append(0x29)
        } else {
            output.append("NIL")
        }
        output.append(.space)
        languages(fields.language, of: message, to: &output)
        output.append(.space)
        output.append(unstructured: fields.location, of: message)
    }

    /// `body-fld-param`: values in pieces are joined, other charsets stay encoded under `name*`.
    private static func parameters(
        _ range: Range<Int>?, of message: Span<UInt8>, to output: inout [UInt8]
    ) {
        let parameters = range.map { Parameter.all(message, $0) } ?? []
        if parameters.isEmpty {
            output.append("NIL")
            return
        }
        var separator: UInt8 = 0x28
        for parameter in parameters {
            output.append(separator)
            separator = .space
            output.append(string: parameter.isExtended ? parameter.name + [0x2A] : parameter.name)
            output.append(.space)
            output.append(string: parameter.value)
        }
        output.append(0x29)
    }

    /// `body-fld-lang`: Content-Language is a list of tags (RFC 3282).
    private static func languages(
        _ body: Range<Int>?, of message: Span<UInt8>, to output: inout [UInt8]
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
        if tags.isEmpty {
            output.append("NIL")
        } else if tags.count == 1 {
            output.append(string: tags[0], of: message)
        } else {
            var separator: UInt8 = 0x28
            for tag in tags {
                output.append(separator)
                separator = .space
                output.append(string: tag, of: message)
            }
            output.append(0x29)
        }
    }
}
