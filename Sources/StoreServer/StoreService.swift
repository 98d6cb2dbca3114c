// SPDX-License-Identifier: Apache-2.0
//
// msgstored on one loop: its connections, and the events that go to them.

import Config
import Daemon
import Glibc
import Mail
import Store
import Synchronization
import Telemetry
import Transport
import Wire

/// Serves the doors. One per loop.
package final class StoreService: LoopService {
    private static let housekeepingPause = Duration.seconds(2)
    private static let storingPause = Duration.milliseconds(250)

    let context: LoopContext
    let core: StoreCore
    let inbox = LoopInbox()
    private var connections: [UInt64: DoorConnection] = [:]

    package init(context: LoopContext, core: StoreCore) {
        self.context = context
        self.core = core
        let isFirst = core.serviceStarted()
        context.spawn { await self.passEvents() }
        if isFirst {
            context.spawn { await self.housekeep() }
            context.spawn { await self.storeDue() }
            if let maildirs = core.watchers.maildirs {
                context.spawn { await self.lookAtMaildirs(maildirs) }
            }
            context.spawn { await core.indexer.run(core, context) }
            context.spawn { await core.sweepSearch(context) }
        }
    }

    package func serve(_ connection: Connection) async {
        guard let door = Door.allCases.first(where: { $0.passedName == connection.listener })
        else {
            Log.error("unknown door", [LogField("listener", connection.listener)])
            return
        }
        let number = core.nextConnectionNumber()
        let serving = DoorConnection(
            number: number, door: door, connection: connection, context: context, core: core,
            inbox: inbox)
        connections[number] = serving
        core.metrics.connections.add(1, [door.passedName])
        await serving.run()
        core.metrics.connections.add(-1, [door.passedName])
        connections[number] = nil
    }

    package func reload(_ suite: Suite) {
        let core = core
        context.spawn { await core.run { core.apply(suite) } }
    }

    package var activeSessions: Int { connections.count }

    package func shutDown() async { await core.serviceEnded() }

    /// Writes events to the connections that watch.
    private func passEvents() async {
        while true {
            for (notice, highestModSeq) in await inbox.take() {
                connections[notice.connection]?.notify(notice, highestModSeq)
            }
        }
    }

    /// Looks at folders in which the kernel has seen something.
    private func lookAtMaildirs(_ maildirs: MaildirWatch) async {
        let core = core
        while true {
            for seen in await maildirs.take() {
                context.spawn { await core.lookAt(seen.account, seen.mailbox, seen.changes) }
            }
        }
    }

    private func storeDue() async {
        while !context.isDraining {
            await context.sleep(Self.storingPause)
            core.storeDue()
        }
    }

    private func housekeep() async {
        while !context.isDraining {
            await context.sleep(Self.housekeepingPause)
            await core.housekeep()
        }
    }
}

extension StoreService {
    /// msgstored as a daemon: four doors, one store.
    package static func program() -> Program {
        let shared = SharedCore()
        return Program(
            name: "msgstored",
            listeners: { suite in
                Door.allCases.map { door in
                    ListenerSettings(
                        name: door.passedName,
                        address: .unix(path: suite.server.socketPath(door.socketName)),
                        mode: "door")
                }
            },
            makeService: { context, suite in
                StoreService(context: context, core: shared.open(suite))
            })
    }
}

/// The one core of the process; made by the first loop that asks.
private final class SharedCore: Sendable {
    private let core = Mutex<StoreCore?>(nil)

    /// Ends the process if the store cannot be opened: there is nothing to serve then.
    func open(_ suite: Suite) -> StoreCore {
        core.withLock { core in
            if let core { return core }
            do throws(StoreError) {
                let opened = try StoreCore.open(suite)
                core = opened
                return opened
            } catch {
                Log.error(
                    "store cannot be opened",
                    [
                        LogField("reason", "\(error)"),
                        LogField("path", suite.msgstored.maildirRoot),
                    ])
                exit(1)
            }
        }
    }
}
