// SPDX-License-Identifier: Apache-2.0
//
// The ENVELOPE data item, from what MIME packs of a header. RFC 9051 §7.5.2, RFC 3501 §7.4.2.
// Encoded words stay as they are; 8-bit octets, which headers should not have, travel in literals.

import Bytes
import MIME

package enum Envelope {
    /// Appends the parenthesized ENVELOPE list of `header` to `output`.
    ///
    /// - Parameter header: a message header; anything after its empty line is not looked at.
    package static func append(header: Span<UInt8>, to output: inout [UInt8]) {
        var packed: [UInt8] = []
        PackedEnvelope.append(header, 0..<header.count, to: &packed)
        _ = append(packed: packed.span, to: &output)
    }

    /// The same of a packed envelope.
    ///
    /// - Returns: false if it is not one; then `output` is as it was.
    package static func append(packed: Span<UInt8>, to output: inout [UInt8]) -> Bool {
        let start = output.count
        var reader = PackedReader(0..<packed.count)
        append(&reader, packed, to: &output)
        guard !reader.isBroken, reader.isAtEnd else {
            output.removeLast(output.count - start)
            return false
        }
        return true
    }

    static func append(
        _ reader: inout PackedReader, _ packed: Span<UInt8>, to output: inout [UInt8]
    ) {
        output.append(0x28)
        output.append(packed: reader.text(packed), of: packed)
        output.append(.space)
        output.append(packed: reader.text(packed), of: packed)
        var from = output.count..<output.count
        for field in 0..<6 {
            output.append(.space)
            let listStart = output.count
            list(&reader, packed, from: from, to: &output)
            if field == 0 { from = listStart..<output.count }
            if reader.isBroken { return }
        }
        output.append(.space)
        output.append(packed: reader.text(packed), of: packed)
        output.append(.space)
        output.append(packed: reader.text(packed), of: packed)
        output.append(0x29)
    }

    private static func list(
        _ reader: inout PackedReader, _ packed: Span<UInt8>, from: Range<Int>,
        to output: inout [UInt8]
    ) {
        let count = reader.number(packed)
        switch count {
        case PackedEnvelope.noList: output.append(literal: "NIL")
        case PackedEnvelope.likeFrom: output.repeatOctets(from)
        default:
            output.append(0x28)
            for _ in PackedEnvelope.firstCount..<count {
                output.append(0x28)
                output.append(packed: reader.text(packed), of: packed)
                output.append(.space)
                output.append(packed: reader.text(packed), of: packed)
                output.append(.space)
                // Mailbox and host are NIL in groups only, so a missing one is an empty string.
                output.append(packed: reader.text(packed), of: packed)
                output.append(.space)
                output.append(packed: reader.text(packed), of: packed)
                output.append(0x29)
                if reader.isBroken { return }
            }
            output.append(0x29)
        }
    }
}

extension [UInt8] {
    /// Appends a packed text as `nstring`: quoted if it is ASCII, else as a literal.
    @inline(__always)
    mutating func append(packed text: PackedText?, of packed: Span<UInt8>) {
        guard let text else {
            append(literal: "NIL")
            return
        }
        if text.isPlain {
            append(0x22)
            append(copying: packed.extracting(text.range))
            append(0x22)
        } else {
            append(string: text.range, of: packed)
        }
    }

    /// Appends a copy of its own octets at `range`.
    mutating func repeatOctets(_ range: Range<Int>) {
        reserveCapacity(count + range.count)
        // octet by octet: a slice would share the buffer and append then copy all of it
        for index in range { append(self[index]) }
    }

    /// Appends the octets at `range` as `nstring` without CR, LF and NUL: quoted if they are ASCII,
    /// else as a literal. NIL without a range.
    mutating func append(string range: Range<Int>?, of text: Span<UInt8>) {
        guard let range else {
            append("NIL")
            return
        }
        var needsLiteral = false
        var dropped = 0
        var escaped = 0
        for index in range {
            let octet = text[index]
            if octet >= 0x80 {
                needsLiteral = true
            } else if octet == .cr || octet == .lf || octet == 0 {
                dropped += 1
            } else if octet == 0x22 || octet == 0x5C {
                escaped += 1
            }
        }
        if needsLiteral {
            append(0x7B)
            appendDecimal(UInt(range.count - dropped))
            append("}\r\n")
            escaped = 0
        } else {
            append(0x22)
        }
        if dropped + escaped == 0 {
            append(copying: text.extracting(range))
        } else {
            append(addingCapacity: range.count - dropped + escaped) { output in
                for index in range {
                    let octet = text[index]
                    if octet == .cr || octet == .lf || octet == 0 { continue }
                    if escaped > 0, octet == 0x22 || octet == 0x5C { output.append(0x5C) }
                    output.append(octet)
                }
            }
        }
        if !needsLiteral { append(0x22) }
    }

    /// Appends a whole string likewise.
    mutating func append(string octets: [UInt8]) {
        append(string: 0..<octets.count, of: octets.span)
    }
}
