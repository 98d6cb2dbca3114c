// SPDX-License-Identifier: Apache-2.0
//
// Deadlines of one loop. A deadline moves far more often than it fires (every command moves one),
// so moving it later only writes a field; the heap entry is put right when it comes up.

/// Told when its time has come.
protocol TimerTarget: AnyObject {
    func timerFired(_ timer: LoopTimer)
}

/// One deadline. Kept by its owner; the heap keeps it only while it is armed.
final class LoopTimer {
    /// Nanoseconds of CLOCK_MONOTONIC; `.max`: none.
    fileprivate var deadline = UInt64.max
    /// The time of the heap entry that counts; `.max`: there is none.
    fileprivate var entryAt = UInt64.max
    fileprivate var target: (any TimerTarget)?

    /// Forgets the deadline. The heap entry goes when it comes up.
    func disarm() {
        deadline = .max
        target = nil
    }
}

/// A binary heap of deadlines.
struct TimerHeap {
    private struct Entry {
        var at: UInt64
        var timer: LoopTimer
    }

    private var entries: [Entry] = []
    private var compactAt = 1024

    /// Entries, whether they still matter or not; for tests.
    var count: Int { entries.count }

    /// Lets `timer` fire at `deadline`. An earlier deadline of it is forgotten.
    mutating func arm(_ timer: LoopTimer, at deadline: UInt64, _ target: any TimerTarget) {
        timer.deadline = deadline
        timer.target = target
        guard deadline < timer.entryAt else { return }
        timer.entryAt = deadline
        if entries.count >= compactAt { compact() }
        push(Entry(at: deadline, timer: timer))
    }

    /// Takes the next timer that is due off the heap; nil: there is none. Its target is told by the
    /// caller, when the heap is nobody's: what it does may arm timers.
    mutating func takeDue(now: UInt64) -> (timer: LoopTimer, target: any TimerTarget)? {
        while let first = entries.first, first.at <= now {
            _ = pop()
            let timer = first.timer
            guard timer.entryAt == first.at else { continue }  // armed earlier since
            timer.entryAt = .max
            guard let target = timer.target else { continue }
            if timer.deadline > now {
                if timer.deadline != .max { arm(timer, at: timer.deadline, target) }
                continue
            }
            timer.disarm()
            return (timer, target)
        }
        return nil
    }

    /// How long epoll may sleep: -1 for ever.
    func milliseconds() -> Int32 {
        guard let first = entries.first else { return -1 }
        let now = MonotonicInstant.now.nanoseconds
        if first.at <= now { return 0 }
        return Int32(min((first.at - now) / 1_000_000 + 1, 60_000))
    }

    /// Drops entries of disarmed timers, which closed connections leave behind.
    private mutating func compact() {
        let old = entries
        entries.removeAll(keepingCapacity: true)
        for entry in old where entry.timer.entryAt == entry.at {
            if entry.timer.target == nil {
                entry.timer.entryAt = .max
            } else {
                push(entry)
            }
        }
        compactAt = max(1024, entries.count * 2)
    }

    private mutating func push(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].at < entries[parent].at else { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    private mutating func pop() -> Entry? {
        guard let last = entries.popLast() else { return nil }
        guard let first = entries.first else { return last }
        entries[0] = last
        var parent = 0
        while true {
            var child = parent * 2 + 1
            guard child < entries.count else { break }
            if child + 1 < entries.count, entries[child + 1].at < entries[child].at { child += 1 }
            guard entries[child].at < entries[parent].at else { break }
            entries.swapAt(child, parent)
            parent = child
        }
        return first
    }
}

/// Calls a closure each time a timer fires.
final class TimerClosure: TimerTarget {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }

    func timerFired(_ timer: LoopTimer) { body() }
}
