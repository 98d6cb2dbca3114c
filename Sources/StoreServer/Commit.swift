// SPDX-License-Identifier: Apache-2.0
//
// The way of a message through the delivery log: durable for all its accounts in one step, then
// stored in each by its own thread, then answered. docs/store.md, "The delivery log".

import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// What became of a message that was to go through the log.
enum CommitOutcome: Sendable {
    /// Stored for every account, in their order.
    case stored([AppendedMessage])
    /// Stored for none.
    case failed(StoreError)
    /// There is no log: nothing was tried.
    case unavailable
}

/// One message on its way to its accounts.
private final class Commit: Sendable {
    private struct State {
        var open: Int
        var results: [Result<AppendedMessage, StoreError>?]
    }

    private let state: Mutex<State>
    private let done: @Sendable ([Result<AppendedMessage, StoreError>]) -> Void

    init(
        _ count: Int, _ done: @escaping @Sendable ([Result<AppendedMessage, StoreError>]) -> Void
    ) {
        state = Mutex(State(open: count, results: [_](repeating: nil, count: count)))
        self.done = done
    }

    func finished(_ index: Int, _ result: Result<AppendedMessage, StoreError>) {
        let all = state.withLock { state -> [Result<AppendedMessage, StoreError>]? in
            state.results[index] = result
            state.open -= 1
            return state.open == 0 ? state.results.compactMap { $0 } : nil
        }
        if let all { done(all) }
    }
}

extension StoreCore {
    /// A copy for each of `accounts`, all or none. Durable before any of them shows it.
    ///
    /// - Parameter mayAnswerEarly: nobody asks under which UID: with the log's word that it is
    ///   durable this returns, and the accounts' threads store it before anybody looks.
    func commit(
        _ accounts: [AccountRef], _ mailbox: MailboxName, _ flags: NamedFlags,
        _ date: SecondsSince1970?, _ octets: [UInt8], mayAnswerEarly: Bool = false
    ) async -> CommitOutcome {
        logged.wrappingAdd(1, ordering: .relaxed)
        let date = date ?? SecondsSince1970(WallClock.seconds())
        let targets = accounts.map {
            LogEntry.Target(
                address: $0.address, unique: root.makeUniqueName(), mailbox: mailbox)
        }
        let entry = LogEntry(targets: targets, flags: flags, date: date, octets: octets)
        if mayAnswerEarly, backlog.reserve(accounts, octets.count, addresses, usages) {
            return await answerEarly(entry, accounts)
        }
        let written = await store(entry, accounts)
        guard case .carriedOut(let position, let results) = written else {
            if case .failed(let error) = written { return .failed(error) }
            return .unavailable
        }
        var appended: [AppendedMessage] = []
        var failure: StoreError?
        for result in results {
            switch result {
            case .success(let message): appended.append(message)
            case .failure(let error): failure = error
            }
        }
        guard let failure else {
            root.log.resolve(position)
            return .stored(appended)
        }
        await takeBack(position, targets, accounts, results)
        return .failed(failure)
    }

    private enum Written: Sendable {
        case carriedOut(LogPosition, [Result<AppendedMessage, StoreError>])
        case failed(StoreError)
        case unavailable
    }

    /// Into the log, and from there to the accounts' threads.
    private func store(_ entry: LogEntry, _ accounts: [AccountRef]) async -> Written {
        let source = Self.source(of: entry)
        return await unsafe withUnsafeContinuation {
            (continuation: UnsafeContinuation<Written, Never>) in
            root.log.submit(entry) { outcome in
                switch outcome {
                case .unavailable: unsafe continuation.resume(returning: .unavailable)
                case .failed(let error): unsafe continuation.resume(returning: .failed(error))
                case .written(let position):
                    let commit = Commit(accounts.count) { results in
                        unsafe continuation.resume(returning: .carriedOut(position, results))
                    }
                    for (index, target) in entry.targets.enumerated() {
                        let message = PendingAppend(
                            mailbox: target.mailbox, flags: entry.flags, date: entry.date,
                            source: source, unique: target.unique, position: position)
                        self.post(message, to: accounts[index]) { commit.finished(index, $0) }
                    }
                }
            }
        }
    }

    private static func source(of entry: LogEntry) -> MessageSource {
        entry.targets.count == 1
            ? .octets(entry.octets) : .shared(SharedMessage(entry.octets, date: entry.date))
    }

    /// Into the log; then it is answered for. The accounts' threads come to it when several
    /// messages wait for an account, when somebody looks, or within a second.
    private func answerEarly(_ entry: LogEntry, _ accounts: [AccountRef]) async -> CommitOutcome {
        await unsafe withUnsafeContinuation {
            (continuation: UnsafeContinuation<CommitOutcome, Never>) in
            root.log.submit(entry) { outcome in
                switch outcome {
                case .unavailable:
                    self.backlog.cancel(accounts, entry.octets.count)
                    unsafe continuation.resume(returning: .unavailable)
                case .failed(let error):
                    self.backlog.cancel(accounts, entry.octets.count)
                    unsafe continuation.resume(returning: .failed(error))
                case .written(let position):
                    // In the queues before it is answered: who looks then finds it.
                    self.queue(entry, at: position, accounts)
                    unsafe continuation.resume(returning: .stored([]))
                }
            }
        }
    }

