// SPDX-License-Identifier: Apache-2.0
//
// Where an embedding program's code runs: never on a loop. A session waits for it as it waits for
// the network, with a deadline.

import Synchronization
import Telemetry
import Transport

/// Threads for agents, providers and filters that were given no executor. One for the process.
final class HandlerThreads: TaskExecutor {
    static let shared = HandlerThreads(count: 32)

    private let workers: Workers

    init(count: Int) { workers = Workers(count: count, name: "smtp-handler") }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        workers.post(lane: nil) {
            unsafe job.runSynchronously(on: self.asUnownedTaskExecutor())
        }
    }
}

/// An answer that is waited for; the first one counts.
private final class Wait<Answer: Sendable>: Sendable {
    private let resume: Mutex<(@Sendable (Answer?) -> Void)?>

    init(_ resume: @escaping @Sendable (Answer?) -> Void) { self.resume = Mutex(resume) }

    func settle(_ answer: Answer?) {
        let resume = resume.withLock { resume in
            defer { resume = nil }
            return resume
        }
        resume?(answer)
    }
}

/// The calls of one loop that have not been answered. Not Sendable.
final class Handlers {
    private struct Pending {
        var deadline: MonotonicInstant
        var giveUp: @Sendable () -> Void
    }

    private let context: LoopContext
    private let executor: any TaskExecutor
    var patience: Duration
    private var pending: [UInt64: Pending] = [:]
    private var lastNumber: UInt64 = 0
    private var isSweeping = false

    init(_ context: LoopContext, executor: any TaskExecutor, patience: Duration) {
        self.context = context
        self.executor = executor
        self.patience = patience
    }

    /// Runs `body` elsewhere.
    ///
    /// - Returns: nil: it threw, or took too long. Then it was told to cancel, and its answer is
    ///   not looked at any more.
    func run<Answer: Sendable>(
        _ what: StaticString, _ body: @escaping @Sendable () async throws -> Answer
    ) async -> Answer? {
        lastNumber += 1
        let number = lastNumber
        let executor = executor
        let deadline = context.now.advanced(by: patience)
        let answer = await unsafe withUnsafeContinuation {
            (continuation: UnsafeContinuation<Answer?, Never>) in
            let wait = Wait<Answer> { unsafe continuation.resume(returning: $0) }
            let task = Task.detached(executorPreference: executor) {
                do {
                    wait.settle(try await body())
                } catch {
                    Log.warn(
                        "handler failed",
                        [LogField("kind", what.description), LogField("reason", "\(error)")])
                    wait.settle(nil)
                }
            }
            pending[number] = Pending(deadline: deadline) {
                task.cancel()
                wait.settle(nil)
            }
            sweepSoon()
        }
        pending[number] = nil
        return answer
    }

    /// The server stops: nobody waits any longer.
    func giveUp() {
        for call in pending.values { call.giveUp() }
    }

    /// One timer for all calls, as StoreLink has.
    private func sweepSoon() {
        guard !isSweeping else { return }
        isSweeping = true
        context.spawn { await self.sweep() }
    }

    private func sweep() async {
        while !pending.isEmpty {
            await context.sleep(.milliseconds(250))
            let now = context.now
            for call in pending.values where call.deadline <= now {
                Log.warn("handler timed out")
                call.giveUp()
            }
        }
        isSweeping = false
    }
}
