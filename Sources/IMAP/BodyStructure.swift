// SPDX-License-Identifier: Apache-2.0
//
// The BODY and BODYSTRUCTURE data items, from what MIME packs of a message. RFC 9051 §7.5.2,
// RFC 3501 §7.4.2.

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
        var packed: [UInt8] = []
        _ = PackedStructure.append(structure, of: message, to: &packed)
        _ = append(packed: packed.span, form: form, to: &output)
    }

    /// The same of a packed structure.
    ///
    /// - Returns: false if it is not one; then `output` is as it was.
    package static func append(
        packed: Span<UInt8>, form: Form, to output: inout [UInt8]
    ) -> Bool {
        let start = output.count
        var writer = StructureWriter(reader: PackedReader(0..<packed.count), form: form)
        writer.part(packed, depth: 0, to: &output)
        guard !writer.reader.isBroken, writer.reader.isAtEnd else {
            output.removeLast(output.count - start)
            return false
        }
        return true
    }
}

/// Reads packed parts and writes them as lists.
private struct StructureWriter {
    var reader: PackedReader
    let form: BodyStructure.Form

    /// Recursion ends with `PackedStructure.depthLimit`.
    mutating func part(_ packed: Span<UInt8>, depth: Int, to output: inout [UInt8]) {
        guard depth < PackedStructure.depthLimit,
            let kind = PackedStructure.Kind(rawValue: reader.number(packed))
        else {
            reader.fail()
            return
        }
        output.append(0x28)
        if kind == .multipart {
            multipart(packed, depth, to: &output)
        } else {
            single(kind, packed, depth, to: &output)
        }
        // BODY has no extension data: it is passed over
        if form == .bodyStructure {
            extensions(packed, to: &output)
        } else {
            var nowhere: [UInt8] = []
            extensions(packed, to: &nowhere)
        }
        output.append(0x29)
    }

    /// The children, the subtype, and for BODYSTRUCTURE the parameters.
    private mutating func multipart(
        _ packed: Span<UInt8>, _ depth: Int, to output: inout [UInt8]
    ) {
        let count = reader.number(packed)
        if count == 0 {
            // The grammar wants at least one part.
            output.append("(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0")
            if form == .bodyStructure { output.append(" NIL NIL NIL NIL") }
            output.append(0x29)
        }
        for _ in 0..<count {
            part(packed, depth: depth + 1, to: &output)
            if reader.isBroken { return }
        }
        output.append(.space)
        output.append(packed: reader.text(packed), of: packed)
        if form == .bodyStructure {
            output.append(.space)
            parameters(packed, to: &output)
        } else {
            var nowhere: [UInt8] = []
            parameters(packed, to: &nowhere)
        }
    }

    private mutating func single(
        _ kind: PackedStructure.Kind, _ packed: Span<UInt8>, _ depth: Int,
        to output: inout [UInt8]
    ) {
        output.append(packed: reader.text(packed), of: packed)
        output.append(.space)
        output.append(packed: reader.text(packed), of: packed)
        output.append(.space)
        parameters(packed, to: &output)
        for _ in 0..<3 {  // id, description, encoding
            output.append(.space)
            output.append(packed: reader.text(packed), of: packed)
        }
        output.append(.space)
        output.appendDecimal(UInt(bitPattern: reader.number(packed)))
        if kind == .message {
            output.append(.space)
            Envelope.append(&reader, packed, to: &output)
            output.append(.space)
            part(packed, depth: depth + 1, to: &output)
        }
        if kind != .single {
            output.append(.space)
            output.appendDecimal(UInt(bitPattern: reader.number(packed)))
        }
        let md5 = reader.text(packed)
        if form == .bodyStructure {
            output.append(.space)
            output.append(packed: md5, of: packed)
        }
    }

    /// `SP body-fld-dsp SP body-fld-lang SP body-fld-loc`.
    private mutating func extensions(_ packed: Span<UInt8>, to output: inout [UInt8]) {
        output.append(.space)
        if reader.number(packed) == 0 {
            output.append(literal: "NIL")
        } else {
            output.append(0x28)
            output.append(packed: reader.text(packed), of: packed)
            output.append(.space)
            parameters(packed, to: &output)
            output.append(0x29)
        }
        output.append(.space)
        languages(packed, to: &output)
        output.append(.space)
        output.append(packed: reader.text(packed), of: packed)
    }

    /// `body-fld-param`.
    private mutating func parameters(_ packed: Span<UInt8>, to output: inout [UInt8]) {
        let count = reader.number(packed)
        if count == 0 {
            output.append(literal: "NIL")
            return
        }
        var separator: UInt8 = 0x28
        for _ in 0..<count {
            output.append(separator)
            separator = .space
            output.append(packed: reader.text(packed), of: packed)
            output.append(.space)
            output.append(packed: reader.text(packed), of: packed)
            if reader.isBroken { return }
        }
        output.append(0x29)
    }

    /// `body-fld-lang`: a string, or a list of several.
    private mutating func languages(_ packed: Span<UInt8>, to output: inout [UInt8]) {
        let count = reader.number(packed)
        if count == 0 {
            output.append(literal: "NIL")
        } else if count == 1 {
            output.append(packed: reader.text(packed), of: packed)
        } else {
            var separator: UInt8 = 0x28
            for _ in 0..<count {
                output.append(separator)
                separator = .space
                output.append(packed: reader.text(packed), of: packed)
                if reader.isBroken { return }
            }
            output.append(0x29)
        }
    }
}
