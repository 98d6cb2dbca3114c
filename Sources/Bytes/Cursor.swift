// SPDX-License-Identifier: Apache-2.0
//
// A reading position over borrowed octets. Every grammar in the suite is written with it.

/// Reads a `Span` from front to back without copying. Cannot outlive the octets it looks at.
package struct Cursor: ~Escapable {
    private let octets: Span<UInt8>
    /// Octets already consumed; the position to report in a syntax error.
    package private(set) var offset = 0

    @_lifetime(copy octets)
    package init(_ octets: Span<UInt8>) {
        self.octets = octets
    }

    package var isAtEnd: Bool { offset == octets.count }

    /// Octets not yet consumed.
    package var remaining: Int { octets.count - offset }

    /// The next octet, not consumed.
    package var next: UInt8? { offset < octets.count ? octets[offset] : nil }

    /// The octet `distance` places behind the next one, not consumed.
    package func peek(_ distance: Int) -> UInt8? {
        distance >= 0 && distance < remaining ? octets[offset + distance] : nil
    }

    /// Consumes one octet.
    package mutating func takeOctet() -> UInt8? {
        guard offset < octets.count else { return nil }
        defer { offset += 1 }
        return octets[offset]
    }

    /// Consumes `octet` if it comes next.
    package mutating func take(_ octet: UInt8) -> Bool {
        guard next == octet else { return false }
        offset += 1
        return true
    }

    /// Consumes `literal` if it comes next, ignoring ASCII case.
    package mutating func take(_ literal: StaticString) -> Bool {
        let length = literal.utf8CodeUnitCount
        guard remaining >= length else { return false }
        let start = offset
        let matches = literal.withUTF8Buffer { wanted in
            for index in 0..<length
            where unsafe wanted[index].asciiLowercased != octets[start + index].asciiLowercased {
                return false
            }
            return true
        }
        if matches { offset += length }
        return matches
    }

    /// Consumes the longest run of octets that satisfy `accepts` and says how long it was.
    package mutating func skip(while accepts: (UInt8) -> Bool) -> Int {
        let start = offset
        while offset < octets.count, accepts(octets[offset]) { offset += 1 }
        return offset - start
    }

    /// Consumes and copies the longest run of octets that satisfy `accepts`; may be empty.
    package mutating func take(while accepts: (UInt8) -> Bool) -> [UInt8] {
        let start = offset
        _ = skip(while: accepts)
        return copy(start..<offset)
    }

    /// Consumes and copies exactly `count` octets, or nothing if fewer are left.
    package mutating func take(count: Int) -> [UInt8]? {
        guard count >= 0, count <= remaining else { return nil }
        defer { offset += count }
        return copy(offset..<(offset + count))
    }

    /// Consumes and copies everything that is left.
    package mutating func takeRest() -> [UInt8] {
        defer { offset = octets.count }
        return copy(offset..<octets.count)
    }

    /// Consumes `count` octets, or as many as there are.
    package mutating func advance(by count: Int) { offset = min(octets.count, offset + count) }

    /// Goes back to a position that was read from `offset`.
    package mutating func rewind(to earlier: Int) { offset = max(0, min(earlier, offset)) }

    /// A copy of the octets at `range`, wherever the position is.
    package func copy(_ range: Range<Int>) -> [UInt8] {
        [UInt8](copying: octets.extracting(range))
    }

    /// Consumes a run of ASCII letters and digits as upper case. At most 15, so it never allocates.
    package mutating func keyword() -> String {
        var word = ""
        while word.utf8.count < 15, let octet = next, octet.isASCIILetter || octet.isASCIIDigit {
            word.unicodeScalars.append(Unicode.Scalar(octet.asciiUppercased))
            offset += 1
        }
        return word
    }

    /// Consumes decimal digits as a number of at most `limit`; nil (nothing consumed) otherwise.
    package mutating func number(limit: UInt64 = .max) -> UInt64? {
        let start = offset
        var value: UInt64 = 0
        while let octet = next, octet.isASCIIDigit {
            let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = tenfold.addingReportingOverflow(UInt64(octet - 0x30))
            guard !overflow, !carried, sum <= limit else {
                offset = start
                return nil
            }
            value = sum
            offset += 1
        }
        return offset == start ? nil : value
    }
}
