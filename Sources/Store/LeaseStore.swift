// SPDX-License-Identifier: Apache-2.0
//
// The seam for leases: who may work on something that only one may work on. A maildrop (RFC 1939
// §4), an item of the outbound queue (RFC 5321 §4.5.4.1). docs/decisions/0003-seam.md.

import Glibc
import Mail
import Synchronization

/// What a lease is of.
package struct LeaseKey: Hashable, Sendable {
    package enum Kind: UInt8, Sendable {
        case maildrop = 1
        case queueItem = 2
    }

    package var kind: Kind
    package var name: [UInt8]

    package init(_ kind: Kind, _ name: [UInt8]) {
        self.kind = kind
        self.name = name
    }
}

/// The right to work on something until it expires.
package struct Lease: Equatable, Sendable {
    package let key: LeaseKey
    /// Greater than that of every lease given before: what comes from an earlier holder, who does
    /// not know yet that his lease is over, can be told by it.
    package let number: UInt64

    /// For drivers that forget everything with the process: its end is the holder's end too.
    package static let lifeOfProcess = Duration.seconds(100 * 365 * 86_400)
}

/// Gives leases. One holder at a time for each key; whoever dies loses it when it expires.
///
/// Every driver promises (`LeaseTests` holds each to it):
/// - two leases of one key are never in force at once, whatever threads and nodes ask;
/// - `claim` passes over what others hold instead of waiting for it, and takes a key once;
/// - a lease that is over is over for ever: it can neither be renewed, nor end the next holder's.
///
/// Calls may wait for a disk or a network, `release` only shortly.
package protocol LeaseStore: Sendable {
    /// Nil if somebody holds it.
    func acquire(_ key: LeaseKey, for lifetime: Duration) throws(StoreError) -> Lease?
    /// The first of `keys`, in order, that nobody holds; at most `count`.
    func claim(
        _ keys: [LeaseKey], atMost count: Int, for lifetime: Duration
    ) throws(StoreError) -> [Lease]
    /// From now on. False if it is over.
    func renew(_ lease: Lease, for lifetime: Duration) throws(StoreError) -> Bool
    func isHeld(_ lease: Lease) throws(StoreError) -> Bool
    /// Ends it. Where that fails it ends by itself.
    func release(_ lease: Lease)
}

/// Milliseconds of a clock that leases are measured with.
package typealias LeaseClock = @Sendable () -> Int64

package enum LeaseTime {
    /// Never set back; starts anew with the machine.
    package static func sinceBoot() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_BOOTTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Goes on over restarts of the machine.
    package static func ofDay() -> Int64 {
        let (seconds, microseconds) = System.now()
        return seconds * 1_000 + microseconds / 1_000
    }
}

extension Duration {
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}

/// One process, in memory: for what its clients hold, who are gone when it is.
package final class LocalLeases: LeaseStore {
    private struct Held {
        var number: UInt64
        var end: Int64
    }

    private struct State {
        var held: [LeaseKey: Held] = [:]
        var last: UInt64 = 0
    }

    private let state = Mutex(State())
    private let clock: LeaseClock

    package init(clock: @escaping LeaseClock = LeaseTime.sinceBoot) {
        self.clock = clock
    }

    package func acquire(
        _ key: LeaseKey, for lifetime: Duration
    ) throws(StoreError) -> Lease? {
        let now = clock()
        return state.withLock { Self.take(key, &$0, now, lifetime) }
    }

    package func claim(
        _ keys: [LeaseKey], atMost count: Int, for lifetime: Duration
    ) throws(StoreError) -> [Lease] {
        let now = clock()
        return state.withLock { state in
            var leases: [Lease] = []
            for key in keys where leases.count < count {
                if let lease = Self.take(key, &state, now, lifetime) { leases.append(lease) }
            }
            return leases
        }
    }

    private static func take(
        _ key: LeaseKey, _ state: inout State, _ now: Int64, _ lifetime: Duration
    ) -> Lease? {
        if let held = state.held[key], held.end > now { return nil }
        state.last += 1
        state.held[key] = Held(number: state.last, end: now + lifetime.milliseconds)
        return Lease(key: key, number: state.last)
    }

    package func renew(_ lease: Lease, for lifetime: Duration) throws(StoreError) -> Bool {
        let now = clock()
        return state.withLock { state in
            guard let held = state.held[lease.key], held.number == lease.number, held.end > now
            else { return false }
            state.held[lease.key]?.end = now + lifetime.milliseconds
            return true
        }
    }

    package func isHeld(_ lease: Lease) throws(StoreError) -> Bool {
        let now = clock()
        return state.withLock { state in
            state.held[lease.key].map { $0.number == lease.number && $0.end > now } ?? false
        }
    }

    package func release(_ lease: Lease) {
        state.withLock { state in
            guard state.held[lease.key]?.number == lease.number else { return }
            state.held[lease.key] = nil
        }
    }
}
