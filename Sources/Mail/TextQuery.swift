// SPDX-License-Identifier: Apache-2.0
//
// What SEARCH asks about the text of messages: the keys that the view of a mailbox cannot answer.
// RFC 9051 §6.4.4. imapd makes it, the wire carries it, msgstored answers it.

/// Which days match.
package enum DayRange: Sendable, Hashable {
    case before(Int)
    case on(Int)
    case since(Int)

    package func holds(_ day: Int) -> Bool {
        switch self {
        case .before(let limit): day < limit
        case .on(let limit): day == limit
        case .since(let limit): day >= limit
        }
    }
}

/// A condition on the octets of one message. Texts are UTF-8, in any case.
package indirect enum TextQuery: Sendable, Hashable {
    /// Keys in one query, and how deep they are nested.
    package static let keyLimit = 4_096
    package static let depthLimit = 64
    /// Octets of one text or field name.
    package static let textLimit = 64 << 10

    /// True for every message if it is empty.
    case all([TextQuery])
    /// False for every message if it is empty.
    case any([TextQuery])
    case not(TextQuery)
    case header(name: [UInt8], [UInt8])
    case body([UInt8])
    case text([UInt8])
    /// The day of the Date field as written, in days since 1970.
    case sent(DayRange)

    /// False if the header of a message is enough to answer.
    package var needsBody: Bool {
        switch self {
        case .all(let keys), .any(let keys): keys.contains(where: \.needsBody)
        case .not(let key): key.needsBody
        case .body, .text: true
        case .header, .sent: false
        }
    }
}
