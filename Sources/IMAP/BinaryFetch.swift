// SPDX-License-Identifier: Apache-2.0
//
// BINARY[part]: the octets of a part as they were before they were encoded for transfer. RFC 3516
// §4.2. Decoded in two passes, one to count and one to write, so that nothing is kept.

import Bytes
import MIME

package struct BinaryFetch: Equatable, Sendable {
    /// Empty: the whole message.
    package var part: [UInt32]
    package var isPeek: Bool
    package var partial: Section.Partial?

    package init(part: [UInt32], isPeek: Bool, partial: Section.Partial? = nil) {
        self.part = part
        self.isPeek = isPeek
        self.partial = partial
    }

    /// Appends the name of the item as the answer has it: `BINARY[1.2]<0>`.
    package func appendLabel(to octets: inout [UInt8]) {
        octets.append("BINARY")
        Section(part: part).append(to: &octets)
        if let partial {
            octets.append(0x3C)
            octets.appendDecimal(partial.start)
            octets.append(0x3E)
        }
    }
}

/// The content of a part, decoded piece by piece.
package struct BinaryContent: Sendable {
    /// Encoded octets that are decoded at a time.
    package static let chunk = 64 << 10

    package enum Found: Sendable {
        case content(BinaryContent)
        /// There is no such part: NIL.
        case missing
        /// RFC 3516 §4.3: an encoding that nobody knows.
        case unknownEncoding
    }

    /// Where the encoded octets are in the message.
    private let range: Range<Int>
    private let encoding: TransferEncoding

    /// - Parameter structure: of exactly `message`.
    package static func find(
        _ part: [UInt32], in message: Span<UInt8>, _ structure: MessageStructure
    ) -> Found {
        guard !part.isEmpty else {
            return .content(BinaryContent(range: 0..<message.count, encoding: .identity))
        }
        guard let number = Section.find(part, in: structure) else { return .missing }
        let found = structure.parts[number]
        // RFC 2045 §6.4: what holds other parts is never encoded, whatever it says
        guard found.kind == .leaf else {
            return .content(BinaryContent(range: found.body, encoding: .identity))
        }
        guard found.encoding != .unknown else { return .unknownEncoding }
        return .content(BinaryContent(range: found.body, encoding: found.encoding))
    }

    /// Decodes all of it, piece by piece, until `body` returns false.
    private func each(
        _ message: Span<UInt8>, _ piece: inout [UInt8], _ body: ([UInt8]) -> Bool
    ) {
        var decoder = TransferDecoder(encoding)
        var start = range.lowerBound
        while start < range.upperBound {
            let end = min(range.upperBound, start + Self.chunk)
            piece.removeAll(keepingCapacity: true)
            decoder.decode(message.extracting(start..<end), into: &piece)
            if end == range.upperBound { decoder.finish(into: &piece) }
            guard body(piece) else { return }
            start = end
        }
    }

    /// How many octets it has, and whether NUL is among those that `partial` means.
    package func measure(
        _ message: Span<UInt8>, _ partial: Section.Partial?
    ) -> (count: Int, hasNUL: Bool) {
        var count = 0
        var hasNUL = false
        var piece: [UInt8] = []
        each(message, &piece) { piece in
            if !hasNUL {
                let wanted = Self.overlap(piece.count, at: count, partial)
                hasNUL = piece[wanted].contains(0)
            }
            count += piece.count
            return true
        }
        return (count, hasNUL)
    }

    /// A way through the octets that `partial` means, a piece for each call.
    package struct Reader: Sendable {
        private let content: BinaryContent
        private let partial: Section.Partial?
        private var decoder: TransferDecoder
        private var start: Int
        private var done = 0

        /// Appends the next piece. False at the end.
        package mutating func next(_ message: Span<UInt8>, into output: inout [UInt8]) -> Bool {
            let upper = content.range.upperBound
            guard start < upper, !isPast else { return false }
            let end = min(upper, start + BinaryContent.chunk)
            var piece: [UInt8] = []
            decoder.decode(message.extracting(start..<end), into: &piece)
            if end == upper { decoder.finish(into: &piece) }
            let wanted = BinaryContent.overlap(piece.count, at: done, partial)
            output.append(contentsOf: piece[wanted])
            done += piece.count
            start = end
            return true
        }

        private var isPast: Bool {
            guard let partial else { return false }
            return UInt64(done) >= partial.start.addingReportingOverflow(partial.count).partialValue
        }

        fileprivate init(_ content: BinaryContent, _ partial: Section.Partial?) {
            self.content = content
            self.partial = partial
            decoder = TransferDecoder(content.encoding)
            start = content.range.lowerBound
        }
    }

    package func reader(_ partial: Section.Partial?) -> Reader { Reader(self, partial) }

    /// Which of `count` octets, the first of which is number `position`, `partial` means.
    private static func overlap(
        _ count: Int, at position: Int, _ partial: Section.Partial?
    ) -> Range<Int> {
        guard let partial else { return 0..<count }
        let all = partial.clamp(0..<(position + count))
        let lower = max(all.lowerBound - position, 0)
        return lower..<max(lower, all.upperBound - position)
    }
}
