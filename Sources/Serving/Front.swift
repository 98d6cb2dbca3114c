// SPDX-License-Identifier: Apache-2.0
//
// What every front daemon does with a new connection before it says a word: believe the PROXY
// header of a trusted load balancer, and count the client against the limits.

import Network
import Settings
import Telemetry
import Transport

/// A place in the census, to be given back with `leave`.
package struct Pass: Sendable {
    let listener: String
    let address: IPAddress?
    /// No limit on rates of addresses and no tarpit: `[server.limits] exempt`.
    package let isExempt: Bool
}

package enum Admission: Sendable {
    case admitted(Pass)
    /// One too many: say so and close.
    case refused(Refusal)
    /// Logged already; close without a word.
    case dropped
}

/// The door of one daemon on one loop. Not Sendable.
package final class Front {
    /// How long a proxy may take for its header: it sends it with the first packet.
    private static let patience = Duration.seconds(10)

    private let census: Census
    private let refusals: Counter
    private var proxies: [AddressBlock] = []
    private var exempt: [AddressBlock] = []

    /// - Parameter program: the daemon's name: `smtpd`.
    package init(_ program: String, census: Census, metrics: Metrics = .shared) {
        self.census = census
        refusals = metrics.counter(
            "\(program)_connections_refused_total",
            help: "Connections refused, by the limit that was reached.",
            labels: ["listener", "limit"])
    }

    package func reload(_ server: ServerSettings) {
        // Config has checked what they look like.
        proxies = server.trustedProxies.compactMap { AddressBlock($0) }
        exempt = server.exempt.compactMap { AddressBlock($0) }
    }

    /// Whether `address` is a load balancer, which is nobody's client itself.
    package func isProxy(_ address: IPAddress?) -> Bool {
        address.map(proxies.contains) ?? false
    }

    /// Lets a connection in, or not. `connection.peer` is the client afterwards.
    package func admit(
        _ connection: Connection, _ listener: ListenerSettings?, all: Int, _ limits: ClientLimits
    ) async -> Admission {
        if listener?.expectsProxy ?? false {
            if let reason = await takeProxyHeader(connection) {
                refusals.increment([connection.listener, "proxy"])
                RefusalLog.shared.connection(
                    connection.peer, listener: connection.listener, reason: reason)
                return .dropped
            }
        }
        let address = connection.peer.address
        let isExempt = address.map(exempt.contains) ?? true
        var wanted = CensusLimits(all: all, listener: listener?.maxClients)
        if !isExempt {
            wanted.address = listener?.maxClientsPerAddress == nil ? limits.perAddress : 0
            wanted.addressHere = listener?.maxClientsPerAddress ?? 0
            wanted.network = limits.perNetwork
            wanted.rate = limits.ratePerAddress
        }
        let name = connection.listener
        let now = MonotonicInstant.now.nanoseconds
        if let refusal = census.enter(name, address, wanted, now: now) {
            refusals.increment([name, refusal.rawValue])
            RefusalLog.shared.connection(
                connection.peer, listener: name, reason: refusal.rawValue)
            return .refused(refusal)
        }
        return .admitted(Pass(listener: name, address: address, isExempt: isExempt))
    }

    package func leave(_ pass: Pass) { census.leave(pass.listener, pass.address) }

    /// - Returns: why the connection cannot be served; nil: it can.
    private func takeProxyHeader(_ connection: Connection) async -> String? {
        // A Unix socket's file says who may connect.
        guard connection.peer == .unix || isProxy(connection.peer.address) else {
            return "not-a-trusted-proxy"
        }
        let deadline = MonotonicInstant.now + Self.patience
        while true {
            do throws(ProxyError) {
                let found = try connection.withInput { input throws(ProxyError) in
                    try ProxyHeader.parse(input)
                }
                if let found {
                    connection.consume(found.count)
                    if let client = found.header.client {
                        connection.speaks(for: PeerAddress(client.address, port: client.port))
                    }
                    return nil
                }
            } catch {
                return "proxy-header-\(error)"
            }
            do throws(ConnectionError) {
                guard try await connection.fill(within: deadline - MonotonicInstant.now) else {
                    return "proxy-header-missing"
                }
            } catch {
                return "proxy-header-missing"
            }
        }
    }
}
