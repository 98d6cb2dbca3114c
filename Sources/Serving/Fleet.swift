// SPDX-License-Identifier: Apache-2.0
//
// The loops of a daemon, each with its own service object.

import Settings
import Synchronization
import Telemetry
import Transport

/// Whoever watches over the process from the first loop, and answers who asks for metrics.
package protocol Overseer: AnyObject {
    func answer(_ connection: Connection) async
}

/// What lives on one loop.
package final class LoopState {
    package let service: any LoopService
    let index: Int
    /// On the first loop only.
    package var overseer: (any Overseer)?

    init(service: any LoopService, index: Int) {
        self.service = service
        self.index = index
    }
}

extension LoopContext {
    package var state: LoopState? { attachment as? LoopState }
}

/// All loops. The first one has the overseer.
package final class Fleet: Sendable {
    package let loops: [LoopThread]
    package let first: LoopThread
    private let metricsListener: String

    /// - Parameter usesCallersThread: the first loop is the caller's, who is to run it.
    package init(
        _ program: Program, _ suite: Suite, loops count: Int, workers: Workers,
        listening: [ListenerSocket], usesCallersThread: Bool = true
    ) throws(ConnectionError) {
        metricsListener = program.metricsListener
        var made: [LoopThread] = []
        let listener = program.metricsListener
        for index in 0..<count {
            let setUp: @Sendable (LoopContext) -> Void = { context in
                let service = program.makeService(context, suite)
                context.attachment = LoopState(service: service, index: index)
                Fleet.listen(context, listening, metricsListener: listener)
            }
            made.append(
                try LoopThread(
                    name: "\(program.name)-loop\(index)", workers: workers,
                    isCallersThread: usesCallersThread && index == 0, setUp: setUp))
        }
        loops = made
        first = made[0]
    }

    /// Begins to accept on one loop. Metrics are answered by the first one only.
    static func listen(
        _ context: LoopContext, _ sockets: [ListenerSocket], metricsListener: String
    ) {
        guard let state = context.state else { return }
        for socket in sockets {
            let isMetrics = socket.name == metricsListener
            if isMetrics, state.index != 0 { continue }
            do throws(ConnectionError) {
                if isMetrics {
                    try context.listen(on: socket, survivesDraining: true) { connection in
                        await state.overseer?.answer(connection)
                    }
                } else {
                    let service = state.service
                    try context.listen(on: socket) { await service.serve($0) }
                }
            } catch {
                Log.error(
                    "cannot accept",
                    [LogField("listener", socket.name), LogField("reason", error.description)])
            }
        }
    }

    /// Calls `body` on every loop, then `done` on the first one with what they gave.
    package func each<Value: Sendable>(
        _ body: @escaping @Sendable (LoopContext) -> Value,
        done: @escaping @Sendable (LoopContext, [Value]) -> Void
    ) {
        let gathered = Gathered<Value>()
        let count = loops.count
        let first = first
        for loop in loops {
            loop.submit { context in
                let all = gathered.values.withLock { values in
                    values.append(body(context))
                    return values
                }
                if all.count == count { first.submit { context in done(context, all) } }
            }
        }
    }

    /// Takes new settings to every loop, then calls `done` on the first one.
    package func reload(
        _ suite: Suite, added: [ListenerSocket], removed: [ListenerSocket],
        done: @escaping @Sendable (LoopContext) -> Void
    ) {
        let listener = metricsListener
        each { context in
            context.state?.service.reload(suite)
            for socket in removed { context.stopListening(on: socket) }
            Fleet.listen(context, added, metricsListener: listener)
        } done: { context, _ in
            done(context)
        }
    }

    /// Lets all sessions end, then calls `done` on the first loop.
    package func drain(done: @escaping @Sendable (LoopContext) -> Void) {
        let counter = Gathered<Void>()
        let count = loops.count
        let first = first
        for loop in loops {
            loop.submit { context in
                context.drain {
                    context.spawn {
                        await context.state?.service.shutDown()
                        let all = counter.values.withLock { values in
                            values.append(())
                            return values.count
                        }
                        if all == count { first.submit(done) }
                    }
                }
            }
        }
    }

    /// Ends the loops of this fleet that have threads of their own, and with them their connections.
    package func stop() {
        for loop in loops { loop.stop() }
    }

    package func killConnections() {
        for loop in loops { loop.submit { $0.killConnections() } }
    }
}

/// Values from several loops.
private final class Gathered<Value: Sendable>: Sendable {
    let values = Mutex<[Value]>([])
}
