// SPDX-License-Identifier: Apache-2.0
//
// Messages on their way into the accounts of a lane: those that somebody waits for at once, those
// that were answered for when the delivery log had them in batches, or before anybody looks.
// docs/store.md, "The delivery log".

import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// A message that waits for its account's next batch.
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

/// What waits for one account, in the order in which the log has it.
struct AppendQueue {
    fileprivate(set) var appends: [QueuedAppend] = []
    /// When those that were answered for are to be stored at the latest.
    fileprivate(set) var due: MonotonicInstant?
    /// Storing failed: not again before this.
    fileprivate(set) var retryAt: MonotonicInstant?
}

extension Lane {
    /// Messages that one batch may have.
    private static let batchLimit = 64
    /// After a failure, until what was answered for is tried again.
    private static let retryPause = Duration.seconds(2)

    // MARK: - From any thread

    /// - Returns: true if the account should be drained now.
    @discardableResult
    func enqueue(_ append: QueuedAppend, for account: AccountRef) -> Bool {
        waiting.withLock { waiting in
            waiting[account, default: AppendQueue()].appends.append(append)
            guard append.message.isAnswered else { return true }
            answered.add(1, ordering: .releasing)
            if waiting[account]?.due == nil {
                waiting[account]?.due = MonotonicInstant.now.advanced(by: backlog.patience)
            }
            return (waiting[account]?.appends.count ?? 0) % Self.batchLimit == 0
        }
    }

    /// Accounts for which mail has waited long enough.
    func due(_ now: MonotonicInstant) -> [AccountRef] {
        guard answered.load(ordering: .relaxed) > 0 else { return [] }
        return waiting.withLock { waiting in
            waiting.compactMap { account, queue in
                queue.due.map { $0 <= now } == true ? account : nil
            }
        }
    }

    // MARK: - On the lane's thread

    /// Appends what waits for the account, at least up to `own`, and returns what became of `own`.
    func drain(_ account: AccountRef, until own: QueuedAppend) -> Result<
        AppendedMessage, StoreError
    > {
        while true {
            if let result = own.result { return result }
            // Without a batch `own` was in no queue
            guard let batch = takeBatch(account) else { return .failure(.notPermitted) }
            append(batch, to: account)
        }
    }

    /// Appends what waits for the account.
    func drain(_ account: AccountRef) {
        while let batch = takeBatch(account) {
            guard append(batch, to: account) == nil else { return }
        }
    }

    /// The same, but for an account that is away: it is asked again soon.
    func drainDue(_ account: AccountRef) {
        guard away[account.address] == nil else { return }
        whenHere(account) { self.drain(account) }
    }

    /// Everything that was answered for is stored before somebody looks. What cannot be stored now
    /// is tried again later.
    func storeAnswered(_ account: AccountRef) {
        while true {
            let mayTry = waiting.withLock { waiting in
                guard let queue = waiting[account], queue.due != nil else { return false }
                return queue.retryAt.map { $0 <= .now } ?? true
            }
            guard mayTry, let batch = takeBatch(account), append(batch, to: account) == nil
            else { return }
        }
    }

    /// Everything that waits for accounts under any of their references. They take no more.
    ///
    /// - Parameter isRemoval: what cannot be stored goes with the account.
    /// - Returns: why something of it is still there.
    func storeRest(
        isRemoval: Bool = false, of isWanted: (EmailAddress) -> Bool
    ) -> StoreError? {
        let accounts = waiting.withLock { $0.keys.filter { isWanted($0.address) } }
        for account in accounts {
            while let batch = takeBatch(account) {
                guard let error = append(batch, to: account) else { continue }
                guard isRemoval else { return error }
                while let left = takeBatch(account) {
                    for append in left { append.finish(.failure(.noSuchAccount)) }
                }
            }
        }
        return nil
    }

    /// The same for all accounts of domains. Nil while one of them is away.
    func storeRest(of domains: [[UInt8]]) -> Result<Void, StoreError>? {
        guard !isAnyAway(domains) else { return nil }
        return storeRest { domains.contains($0.domain) }.map { .failure($0) } ?? .success(())
    }

    /// The next ones, all of which were answered for, or none. Nil: nothing waits.
    private func takeBatch(_ account: AccountRef) -> [QueuedAppend]? {
        waiting.withLock { waiting in
            guard var queue = waiting.removeValue(forKey: account),
                let isAnswered = queue.appends.first?.message.isAnswered
            else { return nil }
            let batch = Array(
                queue.appends.prefix(Self.batchLimit).prefix {
                    $0.message.isAnswered == isAnswered
                })
            if isAnswered { answered.subtract(batch.count, ordering: .relaxed) }
            queue.appends.removeFirst(batch.count)
            queue.retryAt = nil
            if !queue.appends.contains(where: \.message.isAnswered) { queue.due = nil }
            if !queue.appends.isEmpty { waiting[account] = queue }
            return batch
        }
    }

    /// - Returns: why messages that were answered for are in the queue again.
    @discardableResult
    private func append(_ appends: [QueuedAppend], to account: AccountRef) -> StoreError? {
        let start = MonotonicInstant.now
        // What was answered for was promised to the account as it was then. Whoever puts another
        // in its place, or removes it, stores that before: so it is still the same.
        let isAnswered = appends.first?.message.isAnswered ?? false
        let outcome = performNow(account, isChecked: !isAnswered) { store throws(StoreError) in
            store.append(batch: appends.map(\.message))
        }
        metrics.commits.observe(start.duration(to: .now))
        metrics.commitMessages.observe(Double(appends.count))
        var left: [QueuedAppend] = []
        var reason: StoreError?
        for (place, append) in appends.enumerated() {
            let result: Result<AppendedMessage, StoreError>
            switch outcome {
            case .success(let results) where place < results.count:
                result = results[place]
                if case .failure(let error) = result { note(error, account.address) }
            case .success: result = .failure(.notPermitted)
            case .failure(let error): result = .failure(error)
            }
            if isAnswered, case .failure(let error) = result {
                left.append(append)
                reason = reason ?? error
            } else {
                append.finish(result)
            }
        }
        if let reason {
            putBack(left, account, reason)
        } else if isAnswered {
            backlog.setTroubled(account.address, false)
        }
        return reason
    }

    /// In front of what came since, so that the order stays that of the log. Those behind that
    /// nobody has answered for are refused.
    private func putBack(_ left: [QueuedAppend], _ account: AccountRef, _ reason: StoreError) {
        backlog.setTroubled(account.address, true)
        let refused = waiting.withLock { waiting in
            let later = MonotonicInstant.now.advanced(by: Self.retryPause)
            let behind = waiting[account]?.appends ?? []
            waiting[account] = AppendQueue(
                appends: left + behind.filter(\.message.isAnswered), due: later, retryAt: later)
            return behind.filter { !$0.message.isAnswered }
        }
        answered.add(left.count, ordering: .releasing)
        for append in refused { append.finish(.failure(reason)) }
        Log.error(
            "mail in the log not stored yet",
            [
                LogField("account", account.address.octets), LogField("count", left.count),
                LogField("reason", "\(reason)"),
            ])
    }
}
