// SPDX-License-Identifier: Apache-2.0
//
// The metrics of smtpd. No label ever holds a person's address; domains only if they are ours.

import Telemetry

/// Instruments that all loops share.
package struct SMTPMetrics: Sendable {
    let connections: BusiestCounter
    let active: Gauge
    let tlsConnections: Counter
    let received: Counter
    let rejected: Counter
    let sizes: Histogram
    let authAttempts: Counter
    let tarpitted: Counter
    let commandSeconds: Histogram
    let deliverySeconds: Histogram

    package init(_ metrics: Metrics) {
        connections = metrics.counter(
            "smtpd_connections_total", help: "Connections accepted.",
            labels: ["listener", "ip"], chosen: "ip")
        active = metrics.gauge(
            "smtpd_connections_active", help: "Connections open now.", labels: ["listener"])
        tlsConnections = metrics.counter(
            "smtpd_tls_connections_total", help: "TLS handshakes done.",
            labels: ["listener", "version"])
        received = metrics.counter(
            "smtpd_messages_received_total",
            help: "Messages accepted, once for each domain they were for.",
            labels: ["listener", "recipient_domain"])
        rejected = metrics.counter(
            "smtpd_messages_rejected_total", help: "Recipients and messages refused.",
            labels: ["listener", "reason", "recipient_domain"])
        sizes = metrics.histogram(
            "smtpd_messages_size_bytes", help: "Sizes of accepted messages.",
            labels: ["listener"],
            buckets: [1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 4e6, 16e6, 64e6])
        authAttempts = metrics.counter(
            "smtpd_auth_attempts_total", help: "AUTH commands.",
            labels: ["listener", "mechanism", "result"])
        tarpitted = metrics.counter(
            "smtpd_replies_delayed_total", help: "Refusals that were answered late (tarpit).",
            labels: ["listener"])
        commandSeconds = metrics.histogram(
            "smtpd_command_duration_seconds",
            help: "From a command to its reply; for DATA and BDAT with the message.",
            labels: ["command"], buckets: [0.000_1, 0.001, 0.01, 0.1, 1, 10, 100])
        deliverySeconds = metrics.histogram(
            "smtpd_delivery_duration_seconds",
            help: "From the end of a message to the answer of the store.", labels: ["result"],
            buckets: [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30])
        Self.announceChecks(metrics)
    }

    /// Families of checks that are not made yet: named and typed, so that dashboards can be built
    /// on them, without a series, because nothing was counted.
    private static func announceChecks(_ metrics: Metrics) {
        let results = ["result"]
        let domains = ["recipient_domain"]
        _ = metrics.counter("smtpd_spf_checks_total", help: "SPF checks.", labels: results)
        _ = metrics.counter("smtpd_dkim_checks_total", help: "DKIM checks.", labels: results)
        _ = metrics.counter("smtpd_dmarc_checks_total", help: "DMARC checks.", labels: results)
        _ = metrics.counter(
            "smtpd_rbl_hits_total", help: "Clients found in a DNS block list.", labels: ["list"])
        _ = metrics.histogram(
            "smtpd_spam_score", help: "Spam scores of messages.", labels: domains,
            buckets: [0, 50, 100, 200, 300, 400, 600])
        _ = metrics.counter(
            "smtpd_spam_rejected_total", help: "Messages refused as spam.", labels: domains)
    }
}