    private func queue(_ entry: LogEntry, at position: LogPosition, _ accounts: [AccountRef]) {
        let size = entry.octets.count
        let (log, backlog) = (root.log, backlog)
        let commit = Commit(accounts.count) { _ in
            log.resolve(position)
            backlog.finished(size, isShared: accounts.count > 1)
        }
        let source = Self.source(of: entry)
        for (index, target) in entry.targets.enumerated() {
            let account = accounts[index]
            var message = PendingAppend(
                mailbox: target.mailbox, flags: entry.flags, date: entry.date, source: source,
                unique: target.unique, position: position)
            message.isAnswered = true
            let lane = lane(of: account.address)
            let isFull = lane.enqueue(
                QueuedAppend(message) { result in
                    backlog.stored(account, size)
                    commit.finished(index, result)
                }, for: account)
            backlog.arrived(account)
            if isFull || watchers.isWatched(account.address) {
                postWhenHere(account) { $0.drain(account) }
            }
        }
    }

    /// Has those accounts store what was answered for that nobody has looked at for a while.
    func storeDue() {
        let now = MonotonicInstant.now
        for lane in lanes {
            for account in lane.due(now) { post(on: lane) { lane.drainDue(account) } }
        }
    }

    /// From the log's thread, so that an account gets its messages in the log's order.
    private func post(
        _ message: PendingAppend, to account: AccountRef,
        _ done: @escaping @Sendable (Result<AppendedMessage, StoreError>) -> Void
    ) {
        lane(of: account.address).enqueue(QueuedAppend(message, done), for: account)
        postWhenHere(account) { $0.drain(account) }
    }

    // MARK: - Taking back

    /// First the log says so, durably: a crash in between must not leave it with some. Only what
    /// was taken back everywhere may leave the log.
    private func takeBack(
        _ position: LogPosition, _ targets: [LogEntry.Target], _ accounts: [AccountRef],
        _ results: [Result<AppendedMessage, StoreError>]
    ) async {
        let log = root.log
        let outcome = await unsafe withUnsafeContinuation {
            (continuation: UnsafeContinuation<LogOutcome, Never>) in
            log.abort(position) { unsafe continuation.resume(returning: $0) }
        }
        if case .written = outcome {
        } else {
            Log.error(
                "delivery may be stored at the next start", [LogField("reason", "\(outcome)")])
        }
        var left: [Retraction] = []
        for (index, result) in results.enumerated() {
            // What failed has taken its own traces away.
            guard case .success = result else { continue }
            let retraction = Retraction(
                position: position, target: targets[index], account: accounts[index])
            if await !retract(retraction) { left.append(retraction) }
        }
        if left.isEmpty {
            log.resolve(position)
        } else {
            retractions.withLock { $0 += left }
        }
    }

    private func retract(_ retraction: Retraction) async -> Bool {
        let outcome = await perform(retraction.account) { store throws(StoreError) in
            try store.retract(retraction.target.unique, from: retraction.target.mailbox)
        }
        // An account that was removed meanwhile has nothing to take back.
        if case .failure(let error) = outcome { return error == .noSuchAccount }
        return true
    }

    /// The disk has lost what was written to it: all that the log still has is written again, by
    /// each account's own thread.
    private func mendLog() async {
        let root = root
        guard let mending = await run({ root.beginMending() }) else { return }
        for segment in mending.segments {
            guard let items = await run({ root.items(of: segment) }) else { return }
            for (address, items) in items {
                // An index that hears of the error only now is opened anew for the second try.
                if await !writeAgain(items, address), await !writeAgain(items, address) { return }
            }
        }
        await run { root.finishMending(mending) }
    }

    private func writeAgain(_ items: [MendedItem], _ address: EmailAddress) async -> Bool {
        let account = AccountRef(address: address, generation: addresses.generation(of: address))
        let outcome = await perform(account) { store throws(StoreError) in
            try store.writeAgain(items)
        }
        if case .failure(let error) = outcome { return error == .noSuchAccount }
        return true
    }

    /// Tries again what could not be taken back, and what could not be stored at the start.
    func retryDeliveries() async {
        await mendLog()
        let waiting = retractions.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        var left: [Retraction] = []
        for retraction in waiting where await !retract(retraction) { left.append(retraction) }
        let open = Set(left.map(\.position))
        for position in Set(waiting.map(\.position)) where !open.contains(position) {
            root.log.resolve(position)
        }
        if !left.isEmpty { retractions.withLock { $0 += left } }
        for address in root.postponedAccounts {
            let account = AccountRef(
                address: address, generation: addresses.generation(of: address))
            _ = await perform(account) { store throws(StoreError) in
                try store.redoPostponed()
            }
        }
    }
}

/// A message that has to go again, because another account could not store it.
struct Retraction: Sendable {
    var position: LogPosition
    var target: LogEntry.Target
    var account: AccountRef
}
