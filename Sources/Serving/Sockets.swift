// SPDX-License-Identifier: Apache-2.0
//
// Which sockets are open: systemd's, or bound here from the configuration. Kept over a reload.

import Glibc
import Settings
import Telemetry
import Transport

/// The listening sockets of the process. Belongs to the first loop.
package struct Sockets {
    /// What a socket is for; a changed address is another socket.
    package struct Place: Hashable {
        package let name: String
        package let address: ListenAddress
    }

    /// Why a listener cannot be opened.
    package struct Failure: Error {
        package let listener: String
        package let reason: String
    }

    /// Nil: no systemd, everything is bound here.
    let passed: [String: [ListenerSocket]]?
    package private(set) var open: [Place: [ListenerSocket]] = [:]

    package init(passed: [String: [ListenerSocket]]?) { self.passed = passed }

    /// Opens what is new and forgets what is gone.
    ///
    /// - Returns: what to begin and to stop listening on. After a throw nothing has changed.
    package mutating func change(
        to listeners: [ListenerSettings], runDirectory: String
    ) throws(Failure) -> (added: [ListenerSocket], removed: [ListenerSocket]) {
        var next: [Place: [ListenerSocket]] = [:]
        var added: [ListenerSocket] = []
        for listener in listeners {
            let place = Place(name: listener.name, address: listener.address)
            if let known = open[place] {
                next[place] = known
                continue
            }
            shareAddresses(port: place.address.port)
            let sockets = try sockets(listener, runDirectory: runDirectory)
            next[place] = sockets
            added += sockets
        }
        var removed: [ListenerSocket] = []
        if let passed {
            let names = Set(listeners.map(\.name))
            for name in passed.keys.sorted() where !names.contains(name) {
                Log.warn(
                    """
                    passed socket has no listener of its name, nobody answers there: disable its \
                    .socket unit
                    """, [LogField("listener", name)])
            }
        }
        for (place, sockets) in open where next[place] == nil {
            // A passed socket may serve the same name under a changed address.
            removed += sockets.filter { socket in !added.contains { $0 === socket } }
        }
        added.removeAll { socket in open.values.contains { $0.contains { $0 === socket } } }
        open = next
        return (added, removed)
    }

    /// From `:25` to `192.0.2.1:25`: the new socket and the old one may be open together until all
    /// loops have changed over, so that no connection is refused in between.
    private func shareAddresses(port: UInt16?) {
        guard passed == nil, let port else { return }
        for (place, sockets) in open where place.address.port == port {
            for socket in sockets { socket.allowSuccessor() }
        }
    }

    private func sockets(
        _ listener: ListenerSettings, runDirectory: String
    ) throws(Failure) -> [ListenerSocket] {
        if let passed {
            // systemd decides what is open: an administrator who disabled a .socket unit means it.
            if let sockets = passed[listener.name] {
                if let port = listener.address.port,
                    let other = sockets.first(where: { !$0.isUnix && $0.localPort != port })
                {
                    Log.warn(
                        """
                        systemd's socket is used, not the address in mail.toml: change \
                        ListenStream= of the .socket unit
                        """,
                        [
                            LogField("listener", listener.name),
                            LogField("address", listener.address.text),
                            LogField("lport", other.localPort),
                        ])
                }
                return sockets
            }
            Log.warn(
                """
                listener is off, no socket was passed: it needs a .socket unit with its name as \
                FileDescriptorName=
                """,
                [LogField("listener", listener.name)])
            return []
        }
        do throws(ConnectionError) {
            switch listener.address {
            case .tcp(let host, let port):
                return try ListenerSocket.bind(
                    host: host, port: port, name: listener.name,
                    isSuccessor: open.keys.contains { $0.address.port == port })
            case .unix(let path):
                if unsafe mkdir(runDirectory, 0o755) != 0, errno != EEXIST {
                    throw .system(errno)
                }
                return [try ListenerSocket.bind(unix: path, name: listener.name)]
            }
        } catch {
            throw Failure(
                listener: listener.name, reason: "\(listener.address.text): \(error.description)")
        }
    }
}

extension ListenAddress {
    /// Nil for a Unix socket.
    package var port: UInt16? {
        if case .tcp(_, let port) = self { port } else { nil }
    }

    package var text: String {
        switch self {
        case .tcp(let host, let port): "\(host):\(port)"
        case .unix(let path): path
        }
    }
}
