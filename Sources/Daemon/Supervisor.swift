// SPDX-License-Identifier: Apache-2.0
//
// What the process as a whole does while the loops serve: signals, reloading, the watchdog, the
// status line, stopping. Lives on the first loop, which is the main thread.

import CLinux
import Config
import Glibc
import Telemetry
import Transport

/// What the supervisor takes over from the start of the process.
struct SupervisorStart: Sendable {
    let path: String?
    let suite: Suite
    let sockets: Sockets
}

final class Supervisor: Overseer {
    /// How long sessions may go on after SIGTERM.
    private static let patience = Duration.seconds(30)

    let program: Program
    let fleet: Fleet
    private let path: String?
    private var sockets: Sockets
    let context: LoopContext
    var suite: Suite
    /// Successful loads of the configuration, the first one included.
    private(set) var generation = 1
    /// Reloads that were refused; `mailctl reload` sees them in /health.
    private(set) var failedReloads = 0
    private(set) var isStopping = false
    /// Why the last reload was refused; nil: it was not. For `systemctl status`.
    private var refusal: String?
    private(set) var isReloading = false
    private var reloadAgain = false
    let started = MonotonicInstant.now
    var metricsClients = 0
    /// As counted last.
    private var sessions = 0
    /// The certificate could be used when it was read last.
    private var hasTLS: Bool
    /// Counts the settings under which `keepCertificates` was begun.
    var certificateWatch = 0
    private let reloads: Counter

    private init(
        _ program: Program, _ fleet: Fleet, _ start: SupervisorStart, _ context: LoopContext
    ) {
        self.program = program
        self.fleet = fleet
        self.context = context
        path = start.path
        sockets = start.sockets
        suite = start.suite
        hasTLS = start.suite.hasUsableTLS(program.name)
        reloads = Metrics.shared.counter(
            "\(program.name)_config_reloads_total",
            help: "Attempts to read the configuration again.", labels: ["result"])
        reloads.increment(by: 0, ["success"])
        reloads.increment(by: 0, ["failure"])
        ProcessMetrics.register(program.name)
    }

    /// Called once, on the first loop, when its service is made.
    static func start(
        _ program: Program, _ fleet: Fleet, _ start: SupervisorStart, _ context: LoopContext
    ) {
        let supervisor = Supervisor(program, fleet, start, context)
        context.state?.overseer = supervisor
        do throws(ConnectionError) {
            var signals = signals()
            let descriptor = unsafe signalfd(-1, &signals, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
            guard descriptor >= 0 else { throw .system(errno) }
            try context.watch(Descriptor(descriptor)) { [unowned supervisor] descriptor in
                supervisor.takeSignals(descriptor)
            }
        } catch {
            Log.error("cannot watch signals", [LogField("reason", error.description)])
            exit(1)
        }
        // Ready when every loop has made its service and listens.
        fleet.each { _ in
        } done: { context, _ in
            guard let supervisor = context.state?.supervisor else { return }
            Log.info(
                "started",
                [
                    LogField("version", Martlet.version), LogField("loops", fleet.loops.count),
                    LogField("pid", getpid()),
                ])
            ServiceManager.notify("READY=1")
            supervisor.keepWatch()
            supervisor.keepStatus()
            supervisor.keepCertificates()
        }
    }

    var name: String { program.name }

    // MARK: Signals

    static func signals() -> sigset_t {
        var set = sigset_t()
        _ = unsafe sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP] { _ = unsafe sigaddset(&set, signal) }
        return set
    }

    private func takeSignals(_ descriptor: borrowing Descriptor) {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        while unsafe read(descriptor.rawValue, &info, size) == size {
            switch Int32(bitPattern: info.ssi_signo) {
            case SIGHUP: reload()
            case SIGTERM: stop()
            case SIGINT:
                Log.info("stopped at once")
                _exit(130)
            default: break
            }
        }
    }

    // MARK: Reloading

    private func reload() {
        guard !isStopping else { return }
        if isReloading {
            reloadAgain = true
            return
        }
        isReloading = true
        ServiceManager.notifyReloading()
        if let reason = tryReload() {
            Log.error("reload failed, old settings stay", [LogField("reason", reason)])
            refusal = reason
            notifyStatus()
            reloads.increment(["failure"])
            failedReloads += 1
            reloadEnds()
        }
    }

