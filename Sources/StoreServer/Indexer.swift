// SPDX-License-Identifier: Apache-2.0
//
// Keeps the search indexes up to date, one account after the other, behind everything else: one
// thread of low priority takes messages apart, the accounts' lanes only read and write. What is not
// indexed yet is read when somebody searches, so nothing depends on it. docs/store.md.

import Config
import Glibc
import MIME
import Mail
import Store
import Synchronization
import Telemetry
import Transport

/// The accounts that have something to index, and the work on them.
final class SearchIndexer: Sendable {
    private struct Account {
        var due: MonotonicInstant
        /// The last change.
        var changed: MonotonicInstant
        /// All that there is, however little.
        var isUrgent = false
        /// Nobody has asked for it since the start.
        var isSwept = false
        /// Messages in all mailboxes: now, and when it was looked at.
        var messages: UInt64 = 0
        var looked: UInt64 = 0
        /// Whatever it has: it may have been left behind.
        var mustLook = false

        var isWorthALook: Bool {
            mustLook || max(messages, looked) - min(messages, looked) >= UInt64(minimum)
        }
    }

    /// How fast mail comes in: indexing is cheaper afterwards, and whoever delivers comes first.
    private struct Traffic {
        /// Messages in a second.
        private static let busy = 100.0
        /// The longest that the indexer stands back.
        private static let limit = Duration.seconds(30)
        private var logged: UInt64 = 0
        private var at = MonotonicInstant.now
        private var busySince: MonotonicInstant?

        /// - Parameter now: how many there have been.
        mutating func mustWait(_ now: UInt64) -> Bool {
            let elapsed = at.duration(to: .now)
            if elapsed >= pause {
                let isBusy = Double(now &- logged) > Self.busy * (elapsed / .seconds(1))
                logged = now
                at = .now
                busySince = isBusy ? busySince ?? at : nil
            }
            return busySince.map { $0.duration(to: .now) < Self.limit } ?? false
        }
    }

    private struct State {
        var waiting: [AccountRef: Account] = [:]
        /// Being indexed now.
        var current: AccountRef?
    }

    /// After a change that is worth it, until it is looked at: mail often comes in groups.
    private static let patience = Duration.seconds(1)
    /// After the last change, until the few messages that it left are put into a segment.
    private static let quiet = Duration.seconds(20)
    /// Fewer messages than this are not worth a segment while more are coming.
    private static let minimum = 256
    private static let batch = 32
    /// Segments of one account before the others have their turn.
    private static let turn = 8
    private static let pause = Duration.milliseconds(250)
    private static let yield = Duration.milliseconds(5)

    private let state = Mutex(State())
    private let enabled = Atomic<Bool>(true)
    private let limit = Atomic<Int>(64 << 20)
    private let thread: Workers
    private let metrics: StoreMetrics

    init(metrics: StoreMetrics) {
        self.metrics = metrics
        thread = Workers(count: 1, name: "search")
    }

    var isEnabled: Bool { enabled.load(ordering: .relaxed) }

    func apply(_ settings: StoreSettings) {
        enabled.store(settings.search == "sqlite", ordering: .relaxed)
        limit.store(settings.searchMaxMessage, ordering: .relaxed)
    }

    // MARK: - What there is to do

    /// The account has changed. From any thread.
    ///
    /// - Parameter before: messages in it before the change, `messages` now.
    func note(_ account: AccountRef, before: UInt64, messages: UInt64) {
        guard isEnabled else { return }
        let now = MonotonicInstant.now
        state.withLock { state in
            var entry =
                state.waiting[account]
                ?? Account(due: now.advanced(by: Self.quiet), changed: now, looked: before)
            entry.changed = now
            entry.messages = messages
            entry.isSwept = false
            if entry.isWorthALook { entry.due = min(entry.due, now.advanced(by: Self.patience)) }
            state.waiting[account] = entry
        }
    }

    /// The account was opened: it may have been left behind when the last process ended.
    func noteOpened(_ account: AccountRef) {
        guard isEnabled else { return }
        let now = MonotonicInstant.now
        state.withLock { state in
            guard state.current != account, state.waiting[account] == nil else { return }
            state.waiting[account] = Account(
                due: now.advanced(by: Self.patience), changed: now, mustLook: true)
        }
    }

    /// Next, and all that there is.
    func noteUrgent(_ account: AccountRef) {
        guard isEnabled else { return }
        let now = MonotonicInstant.now
        state.withLock { state in
            state.waiting[account] = Account(due: now, changed: now, isUrgent: true)
        }
    }

    /// The account may have been left behind when the last process ended; nobody uses it.
    func noteSwept(_ account: AccountRef) {
        let now = MonotonicInstant.now
        state.withLock { state in
            guard state.waiting[account] == nil, state.current != account else { return }
            state.waiting[account] = Account(
                due: now, changed: now, isUrgent: true, isSwept: true)
        }
    }

    var waitingCount: Int { state.withLock { $0.waiting.count } }

