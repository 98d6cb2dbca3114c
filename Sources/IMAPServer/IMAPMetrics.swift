// SPDX-License-Identifier: Apache-2.0
//
// The counters of imapd, under the names that other mail servers' dashboards use.

import Telemetry

/// Made once per process; counters add up over the loops.
struct IMAPMetrics: Sendable {
    let connections: Counter
    let active: Gauge
    let tlsConnections: Counter
    let authentications: Counter
    let commands: Counter
    let commandDuration: Histogram
    let messagesFetched: Counter
    let messagesAppended: Counter
    let idle: Gauge

    init(_ metrics: Metrics) {
        connections = metrics.counter(
            "imapd_connections_total", help: "Connections accepted.", labels: ["listener"])
        active = metrics.gauge(
            "imapd_connections_active", help: "Connections open now.", labels: ["listener"])
        tlsConnections = metrics.counter(
            "imapd_tls_connections_total", help: "Connections that turned on TLS.",
            labels: ["listener", "version"])
        authentications = metrics.counter(
            "imapd_auth_attempts_total", help: "Logins tried.",
            labels: ["listener", "mechanism", "result"])
        commands = metrics.counter(
            "imapd_commands_total", help: "Commands answered.", labels: ["command", "result"])
        commandDuration = metrics.histogram(
            "imapd_command_duration_seconds", help: "From a command to its answer.",
            labels: ["command"], buckets: [0.000_1, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10])
        messagesFetched = metrics.counter(
            "imapd_messages_fetched_total", help: "Messages whose text was sent.")
        messagesAppended = metrics.counter(
            "imapd_messages_appended_total", help: "Messages stored by APPEND.")
        idle = metrics.gauge("imapd_idle_sessions", help: "Sessions in IDLE.")
    }
}
