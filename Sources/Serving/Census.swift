// SPDX-License-Identifier: Apache-2.0
//
// How many sessions there are on all loops of a daemon, and how fast new ones come, against the
// limits of mail.toml.

import Mail
import Network
import Synchronization

/// Why a connection is one too many. The raw value is for logs and metrics.
package enum Refusal: String, Sendable, CaseIterable {
    /// Of the daemon or of the listener.
    case clients = "max-clients"
    case clientsOfAddress = "clients-per-ip"
    case clientsOfNetwork = "clients-per-network"
    case rate = "connections-per-ip"
}

/// What a connection is counted against. Nil, and 0 with addresses: no limit.
struct CensusLimits {
    var all: Int
    var listener: Int?
    var address = 0
    /// Of the address on this listener.
    var addressHere = 0
    var network = 0
    /// New connections in a minute.
    var rate = 0
}

/// Counts sessions: all, per listener, per address and network, and, for those logged in, per
/// account.
package final class Census: Sendable {
    fileprivate struct Place: Hashable {
        var address: IPAddress
        var listener: String
    }

    fileprivate struct Counts {
        var clients = 0
        var perListener: [String: Int] = [:]
        var perAddress: [IPAddress: Int] = [:]
        var perPlace: [Place: Int] = [:]
        var perNetwork: [IPAddress: Int] = [:]
        var perAccount: [EmailAddress: Int] = [:]
        var arrivals = RateTable<IPAddress>()
    }

    private let counts = Mutex(Counts())

    package init() {}

    /// Takes a place. A limit that is reached: nothing is counted.
    ///
    /// - Parameter now: nanoseconds of a clock that does not go back.
    func enter(
        _ listener: String, _ address: IPAddress?, _ limits: CensusLimits, now: UInt64
    ) -> Refusal? {
        counts.withLock { counts in
            let here = counts.perListener[listener, default: 0]
            guard counts.clients < limits.all, here < limits.listener ?? .max else {
                return .clients
            }
            if let address {
                if let refusal = counts.admit(address, listener, limits, now: now) {
                    return refusal
                }
            }
            counts.clients += 1
            counts.perListener[listener] = here + 1
            return nil
        }
    }

    /// Gives the place back; `address` as it was given to `enter`.
    func leave(_ listener: String, _ address: IPAddress?) {
        counts.withLock { counts in
            counts.clients -= 1
            counts.perListener[listener, default: 1] -= 1
            guard let address else { return }
            counts.perAddress.countDown(address)
            counts.perPlace.countDown(Place(address: address, listener: listener))
            counts.perNetwork.countDown(address.network)
        }
    }

    /// Takes a place for an account. False: it has as many sessions as it may.
    package func enter(account: EmailAddress, limit: Int) -> Bool {
        counts.withLock { counts in
            let here = counts.perAccount[account, default: 0]
            guard here < limit else { return false }
            counts.perAccount[account] = here + 1
            return true
        }
    }

    package func leave(account: EmailAddress) {
        counts.withLock { $0.perAccount.countDown(account) }
    }

    /// What is counted by address, for tests: there is nothing left when everybody has gone.
    var addressCounts: Int {
        counts.withLock { $0.perAddress.count + $0.perPlace.count + $0.perNetwork.count }
    }
}

extension Census.Counts {
    fileprivate mutating func admit(
        _ address: IPAddress, _ listener: String, _ limits: CensusLimits, now: UInt64
    ) -> Refusal? {
        let place = Census.Place(address: address, listener: listener)
        let ofAddress = perAddress[address, default: 0]
        let ofPlace = perPlace[place, default: 0]
        let ofNetwork = perNetwork[address.network, default: 0]
        if limits.address > 0, ofAddress >= limits.address { return .clientsOfAddress }
        if limits.addressHere > 0, ofPlace >= limits.addressHere { return .clientsOfAddress }
        if limits.network > 0, ofNetwork >= limits.network { return .clientsOfNetwork }
        if limits.rate > 0,
            !arrivals.take(address.host, limit: limits.rate, period: 60_000_000_000, now: now)
        {
            return .rate
        }
        perAddress[address] = ofAddress + 1
        perPlace[place] = ofPlace + 1
        perNetwork[address.network] = ofNetwork + 1
        return nil
    }
}

extension Dictionary where Value == Int {
    /// One less; gone at zero.
    fileprivate mutating func countDown(_ key: Key) {
        let left = self[key, default: 1] - 1
        self[key] = left > 0 ? left : nil
    }
}
