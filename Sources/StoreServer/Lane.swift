// SPDX-License-Identifier: Apache-2.0
//
// The accounts that belong to one worker thread. An account's store is used on its lane only, so
// its operations are in one order and need no lock.

import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// An account as it was when somebody asked for it: work for an account that has been removed
/// since (and perhaps made anew) is refused.
struct AccountRef: Sendable, Hashable {
    var address: EmailAddress
    var generation: UInt64
}

/// One thread's accounts: opened when needed, the longest unused ones closed.
final class Lane: @unchecked Sendable {  // safe: `accounts` and `clock` on the lane's thread only
    private static let idleTime = Duration.seconds(300)
    /// After this an open account keeps no more than it must.
    private static let restTime = Duration.seconds(15)

    let index: Int
    let root: MailRoot
    let workers: Workers
    /// For what takes long.
    let aside: Workers
    private let limit: Int
    private let addresses: AddressBook
    private let usages: UsageBook
    private let notifier: any Notifier
    private let snapshots: SnapshotBudget
    let metrics: StoreMetrics
    private let indexer: SearchIndexer
    private let quotaWarnings: QuotaWarnings
    let backlog: Backlog
    private var accounts = OpenAccounts()
    /// Accounts that are away on another thread, and what waits for them.
    var away: [EmailAddress: [@Sendable () -> Void]] = [:]
    let waiting = Mutex<[AccountRef: AppendQueue]>([:])
    /// Messages in `waiting` that were answered for.
    let answered = Atomic<Int>(0)
    private let open = Atomic<Int>(0)

    init(
        index: Int, workers: Workers, aside: Workers, root: MailRoot, limit: Int,
        addresses: AddressBook, usages: UsageBook,
        notifier: any Notifier, snapshots: SnapshotBudget, metrics: StoreMetrics,
        indexer: SearchIndexer, quotaWarnings: QuotaWarnings, backlog: Backlog
    ) {
        self.index = index
        self.workers = workers
        self.aside = aside
        self.root = root
        self.limit = limit
        self.addresses = addresses
        self.usages = usages
        self.notifier = notifier
        self.snapshots = snapshots
        self.metrics = metrics
        self.indexer = indexer
        self.quotaWarnings = quotaWarnings
        self.backlog = backlog
    }

    var openCount: Int { open.load(ordering: .relaxed) }
    var hasWork: Bool { openCount > 0 }

    // MARK: - On the lane's thread

    /// One operation on an account, behind all mail that was answered for.
    func perform<R>(
        _ account: AccountRef, _ body: (AccountStore) throws(StoreError) -> R
    ) -> Result<R, StoreError> {
        if answered.load(ordering: .acquiring) > 0 { storeAnswered(account) }
        return performNow(account, body)
    }

    /// - Parameter isChecked: false: the account is being removed or moved, and closed now.
    func performNow<R>(
        _ account: AccountRef, isChecked: Bool = true,
        _ body: (AccountStore) throws(StoreError) -> R
    ) -> Result<R, StoreError> {
        do throws(StoreError) {
            let store = try store(account, isChecked: isChecked)
            defer {
                publish(store)
                accounts.weigh(snapshots)
            }
            return .success(try body(store))
        } catch {
            note(error, account.address)
            return .failure(error)
        }
    }

    /// Stores what was answered for, closes the account's store, runs `body`, and forgets the
    /// store whatever happens.
    ///
    /// - Parameter isRemoval: what cannot be stored is no reason not to run `body`.
    func withClosed<R>(
        _ address: EmailAddress, isRemoval: Bool = false, _ body: () throws(StoreError) -> R
    ) -> Result<R, StoreError> {
        backlog.close(address)
        defer { backlog.reopen(address) }
        if let error = storeRest(isRemoval: isRemoval, of: { $0 == address }) {
            return .failure(error)
        }
        shut(address)
        do throws(StoreError) {
            return .success(try body())
        } catch {
            note(error, address)
            return .failure(error)
        }
    }

    func store(
        _ account: AccountRef, isChecked: Bool = true
    ) throws(StoreError) -> AccountStore {
        guard !isChecked || addresses.generation(of: account.address) == account.generation else {
            throw .noSuchAccount
        }
        // Nobody comes here then, but for a mistake: it must not be open twice.
        guard away[account.address] == nil else { throw .busy }
        guard !addresses.isHeld(account.address.domain) else { throw .busy }
        if let found = accounts.use(account.address) {
            if try !found.isReplaced {
                try setLimits(found)
                return found
            }
            shut(account.address)
        }
        let store = try root.openAccount(account.address)
        try setLimits(store)
        takeBack(store, account)
        return store
    }

    /// Whether the account may be opened at all.
    func mayOpen(_ account: AccountRef) -> Bool {
        addresses.generation(of: account.address) == account.generation
            && !addresses.isHeld(account.address.domain)
    }

    /// An open store becomes this lane's, in the place of the one that was not used for longest.
    func takeBack(_ store: AccountStore, _ account: AccountRef) {
        while accounts.count >= limit, let oldest = accounts.oldest { shut(oldest.address) }
        accounts.insert(store, account.address)
        backlog.setOpen(account.address, true)
        open.store(accounts.count, ordering: .relaxed)
        indexer.noteOpened(account)
    }

