// SPDX-License-Identifier: Apache-2.0
//
// Threads for what blocks: disks, databases, password hashes. A hop costs about five microseconds,
// so it is for work that takes longer than fifty.

import Glibc

/// A fixed number of threads with queues.
@safe package final class Workers: @unchecked Sendable {  // safe: all under `mutex`
    private typealias Job = @Sendable () -> Void

    /// Jobs in order of arrival, each with the time (a number) at which it came.
    private struct Queue {
        private var jobs: [(arrival: UInt64, job: Job)] = []
        private var head = 0

        var first: UInt64? { head < jobs.count ? jobs[head].arrival : nil }

        mutating func append(_ arrival: UInt64, _ job: @escaping Job) {
            jobs.append((arrival, job))
        }

        mutating func take() -> Job {
            let job = jobs[head].job
            jobs[head].job = {}
            head += 1
            if head == jobs.count {
                jobs.removeAll(keepingCapacity: jobs.capacity <= 1024)
                head = 0
            } else if head > 1024, head > jobs.count / 2 {
                jobs.removeSubrange(0..<head)
                head = 0
            }
            return job
        }
    }

    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let conditions: UnsafeMutablePointer<pthread_cond_t>
    private var shared = Queue()
    private var lanes: [Queue]
    private var isIdle: [Bool]
    private var arrivals: UInt64 = 0
    package let count: Int

    /// Starts `count` threads, which live as long as the process.
    package init(count: Int, name: String) {
        let count = max(1, count)
        self.count = count
        lanes = [Queue](repeating: Queue(), count: count)
        isIdle = [Bool](repeating: false, count: count)
        unsafe mutex = .allocate(capacity: 1)
        unsafe conditions = .allocate(capacity: count)
        unsafe pthread_mutex_init(mutex, nil)
        for index in 0..<count { unsafe pthread_cond_init(conditions + index, nil) }
        for index in 0..<count {
            Thread.start(name: "\(name)-\(index)") { self.work(index) }
        }
    }

    /// Runs `body` on a thread and resumes on the caller's loop.
    ///
    /// - Parameter lane: work of one lane runs on one thread, in order; any number will do.
    package func run<R: Sendable>(
        lane: Int? = nil, _ body: @escaping @Sendable () -> R
    ) async -> R {
        await unsafe withUnsafeContinuation { (continuation: UnsafeContinuation<R, Never>) in
            enqueue(lane) { unsafe continuation.resume(returning: body()) }
        }
    }

    /// Runs `body` on a thread, in order with what else that lane has (nil: on any); nobody waits.
    package func post(lane: Int?, _ body: @escaping @Sendable () -> Void) { enqueue(lane, body) }

    private func enqueue(_ lane: Int?, _ job: @escaping Job) {
        unsafe pthread_mutex_lock(mutex)
        arrivals += 1
        var wakes: Int?
        if let lane {
            let index = Int(UInt(bitPattern: lane) % UInt(count))
            lanes[index].append(arrivals, job)
            if isIdle[index] { wakes = index }
        } else {
            shared.append(arrivals, job)
            wakes = isIdle.firstIndex(of: true)
        }
        if let wakes {
            isIdle[wakes] = false
            unsafe pthread_cond_signal(conditions + wakes)
        }
        unsafe pthread_mutex_unlock(mutex)
    }

    private func work(_ index: Int) {
        unsafe pthread_mutex_lock(mutex)
        while true {
            let own = lanes[index].first
            let common = shared.first
            let job: Job
            if let own, own < common ?? .max {
                job = lanes[index].take()
            } else if common != nil {
                job = shared.take()
            } else {
                isIdle[index] = true
                while isIdle[index] { unsafe pthread_cond_wait(conditions + index, mutex) }
                continue
            }
            unsafe pthread_mutex_unlock(mutex)
            job()
            unsafe pthread_mutex_lock(mutex)
        }
    }
}
