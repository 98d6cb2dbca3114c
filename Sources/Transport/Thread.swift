// SPDX-License-Identifier: Apache-2.0
//
// Threads, and an event loop on a thread of its own.

import CLinux
import Glibc
import Synchronization

package enum Thread {
    private final class Start {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Runs `body` on a new thread that nobody joins. All signals are blocked there.
    package static func start(name: String, _ body: @escaping @Sendable () -> Void) {
        let argument = unsafe Unmanaged.passRetained(Start(name: name, body: body)).toOpaque()
        var all = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                unsafe pthread_setname_np(pthread_self(), String(start.name.prefix(15)))
                start.body()
                return nil
            }, argument)
        precondition(result == 0, "cannot start a thread: \(result)")
        pthread_detach(thread)
    }
}

/// An event loop on a thread of its own.
package final class LoopThread: Sendable {
    private let loop: EventLoop
    private let workers: Workers

    /// - Parameters:
    ///   - isCallersThread: no thread is started; the caller's is used, by `runHere`.
    ///   - setUp: called on the loop before anything else.
    package init(
        name: String, workers: Workers, isCallersThread: Bool = false,
        setUp: @escaping @Sendable (LoopContext) -> Void
    ) throws(ConnectionError) {
        loop = try EventLoop()
        self.workers = workers
        let loop = loop
        submit(setUp)
        if !isCallersThread { Thread.start(name: name) { loop.run() } }
    }

    /// Calls `body` on the loop, soon.
    package func submit(_ body: @escaping @Sendable (LoopContext) -> Void) {
        let workers = workers
        loop.submit { loop in body(loop.context(workers)) }
    }

    /// Runs the loop on this thread until `stop`.
    package func runHere() { loop.run() }

    /// Ends the loop; its connections end with `.killed`.
    package func stop() { loop.submit { $0.stop() } }
}

extension EventLoop {
    /// The one context of this loop.
    func context(_ workers: Workers) -> LoopContext {
        if let contextIfMade { return contextIfMade }
        let made = LoopContext(loop: self, workers: workers)
        contextIfMade = made
        return made
    }
}