    /// The open store of the account is another thread's from now on. What is delivered to it is
    /// answered for as before, and waits.
    func takeOut(_ address: EmailAddress) {
        _ = accounts.remove(address, snapshots)
        open.store(accounts.count, ordering: .relaxed)
    }

    /// Closes what is open of domains; while they are held nothing of them is opened again.
    ///
    /// - Returns: false while something of them is away.
    func shut(domains: [[UInt8]]) -> Bool {
        for account in accounts.all where domains.contains(account.address.domain) {
            shut(account.address)
        }
        return !isAnyAway(domains)
    }

    func isAnyAway(_ domains: [[UInt8]]) -> Bool {
        away.keys.contains { domains.contains($0.domain) }
    }

    private func setLimits(_ store: AccountStore) throws(StoreError) {
        store.limits = try addresses.limits(store.address)
        if !store.limits.isUnlimited { store.reserved = backlog.reserved(store.address) }
    }

    private func shut(_ address: EmailAddress) {
        guard let closing = accounts.remove(address, snapshots) else { return }
        backlog.setOpen(address, false)
        open.store(accounts.count, ordering: .relaxed)
        do throws(StoreError) {
            try closing.close()
        } catch {
            Log.warn(
                "account not closed cleanly",
                [LogField("account", address.octets), LogField("reason", "\(error)")])
        }
    }

    func publish(_ store: AccountStore) {
        let comparisons = store.takeComparisons()
        if comparisons > 0 { metrics.comparisons.increment(by: UInt64(comparisons)) }
        let changes = store.takeChanges()
        guard !changes.isEmpty else { return }
        noteUsage(store)
        notifier.publish(store.address, changes)
    }

    /// Before anybody is told: who asks then must see the new totals. The indexer hears of it too.
    private func noteUsage(_ store: AccountStore) {
        do throws(StoreError) {
            let usage = try store.usage()
            let before = usages.note(store.address, usage)
            let generation = addresses.generation(of: store.address)
            indexer.note(
                AccountRef(address: store.address, generation: generation),
                before: before?.messages ?? 0, messages: usage.messages)
            guard let before, before != usage else { return }
            quotaWarnings.note(store.address, store.limits, from: before, to: usage)
            guard
                store.limits.isWarning(
                    addresses.quotaDefaults.warning, from: before, to: usage)
            else { return }
            metrics.quotaWarnings.increment()
            Log.warn(
                "quota warning",
                [
                    LogField("account", store.address.octets),
                    LogField("size", Int(clamping: usage.octets)),
                    LogField("count", Int(clamping: usage.messages)),
                ])
        } catch {
            note(error, store.address)
        }
    }

    func note(_ error: StoreError, _ address: EmailAddress) {
        switch error {
        case .index, .file, .noSpace, .inUse:
            metrics.failures.increment()
            Log.error(
                "store failed",
                [LogField("account", address.octets), LogField("reason", "\(error)")])
            // The next request starts with a fresh look at the disk.
            if case .index = error {
                metrics.indexErrors.increment()
                shut(address)
            }
        case .overQuota:
            metrics.overQuota.increment(["store"])
            noteRefused(address)
            Log.info("over quota", [LogField("account", address.octets)])
        default: break
        }
    }

    private func noteRefused(_ address: EmailAddress) {
        guard let usage = usages.known(address), let limits = addresses.knownLimits(address)
        else { return }
        quotaWarnings.noteRefused(address, limits, usage)
    }

    func isOpen(_ address: EmailAddress) -> Bool { accounts.has(address) }
    func isAway(_ address: EmailAddress) -> Bool { away[address] != nil }

    /// One that only the indexer had opened.
    func close(_ address: EmailAddress) { shut(address) }

    func housekeep() {
        let now = MonotonicInstant.now
        for account in accounts.all {
            let address = account.address
            if account.store.hasUnflushedNames {
                do throws(StoreError) {
                    try account.store.flushNames(limit: 256)
                } catch {
                    note(error, address)
                }
                publish(account.store)
            } else if account.lastUse.duration(to: now) > Self.idleTime {
                shut(address)
            } else if account.lastUse.duration(to: now) > Self.restTime {
                accounts.trim(account, snapshots)
            }
        }
    }

    /// Takes away files of expunged messages, for one slice of time.
    ///
    /// - Returns: true if there is more to do.
    func retire() -> Bool {
        for account in accounts.all where account.store.hasRetiring {
            do throws(StoreError) {
                try account.store.retireDoomed(milliseconds: 10)
            } catch {
                note(error, account.address)
                continue
            }
            publish(account.store)
            return true
        }
        return false
    }

    /// Makes what lists lack, for one slice of time.
    ///
    /// - Returns: true if there is more to do.
    func fillSummaries() -> Bool {
        var hasMore = false
        for account in accounts.all where account.store.lacksSummaries {
            do throws(StoreError) {
                hasMore = try account.store.fillSummaries()
            } catch {
                note(error, account.address)
            }
            publish(account.store)
            if hasMore { break }
        }
        return hasMore
    }

    /// - Returns: false while an account is away: nothing is closed then.
    func closeAll() -> Bool {
        guard away.isEmpty else { return false }
        for account in waiting.withLock({ Array($0.keys) }) { storeAnswered(account) }
        for account in accounts.all { shut(account.address) }
        return true
    }
}
