// SPDX-License-Identifier: Apache-2.0
//
// Which octets of a message `BODY[section]<partial>` means. RFC 9051 §6.4.5, RFC 3501 §6.4.5.

import Bytes
import MIME

/// A section specification without its brackets.
package struct Section: Hashable, Sendable {
    /// What is wanted of the part.
    package enum Text: Hashable, Sendable {
        /// The body of the part; the whole message if no part is named.
        case whole
        case header
        /// Field names as the client wrote them (the response repeats them).
        case headerFields([[UInt8]])
        case headerFieldsNot([[UInt8]])
        case text
        /// Only with a part number.
        case mime
    }

    /// Where the octets are.
    package enum Content: Equatable, Sendable {
        case range(Range<Int>)
        case composed([UInt8])
        /// There is no such part: NIL.
        case missing
    }

    /// `<start.count>`.
    package struct Partial: Hashable, Sendable {
        package var start: UInt64
        /// At least 1.
        package var count: UInt64

        package init(start: UInt64, count: UInt64) {
            self.start = start
            self.count = count
        }
    }

    /// Part numbers, each at least 1; empty for the message itself.
    package var part: [UInt32]
    package var text: Text

    package init(part: [UInt32] = [], text: Text = .whole) {
        self.part = part
        self.text = text
    }

    /// `BODY[]`: the octets are the file, nothing needs to be parsed.
    package var isWholeMessage: Bool { part.isEmpty && text == .whole }

    /// True if the header of the message is enough to resolve it, without the body.
    package var needsOnlyHeader: Bool {
        guard part.isEmpty else { return false }
        return switch text {
        case .header, .headerFields, .headerFieldsNot: true
        case .whole, .text, .mime: false
        }
    }

    /// True if `resolve` looks at the structure of the message.
    package var needsStructure: Bool { !part.isEmpty }

    /// Finds the section in `message`.
    ///
    /// - Parameters:
    ///   - message: all octets, or only the header if `needsOnlyHeader`.
    ///   - structure: of exactly `message`; if nil and needed it is parsed here.
    package func resolve(
        in message: Span<UInt8>, structure: MessageStructure? = nil
    ) -> Content {
        .missing
    }

    /// Appends `[1.2.HEADER.FIELDS (DATE FROM)]`, as FETCH responses name it.
    package func append(to output: inout [UInt8]) {
    }
}

extension Section.Partial {
    /// The part of `content` that is wanted; empty if it starts behind the end.
    package func clamp(_ content: Range<Int>) -> Range<Int> {
        let start = content.lowerBound + Int(min(start, UInt64(content.count)))
        return start..<(start + Int(min(count, UInt64(content.upperBound - start))))
    }
}

extension Section.Content {
    /// The same content cut down to `partial`.
    package func cut(to partial: Section.Partial) -> Section.Content {
        switch self {
        case .range(let range): .range(partial.clamp(range))
        case .composed(let octets): .composed(Array(octets[partial.clamp(0..<octets.count)]))
        case .missing: .missing
        }
    }
}
