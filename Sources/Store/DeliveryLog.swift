// SPDX-License-Identifier: Apache-2.0
//
// The delivery log: one thread makes the messages of all accounts durable with one write and one
// fdatasync for all that wait; files and rows follow without a sync of their own, and a checkpoint
// makes them durable behind everybody's back. docs/store.md, "The delivery log"; RFC 5321 §6.1.

import Bytes
import Glibc
import Mail
import Synchronization
import Transport

/// `<root>/.log`. Usable from any thread.
///
/// A record stays alive until `resolve` was called for it (its message is in all mailboxes, or
/// was taken back) and a checkpoint after that has made files, names and rows durable.
package final class DeliveryLog: @unchecked Sendable {  // safe: all under `monitor` or the writer's
    static let directoryName = ".log"
    /// Octets that one write may cover.
    private static let batchLimit = 2 << 20
    private static let work = 0
    static let checkpointDue = 1
    static let changed = 2

    enum Status { case opening, ready, failed, broken, closed }

    private struct Waiting {
        var record: LogRecord
        var done: @Sendable (LogOutcome) -> Void
    }

    package let settings: DeliveryLogSettings
    private let directory: File
    let fileSystem: File
    private let notice: NoticeSink
    let monitor = Monitor(conditions: 3)
    let checkpointGate = Mutex<Void>(())
    /// Everything below is durable as mail.
    let durableBelow = Atomic<UInt64>(0)

    // Under `monitor`.
    var status = Status.opening
    private var queue: [Waiting] = []
    private var threads = 0
    var segments: [LogSegment: UInt64] = [:]  // with the last position in each
    var tracker = LogTracker()
    private var dirtySince: timespec?
    private var retryAt = timespec()
    var brokenAt = timespec()

    // The writer's.
    private var identity: UInt64 = 0
    private var active: LogSegment?
    private var tail: [UInt8] = []
    private var offset = 0
    private var next: UInt64 = 1
    /// Messages that were answered with an error and may be on the disk all the same.
    private var disowned: Set<UInt64> = []

    init(
        directory: consuming File, fileSystem: consuming File, settings: DeliveryLogSettings,
        notice: @escaping NoticeSink
    ) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.settings = settings
        self.notice = notice
    }

    /// Which log the positions belong to: known when the segments were looked at.
    var log: UInt64 {
        get { monitor.locked { identity } }
        set { monitor.locked { identity = newValue } }
    }

    /// Every message below is durable as mail.
    var lowWater: LogPosition { LogPosition(rawValue: durableBelow.load(ordering: .acquiring)) }

    var directoryDescriptor: Int32 { directory.descriptor }

    /// Octets of its files, and for how many seconds the oldest mail waits for a checkpoint.
    package var load: (octets: Int, age: Double) {
        let (octets, since) = monitor.locked {
            (segments.keys.reduce(0) { $0 + $1.size }, dirtySince)
        }
        guard let since else { return (octets, 0) }
        let now = timespec.now
        return (
            octets, Double(now.tv_sec - since.tv_sec) + Double(now.tv_nsec - since.tv_nsec) / 1e9
        )
    }

    // MARK: - For those who deliver

    /// Makes a message durable; `done` is called on the log's thread and must not wait.
    package func submit(
        _ entry: LogEntry, _ done: @escaping @Sendable (LogOutcome) -> Void
    ) {
        submit(.message(entry), done)
    }

    /// The same, waiting.
    package func write(_ entry: LogEntry) -> LogOutcome { write(.message(entry)) }

    /// Durably: the message at `position` is not to be stored, and is to be taken back where it
    /// was. Call `resolve` when it was taken back everywhere.
    package func abort(
        _ position: LogPosition, _ done: @escaping @Sendable (LogOutcome) -> Void
    ) {
        let observer = settings.observer
        submit(.abort(position)) { outcome in
            if case .written = outcome { observer(.reached(.abortDurable)) }
            done(outcome)
        }
    }

    package func abort(_ position: LogPosition) -> LogOutcome {
        let outcome = write(.abort(position))
        if case .written = outcome { settings.observer(.reached(.abortDurable)) }
        return outcome
    }

    /// The message is in every mailbox, or was taken back everywhere.
    package func resolve(_ position: LogPosition) {
        monitor.locked {
            tracker.resolve(position.rawValue)
            monitor.signal(Self.changed)
        }
    }

    /// What is in the log for the account is not to be redone. Before its mail is removed.
    func forget(_ address: EmailAddress) throws(StoreError) {
        let hasMessages = monitor.locked {
            tracker.lastMessage >= max(1, durableBelow.load(ordering: .relaxed))
        }
        guard hasMessages else { return }
        switch write(.removal(address)) {
        case .written: return
        case .failed(let error): throw error
        // Somebody else of this name would get it at the next start.
        case .unavailable: throw .file("delivery log", errno: EIO)
        }
    }

    func write(_ record: LogRecord) -> LogOutcome {
        let outcome = Mutex<LogOutcome?>(nil)
        let (monitor, changed) = (monitor, Self.changed)
        submit(record) { result in
            monitor.locked {
                outcome.withLock { $0 = result }
                monitor.signal(changed)
            }
        }
        return monitor.locked {
            while true {
                if let result = outcome.withLock({ $0 }) { return result }
                monitor.wait(for: changed)
            }
        }
    }

    private func submit(_ record: LogRecord, _ done: @escaping @Sendable (LogOutcome) -> Void) {
        let isTaken = monitor.locked { () -> Bool in
            switch status {
            case .opening, .closed, .broken: return false
            case .failed where timespec.now.isBefore(retryAt): return false
            case .ready, .failed: break
            }
            guard settings.size > 0 else { return false }
            if threads == 0 { startThreads() }
            queue.append(Waiting(record: record, done: done))
            monitor.signal(Self.work)
            return true
        }
        if !isTaken { done(.unavailable) }
    }

    private func startThreads() {
        threads = 2
        Thread.start(name: "log-writer") { self.writeRecords() }
        Thread.start(name: "log-checkpoint") { self.checkpointAlways() }
    }

    // MARK: - Life

    /// What the start found: nothing may be written before.
    ///
    /// - Parameter open: positions of messages that could not be carried out yet.
    func begin(_ survey: LogSurvey, open: Set<UInt64>) {
        monitor.locked {
            next = survey.next
            tracker = LogTracker(next: survey.next, open: open)
            for found in survey.segments { segments[found.segment] = found.last }
            durableBelow.store(tracker.firstOpen, ordering: .releasing)
            status = .ready
        }
        // What was redone is not redone again, even if nothing is delivered before the next start.
        if survey.isAlive, case .failed(let error) = write(.mark) {
            notice(StoreNotice(.logFailed, account: "", subject: "mark: \(error)"))
        }
    }

    /// Ends the threads. A checkpoint before that leaves nothing to be redone.
    package func close(checkpointing: Bool) {
        if checkpointing {
            do throws(StoreError) {
                try checkpoint()
                markIfIdle(waiting: true)
            } catch {
                notice(StoreNotice(.logFailed, account: "", subject: "checkpoint: \(error)"))
            }
        }
        monitor.locked {
            status = .closed
            for condition in [Self.work, Self.checkpointDue, Self.changed] {
                monitor.signal(condition)
            }
            while threads > 0 { monitor.wait(for: Self.changed) }
        }
    }

    // MARK: - The writer's thread

    private func writeRecords() {
        while true {
            let batch = monitor.locked { () -> [Waiting]? in
                while queue.isEmpty, status != .closed {
                    guard !disowned.isEmpty else {
                        monitor.wait(for: Self.work)
                        continue
                    }
                    if !timespec.now.isBefore(retryAt) { return [] }
                    monitor.wait(for: Self.work, until: retryAt)
                }
                guard !queue.isEmpty else {
                    threads -= 1
                    monitor.signal(Self.changed)
                    return nil
                }
                defer { queue = [] }
                return queue
            }
            guard let batch else { return }
            write(batch)
        }
    }

    private func write(_ batch: [Waiting]) {
        var buffer = tail
        var pending: [(waiting: Waiting, position: UInt64)] = []
        for waiting in disowning() + batch {
            let room = waiting.record.octetLimit
            let used = offset + buffer.count
            let fits = active.map { used + room <= $0.size } ?? false
            if !fits || buffer.count + room > Self.batchLimit {
                flush(&buffer, &pending)
                guard makeRoom(room) else {
                    waiting.done(.unavailable)
                    continue
                }
                buffer = tail
            }
            let position = next
            next += 1
            monitor.locked { tracker.begin(position, isMessage: waiting.record.isMessage) }
            waiting.record.write(
                to: &buffer, at: position, lowWater: durableBelow.load(ordering: .relaxed))
            pending.append((waiting, position))
        }
        flush(&buffer, &pending)
    }

    /// What was refused must not come at the next start: whoever sent it has sent it again.
    private func disowning() -> [Waiting] {
        guard !disowned.isEmpty else { return [] }
        monitor.locked { retryAt = timespec.now.after(milliseconds: 2_000) }
        return disowned.sorted().map { position in
            Waiting(record: .abort(LogPosition(rawValue: position))) { outcome in
                if case .written = outcome { self.disowned.remove(position) }
            }
        }
    }

    /// One write, one sync, and everybody is told.
    private func flush(
        _ buffer: inout [UInt8], _ pending: inout [(waiting: Waiting, position: UInt64)]
    ) {
        defer {
            pending = []
            buffer = tail
        }
        guard let active, let last = pending.last?.position else { return }
        let start = ContinuousClock.now
        let end = offset + buffer.count
        do throws(StoreError) {
            buffer += [UInt8](
                repeating: 0, count: (LogSegment.page - end % LogSegment.page) % LogSegment.page)
            try active.write(buffer, at: offset)
            if let fault = settings.fault(.record) { throw fault }
            try active.synchronize()
        } catch {
            fail(error, pending)
            return
        }
        settings.observer(
            .written(records: pending.count, octets: buffer.count, start.duration(to: .now)))
        let kept = end % LogSegment.page
        tail = Array(buffer[(end - offset - kept)..<(end - offset)])
        offset = end - kept
        monitor.locked {
            segments[active] = last
            if dirtySince == nil, pending.contains(where: { $0.waiting.record.isMessage }) {
                dirtySince = timespec.now
                monitor.signal(Self.checkpointDue)
            }
        }
        settings.observer(.reached(.recordDurable))
        for (waiting, position) in pending {
            waiting.done(.written(LogPosition(rawValue: position)))
        }
    }

    /// What an fsync that failed has left on the disk is not known: that segment is not used again
    /// before it is free, and the records are not counted on. Messages among them are disowned in
    /// another segment before anybody is told, or else as soon as something can be written.
    private func fail(_ error: StoreError, _ pending: [(waiting: Waiting, position: UInt64)]) {
        let messages = pending.filter(\.waiting.record.isMessage)
        disowned.formUnion(messages.map(\.position))
        monitor.locked {
            if let active, let last = pending.last?.position { segments[active] = last }
            for (_, position) in pending { tracker.resolve(position) }
            setFailed()
        }
        active = nil
        tail = []
        notice(StoreNotice(.logFailed, account: "", subject: "write: \(error)"))
        if !messages.isEmpty { write([]) }
        for (waiting, _) in pending { waiting.done(.failed(error)) }
    }

    private func setFailed() {
        if status == .ready { status = .failed }
        retryAt = timespec.now.after(milliseconds: 2_000)
    }

    /// Begins a segment in which `octets` fit. False: there is none.
    private func makeRoom(_ octets: Int) -> Bool {
        if let active, offset + tail.count + octets <= active.size { return true }
        active = nil
        tail = []
        do throws(StoreError) {
            if let fault = settings.fault(.segment) { throw fault }
            guard let segment = try freeSegment(octets) else { return false }
            try segment.write(
                LogSegment.FirstPage(
                    log: identity, first: next, lowWater: durableBelow.load(ordering: .relaxed)))
            // Before the first record: it must not be read as one of the segment's last use.
            try segment.synchronize()
            monitor.locked {
                segments[segment] = next
                if status == .failed { status = .ready }
            }
            active = segment
            offset = LogSegment.page
            return true
        } catch {
            monitor.locked { setFailed() }
            notice(StoreNotice(.logFailed, account: "", subject: "segment: \(error)"))
            return false
        }
    }

    private func freeSegment(_ octets: Int) throws(StoreError) -> LogSegment? {
        func free() -> LogSegment? {
            let below = durableBelow.load(ordering: .acquiring)
            return segments.filter { $0.value < below && $0.key.size >= octets + LogSegment.page }
                .min { $0.value < $1.value }?.key
        }
        let (found, numbers) = monitor.locked {
            (free(), Set(segments.keys.map(\.number)))
        }
        if let found { return found }
        guard octets + LogSegment.page <= settings.segmentSize else { return nil }
        if numbers.count < settings.segmentLimit {
            let number = (0...numbers.count).first { !numbers.contains($0) } ?? numbers.count
            do throws(StoreError) {
                return try LogSegment.create(
                    number, size: settings.segmentSize, in: directory.descriptor)
            } catch .noSpace {
                // What there is has to do; without any the other path is taken for a while.
                guard !numbers.isEmpty else { throw .noSpace }
            }
        }
        // Full: deliveries wait for the checkpoint.
        let deadline = timespec.now.after(milliseconds: Int(settings.patience.milliseconds))
        return monitor.locked {
            while true {
                if let found = free() { return found }
                guard timespec.now.isBefore(deadline), status != .closed else { return nil }
                dirtySince = dirtySince ?? timespec.now
                monitor.signal(Self.checkpointDue)
                monitor.wait(for: Self.changed, until: deadline)
            }
        }
    }

    // MARK: - Checkpoints

    /// Makes everything that was resolved durable as mail, so that the log need not keep it.
    ///
    /// One syncfs: it covers files, names and rows, whatever was renamed since. An error that the
    /// kernel met while writing any of them behind our back is reported here, once; what is in the
    /// log then stays there, to be done again at the next start.
    package func checkpoint() throws(StoreError) {
        try checkpointGate.withLock { _ throws(StoreError) in
            let target = monitor.locked { tracker.firstOpen }
            guard target > durableBelow.load(ordering: .relaxed) else { return }
            let start = ContinuousClock.now
            try synchronizeNow()
            settings.observer(.reached(.mailSynced))
            settings.observer(.checkpoint(start.duration(to: .now)))
            monitor.locked {
                durableBelow.store(target, ordering: .releasing)
                monitor.signal(Self.changed)
            }
        }
    }

    private func checkpointAlways() {
        while true {
            let isDue = monitor.locked { () -> Bool in
                while status != .closed {
                    guard let dirtySince, status != .broken else {
                        monitor.wait(for: Self.checkpointDue)
                        continue
                    }
                    let due = dirtySince.after(milliseconds: Int(settings.interval.milliseconds))
                    if isFilling || !timespec.now.isBefore(due) { return true }
                    monitor.wait(for: Self.checkpointDue, until: due)
                }
                threads -= 1
                monitor.signal(Self.changed)
                return false
            }
            guard isDue else { return }
            do throws(StoreError) {
                try checkpoint()
                finishCheckpoint()
            } catch {
                notice(StoreNotice(.logFailed, account: "", subject: "checkpoint: \(error)"))
            }
        }
    }

    /// More than one segment is full of what is not durable as mail.
    private var isFilling: Bool {
        let below = durableBelow.load(ordering: .relaxed)
        return segments.values.count { $0 >= below } > 1
    }

    private func finishCheckpoint() {
        monitor.locked {
            let below = durableBelow.load(ordering: .relaxed)
            guard tracker.lastMessage >= below else {
                dirtySince = nil
                return
            }
            dirtySince = timespec.now
            // Not at once again if somebody is slow to store what he had made durable.
            if isFilling { monitor.wait(for: Self.changed, until: .now.after(milliseconds: 20)) }
        }
        markIfIdle(waiting: false)
    }

    /// Says in the log how far it is carried out, if no other record will.
    private func markIfIdle(waiting: Bool) {
        let isIdle = monitor.locked {
            status == .ready && queue.isEmpty && threads > 0
                && tracker.lastMessage < durableBelow.load(ordering: .relaxed)
        }
        guard isIdle else { return }
        if waiting { _ = write(.mark) } else { submit(.mark) { _ in } }
    }
}

extension LogSegment: Hashable {
    static func == (left: LogSegment, right: LogSegment) -> Bool { left === right }
    func hash(into hasher: inout Hasher) { hasher.combine(number) }
}
