// SPDX-License-Identifier: Apache-2.0
//
// Something done again and again while a session waits for somebody else.

/// Calls a function of its loop at intervals until it is cancelled or gone.
package final class Reminder: TimerTarget {
    private let loop: EventLoop
    private let interval: Duration
    private let body: () -> Void
    private let timer = LoopTimer()

    /// - Parameter body: runs on the loop between two tasks; it must not wait.
    package init(of connection: Connection, every interval: Duration, _ body: @escaping () -> Void)
    {
        loop = connection.loop
        self.interval = interval
        self.body = body
        arm()
    }

    package func cancel() { timer.disarm() }

    private func arm() {
        loop.timers.arm(timer, at: MonotonicInstant.now.nanoseconds.addingClamped(interval), self)
    }

    func timerFired(_ timer: LoopTimer) {
        arm()
        body()
    }
}
