// SPDX-License-Identifier: Apache-2.0
//
// One thread, one epoll set: waits for readiness, runs the jobs of its tasks, fires timers, writes
// what sessions have put out. It is at once the task executor and the serial executor of the
// actor `Reactor`, so that a resumed continuation never leaves the thread.

import CLinux
import Glibc
import Synchronization

/// Something that epoll reports about. Confined to its loop.
package class EventTarget {
    /// Place in the loop's table of targets; -1 while unregistered.
    final var slot = -1

    /// Called on the loop with epoll's event bits. Must not block.
    func handle(_ events: UInt32) {}
}

/// The loop itself.
///
/// State: `foreign`, `wakePending` and `thread` are for all threads; everything else belongs to the
/// loop's own thread, and its sessions reach it only from there.
@safe final class EventLoop: TaskExecutor, SerialExecutor, @unchecked Sendable {  // safe: see State
    @safe private struct Slot {
        /// Unowned: a target unregisters before it goes.
        var target: Unmanaged<EventTarget>?
        var generation: UInt32 = 0
    }

    /// What other threads leave for the loop.
    @safe private struct Foreign: Sendable {
        var jobs: [UnownedJob] = []
        var calls: [@Sendable (EventLoop) -> Void] = []
    }

    private static let eventBatch = 256
    /// Nanoseconds of jobs before the loop looks at its sockets again.
    private static let turnLength: UInt64 = 500_000

    private let epoll: Int32
    private let wakeup: Int32
    private let foreign = Mutex(Foreign())
    private let wakePending = Atomic(false)
    private let thread = Atomic<UInt>(0)

    private var ready: [UnownedJob] = []
    private var slots: [Slot] = []
    private var freeSlots: [Int] = []
    private var dirty: [Connection] = []
    private var isStopped = false
    private var reactorIfMade: Reactor?

    var timers = TimerHeap()
    var buffers = BufferPool()
    /// Arrays for output that sessions gave back.
    var spareOutputs: [[UInt8]] = []
    var contextIfMade: LoopContext?
    /// Connections that were accepted and are being served.
    var serving = 0
    /// Called whenever `serving` becomes zero while draining.
    var whenDrained: (() -> Void)?
    private(set) var isDraining = false
    private var acceptors: [Acceptor] = []
    var watchers: [Watcher] = []

