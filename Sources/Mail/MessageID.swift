// SPDX-License-Identifier: Apache-2.0
//
// Ids of sessions and messages: sortable by time, 13 characters of Crockford base32.

/// One id that follows a session or a message through every daemon, log line and file name.
package struct TraceID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    /// - Parameters:
    ///   - milliseconds: since 1970; the high 44 bits.
    ///   - random: any number; its low 20 bits tell ids of one millisecond apart.
    package init(milliseconds: UInt64, random: UInt64) {
        rawValue = milliseconds << 20 | (random & 0xF_FFFF)
    }

    /// 13 characters; ids sort as their texts do.
    package var description: String {
        let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)
        var text = ""
        for shift in stride(from: 60, through: 0, by: -5) {
            let digit = Int((rawValue >> UInt64(shift)) & 31)
            text.unicodeScalars.append(Unicode.Scalar(alphabet[digit]))
        }
        return text
    }
}
