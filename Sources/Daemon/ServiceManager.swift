// SPDX-License-Identifier: Apache-2.0
//
// systemd: passed sockets (sd_listen_fds(3)), readiness and the watchdog (sd_notify(3)), the journal.

import CLinux
import CSystemd
import Glibc
import Telemetry
import Transport

enum ServiceManager {
    /// Tells systemd something; nobody listens outside of it.
    static func notify(_ lines: String) {
        // A negative result means that systemd is not there; the mail goes on without.
        _ = unsafe sd_notify(0, lines)
    }

    static func notifyReloading() {
        let microseconds = MonotonicInstant.now.nanoseconds / 1000
        notify("RELOADING=1\nMONOTONIC_USEC=\(microseconds)")
    }

    /// How often the watchdog wants to hear of us; nil: it is off.
    static func watchdog() -> Duration? {
        var microseconds: UInt64 = 0
        guard unsafe sd_watchdog_enabled(0, &microseconds) > 0, microseconds > 0 else { return nil }
        return .microseconds(Int64(clamping: microseconds / 3))
    }

    /// The sockets that systemd passed, by FileDescriptorName=; nil if there is no systemd.
    static func passedSockets() -> [String: [ListenerSocket]]? {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = unsafe sd_listen_fds_with_names(1, &names)
        guard count > 0 else { return nil }
        var sockets: [String: [ListenerSocket]] = [:]
        for index in 0..<Int(count) {
            let number = SD_LISTEN_FDS_START + Int32(index)
            var name = "unknown"
            if let text = unsafe names?[index] {
                name = unsafe String(cString: text)
                unsafe free(text)
            }
            guard sd_is_socket(number, AF_UNSPEC, martlet_sock_stream, 1) > 0 else {
                Log.warn("passed descriptor is not a listening socket", [LogField("name", name)])
                _ = close(number)
                continue
            }
            do throws(ConnectionError) {
                sockets[name, default: []].append(
                    try ListenerSocket(adopting: Descriptor(number), name: name))
            } catch {
                Log.error(
                    "passed socket does not work",
                    [LogField("name", name), LogField("reason", error.description)])
            }
        }
        unsafe free(names)
        return sockets
    }

    /// One entry of the journal.
    static func journal(_ fields: [[UInt8]]) {
        let all = [UInt8](fields.joined())
        unsafe all.withUnsafeBytes { octets in
            guard let start = octets.baseAddress else { return }
            var vectors: [iovec] = unsafe []
            var offset = 0
            for field in fields {
                unsafe vectors.append(
                    iovec(
                        iov_base: UnsafeMutableRawPointer(mutating: start + offset),
                        iov_len: field.count))
                offset += field.count
            }
            // A log that cannot be written must not stop the mail: the result is ignored.
            _ = unsafe sd_journal_sendv(vectors, Int32(vectors.count))
        }
    }
}
