// SPDX-License-Identifier: Apache-2.0
//
// A mutex with conditions to wait for, for threads: `Mutex` has none.

import Glibc

@safe package final class Monitor: @unchecked Sendable {  // safe: the pointers never change
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let conditions: UnsafeMutablePointer<pthread_cond_t>
    private let count: Int

    /// - Parameter conditions: how many there are; they are known by number.
    package init(conditions count: Int) {
        self.count = count
        unsafe mutex = .allocate(capacity: 1)
        unsafe conditions = .allocate(capacity: count)
        unsafe pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        for index in 0..<count { unsafe pthread_cond_init(conditions + index, &attributes) }
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        for index in 0..<count { unsafe pthread_cond_destroy(conditions + index) }
        unsafe pthread_mutex_destroy(mutex)
        unsafe conditions.deallocate()
        unsafe mutex.deallocate()
    }

    package func locked<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Inside `locked`. May return without a reason.
    package func wait(for condition: Int) {
        unsafe pthread_cond_wait(conditions + condition, mutex)
    }

    /// Inside `locked`, at most until `deadline` of the monotonic clock.
    func wait(for condition: Int, until deadline: timespec) {
        var deadline = deadline
        unsafe pthread_cond_timedwait(conditions + condition, mutex, &deadline)
    }

    package func signal(_ condition: Int) { unsafe pthread_cond_broadcast(conditions + condition) }
}

extension timespec {
    /// Of the monotonic clock.
    static var now: timespec {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return time
    }

    func after(milliseconds: Int) -> timespec {
        let nanoseconds = tv_nsec + milliseconds % 1_000 * 1_000_000
        return timespec(
            tv_sec: tv_sec + milliseconds / 1_000 + nanoseconds / 1_000_000_000,
            tv_nsec: nanoseconds % 1_000_000_000)
    }

    func isBefore(_ other: timespec) -> Bool {
        (tv_sec, tv_nsec) < (other.tv_sec, other.tv_nsec)
    }
}
