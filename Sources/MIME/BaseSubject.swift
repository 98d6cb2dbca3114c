// SPDX-License-Identifier: Apache-2.0
//
// The subject without what replies and forwards add to it. RFC 5256 §2.1, grammar in §5.

import Bytes

/// A subject for sorting and threading.
package struct BaseSubject: Equatable, Sendable {
    /// Decoded UTF-8, single spaces, case as it was.
    package private(set) var text: [UInt8]
    /// Something of a reply or a forward was taken off.
    package private(set) var isReplyOrForward = false

    /// - Parameter decoded: a subject in UTF-8 without encoded words.
    package init(decoded: [UInt8]) {
        text = Self.singleSpaces(decoded)
        var range = 0..<text.count
        // Each round takes something off, so it ends.
        while true {
            dropTrailers(&range)
            while dropLeader(&range) || dropBlob(&range) {}
            guard range.count >= 6, Self.matches(text, range.lowerBound, "[fwd:"),
                text[range.upperBound - 1] == 0x5D
            else { break }
            isReplyOrForward = true
            range = (range.lowerBound + 5)..<(range.upperBound - 1)
        }
        text = Array(text[range])
    }

    /// Step 1: tabs and runs of blanks become one space.
    private static func singleSpaces(_ octets: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(octets.count)
        for octet in octets {
            if StructuredText.isBlank(octet) {
                if result.last != .space { result.append(.space) }
            } else {
                result.append(octet)
            }
        }
        return result
    }

    /// Step 2: `(fwd)` and blanks at the end.
    private mutating func dropTrailers(_ range: inout Range<Int>) {
        while !range.isEmpty {
            let end = range.upperBound
            if text[end - 1] == .space {
                range = range.lowerBound..<(end - 1)
            } else if range.count >= 5, Self.matches(text, end - 5, "(fwd)") {
                isReplyOrForward = true
                range = range.lowerBound..<(end - 5)
            } else {
                return
            }
        }
    }

    /// Step 3: blanks, or `[blob] Re[blob]:` with any number of blobs in front.
    private mutating func dropLeader(_ range: inout Range<Int>) -> Bool {
        guard !range.isEmpty else { return false }
        if text[range.lowerBound] == .space {
            range = (range.lowerBound + 1)..<range.upperBound
            return true
        }
        var position = range.lowerBound
        while let next = blobEnd(position, range.upperBound) { position = next }
        if Self.matches(text, position, "re") {
            position += 2
        } else if Self.matches(text, position, "fwd") {
            position += 3
        } else if Self.matches(text, position, "fw") {
            position += 2
        } else {
            return false
        }
        while position < range.upperBound, text[position] == .space { position += 1 }
        position = blobEnd(position, range.upperBound) ?? position
        guard position < range.upperBound, text[position] == 0x3A else { return false }
        isReplyOrForward = true
        range = (position + 1)..<range.upperBound
        return true
    }

    /// Step 4: one blob, if something is left behind it.
    private func dropBlob(_ range: inout Range<Int>) -> Bool {
        guard let end = blobEnd(range.lowerBound, range.upperBound), end < range.upperBound else {
            return false
        }
        range = end..<range.upperBound
        return true
    }

    /// Behind `[...]` at `start` and the blanks that follow it; nil if there is none.
    private func blobEnd(_ start: Int, _ end: Int) -> Int? {
        guard start < end, text[start] == 0x5B else { return nil }
        var position = start + 1
        while position < end, text[position] != 0x5D {
            if text[position] == 0x5B { return nil }
            position += 1
        }
        guard position < end else { return nil }
        position += 1
        while position < end, text[position] == .space { position += 1 }
        return position
    }

    private static func matches(_ text: [UInt8], _ start: Int, _ word: StaticString) -> Bool {
        let end = start + word.utf8CodeUnitCount
        return start >= 0 && end <= text.count
            && FieldBody.isWord(text.span, start..<end, word)
    }
}
