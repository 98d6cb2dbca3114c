// SPDX-License-Identifier: Apache-2.0
//
// The daemons under `mailctl dev`: started with their sockets, started again when they die, stopped
// in order. One thread; everything happens in `pump`, which waits for signals.

import CLinux
import Glibc

final class DevChildren {
    private struct Child {
        var program: String
        var pid: pid_t = 0
        var startedAt: UInt64 = 0
        var startAgainAt: UInt64 = 0
        var delay: UInt64 = DevChildren.shortestDelay
        var deaths = 0
    }

    private static let shortestDelay: UInt64 = 100
    private static let longestDelay: UInt64 = 2000
    /// A daemon that lived this long (ms) starts again after the shortest delay.
    private static let settled: UInt64 = 2000

    private let sockets: [ListeningSocket]
    private let layout: DevLayout
    private let ownProgram: String
    private var children: [String: Child] = [:]
    private var isStopping = false
    private var signals = sigset_t()

    /// SIGINT or SIGTERM came; how often.
    private(set) var stopRequests = 0
    /// Called when a child was started or has died.
    var onChange: () -> Void = {}

    /// Blocks the signals that `pump` takes.
    init(
        sockets: [ListeningSocket], layout: DevLayout, programs: [String: String],
        ownProgram: String
    ) {
        self.sockets = sockets
        self.layout = layout
        self.ownProgram = ownProgram
        for (name, path) in programs { children[name] = Child(program: path) }
        unsafe sigemptyset(&signals)
        for signal in [SIGCHLD, SIGINT, SIGTERM, SIGHUP] { unsafe sigaddset(&signals, signal) }
        unsafe sigprocmask(SIG_BLOCK, &signals, nil)
    }

    var pids: [String: Int] {
        children.filter { $0.value.pid > 0 }.mapValues { Int($0.pid) }
    }

    /// How often children have died since the start.
    var deaths: Int { children.values.reduce(0) { $0 + $1.deaths } }

    static var milliseconds: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
    }

    /// Starts what is due, then waits for a signal, at most `limit` milliseconds.
    func pump(_ limit: UInt64) {
        let now = Self.milliseconds
        var wait = limit
        if !isStopping {
            for (name, child) in children where child.pid == 0 {
                if child.startAgainAt <= now {
                    start(name)
                } else {
                    wait = min(wait, child.startAgainAt - now)
                }
            }
        }
        var time = timespec(tv_sec: Int(wait / 1000), tv_nsec: Int(wait % 1000) * 1_000_000)
        switch unsafe sigtimedwait(&signals, nil, &time) {
        case SIGCHLD: reap()
        case SIGINT, SIGTERM: stopRequests += 1
        case SIGHUP: send(SIGHUP, to: DevLayout.daemons)
        default: reap()  // a SIGCHLD may stand for several
        }
    }

    private func start(_ name: String) {
        guard var child = children[name] else { return }
        let now = Self.milliseconds
        child.startedAt = now
        child.startAgainAt = now + child.delay
        do throws(Failure) {
            child.pid = try spawn(name, child.program)
        } catch {
            Terminal.error("mailctl: cannot start \(name): \(error.message)")
            child.delay = min(child.delay * 2, Self.longestDelay)
        }
        children[name] = child
        onChange()
    }

    private func reap() {
        while true {
            var status: Int32 = 0
            let pid = unsafe waitpid(-1, &status, WNOHANG)
            guard pid > 0 else { return }
            for (name, child) in children where child.pid == pid {
                died(name, child, status)
            }
        }
    }

    private func died(_ name: String, _ before: Child, _ status: Int32) {
        var child = before
        let now = Self.milliseconds
        child.pid = 0
        if !isStopping {
            child.deaths += 1
            let signal = status & 0x7F
            let how = signal != 0 ? "by signal \(signal)" : "with exit code \((status >> 8) & 0xFF)"
            Terminal.error("mailctl: \(name) (pid \(before.pid)) ended \(how): it is started again")
            if now - child.startedAt >= Self.settled {
                child.delay = Self.shortestDelay
            }
            child.startAgainAt = now + child.delay
            child.delay = min(child.delay * 2, Self.longestDelay)
        }
        children[name] = child
        onChange()
    }

    private func send(_ signal: Int32, to names: [String]) {
        for name in names {
            if let pid = children[name]?.pid, pid > 0 { kill(pid, signal) }
        }
    }

    /// Stops the front daemons, then the store: at most 35 s each group, at once when asked twice.
    func stop() {
        isStopping = true
        for socket in sockets { close(socket.descriptor) }
        let fronts = DevLayout.daemons.filter { $0 != "msgstored" }
        for group in [fronts, ["msgstored"]] {
            send(SIGTERM, to: group)
            let deadline = Self.milliseconds + 35_000
            let requests = stopRequests
            while group.contains(where: { (children[$0]?.pid ?? 0) > 0 }) {
                if Self.milliseconds > deadline || stopRequests > requests {
                    send(SIGKILL, to: group)
                }
                pump(200)
            }
        }
    }

    // MARK: Spawning

    /// A child with its sockets at 3, 4, ... in a process group of its own: Ctrl-C reaches only us.
    private func spawn(_ name: String, _ program: String) throws(Failure) -> pid_t {
        let own = sockets.filter { $0.daemon == name }
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        for (index, socket) in own.enumerated() {
            unsafe posix_spawn_file_actions_adddup2(
                &actions, socket.descriptor, Int32(3 + index))
        }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        // Standard output is ours: with --json it has one line and nothing else.
        unsafe posix_spawn_file_actions_adddup2(&actions, 2, 1)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        unsafe posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        let arguments = [
            ownProgram, "dev-child", String(getpid()), program, "--", "--config", layout.configPath,
        ]
        var pid: pid_t = 0
        let result = unsafe withTerminated(arguments) { argv in
            unsafe withTerminated(environment(own)) { envp in
                unsafe posix_spawn(&pid, ownProgram, &actions, &attributes, argv, envp)
            }
        }
        guard result == 0 else { throw .system("posix_spawn", result) }
        return pid
    }

    private func environment(_ own: [ListeningSocket]) -> [String] {
        var variables = Environment.all
        for name in [
            "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "JOURNAL_STREAM",
            "CREDENTIALS_DIRECTORY", "MARTLET_CONFIG",
        ] { variables[name] = nil }
        variables["LISTEN_FDS"] = String(own.count)
        variables["LISTEN_FDNAMES"] = own.map(\.name).joined(separator: ":")
        return variables.map { "\($0.key)=\($0.value)" }
    }
}

/// Calls `body` with a NULL-terminated array of C strings.
func withTerminated<Result>(
    _ strings: [String],
    _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe []
    for string in strings { unsafe pointers.append(strdup(string)) }
    unsafe pointers.append(nil)
    defer { unsafe pointers.forEach { unsafe free($0) } }
    return unsafe pointers.withUnsafeMutableBufferPointer { buffer in
        // safe to force through: the array is never empty
        unsafe body(buffer.baseAddress ?? UnsafeMutablePointer(bitPattern: 8).unsafelyUnwrapped)
    }
}
