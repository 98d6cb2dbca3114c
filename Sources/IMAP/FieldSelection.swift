// SPDX-License-Identifier: Apache-2.0
//
// HEADER.FIELDS of many messages: the names are prepared once, and the fields go from what is kept
// for lists straight into the response. RFC 3501 §6.4.5.

import Bytes
import MIME

/// Names of header fields that one FETCH asks for, of every message.
package struct FieldSelection: Sendable {
    /// In small letters.
    private let names: [[UInt8]]
    /// Bit n: a name has n octets; bit 63: more.
    private let lengths: UInt64

    /// Nil for other sections, and for parts of one.
    package init?(_ fetch: SectionFetch) {
        guard fetch.partial == nil, fetch.section.part.isEmpty,
            case .headerFields(let wanted) = fetch.section.text
        else { return nil }
        names = wanted.map { $0.map(\.asciiLowercased) }
        lengths = names.reduce(0) { $0 | 1 << UInt64(min($1.count, 63)) }
    }

    /// Appends a literal with the selected ones of `fields`, which are the fields that are kept of
    /// a header, each with its line end.
    package func appendLiteral(_ fields: Span<UInt8>, to output: inout [UInt8]) {
        var found: [Range<Int>] = []
        var octets = 2
        var reader = HeaderReader(0..<fields.count)
        while let field = reader.next(fields) {
            guard isSelected(fields, field.name) else { continue }
            let whole = field.whole
            octets += whole.count
            // Neighbours are copied at once.
            if let last = found.indices.last, found[last].upperBound == whole.lowerBound {
                found[last] = found[last].lowerBound..<whole.upperBound
            } else {
                found.append(whole)
            }
        }
        output.append(0x7B)
        output.appendDecimal(UInt64(octets))
        output.append(literal: "}\r\n")
        for range in found { output.append(copying: fields.extracting(range)) }
        output.append(literal: "\r\n")
    }

    private func isSelected(_ fields: Span<UInt8>, _ name: Range<Int>) -> Bool {
        guard lengths & 1 << UInt64(min(name.count, 63)) != 0 else { return false }
        search: for wanted in names where wanted.count == name.count {
            for index in wanted.indices
            where wanted[index] != fields[name.lowerBound + index].asciiLowercased {
                continue search
            }
            return true
        }
        return false
    }
}
