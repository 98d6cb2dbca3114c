// SPDX-License-Identifier: Apache-2.0
//
// Message text after DATA, undotted. RFC 5321 §2.3.8, §4.1.1.4, §4.5.2. Only CRLF "." CRLF ends it:
// every other spelling of a line end is remembered and refused, never obeyed, because a server that
// sees a different end than the one before it lets strangers smuggle messages.

import Bytes

/// What is wrong with a message's text. It is read to its real end all the same.
package enum TextFault: Equatable, Sendable {
    /// A CR without LF behind it, or an LF without CR in front.
    case bareNewline
    /// More octets than allowed.
    case tooLarge
    /// A NUL, which no text may have (RFC 2045 §2.7, §2.8) and IMAP cannot send (RFC 3501 §9).
    case nullByte
}

/// Takes text in pieces of any size. Keeps no text: what it decodes goes to the caller's buffer.
package struct DotDecoder: Sendable {
    private enum State {
        case lineStart
        case inside
        /// Behind a CR inside a line.
        case cr
        /// Behind a dot at the start of a line.
        case dot
        /// Behind a dot and a CR at the start of a line.
        case dotCR
        case complete
    }

    private let limit: Int
    private var state = State.lineStart
    /// Octets decoded so far; keeps counting when the limit is passed.
    package private(set) var size = 0
    /// The first fault; from there on nothing more is decoded into the buffer.
    package private(set) var fault: TextFault?

    /// - Parameter limit: octets of text, dots undone.
    package init(limit: Int) { self.limit = limit }

    /// True when the end was seen.
    package var isComplete: Bool { state == .complete }

    /// Decodes from the front of `input` and appends to `text`.
    ///
    /// - Returns: octets used: all, unless the text ended before.
    package mutating func decode(_ input: Span<UInt8>, into text: inout [UInt8]) -> Int {
        var index = 0
        while index < input.count {
            switch state {
            case .complete:
                return index
            case .lineStart:
                if input[index] == 0x2E {
                    state = .dot
                    index += 1
                } else {
                    state = .inside
                }
            case .inside:
                let end = input.firstLineEnd(from: index)
                emit(input.extracting(index..<end), into: &text)
                index = end
                guard index < input.count else { break }
                if input[index] == .cr {
                    state = .cr
                } else {
                    note(.bareNewline)
                }
                index += 1
            case .cr:
                if input[index] == .lf {
                    emit(.cr, .lf, into: &text)
                    state = .lineStart
                    index += 1
                } else {
                    note(.bareNewline)
                    // A second CR may still be the first half of a line end.
                    state = .inside
                }
            case .dot:
                // Any other octet: the dot was stuffing and is gone.
                state = input[index] == .cr ? .dotCR : .inside
                if state == .dotCR { index += 1 }
            case .dotCR:
                if input[index] == .lf {
                    state = .complete
                    index += 1
                } else {
                    note(.bareNewline)
                    state = .inside
                }
            }
        }
        return index
    }

    private mutating func note(_ first: TextFault) {
        if fault == nil { fault = first }
    }

    private mutating func emit(_ octets: Span<UInt8>, into text: inout [UInt8]) {
        guard octets.count > 0 else { return }
        // Of two faults the first counts, however the text was cut.
        let null = octets.first(0, in: 0..<octets.count)
        if null < octets.count, null < limit - size { note(.nullByte) }
        size += octets.count
        if size > limit { note(.tooLarge) }
        if null < octets.count { note(.nullByte) }
        if fault == nil { text.append(copying: octets) }
    }

    private mutating func emit(_ first: UInt8, _ second: UInt8, into text: inout [UInt8]) {
        size += 2
        if size > limit { note(.tooLarge) }
        guard fault == nil else { return }
        text.append(first)
        text.append(second)
    }
}

/// Looks for lone CRs and LFs, and NULs, in text that has no dots to undo: the chunks of BDAT
/// (RFC 3030 §2 keeps lines). Not for BINARYMIME.
package struct LineEndCheck: Sendable {
    private var isBehindCR = false
    package private(set) var hasBareNewline = false
    package private(set) var hasNull = false

    package var fault: TextFault? { hasBareNewline ? .bareNewline : hasNull ? .nullByte : nil }

    package init() {}

    /// Takes the next piece.
    package mutating func check(_ input: Span<UInt8>) {
        if input.first(0, in: 0..<input.count) < input.count { hasNull = true }
        var index = 0
        while index < input.count {
            if isBehindCR {
                isBehindCR = false
                if input[index] == .lf {
                    index += 1
                    continue
                }
                hasBareNewline = true
            }
            index = input.firstLineEnd(from: index)
            guard index < input.count else { return }
            if input[index] == .cr {
                isBehindCR = true
            } else {
                hasBareNewline = true
            }
            index += 1
        }
    }

    /// Call behind the last piece: a CR at the very end is a lone one.
    package mutating func finish() {
        if isBehindCR { hasBareNewline = true }
    }
}
