// SPDX-License-Identifier: Apache-2.0
//
// The accounts that a lane has open, by address and by how long they were not used. Every
// operation takes the same time, however many there are.

import Mail
import Store
import Synchronization
import Transport

/// An account that is open, and its place between those used before and after it.
final class OpenAccount {
    let address: EmailAddress
    let store: AccountStore
    fileprivate(set) var lastUse: MonotonicInstant
    /// Octets of snapshots, as they were last counted.
    fileprivate var snapshots = 0
    /// Since the last use.
    fileprivate(set) var isTrimmed = false
    fileprivate(set) var isWarm = false
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
    /// The `warmCount` used last have their statements prepared; this is the oldest of them.
    private var oldestWarm: OpenAccount?
    private var warmCount = 0
    private let warmLimit: Int

    init(warmLimit: Int = 8) { self.warmLimit = warmLimit }

    var count: Int { byAddress.count }
    func has(_ address: EmailAddress) -> Bool { byAddress[address] != nil }

    var all: [OpenAccount] { Array(byAddress.values) }

    /// The account's store, which is the one used last now.
    mutating func use(_ address: EmailAddress) -> AccountStore? {
        guard let found = byAddress[address] else { return nil }
        found.lastUse = .now
        found.isTrimmed = false
        if found !== newest || !found.isWarm {
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

    mutating func remove(_ address: EmailAddress, _ budget: SnapshotBudget) -> AccountStore? {
        guard let found = byAddress.removeValue(forKey: address) else { return nil }
        unlink(found)
        count(found, 0, budget)
        return found.store
    }

    /// Counts the snapshots of the account that was used last, and drops those of others, the
    /// longest unused first, while all lanes together have more than they may.
    func weigh(_ budget: SnapshotBudget) {
        guard let newest else { return }
        count(newest, newest.store.snapshotOctets, budget)
        var next = oldest
        while budget.isExceeded, let account = next {
            // One's own may stay, unless it is what is too much.
            guard account !== newest || account.snapshots > budget.share else { return }
            if account.snapshots > 0 {
                account.store.dropSnapshots()
                count(account, 0, budget)
            }
            next = account.newer
        }
    }

    func trim(_ account: OpenAccount, _ budget: SnapshotBudget) {
        guard !account.isTrimmed else { return }
        account.isTrimmed = true
        account.store.trim()
        count(account, 0, budget)
    }

    private func count(_ account: OpenAccount, _ octets: Int, _ budget: SnapshotBudget) {
        guard octets != account.snapshots else { return }
        budget.add(octets - account.snapshots)
        account.snapshots = octets
    }

    /// The account becomes the one used last, and warm; another may cool for it.
    private mutating func link(_ account: OpenAccount) {
        account.older = newest
        account.newer = nil
        newest?.newer = account
        newest = account
        if oldest == nil { oldest = account }
        if oldestWarm == nil { oldestWarm = account }
        account.isWarm = true
        warmCount += 1
        if warmCount > warmLimit, let cooling = oldestWarm, cooling !== account {
            cooling.store.trimIndex()
            cooling.isWarm = false
            oldestWarm = cooling.newer
            warmCount -= 1
        }
    }

    private mutating func unlink(_ account: OpenAccount) {
        if account.isWarm {
            if oldestWarm === account { oldestWarm = account.newer }
            account.isWarm = false
            warmCount -= 1
        }
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

/// How much memory the snapshots of all lanes may take.
final class SnapshotBudget: Sendable {
    /// What one lane keeps for the account in use, even when there is too much.
    let share: Int
    private let limit: Int
    private let used = Atomic<Int>(0)

    init(limit: Int = 64 << 20, share: Int = 1 << 20) {
        self.limit = limit
        self.share = share
    }

    func add(_ octets: Int) { used.add(octets, ordering: .relaxed) }
    var octets: Int { used.load(ordering: .relaxed) }
    var isExceeded: Bool { octets > limit }
}
