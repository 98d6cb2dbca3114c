// SPDX-License-Identifier: Apache-2.0
//
// What pop3d counts. docs/metrics.md lists the names. No label ever carries a person's address.

import POP3
import Telemetry
import Transport

/// The instruments of pop3d; every loop gets the same ones.
struct Measurements {
    let connections: Counter
    let activeConnections: Gauge
    let tlsConnections: Counter
    let authentications: Counter
    let commands: Counter
    let commandDuration: Histogram
    let retrieved: Counter
    let deleted: Counter
    let octetsSent: Counter

    init(_ metrics: Metrics) {
        connections = metrics.counter(
            "pop3d_connections_total", help: "Connections accepted.", labels: ["listener"])
        activeConnections = metrics.gauge(
            "pop3d_connections_active", help: "Connections open now.", labels: ["listener"])
        tlsConnections = metrics.counter(
            "pop3d_tls_connections_total", help: "TLS handshakes completed.",
            labels: ["listener", "version"])
        authentications = metrics.counter(
            "pop3d_auth_attempts_total", help: "Attempts to log in, by outcome.",
            labels: ["listener", "mechanism", "result"])
        commands = metrics.counter(
            "pop3d_commands_total", help: "Commands answered, by the status sent.",
            labels: ["command", "result"])
        commandDuration = metrics.histogram(
            "pop3d_command_duration_seconds",
            help: "Time from a command to the end of its answer.", labels: ["command"],
            buckets: [0.000_1, 0.001, 0.01, 0.1, 1, 10, 100])
        retrieved = metrics.counter(
            "pop3d_messages_retrieved_total", help: "Messages sent whole by RETR.")
        deleted = metrics.counter(
            "pop3d_messages_deleted_total", help: "Messages removed from maildrops by QUIT.")
        octetsSent = metrics.counter(
            "pop3d_message_octets_total", help: "Octets of messages sent by RETR and TOP.")
    }
}

extension Duration {
    /// For logs: `12ms`.
    var inMilliseconds: String { "\(Int64(inSeconds * 1000))ms" }

    /// For histograms.
    var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }
}
