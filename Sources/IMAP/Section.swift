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
        if part.isEmpty {
            if text == .whole { return .range(0..<message.count) }
            let body = HeaderReader.bodyStart(message, in: 0..<message.count)
            return content(message, header: 0..<body, body: body..<message.count)
        }
        let structure = structure ?? MessageStructure(message)
        guard let number = Self.find(part, in: structure) else { return .missing }
        let found = structure.parts[number]
        switch text {
        case .whole: return .range(found.body)
        case .mime: return .range(found.header)
        case .header, .headerFields, .headerFieldsNot, .text:
            guard found.kind == .message, let child = found.firstChild else { return .missing }
            let inner = structure.parts[child]
            return content(message, header: inner.header, body: inner.body)
        }
    }

    /// The sections of one message, or of a message in a message.
    private func content(
        _ message: Span<UInt8>, header: Range<Int>, body: Range<Int>
    ) -> Content {
        switch text {
        case .whole, .text: .range(body)
        case .header, .mime: .range(header)
        case .headerFields(let names):
            .composed(Self.fields(names, areWanted: true, message, header))
        case .headerFieldsNot(let names):
            .composed(Self.fields(names, areWanted: false, message, header))
        }
    }

    /// Follows part numbers. What is no multipart has one part, number 1, which is its body; the
    /// numbers of a `message/rfc822` go on in the message inside (RFC 3501 §6.4.5).
    static func find(_ numbers: [UInt32], in structure: MessageStructure) -> Int? {
        var current = 0
        var isMessage = true
        for number in numbers {
            if !isMessage, structure.parts[current].kind == .message {
                guard let child = structure.parts[current].firstChild else { return nil }
                current = child
                isMessage = true
            }
            if structure.parts[current].kind == .multipart {
                guard let child = structure.child(Int(number), of: current) else { return nil }
                current = child
            } else if !isMessage || number != 1 {
                return nil
            }
            isMessage = false
        }
        return current
    }

    /// Copies whole fields in their order, and an empty line.
    private static func fields(
        _ names: [[UInt8]], areWanted: Bool, _ message: Span<UInt8>, _ header: Range<Int>
    ) -> [UInt8] {
        var composed: [UInt8] = []
        var reader = HeaderReader(header)
        while let field = reader.next(message) {
            guard isListed(message, field.name, names) == areWanted else { continue }
            composed.append(copying: message.extracting(field.whole))
            if composed.last != .lf { composed.append("\r\n") }  // cut off in the last field
        }
        composed.append("\r\n")
        return composed
    }

    private static func isListed(
        _ message: Span<UInt8>, _ name: Range<Int>, _ names: [[UInt8]]
    ) -> Bool {
        search: for wanted in names where wanted.count == name.count {
            for index in wanted.indices
            where wanted[index].asciiLowercased != message[name.lowerBound + index].asciiLowercased
            {
                continue search
            }
            return true
        }
        return false
    }

    /// Appends `[1.2.HEADER.FIELDS (DATE FROM)]`, as FETCH responses name it.
    package func append(to output: inout [UInt8]) {
        output.append(0x5B)
        for (index, number) in part.enumerated() {
            if index > 0 { output.append(0x2E) }
            output.appendDecimal(number)
        }
        if !part.isEmpty, text != .whole { output.append(0x2E) }
        switch text {
        case .whole: break
        case .header: output.append("HEADER")
        case .headerFields(let names):
            output.append("HEADER.FIELDS ")
            Self.append(names, to: &output)
        case .headerFieldsNot(let names):
            output.append("HEADER.FIELDS.NOT ")
            Self.append(names, to: &output)
        case .text: output.append("TEXT")
        case .mime: output.append("MIME")
        }
        output.append(0x5D)
    }

    /// A list of `astring`: atoms as they are, other names quoted.
    private static func append(_ names: [[UInt8]], to output: inout [UInt8]) {
        output.append(0x28)
        for (index, name) in names.enumerated() {
            if index > 0 { output.append(.space) }
            let isAtom =
                !name.isEmpty
                && name.allSatisfy {
                    $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x5F || $0 == 0x2E
                }
            if isAtom {
                output.append(contentsOf: name)
            } else {
                output.append(string: name)
            }
        }
        output.append(0x29)
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
