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
    /// Messages that one flush may cover.
    private static let batchLimit = 128
    private static let idleTime = Duration.seconds(300)
    /// After this an open account keeps no more than it must.
    private static let restTime = Duration.seconds(15)

    let index: Int
    private let root: MailRoot
    private let limit: Int
    private let addresses: AddressBook
    private let usages: UsageBook
    private let notifier: any Notifier
    private let snapshots: SnapshotBudget
    private let metrics: StoreMetrics
    private let indexer: SearchIndexer
    private let quotaWarnings: QuotaWarnings
    private var accounts = OpenAccounts()
    private let waiting = Mutex<[AccountRef: [QueuedAppend]]>([:])
    private let open = Atomic<Int>(0)

    init(
        index: Int, root: MailRoot, limit: Int, addresses: AddressBook, usages: UsageBook,
        notifier: any Notifier, snapshots: SnapshotBudget, metrics: StoreMetrics,
        indexer: SearchIndexer, quotaWarnings: QuotaWarnings
    ) {
        self.index = index
        self.root = root
        self.limit = limit
        self.addresses = addresses
        self.usages = usages
        self.notifier = notifier
        self.snapshots = snapshots
        self.metrics = metrics
        self.indexer = indexer
        self.quotaWarnings = quotaWarnings
    }

    var openCount: Int { open.load(ordering: .relaxed) }
    var hasWork: Bool { openCount > 0 }

    // MARK: - On the lane's thread

    func perform<R>(
        _ account: AccountRef, _ body: (AccountStore) throws(StoreError) -> R
    ) -> Result<R, StoreError> {
        do throws(StoreError) {
            let store = try store(account)
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

    /// Closes the account's store, runs `body`, and forgets the store whatever happens.
    func withClosed<R>(
        _ address: EmailAddress, _ body: () throws(StoreError) -> R
    ) -> Result<R, StoreError> {
        shut(address)
        do throws(StoreError) {
            return .success(try body())
        } catch {
            note(error, address)
            return .failure(error)
        }
    }

    private func store(_ account: AccountRef) throws(StoreError) -> AccountStore {
        guard addresses.generation(of: account.address) == account.generation else {
            throw .noSuchAccount
        }
        guard !addresses.isHeld(account.address.domain) else { throw .busy }
        if let found = accounts.use(account.address) {
            if try !found.isReplaced {
                found.limits = try addresses.limits(account.address)
                return found
            }
            shut(account.address)
        }
        while accounts.count >= limit, let oldest = accounts.oldest { shut(oldest.address) }
        let store = try root.openAccount(account.address)
        store.limits = try addresses.limits(account.address)
        accounts.insert(store, account.address)
        open.store(accounts.count, ordering: .relaxed)
        indexer.noteOpened(account)
        return store
    }

    /// Closes what is open of a domain; while it is held nothing of it is opened again.
    func shut(domain: [UInt8]) {
        for account in accounts.all where account.address.domain == domain {
            shut(account.address)
        }
    }

    private func shut(_ address: EmailAddress) {
        guard let closing = accounts.remove(address, snapshots) else { return }
        open.store(accounts.count, ordering: .relaxed)
        do throws(StoreError) {
            try closing.close()
        } catch {
            Log.warn(
                "account not closed cleanly",
                [LogField("account", address.octets), LogField("reason", "\(error)")])
        }
    }

    private func publish(_ store: AccountStore) {
        let comparisons = store.takeComparisons()
        if comparisons > 0 { metrics.comparisons.increment(by: UInt64(comparisons)) }
        let changes = store.takeChanges()
        guard !changes.isEmpty else { return }
        noteUsage(store)
        notifier.publish(store.address, changes)
        let generation = addresses.generation(of: store.address)
        indexer.note(AccountRef(address: store.address, generation: generation))
    }

    /// Before anybody is told: who asks then must see the new totals.
    private func noteUsage(_ store: AccountStore) {
        do throws(StoreError) {
            let usage = try store.usage()
            let before = usages.note(store.address, usage)
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

    private func note(_ error: StoreError, _ address: EmailAddress) {
        switch error {
        case .index, .file, .noSpace, .inUse:
            metrics.failures.increment()
            Log.error(
                "store failed",
                [LogField("account", address.octets), LogField("reason", "\(error)")])
            // The next request starts with a fresh look at the disk.
            if case .index = error { shut(address) }
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

    func closeAll() {
        for account in accounts.all { shut(account.address) }
    }

    // MARK: - Appending

    func enqueue(_ append: QueuedAppend, for account: AccountRef) {
        waiting.withLock { $0[account, default: []].append(append) }
    }

    /// Appends what waits for the account, at least up to `own`, and returns what became of `own`.
    func drain(_ account: AccountRef, until own: QueuedAppend) -> Result<
        AppendedMessage, StoreError
    > {
        while true {
            if let result = own.result { return result }
            let batch = takeBatch(account)
            guard !batch.isEmpty else { return .failure(.notPermitted) }  // `own` was in no queue
            append(batch, to: account)
        }
    }

    /// Appends what waits for the account, one batch; each has brought a call of its own.
    func drain(_ account: AccountRef) {
        let batch = takeBatch(account)
        if !batch.isEmpty { append(batch, to: account) }
    }

    private func takeBatch(_ account: AccountRef) -> [QueuedAppend] {
        waiting.withLock { waiting in
            guard var queue = waiting.removeValue(forKey: account) else { return [] }
            let batch = Array(queue.prefix(Self.batchLimit))
            queue.removeFirst(batch.count)
            if !queue.isEmpty { waiting[account] = queue }
            return batch
        }
    }

    private func append(_ batch: [QueuedAppend], to account: AccountRef) {
        let start = MonotonicInstant.now
        let outcome = perform(account) { store throws(StoreError) in
            store.append(batch: batch.map(\.message))
        }
        metrics.commits.observe(start.duration(to: .now))
        metrics.commitMessages.observe(Double(batch.count))
        for (place, append) in batch.enumerated() {
            switch outcome {
            case .success(let results) where place < results.count:
                if case .failure(let error) = results[place] { note(error, account.address) }
                append.finish(results[place])
            case .success: append.finish(.failure(.notPermitted))
            case .failure(let error): append.finish(.failure(error))
            }
        }
    }
}

/// A message that waits for its account's next flush.
final class QueuedAppend: Sendable {
    let message: PendingAppend
    private let outcome = Mutex<Result<AppendedMessage, StoreError>?>(nil)
    private let done: (@Sendable (Result<AppendedMessage, StoreError>) -> Void)?

    /// - Parameter done: called on the account's thread with what became of it.
    init(
        _ message: PendingAppend,
        _ done: (@Sendable (Result<AppendedMessage, StoreError>) -> Void)? = nil
    ) {
        self.message = message
        self.done = done
    }

    var result: Result<AppendedMessage, StoreError>? { outcome.withLock { $0 } }

    func finish(_ result: Result<AppendedMessage, StoreError>) {
        outcome.withLock { $0 = result }
        done?(result)
    }
}
