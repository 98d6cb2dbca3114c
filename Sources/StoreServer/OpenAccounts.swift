// SPDX-License-Identifier: Apache-2.0
//
// The accounts that a lane has open, by address and by how long they were not used. Every
// operation takes the same time, however many there are.

import Mail
import Store
import Transport

/// An account that is open, and its place between those used before and after it.
final class OpenAccount {
    let address: EmailAddress
    let store: AccountStore
    fileprivate(set) var lastUse: MonotonicInstant
    fileprivate weak var older: OpenAccount?
    fileprivate var newer: OpenAccount?

    fileprivate init(_ address: EmailAddress, _ store: AccountStore) {
        self.address = address
        self.store = store
        lastUse = .now
    }
}

/// Of one lane; used on its thread only.
struct OpenAccounts {
    private var byAddress: [EmailAddress: OpenAccount] = [:]
    /// Used longest ago; owns all others through `newer`.
    private(set) var oldest: OpenAccount?
    private var newest: OpenAccount?

    var count: Int { byAddress.count }
    var all: [OpenAccount] { Array(byAddress.values) }

    /// The account's store, which is the one used last now.
    mutating func use(_ address: EmailAddress) -> AccountStore? {
        guard let found = byAddress[address] else { return nil }
        found.lastUse = .now
        if found !== newest {
            unlink(found)
            link(found)
        }
        return found.store
    }

    mutating func insert(_ store: AccountStore, _ address: EmailAddress) {
        let opened = OpenAccount(address, store)
        byAddress[address] = opened
        link(opened)
    }

    mutating func remove(_ address: EmailAddress) -> AccountStore? {
        guard let found = byAddress.removeValue(forKey: address) else { return nil }
        unlink(found)
        return found.store
    }

    private mutating func link(_ account: OpenAccount) {
        account.older = newest
        account.newer = nil
        newest?.newer = account
        newest = account
        if oldest == nil { oldest = account }
    }

    private mutating func unlink(_ account: OpenAccount) {
        account.newer?.older = account.older
        if newest === account { newest = account.older }
        if oldest === account {
            oldest = account.newer
        } else {
            account.older?.newer = account.newer
        }
        account.older = nil
        account.newer = nil
    }
}