    private func takeNext() -> (account: AccountRef, minimum: Int, isSwept: Bool)? {
        let now = MonotonicInstant.now
        return state.withLock { state in
            while let next = state.waiting.min(by: { $0.value.due < $1.value.due }),
                next.value.due <= now
            {
                let quietAt = next.value.changed.advanced(by: Self.quiet)
                if next.value.isUrgent || quietAt <= now {
                    state.waiting[next.key] = nil
                    state.current = next.key
                    return (next.key, 1, next.value.isSwept)
                }
                state.waiting[next.key]?.due = quietAt
                guard next.value.isWorthALook else { continue }
                state.waiting[next.key]?.looked = next.value.messages
                state.waiting[next.key]?.mustLook = false
                state.current = next.key
                return (next.key, Self.minimum, false)
            }
            return nil
        }
    }

    /// There is more to do for an account, once it is its turn again.
    private func putBack(_ account: AccountRef, _ minimum: Int) {
        if minimum == 1 {
            noteUrgent(account)
        } else {
            let now = MonotonicInstant.now
            state.withLock { state in
                state.waiting[account]?.due = now
                state.waiting[account]?.mustLook = true
            }
        }
    }

    // MARK: - Doing it

    /// Runs on one loop until it drains.
    func run(_ core: StoreCore, _ context: LoopContext) async {
        await thread.run {
            // Of this thread only. Without the right to it the thread is like the others.
            _ = setpriority(Int32(PRIO_PROCESS.rawValue), 0, 10)
        }
        var terms: SearchTerms?
        var traffic = Traffic()
        while !context.isDraining {
            guard isEnabled, !traffic.mustWait(core.logged.load(ordering: .relaxed)),
                let (account, minimum, isSwept) = takeNext()
            else {
                terms = nil
                await context.sleep(Self.pause)
                continue
            }
            let lane = core.lane(of: account.address)
            let wasOpen =
                isSwept
                ? await core.run(on: lane) {
                    lane.isOpen(account.address) || lane.isAway(account.address)
                } : true
            let isComplete = await index(account, minimum, core, context, &terms)
            if !wasOpen {
                let root = core.root
                await core.runWhenHere(account) { lane in
                    lane.close(account.address)
                    if isComplete { root.noteSearchChecked(account.address) }
                }
            }
            let left = state.withLock { state in
                state.current = nil
                return state.waiting.count
            }
            metrics.searchWaiting.set(Double(left))
        }
    }

    /// - Returns: true if nothing is left to do.
    private func index(
        _ account: AccountRef, _ minimum: Int, _ core: StoreCore, _ context: LoopContext,
        _ terms: inout SearchTerms?
    ) async -> Bool {
        var segments = 0
        while !context.isDraining, isEnabled {
            let outcome = await core.perform(account) { store throws(StoreError) in
                try store.searchWork(minimum: minimum)
            }
            switch outcome {
            case .failure: return false
            case .success(nil): return true
            case .success(.again): await context.sleep(Self.yield)
            case .success(.index(let mailbox, let messages, let merge)):
                let draft = SegmentDraft(mailbox, reusing: terms.take())
                await thread.run { for segment in merge { draft.add(segment) } }
                guard
                    let done = await fill(draft, messages, account, mailbox, core, context)
                else { return false }
                let segment = await thread.run { draft.finish() }
                let attempted = messages.prefix(done).map(\.uid)
                let written = await core.perform(account) { store throws(StoreError) in
                    try store.commitSearch(segment, attempted: attempted, replacing: merge)
                }
                terms = draft.takeTerms()
                guard case .success(true) = written else { return false }
                metrics.searchIndexed.increment(by: UInt64(done))
                segments += 1
                if segments == Self.turn {
                    putBack(account, minimum)
                    return false
                }
            }
        }
        return false
    }

    /// Reads messages into a segment until it is full.
    ///
    /// - Returns: how many were taken; nil if the account cannot be read.
    private func fill(
        _ draft: SegmentDraft, _ messages: [(uid: UInt32, size: UInt32)], _ account: AccountRef,
        _ mailbox: MailboxID, _ core: StoreCore, _ context: LoopContext
    ) async -> Int? {
        let limit = limit.load(ordering: .relaxed)
        var done = 0
        while done < messages.count, !draft.isFull {
            guard !context.isDraining else { return nil }
            let some = Array(messages[done..<min(done + Self.batch, messages.count)])
            let small = some.filter { Int($0.size) <= limit }.map(\.uid)
            let outcome = await core.perform(account) { store throws(StoreError) in
                try store.searchFiles(mailbox, small, .whole)
            }
            guard case .success(let files) = outcome else { return nil }
            let octets = await thread.run { () -> Int? in
                var octets = 0
                for file in files {
                    guard let text = file.octets() else { return nil }
                    draft.add(uid: file.uid, size: file.size, text)
                    octets += text.count
                }
                for (uid, size) in some where Int(size) > limit {
                    draft.add(uid: uid, size: size, nil)
                }
                return octets
            }
            guard let octets else { return nil }
            metrics.searchOctets.increment(by: UInt64(octets))
            done += some.count
            // Whoever waits for an answer comes first.
            if core.requestsInFlight > 0 { await context.sleep(Self.yield) }
        }
        return done
    }
}
