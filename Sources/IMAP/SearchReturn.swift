// SPDX-License-Identifier: Apache-2.0
//
// What SEARCH and SORT shall answer: the RETURN options. RFC 4731 (ESEARCH), RFC 5182 (SAVE),
// RFC 5267 (PARTIAL, UPDATE, CONTEXT), RFC 9394 (PARTIAL from the end).

import Bytes
import Mail

/// A stretch of a result: `1:100`, or `-1:-100` counted from its end. RFC 9394 §3.1.
package struct PartialRange: Equatable, Sendable {
    /// As the client wrote them; both greater than 0.
    package var first: UInt32
    package var last: UInt32
    package var isFromEnd: Bool

    package init(_ first: UInt32, _ last: UInt32, isFromEnd: Bool = false) {
        self.first = first
        self.last = last
        self.isFromEnd = isFromEnd
    }

    /// The places, from 0, of the stretch in a result of `count`.
    package func places(of count: Int) -> Range<Int> {
        let low = Int(min(first, last))
        let high = Int(max(first, last))
        if isFromEnd { return max(0, count - high)..<max(0, count - low + 1) }
        return min(low - 1, count)..<min(high, count)
    }

    /// The stretch of what all these ranges have together.
    package func stretch(of ranges: [Range<Int>]) -> [Range<Int>] {
        let wanted = places(of: ranges.reduce(0) { $0 + $1.count })
        var start = 0
        var stretch: [Range<Int>] = []
        for range in ranges {
            let some = wanted.clamped(to: start..<start + range.count)
            if !some.isEmpty {
                let shift = range.lowerBound - start
                stretch.append(some.lowerBound + shift..<some.upperBound + shift)
            }
            start += range.count
        }
        return stretch
    }

    package func append(to octets: inout [UInt8]) {
        for (place, number) in [first, last].enumerated() {
            if place > 0 { octets.append(0x3A) }
            if isFromEnd { octets.append(0x2D) }
            octets.appendDecimal(number)
        }
    }
}

package struct SearchReturn: Equatable, Sendable {
    package struct Options: OptionSet, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }
        package static let min = Options(rawValue: 1)
        package static let max = Options(rawValue: 2)
        package static let all = Options(rawValue: 4)
        package static let count = Options(rawValue: 8)
        package static let save = Options(rawValue: 16)
        /// Tell what changes (RFC 5267 §4.3).
        package static let update = Options(rawValue: 32)

        /// What the client gets, now or later.
        fileprivate static let results: Options = [.min, .max, .all, .count, .save]
    }

    package var options: Options = []
    package var partial: PartialRange?

    package init(_ options: Options = []) { self.options = options }

    package func isDisjoint(with others: Options) -> Bool { options.isDisjoint(with: others) }

    package func contains(_ option: Options) -> Bool { options.contains(option) }

    /// Nothing is told then (RFC 5182 §2.4).
    package var isOnlySave: Bool {
        partial == nil && options.intersection(.results) == .save
    }

    /// RFC 5182 §2.1: with MIN or MAX and nothing that needs all, only these are saved.
    package var savesAll: Bool {
        !options.isDisjoint(with: [.all, .count]) || partial != nil
            || options.isDisjoint(with: [.min, .max])
    }
}

extension Cursor {
    /// `(` options `)` behind RETURN.
    mutating func searchReturn() throws(CommandError) -> SearchReturn {
        try expect(0x28)
        var found = SearchReturn()
        _ = skip(while: { $0 == .space })
        while !take(0x29) {
            switch word() {
            case "MIN": found.options.insert(.min)
            case "MAX": found.options.insert(.max)
            case "ALL": found.options.insert(.all)
            case "COUNT": found.options.insert(.count)
            case "SAVE": found.options.insert(.save)
            case "UPDATE": found.options.insert(.update)
            case "CONTEXT": break  // RFC 5267 §4.2: only a hint
            case "PARTIAL":
                guard found.partial == nil else { throw failure }
                try space()
                found.partial = try partialRange()
            default: throw failure
            }
            guard next == 0x29 || next == .space else { throw failure }
            _ = skip(while: { $0 == .space })
        }
        // RFC 9394 §3.1: one or the other
        if found.partial != nil, found.contains(.all) { throw failure }
        // RFC 4731 §3.1: nothing asked for is ALL
        if found.isDisjoint(with: .results), found.partial == nil { found.options.insert(.all) }
        return found
    }

    mutating func partialRange() throws(CommandError) -> PartialRange {
        let isFromEnd = take(0x2D)
        let first = try number32()
        try expect(0x3A)
        guard take(0x2D) == isFromEnd else { throw failure }
        let last = try number32()
        guard first > 0, last > 0 else { throw failure }
        return PartialRange(first, last, isFromEnd: isFromEnd)
    }
}
