// SPDX-License-Identifier: Apache-2.0
//
// The parts of the suite's settings that every daemon has, by the daemon's name.

import Config
import Glibc
import Telemetry
import Transport

extension Suite {
    func isEnabled(_ program: String) -> Bool {
        switch program {
        case "smtpd": smtpd.isEnabled
        case "imapd": imapd.isEnabled
        case "pop3d": pop3d.isEnabled
        case "msgstored": msgstored.isEnabled
        default: true
        }
    }

    func metrics(_ program: String) -> MetricsSettings? {
        let settings: MetricsSettings? =
            switch program {
            case "smtpd": smtpd.metrics
            case "imapd": imapd.metrics
            case "pop3d": pop3d.metrics
            case "msgstored": msgstored.metrics
            default: nil
            }
        return settings?.enabled == true ? settings : nil
    }

    func tls(_ program: String) -> TLSSettings? {
        switch program {
        case "smtpd": smtpd.tls
        case "imapd": imapd.tls
        case "pop3d": pop3d.tls
        default: nil
        }
    }

    /// Threads for blocking work. Only msgstored has much of it: its threads wait for the disk, and
    /// the more commits wait together, the more of them share a flush.
    func workers(_ program: String, cores: Int) -> Int {
        guard program == "msgstored" else { return 2 }
        return msgstored.workers > 0 ? min(msgstored.workers, 512) : min(64, max(16, cores * 8))
    }

    /// All listeners, with the one for metrics, which systemd passes as `<daemon>-metrics`.
    func listeners(_ program: Program) -> [ListenerSettings] {
        var listeners = program.listeners(self)
        if let metrics = metrics(program.name) {
            listeners.append(
                ListenerSettings(
                    name: program.metricsListener, address: metrics.address, mode: "metrics"))
        }
        return listeners
    }

    func startLog(_ program: String) {
        let directory = server.logDirectory
        var file: LogFile?
        var trouble: Int32 = 0
        if !directory.isEmpty {
            file = LogFile(directory: directory, program: program)
            trouble = file == nil ? errno : 0
        }
        Log.start(
            program: program, format: LogFormat(rawValue: server.logFormat) ?? .auto,
            level: LogLevel(name: server.logLevel) ?? .info, journal: ServiceManager.journal,
            file: file)
        if trouble != 0 {
            let reason = unsafe String(cString: strerror(trouble))
            Log.error("no log file", [LogField("reason", "\(directory): \(reason)")])
        }
    }
}
