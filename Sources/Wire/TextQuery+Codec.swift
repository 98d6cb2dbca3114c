// SPDX-License-Identifier: Apache-2.0
//
// The encoding of what SEARCH asks about texts, and of the state of a search index. docs/wire.md.

import Bytes
import Mail

/// How far the search index of an account is.
package struct SearchStats: Equatable, Sendable {
    /// False: `msgstored.search` is "none", and there is no index.
    package var isEnabled: Bool
    /// In all mailboxes of the account.
    package var messages: UInt64
    package var indexed: UInt64
    /// Indexed messages that the index cannot tell apart; they are always read.
    package var opaque: UInt64
    /// Of the index on disk.
    package var octets: UInt64
    /// Of the messages that were indexed.
    package var sourceOctets: UInt64
    package var segments: UInt32

    package init(
        isEnabled: Bool, messages: UInt64 = 0, indexed: UInt64 = 0, opaque: UInt64 = 0,
        octets: UInt64 = 0, sourceOctets: UInt64 = 0, segments: UInt32 = 0
    ) {
        self.isEnabled = isEnabled
        self.messages = messages
        self.indexed = indexed
        self.opaque = opaque
        self.octets = octets
        self.sourceOctets = sourceOctets
        self.segments = segments
    }
}

extension Encoder {
    mutating func put(_ query: TextQuery) {
        var left = TextQuery.keyLimit
        put(query, depth: 0, &left)
    }

    private mutating func put(_ query: TextQuery, depth: Int, _ left: inout Int) {
        guard depth < TextQuery.depthLimit, left > 0 else { return refuse() }
        left -= 1
        switch query {
        case .all(let keys), .any(let keys):
            if case .all = query { put(UInt8(0)) } else { put(UInt8(1)) }
            put(UInt32(truncatingIfNeeded: keys.count))
            for key in keys { put(key, depth: depth + 1, &left) }
        case .not(let key):
            put(UInt8(2))
            put(key, depth: depth + 1, &left)
        case .header(let name, let text):
            put(UInt8(3))
            put(name, limit: TextQuery.textLimit)
            put(text, limit: TextQuery.textLimit)
        case .body(let text):
            put(UInt8(4))
            put(text, limit: TextQuery.textLimit)
        case .text(let text):
            put(UInt8(5))
            put(text, limit: TextQuery.textLimit)
        case .sent(let days):
            put(UInt8(6))
            switch days {
            case .before(let day):
                put(UInt8(0))
                put(Int64(day))
            case .on(let day):
                put(UInt8(1))
                put(Int64(day))
            case .since(let day):
                put(UInt8(2))
                put(Int64(day))
            }
        }
    }

    mutating func put(_ stats: SearchStats) {
        put(stats.isEnabled)
        put(stats.messages)
        put(stats.indexed)
        put(stats.opaque)
        put(stats.octets)
        put(stats.sourceOctets)
        put(stats.segments)
    }
}

extension Decoder {
    mutating func textQuery() throws(WireError) -> TextQuery {
        var left = TextQuery.keyLimit
        return try textQuery(depth: 0, &left)
    }

    private mutating func textQuery(
        depth: Int, _ left: inout Int
    ) throws(WireError) -> TextQuery {
        guard depth < TextQuery.depthLimit, left > 0 else { throw .oversized }
        left -= 1
        let kind = try octet()
        switch kind {
        case 0, 1:
            let count = Int(try integer(UInt32.self))
            guard count <= left else { throw .oversized }
            var keys: [TextQuery] = []
            for _ in 0..<count { keys.append(try textQuery(depth: depth + 1, &left)) }
            return kind == 0 ? .all(keys) : .any(keys)
        case 2: return .not(try textQuery(depth: depth + 1, &left))
        case 3:
            return .header(
                name: try string(limit: TextQuery.textLimit),
                try string(limit: TextQuery.textLimit))
        case 4: return .body(try string(limit: TextQuery.textLimit))
        case 5: return .text(try string(limit: TextQuery.textLimit))
        case 6:
            let range = try octet()
            guard let day = Int(exactly: try integer(Int64.self)) else { throw .invalid("day") }
            switch range {
            case 0: return .sent(.before(day))
            case 1: return .sent(.on(day))
            case 2: return .sent(.since(day))
            default: throw .invalid("days")
            }
        default: throw .invalid("text query")
        }
    }

    mutating func searchStats() throws(WireError) -> SearchStats {
        SearchStats(
            isEnabled: try bool(), messages: try integer(UInt64.self),
            indexed: try integer(UInt64.self), opaque: try integer(UInt64.self),
            octets: try integer(UInt64.self), sourceOctets: try integer(UInt64.self),
            segments: try integer(UInt32.self))
    }
}
