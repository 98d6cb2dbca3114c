// SPDX-License-Identifier: Apache-2.0
//
// Sets of message numbers or UIDs: `1,5:7,9:*`. RFC 3501 §9, sequence-set.

import Bytes
import Mail

/// A sequence set as it was written. What `*` means is known only when it is resolved.
package struct SequenceSet: Equatable, Sendable {
    /// Ranges in one set. A command line is at most 64 KiB, so this cuts nothing but attacks.
    package static let rangeLimit = 32_768
    /// `*` in a range.
    private static let star: UInt32 = 0

    private var ranges: [UIDRange] = []
    /// `$`: what the last SEARCH with SAVE found (RFC 5182). What that is only the view knows.
    package private(set) var isSaved = false

    package init(_ ranges: [UIDRange]) { self.ranges = ranges }

    init(from cursor: inout Cursor) throws(CommandError) {
        if cursor.take(0x24) {
            isSaved = true
            return
        }
        repeat {
            let first = try Self.bound(&cursor)
            let last = cursor.take(0x3A) ? try Self.bound(&cursor) : first
            guard ranges.count < Self.rangeLimit else { throw .tooComplex }
            ranges.append(UIDRange(first, last))
        } while cursor.take(0x2C)
    }

    private static func bound(_ cursor: inout Cursor) throws(CommandError) -> UInt32 {
        if cursor.take(0x2A) { return star }
        let number = try cursor.number32()
        guard number > 0 else { throw cursor.failure }
        return number
    }

    /// The greatest number that is written out; 0 if there is only `*`.
    package var greatestNumber: UInt32 {
        ranges.reduce(0) { max($0, $1.first, $1.last) }
    }

    package var hasStar: Bool { ranges.contains { $0.first == Self.star || $0.last == Self.star } }

    /// Rising, disjoint, not touching. `*` is `largest`; with `largest` 0 it is nothing.
    ///
    /// A range may be written backwards, and `559:*` includes `*` even if that is 100
    /// (RFC 3501 §6.4.8).
    package func resolved(largest: UInt32) -> [UIDRange] {
        var sorted: [UIDRange] = []
        sorted.reserveCapacity(ranges.count)
        for range in ranges {
            let first = range.first == Self.star ? largest : range.first
            let last = range.last == Self.star ? largest : range.last
            guard first > 0, last > 0 else { continue }
            sorted.append(UIDRange(min(first, last), max(first, last)))
        }
        sorted.sort { $0.first < $1.first }
        var merged: [UIDRange] = []
        for range in sorted {
            if let end = merged.indices.last,
                merged[end].last == .max || range.first <= merged[end].last + 1
            {
                merged[end].last = max(merged[end].last, range.last)
            } else {
                merged.append(range)
            }
        }
        return merged
    }

    /// Appends `ranges` (not empty) as a set.
    package static func append(_ ranges: [UIDRange], to octets: inout [UInt8]) {
        for (index, range) in ranges.enumerated() {
            if index > 0 { octets.append(0x2C) }
            octets.appendDecimal(range.first)
            if range.last != range.first {
                octets.append(0x3A)
                octets.appendDecimal(range.last)
            }
        }
    }

    /// Appends numbers in the order given, runs of rising ones as ranges: what COPYUID needs
    /// (RFC 4315 §3: both sets list their messages in the same order).
    package static func append(inOrder numbers: [UInt32], to octets: inout [UInt8]) {
        append(UIDRange.ranges(of: numbers), to: &octets)
    }
}

extension [UIDRange] {
    /// True if `number` is in the set (rising, disjoint).
    package func holds(_ number: UInt32) -> Bool {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].last < number { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low].first <= number
    }
}
