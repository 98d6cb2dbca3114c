// SPDX-License-Identifier: Apache-2.0
//
// What every daemon tells about itself, under the names Prometheus expects.

import CLinux
import Glibc
import Telemetry

enum ProcessMetrics {
    static func register(_ program: String) {
        let metrics = Metrics.shared
        metrics.gauge(
            "\(program)_build_info", help: "The version that runs, always 1.", labels: ["version"]
        ).set(1, [Martlet.version])
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        metrics.gauge(
            "process_start_time_seconds", help: "When the process started, in seconds since 1970."
        ).set(Double(time.tv_sec))
        metrics.sampled(
            "process_resident_memory_bytes", help: "Resident memory in octets.",
            residentMemory)
        metrics.sampled(
            "process_cpu_seconds_total", help: "User and system time used.", isCounter: true,
            processorTime)
        metrics.sampled("process_open_fds", help: "Open descriptors.", openDescriptors)
        metrics.sampled("process_max_fds", help: "Descriptors that may be open.") {
            var limit = rlimit()
            _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            return Double(limit.rlim_cur)
        }
    }

    /// The second field of /proc/self/statm, in pages.
    @Sendable private static func residentMemory() -> Double {
        let file = unsafe open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { _ = close(file) }
        var room = [UInt8](repeating: 0, count: 256)
        let count = unsafe read(file, &room, room.count)
        let fields = room.prefix(max(0, count)).split(separator: 0x20)
        guard fields.count > 1, let pages = Double(String(decoding: fields[1], as: UTF8.self))
        else { return 0 }
        return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    @Sendable private static func processorTime() -> Double {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    @Sendable private static func openDescriptors() -> Double {
        guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
        defer { unsafe closedir(directory) }
        var count = 0
        while unsafe readdir(directory) != nil { count += 1 }
        return Double(max(0, count - 3))  // without ".", ".." and the directory itself
    }
}
