// SPDX-License-Identifier: Apache-2.0
//
// One string looked for in many texts: eight places at a time, and in linear time whatever the
// texts are (Knuth, Morris and Pratt where that trick does not pay).

import Bytes

/// Finds one string in texts that may come in pieces.
package struct Needle: Sendable {
    /// Case-folded UTF-8.
    package let octets: [UInt8]
    package let isASCII: Bool
    /// How much of the needle is still matched after a mismatch behind this many octets.
    private let fallback: [Int]
    /// Under 0x20 a letter has no case.
    private let masks: (UInt8, UInt8)

    /// - Parameter text: UTF-8 in any case; what is none is taken for Windows-1252.
    package init(_ text: [UInt8]) {
        var folded: [UInt8] = []
        CaseFolding.append(Charset.utf8.utf8(from: text).span, to: &folded)
        octets = folded
        isASCII = folded.allSatisfy { $0 < 0x80 }
        var table = [Int](repeating: 0, count: folded.count)
        var length = 0
        for index in folded.indices.dropFirst() {
            while length > 0, folded[index] != folded[length] { length = table[length - 1] }
            if folded[index] == folded[length] { length += 1 }
            table[index] = length
        }
        fallback = table
        func mask(_ octet: UInt8?) -> UInt8 { octet.map { $0.isASCIILetter ? 0x20 : 0 } ?? 0 }
        masks = (mask(folded.first), mask(folded.last))
    }

    package var isEmpty: Bool { octets.isEmpty }

    /// Looks on through `text`: folded already, or in an ASCII-compatible charset for a needle
    /// that is ASCII.
    ///
    /// - Parameter matched: octets of the needle that the text before ended with; 0 at first.
    /// - Returns: true as soon as the needle was found.
    package func isFound(in text: Span<UInt8>, matched: inout Int) -> Bool {
        let edge = octets.count - 1
        guard edge >= 0 else { return true }
        guard text.count > 2 * edge, text.count > 16 else {
            return step(text, 0..<text.count, &matched)
        }
        // A needle that began before; then all that are in `text`; then one that only begins here.
        if matched > 0, step(text, 0..<edge, &matched) { return true }
        if firstIndex(in: text, from: 0) != nil { return true }
        matched = 0
        return step(text, (text.count - edge)..<text.count, &matched)
    }

    /// Where the needle is in `text`, at or behind `start`; nil if it is not, or is empty.
    package func firstIndex(in text: Span<UInt8>, from start: Int) -> Int? {
        guard let first = octets.first, let last = octets.last else { return nil }
        let distance = octets.count - 1
        var index = start
        // Steps that may be lost on places that only look right.
        var budget = 1_024
        while true {
            let before = index
            index = text.firstPair(first, last, masks: masks, distance: distance, from: index)
            guard index < text.count else { return nil }
            budget += index - before
            var length = 0
            while length < octets.count, octets[length] == text[index + length].asciiLowercased {
                length += 1
            }
            if length == octets.count { return index }
            index += 1
            budget -= length
            if budget < 0 {
                var matched = 0
                guard let end = end(text, index..<text.count, &matched) else { return nil }
                return end - octets.count
            }
        }
    }

    private func step(_ text: Span<UInt8>, _ range: Range<Int>, _ matched: inout Int) -> Bool {
        end(text, range, &matched) != nil
    }

    /// Behind the first match that ends in `range`; nil if none does.
    private func end(
        _ text: Span<UInt8>, _ range: Range<Int>, _ matched: inout Int
    ) -> Int? {
        let first = octets[0]
        var length = matched
        for index in range {
            let octet = text[index].asciiLowercased
            if length == 0 {
                guard octet == first else { continue }
                length = 1
            } else {
                while length > 0, octet != octets[length] { length = fallback[length - 1] }
                if octet == octets[length] { length += 1 }
            }
            if length == octets.count { return index + 1 }
        }
        matched = length
        return nil
    }
}