    init() throws(ConnectionError) {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw .system(errno) }
        wakeup = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard wakeup >= 0 else { throw .system(errno) }
        // Token .max is the wake-up; a real token never has that generation and slot.
        guard martlet_epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, martlet_epoll_in, .max) == 0 else {
            throw .system(errno)
        }
    }

    deinit {
        buffers.drop()
        close(wakeup)
        close(epoll)
    }

    /// The actor whose executor this loop is.
    var reactor: Reactor {
        if let reactorIfMade { return reactorIfMade }
        let made = Reactor(self)
        reactorIfMade = made
        return made
    }

    // MARK: Executor

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            ready.append(job)
        } else {
            foreign.withLock { $0.jobs.append(job) }
            wake()
        }
    }

    func checkIsolated() {
        precondition(isCurrent, "not on this loop")
    }

    /// Whether the caller runs on this loop's thread.
    var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Runs `body` on the loop, soon. May be called from any thread.
    func submit(_ body: @escaping @Sendable (EventLoop) -> Void) {
        foreign.withLock { $0.calls.append(body) }
        wake()
    }

    private func wake() {
        guard !wakePending.exchange(true, ordering: .sequentiallyConsistent) else { return }
        var one: UInt64 = 1
        // EAGAIN would mean that the counter is full, and then the loop wakes anyway.
        _ = unsafe write(wakeup, &one, 8)
    }

    /// Starts a task that stays on this loop.
    func spawn(_ body: @escaping () async -> Void) {
        let confined = Confined(value: body)
        let reactor = reactor
        Task.detached(executorPreference: self) { await reactor.run(confined) }
    }

    // MARK: Running

    /// Runs until `stop`. Must be called once, on the thread that is to be the loop's.
    func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        var batch: [UnownedJob] = []
        let events = UnsafeMutableBufferPointer<epoll_event>.allocate(capacity: Self.eventBatch)
        defer { unsafe events.deallocate() }
        while !isStopped {
            fireTimers()
            runReady(&batch)
            flushDirty()
            let timeout: Int32 = ready.isEmpty && dirty.isEmpty ? timers.milliseconds() : 0
            let count = unsafe epoll_wait(
                epoll, events.baseAddress, Int32(Self.eventBatch), timeout)
            guard count > 0 else { continue }
            for index in 0..<Int(count) {
                let token = unsafe events[index].data.u64
                if token == .max {
                    takeForeign()
                } else {
                    unsafe dispatch(token, events[index].events)
                }
            }
        }
        removeAcceptors { _ in true }
        forEachConnection { $0.kill() }
        runReady(&batch)
        watchers = []
        // What lives on the loop knows the loop.
        contextIfMade?.attachment = nil
        contextIfMade = nil
        reactorIfMade = nil
    }

    private func fireTimers() {
        let now = MonotonicInstant.now.nanoseconds
        while let due = timers.takeDue(now: now) { due.target.timerFired(due.timer) }
    }

    /// - Parameter batch: memory for the jobs at hand, empty before and after.
    private func runReady(_ batch: inout [UnownedJob]) {
        // A few rounds, and not for long, so that neither timers nor sockets starve behind busy tasks.
        guard !ready.isEmpty else { return }
        var rounds = 0
        let end = MonotonicInstant.now.nanoseconds + Self.turnLength
        while !ready.isEmpty, rounds < 8 {
            swap(&batch, &ready)
            for job in batch {
                unsafe job.runSynchronously(
                    isolatedTo: asUnownedSerialExecutor(),
                    taskExecutor: asUnownedTaskExecutor())
            }
            batch.removeAll(keepingCapacity: true)
            rounds += 1
            if !ready.isEmpty, MonotonicInstant.now.nanoseconds > end { return }
        }
    }

    /// Ends `run` at the end of the present turn. Connections end with `.killed`; tasks that wait
    /// for something else are abandoned.
    func stop() { isStopped = true }

    private func takeForeign() {
        var count: UInt64 = 0
        _ = unsafe read(wakeup, &count, 8)
        // Cleared before the look: whoever comes later writes again.
        wakePending.store(false, ordering: .sequentiallyConsistent)
        let taken = foreign.withLock { foreign in
            defer { foreign = Foreign() }
            return foreign
        }
        ready.append(contentsOf: taken.jobs)
        for call in taken.calls { call(self) }
    }

    // MARK: Targets

    /// Adds `fd` to the epoll set. The loop does not keep `target` alive.
    func register(_ fd: Int32, events: UInt32, _ target: EventTarget) throws(ConnectionError) {
        let slot = freeSlots.popLast() ?? slots.count
        if slot == slots.count { slots.append(Slot()) }
        slots[slot].generation &+= 1
        unsafe slots[slot].target = Unmanaged.passUnretained(target)
        let token = UInt64(slots[slot].generation) << 32 | UInt64(slot)
        guard martlet_epoll_ctl(epoll, EPOLL_CTL_ADD, fd, events, token) == 0 else {
            let error = errno
            unsafe slots[slot].target = nil
            freeSlots.append(slot)
            throw .system(error)
        }
        target.slot = slot
    }

    /// Takes `fd` out of the epoll set. Events of it that are already in the batch find nobody.
    func unregister(_ fd: Int32, _ target: EventTarget) {
        guard target.slot >= 0 else { return }
        _ = martlet_epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0, 0)
        unsafe slots[target.slot].target = nil
        freeSlots.append(target.slot)
        target.slot = -1
    }

    private func dispatch(_ token: UInt64, _ events: UInt32) {
        let slot = Int(token & 0xFFFF_FFFF)
        guard slot < slots.count, slots[slot].generation == UInt32(token >> 32),
            let target = unsafe slots[slot].target
        else { return }
        unsafe target.takeUnretainedValue().handle(events)
    }

    /// Calls `body` for each connection of this loop.
    private func forEachConnection(_ body: (Connection) -> Void) {
        // A copy: bodies unregister.
        let all = slots.compactMap { slot in
            unsafe slot.target?.takeUnretainedValue() as? Connection
        }
        for connection in all { body(connection) }
    }

    // MARK: Output at the end of a turn

    func flushLater(_ connection: Connection) { dirty.append(connection) }

    private func flushDirty() {
        guard !dirty.isEmpty else { return }
        let all = dirty
        dirty.removeAll(keepingCapacity: true)
        for connection in all { connection.turnEnds() }
    }

    // MARK: Accepting and draining

    func add(_ acceptor: Acceptor) { acceptors.append(acceptor) }

    func removeAcceptors(where matches: (Acceptor) -> Bool) {
        for acceptor in acceptors where matches(acceptor) { acceptor.close() }
        acceptors.removeAll(where: matches)
    }

    /// Accepts no more from `socket`, but serves who is connected already.
    func retire(_ socket: ListenerSocket) {
        for acceptor in acceptors where acceptor.socket === socket {
            acceptor.close()
            acceptor.acceptLast()
        }
        acceptors.removeAll { $0.socket === socket }
    }

    /// Accepts no more; idle sessions hear of it.
    func beginDraining() {
        isDraining = true
        removeAcceptors { !$0.survivesDraining }
        forEachConnection { $0.drainBegins() }
        connectionEnded(0)
    }

    /// Ends all accepted connections.
    func killConnections() {
        forEachConnection { if $0.isAccepted { $0.kill() } }
    }

    func connectionEnded(_ count: Int) {
        serving -= count
        if isDraining, serving == 0, let whenDrained {
            self.whenDrained = nil
            whenDrained()
        }
    }
}
