// SPDX-License-Identifier: Apache-2.0
//
// How often something may happen: one token bucket for each key, in a table of bounded size. Kept
// as the time at which a bucket will be full again (GCRA, ITU-T I.371): one number for each key.

/// Buckets of `limit` tokens that fill up within a period. The limit is given with each call, so
/// that a reload changes it for buckets that exist.
package struct RateTable<Key: Hashable & Sendable>: Sendable {
    /// When each bucket is full again, in nanoseconds; a full one need not be here.
    private var fullAt: [Key: UInt64] = [:]
    private let capacity: Int

    package init(capacity: Int = 65_536) { self.capacity = capacity }

    package var count: Int { fullAt.count }

    /// Takes a token. False: there is none.
    ///
    /// - Parameters:
    ///   - limit: tokens of a full bucket, at least one.
    ///   - period: nanoseconds in which an empty bucket gets full.
    ///   - now: nanoseconds of a clock that does not go back.
    package mutating func take(_ key: Key, limit: Int, period: UInt64, now: UInt64) -> Bool {
        let step = period / UInt64(max(1, limit))
        let full = max(fullAt[key] ?? 0, now)
        guard full - now <= step * UInt64(max(1, limit) - 1) else { return false }
        if fullAt[key] == nil, fullAt.count >= capacity { makeRoom(now) }
        fullAt[key] = full + step
        return true
    }

    /// Puts a token back that was taken for something that did not happen.
    package mutating func putBack(_ key: Key, limit: Int, period: UInt64) {
        guard let full = fullAt[key] else { return }
        let step = period / UInt64(max(1, limit))
        fullAt[key] = full > step ? full - step : 0
    }

    /// Forgets full buckets; if they are too few, the fuller half: whoever floods the table with
    /// new keys does not get those forgotten who are at their limit.
    private mutating func makeRoom(_ now: UInt64) {
        fullAt = fullAt.filter { $0.value > now }
        guard fullAt.count > capacity / 4 * 3 else { return }
        let median = fullAt.values.sorted()[fullAt.count / 2]
        fullAt = fullAt.filter { $0.value > median }
        // All of them equally full: nobody is nearer to the limit than others.
        while fullAt.count > capacity / 2 { fullAt.remove(at: fullAt.startIndex) }
    }
}
