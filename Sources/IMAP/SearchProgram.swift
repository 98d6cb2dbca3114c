// SPDX-License-Identifier: Apache-2.0
//
// What SEARCH looks for. RFC 3501 §6.4.4, with MODSEQ (RFC 7162 §3.1.5) and OLDER, YOUNGER
// (RFC 5032).

import Bytes
import Mail

/// One search key.
package indirect enum SearchKey: Equatable, Sendable {
    case all
    case and([SearchKey])
    case or(SearchKey, SearchKey)
    case not(SearchKey)
    /// All of these flags are set.
    case flag(Flags)
    case keyword([UInt8])
    /// `\Recent` and not `\Seen`.
    case new
    case sequence(SequenceSet)
    case uid(SequenceSet)
    case larger(UInt32)
    case smaller(UInt32)
    case modSeq(UInt64)
    /// INTERNALDATE, in days since 1970.
    case internalDay(DayRange)
    /// SAVEDATE (RFC 8514 §4.3), and EMAILID (RFC 8474 §6): `resolved` makes UIDs of them.
    case savedDay(DayRange)
    case emailID([UInt8])
    /// The Date field.
    case sentDay(DayRange)
    /// Arrived within so many seconds of now (RFC 5032).
    case younger(Int64)
    /// Texts are UTF-8.
    case header(name: [UInt8], [UInt8])
    case body([UInt8])
    case text([UInt8])
}

/// A whole SEARCH command.
package struct SearchProgram: Equatable, Sendable {
    /// Nested NOT, OR and parentheses.
    package static let depthLimit = 32
    /// Keys in one command.
    package static let keyLimit = 1_000

    package var key: SearchKey
    /// The client mentioned MODSEQ: the answer ends with the highest one (RFC 7162 §3.1.5).
    package var mentionsModSeq = false

    /// It named a charset, which RFC 6855 §3 forbids behind ENABLE UTF8=ACCEPT.
    package var namesCharset = false

    /// The options of RETURN, if the client wrote it: then the answer is ESEARCH (RFC 4731).
    package var returns: SearchReturn?
    /// Neither UTF-8 nor US-ASCII: the answer is NO. Not an error of the grammar, for RFC 5182 §2.1
    /// wants what was saved to be forgotten then.
    package var charsetIsUnknown = false

    package init(key: SearchKey) { self.key = key }
}
