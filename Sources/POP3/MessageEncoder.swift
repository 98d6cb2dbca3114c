// SPDX-License-Identifier: Apache-2.0
//
// Messages as multi-line answers: dot-stuffing and the cut of TOP. RFC 1939 §3, §5 (RETR), §7 (TOP).
// Streaming: a message of any size passes through in pieces, and unchanged runs are not copied.

import Bytes

/// Turns the octets of one message into the lines of an answer.
///
/// A line feed without a carriage return becomes CRLF, because clients disagree on whether it ends a
/// line: if it did, `LF . LF` inside a message would end the answer early. All other octets are
/// passed on as they are.
package struct MessageEncoder: Equatable, Sendable {
    /// How far TOP has come.
    private enum Cut: Equatable {
        case none
        case inHeader(lines: Int)
        case inBody(lines: Int)
        case done
    }

    private static let dot: UInt8 = 0x2E
    /// Octets looked at together; a block without anything to change is passed on whole.
    private static let blockSize = 512

    /// The octet before the next one. A message starts as if after a line end.
    private var previous: UInt8 = .lf
    /// Octets of the present line before the next one, line end not counted; 2 means "some".
    private var lineOctets = 0
    private var cut: Cut
    /// Carriage returns that were added to bare line feeds.
    package private(set) var completedLines = 0

    /// - Parameter lines: of the body that TOP wants; nil for the whole message.
    package init(lines: Int? = nil) {
        cut = lines.map { .inHeader(lines: $0) } ?? .none
    }

    /// True when TOP has all it wants: what follows may be left unread.
    package var isComplete: Bool { cut == .done }

    /// Encodes the next piece.
    ///
    /// - Parameter emit: gets the answer's octets in order, as runs of `octets` wherever possible.
    package mutating func encode(_ octets: Span<UInt8>, _ emit: (Span<UInt8>) -> Void) {
        let count = cut == .none ? octets.count : octetsWanted(octets)
        var start = 0
        var index = 0
        while index < count {
            let end = min(count, index + Self.blockSize)
            guard needsChange(octets, index, end) else {
                previous = octets[end - 1]
                index = end
                continue
            }
            while index < end {
                let octet = octets[index]
                if octet == Self.dot, previous == .lf {
                    // The dot ends one run and begins the next, so it is sent twice.
                    emit(octets.extracting(start..<(index + 1)))
                    start = index
                } else if octet == .lf, previous != .cr {
                    emit(octets.extracting(start..<index))
                    emit([UInt8.cr].span)
                    completedLines += 1
                    start = index
                }
                previous = octet
                index += 1
            }
        }
        if start < count { emit(octets.extracting(start..<count)) }
    }

    /// Ends the answer: completes the last line if need be, then the line with the dot.
    package mutating func finish(_ emit: (Span<UInt8>) -> Void) {
        let ending: [UInt8] =
            previous == .lf
            ? [Self.dot, .cr, .lf] : [.cr, .lf, Self.dot, .cr, .lf]
        emit(ending.span)
        previous = .lf
    }

    /// True if an octet of `start..<end` has to be stuffed or completed. Without branches in the
    /// loop, so that it becomes vector code.
    private func needsChange(_ octets: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
        if octets[start] == Self.dot, previous == .lf { return true }
        if octets[start] == .lf, previous != .cr { return true }
        let later = octets.extracting((start + 1)..<end)
        let earlier = octets.extracting(start..<(end - 1))
        // Both counts are the same; the minimum lets the compiler see that no index is too large.
        let count = min(later.count, earlier.count)
        var found: UInt8 = 0
        for index in 0..<count {
            let octet = later[index]
            let before = earlier[index]
            let isStuffed: UInt8 = (octet == Self.dot ? 1 : 0) & (before == .lf ? 1 : 0)
            let isBare: UInt8 = (octet == .lf ? 1 : 0) & (before == .cr ? 0 : 1)
            found |= isStuffed | isBare
        }
        return found != 0
    }

    /// How many octets of a piece TOP wants; moves `cut`.
    private mutating func octetsWanted(_ octets: Span<UInt8>) -> Int {
        if cut == .done { return 0 }
        for index in octets.indices {
            let octet = octets[index]
            guard octet == .lf else {
                // A CR right at the line's start may be the empty line's; a second octet settles it.
                lineOctets = octet == .cr && lineOctets == 0 ? 1 : 2
                continue
            }
            let isEmptyLine = lineOctets < 2
            lineOctets = 0
            switch cut {
            case .inHeader(let lines):
                if isEmptyLine { cut = lines > 0 ? .inBody(lines: lines) : .done }
            case .inBody(let lines):
                cut = lines > 1 ? .inBody(lines: lines - 1) : .done
            case .none, .done:
                break
            }
            if cut == .done { return index + 1 }
        }
        return octets.count
    }
}
