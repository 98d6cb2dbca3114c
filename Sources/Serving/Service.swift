// SPDX-License-Identifier: Apache-2.0
//
// What a daemon is: a name, listeners, and one service object per loop.

import Settings
import Transport

/// One daemon's logic on one loop: made on the loop, lives there. Not Sendable.
package protocol LoopService: AnyObject {
    /// Serves one connection; when it returns, the connection is closed.
    func serve(_ connection: Connection) async

    /// New settings. Sessions in flight may keep the old ones.
    func reload(_ suite: Suite)

    /// Sessions for STATUS= and `/health`.
    var activeSessions: Int { get }

    /// Whether the store can be reached now, for `/health`; nil for who does not need one.
    func reachesStore() async -> Bool?

    /// Called once per loop when the last connection of a stopping daemon is gone.
    func shutDown() async
}

extension LoopService {
    package func reachesStore() async -> Bool? { nil }
    package func shutDown() async {}
}

/// What `run` needs to know.
package struct Program: Sendable {
    package let name: String
    package let listeners: @Sendable (Suite) -> [ListenerSettings]
    let makeService: @Sendable (LoopContext, Suite) -> any LoopService

    /// - Parameters:
    ///   - name: of the daemon: `smtpd`.
    ///   - listeners: what the settings say to listen on, TCP and Unix.
    ///   - makeService: called on every loop.
    package init(
        name: String,
        listeners: @escaping @Sendable (Suite) -> [ListenerSettings],
        makeService: @escaping @Sendable (LoopContext, Suite) -> any LoopService
    ) {
        self.name = name
        self.listeners = listeners
        self.makeService = makeService
    }
}

extension Program {
    package var metricsListener: String { "\(name)-metrics" }
}
