// SPDX-License-Identifier: Apache-2.0
//
// XCLIENT, by which a trusted proxy says for whom it speaks (postfix.org, XCLIENT_README), and
// XDEBUG, which in dev_mode shows what the session knows.

import Bytes
import Mail
import Network
import SMTP
import Settings
import Telemetry
import Transport

extension Session {
    /// The connection speaks for another client from now on.
    func speak(for claim: ClientClaim) -> ServerMachine.Action {
        let before = connection.peer
        if let address = claim.address {
            connection.speaks(for: PeerAddress(address, port: claim.port ?? 0))
        } else if let port = claim.port {
            connection.speaks(
                for: PeerAddress(text: before.text, port: port, isLoopback: before.isLoopback))
        }
        service.metrics.connections.increment([connection.listener, connection.peer.text])
        // Of the address that it has now; the place in the census stays the proxy's.
        isExempt = settings.isExempt(connection.peer.address)
        var claimed: [LogField] = []
        if let name = claim.name { claimed.append(LogField("name", name)) }
        if let name = claim.hello { claimed.append(LogField("helo", name)) }
        Log.info(
            "xclient", fields([LogField("proxy", before.text)], claimed: claimed))
        return machine.clientChanged()
    }

    /// The lines of the seed's XDEBUG.
    func describe() -> SMTP.Reply {
        let envelope = machine.envelope
        let from = envelope.map { $0.from.bracketed } ?? []
        let to = (envelope?.recipients ?? []).map(\.octets).joined(separator: Array(", "))
        let peer = connection.peer
        let address = peer.text.utf8.contains(0x3A) ? "[\(peer.text)]" : peer.text
        var context = [Array("listener=\(connection.listener)")]
        if !machine.clientName.isEmpty { context.append(Array("helo=") + machine.clientName) }
        if let version = connection.tlsDescription { context.append(Array("tls=\(version)")) }
        if let account = machine.account { context.append(Array("account=") + account.octets) }
        return SMTP.Reply(
            250, nil,
            lines: [
                Array("Debug information:"), Array("Session ID: \(id.description)"),
                Array("Client IP: \(address):\(peer.port)"),
                Array("Hostname: ") + settings.hostname,
                Array("State: \(machine.stateName)"), Array("Mail From: ") + from,
                Array("Rcpt To: ") + Array(to),
                Array("Context: ") + Array(context.joined(separator: [.space])),
            ])
    }
}
