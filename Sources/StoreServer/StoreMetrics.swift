// SPDX-License-Identifier: Apache-2.0
//
// What msgstored counts. docs/metrics.md lists the names.

import Glibc
import Store
import Telemetry

struct StoreMetrics: Sendable {
    private static let durations = [
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
        2.5, 10,
    ]

    let requests = Metrics.shared.histogram(
        "msgstored_request_duration_seconds",
        help: "Time from reading a request to its answer, by kind of request.", labels: ["op"],
        buckets: durations)
    let commits = Metrics.shared.histogram(
        "msgstored_commit_duration_seconds",
        help: "Time to store one batch of messages of one account.", buckets: durations)
    let commitMessages = Metrics.shared.histogram(
        "msgstored_commit_messages", help: "Messages that were stored together.",
        buckets: [1, 2, 4, 8, 16, 32, 64, 128])
    let logWrites = Metrics.shared.histogram(
        "msgstored_log_write_duration_seconds",
        help: "Time to make one batch of records of the delivery log durable.", buckets: durations)
    let logRecords = Metrics.shared.histogram(
        "msgstored_log_records", help: "Records of the delivery log that shared one sync.",
        buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256])
    let logOctets = Metrics.shared.counter(
        "msgstored_log_octets_total", help: "Octets written to the delivery log.")
    let checkpoints = Metrics.shared.histogram(
        "msgstored_checkpoint_duration_seconds",
        help: "Time of a checkpoint of the delivery log: one syncfs.", buckets: durations)
    let deliveries = Metrics.shared.counter(
        "msgstored_deliveries_total",
        help: "Deliveries, by result: stored, refused (nothing to retry) or failed.",
        labels: ["result"])
    let deliveredMessages = Metrics.shared.counter(
        "msgstored_delivered_messages_total", help: "Messages delivered, one per recipient.")
    let logins = Metrics.shared.counter(
        "msgstored_auth_total", help: "Attempts to log in, by service and result.",
        labels: ["service", "result"])
    let bans = Metrics.shared.counter(
        "msgstored_auth_bans_total", help: "Networks banned for failed logins.")
    let activeBans = Metrics.shared.gauge(
        "msgstored_auth_bans", help: "Networks that are banned now, by failures or an owner.")
    let sessions = Metrics.shared.gauge(
        "msgstored_sessions", help: "Logins that are open on connections of front daemons.")
    let connections = Metrics.shared.gauge(
        "msgstored_connections", help: "Connections of front daemons, by door.", labels: ["door"])
    let refusedFrames = Metrics.shared.counter(
        "msgstored_refused_frames_total",
        help: "Connections that were closed because of a frame that made no sense.",
        labels: ["door"])
    let comparisons = Metrics.shared.counter(
        "msgstored_folder_comparisons_total",
        help: "How often the names in a folder were compared with the index.")
    let overQuota = Metrics.shared.counter(
        "msgstored_over_quota_total",
        help: "Mail refused because an account is full, by place: rcpt, or store for the rest.",
        labels: ["place"])
    let quotaWarnings = Metrics.shared.counter(
        "msgstored_quota_warnings_total",
        help: "Times an account came over the warning mark of its quota.")
    let quotaMails = Metrics.shared.counter(
        "msgstored_quota_mails_total",
        help: "Messages to accounts that they are nearly full, or full.")
    let retainedMessages = Metrics.shared.gauge(
        "msgstored_retained_messages",
        help: "Expunged messages that can be brought back, as counted once an hour.")
    let retainedOctets = Metrics.shared.gauge(
        "msgstored_retained_bytes", help: "Octets of those messages.")
    let lastBackup = Metrics.shared.gauge(
        "msgstored_backup_last_success_timestamp_seconds",
        help: "When the last backup of all accounts was complete; 0: never.")
    let logOccupied = Metrics.shared.gauge(
        "msgstored_log_bytes", help: "Octets of the delivery log's files.")
    let checkpointAge = Metrics.shared.gauge(
        "msgstored_log_checkpoint_age_seconds",
        help: "How long the oldest mail has waited for a checkpoint of the delivery log.")
    let checkFindings = Metrics.shared.counter(
        "msgstored_index_check_findings_total",
        help: "Differences between an index and its Maildir that a check found, by kind.",
        labels: ["kind"])
    let notices = Metrics.shared.counter(
        "msgstored_notices_total",
        help: "What the store repaired or found changed by others, by kind.", labels: ["kind"])
    let searchSweep = Metrics.shared.gauge(
        "msgstored_search_sweep_accounts",
        help: "Accounts whose search index is still to be looked at after the start.")
    let searches = Metrics.shared.counter(
        "msgstored_searches_total", help: "Questions about the text of messages.")
    let searchReads = Metrics.shared.counter(
        "msgstored_search_read_messages_total",
        help: "Messages read to answer them, because the index did not know enough.")
    let searchIndexed = Metrics.shared.counter(
        "msgstored_search_indexed_messages_total", help: "Messages put into a search index.")
    let searchOctets = Metrics.shared.counter(
        "msgstored_search_indexed_bytes_total", help: "Octets of those messages.")
    let searchWaiting = Metrics.shared.gauge(
        "msgstored_search_waiting_accounts",
        help: "Accounts with messages that are not in their search index yet.")
    let mailOctets = Metrics.shared.gauge(
        "msgstored_mail_bytes", help: "Octets of all mail, as the quota counts them.")
    let indexErrors = Metrics.shared.counter(
        "msgstored_index_errors_total", help: "Operations that failed because of an index.")
    let failures = Metrics.shared.counter(
        "msgstored_store_errors_total", help: "Operations that failed because of disk or index.")
}

extension StoreMetrics {
    func observe(_ event: LogEvent) {
        switch event {
        case .written(let records, let octets, let duration):
            logWrites.observe(duration)
            logRecords.observe(Double(records))
            logOctets.increment(by: UInt64(octets))
        case .checkpoint(let duration): checkpoints.observe(duration)
        case .reached: break
        }
    }
}

extension Histogram {
    func observe(_ duration: Duration, _ labelValues: [String] = []) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) * 1e-18, labelValues)
    }
}

/// The time of day.
enum WallClock {
    static func seconds() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec)
    }
}