    /// - Returns: why not; nil: it is under way.
    private func tryReload() -> String? {
        let result: ConfigResult
        do throws(Sources.Unreadable) {
            result = try Sources.load(path)
        } catch {
            return unsafe "\(error.path): \(String(cString: strerror(error.errno)))"
        }
        var firstError: String?
        for diagnostic in result.diagnostics {
            let fields = [
                LogField("reason", diagnostic.message), LogField("file", diagnostic.file),
                LogField("line", diagnostic.line ?? 0),
            ]
            if diagnostic.severity == .error {
                let place = diagnostic.line.map { "\(diagnostic.file):\($0)" } ?? diagnostic.file
                firstError = firstError ?? "\(place): \(diagnostic.message)"
                Log.error("configuration", fields)
            } else {
                Log.warn("configuration", fields)
            }
        }
        guard let next = result.suite else {
            let more = result.errorCount > 1 ? " (and \(result.errorCount - 1) more)" : ""
            return (firstError ?? "no configuration") + more
        }
        // Where TLS works, it goes on working: a half-written certificate changes nothing.
        if hasTLS, let trouble = next.tlsTrouble(program.name) {
            return trouble
        }
        let change: (added: [ListenerSocket], removed: [ListenerSocket])
        do throws(Sockets.Failure) {
            change = try sockets.change(
                to: next.listeners(program), runDirectory: next.server.runDirectory)
        } catch {
            return "\(error.listener): \(error.reason)"
        }
        suite = next
        next.startLog(program.name)
        fleet.reload(next, added: change.added, removed: change.removed) { context in
            context.state?.supervisor?.reloaded()
        }
        return nil
    }

    private func reloaded() {
        generation += 1
        refusal = nil
        hasTLS = suite.hasUsableTLS(program.name)
        if let tls = suite.tls(program.name), TLSContext.isCopy(tls) {
            Log.warn(
                """
                the certificate is the copy that systemd made at the start; a renewed one needs a \
                restart, or files that the group martlet-tls can read
                """,
                [LogField("file", tls.certificateFile)])
        }
        notifyStatus()
        keepCertificates()
        reloads.increment(["success"])
        Log.info("reloaded", [LogField("generation", generation)])
        reloadEnds()
    }

    func certificateTaken() { hasTLS = suite.hasUsableTLS(program.name) }

    private func reloadEnds() {
        isReloading = false
        if !isStopping { ServiceManager.notify("READY=1") }
        if reloadAgain {
            reloadAgain = false
            reload()
        }
    }

    // MARK: Stopping

    private func stop() {
        guard !isStopping else {
            fleet.killConnections()  // asked twice
            return
        }
        isStopping = true
        Log.info("stopping")
        ServiceManager.notify("STOPPING=1")
        fleet.drain { _ in
            Log.info("stopped")
            exit(0)
        }
        context.after(Self.patience) { [fleet] in
            Log.warn("sessions are still there, ending them")
            fleet.killConnections()
        }
        context.after(Self.patience + .seconds(3)) {
            Log.error("stopped with work unfinished")
            exit(0)
        }
    }

    // MARK: Watchdog and status

    /// Pings the watchdog as long as every loop answers.
    private func keepWatch() {
        guard let interval = ServiceManager.watchdog() else { return }
        fleet.each { _ in
        } done: { context, _ in
            ServiceManager.notify("WATCHDOG=1")
            context.after(interval) { context.state?.supervisor?.keepWatch() }
        }
    }

    private func keepStatus() {
        countSessions { [context] sessions in
            guard let supervisor = context.state?.supervisor else { return }
            supervisor.sessions = sessions
            RefusalLog.shared.sumUp()
            supervisor.notifyStatus()
            context.after(.seconds(10)) { context.state?.supervisor?.keepStatus() }
        }
    }

    /// The line in `systemctl status`.
    private func notifyStatus() {
        guard !isStopping else { return }
        let trouble = refusal.map { "; last reload refused, old settings stay: \($0)" } ?? ""
        ServiceManager.notify(
            "STATUS=\(sessions) sessions" + String(trouble.map { $0.isNewline ? " " : $0 }))
    }

    /// Asks every loop.
    func countSessions(_ done: @escaping (Int) -> Void) {
        let answer = OnFirstLoop(done)
        fleet.each { context in
            context.state?.service.activeSessions ?? 0
        } done: { _, counts in
            answer.body(counts.reduce(0, +))
        }
    }
}

extension LoopState {
    /// On the first loop only.
    var supervisor: Supervisor? { overseer as? Supervisor }
}

/// A closure that is made and called on the first loop, and only carried over the others.
private struct OnFirstLoop<Value>: @unchecked Sendable {  // safe: made and called on loop 0
    let body: (Value) -> Void

    init(_ body: @escaping (Value) -> Void) { self.body = body }
}
