// SPDX-License-Identifier: Apache-2.0
//
// From the command line to the last connection. Synchronous until the loops run: an async main
// would start threads that nobody needs.

import CLinux
import Config
import Glibc
import Telemetry
import Transport

/// Runs a daemon until a signal ends it.
///
/// Exit status: 0 after a signal or a good check; 64 for a wrong command line, 78 for a wrong
/// configuration (sysexits.h); 1 if a socket cannot be opened.
package func run(_ program: Program) -> Never {
    let environment = Sources.environment()
    let arguments = Arguments(
        Array(CommandLine.arguments.dropFirst()), environment: environment)
    switch arguments.action {
    case .version:
        put(1, "\(program.name) (Martlet) \(Martlet.version)\n")
        exit(0)
    case .help:
        put(1, Arguments.usage(program.name))
        exit(0)
    case .wrong(let reason):
        put(2, "\(program.name): \(reason)\n\(Arguments.usage(program.name))")
        exit(64)
    case .check:
        let suite = load(program, arguments.path)
        if let reason = suite.tlsTrouble(program.name) {
            put(2, "warning: TLS will be off: \(reason)\n")
        }
        put(1, "\(program.name): the configuration is good\n")
        exit(0)
    case .serve:
        serve(program, load(program, arguments.path), path: arguments.path)
    }
}

/// Reads the configuration or ends the process with 78.
private func load(_ program: Program, _ path: String?) -> Suite {
    let result: ConfigResult
    do throws(Sources.Unreadable) {
        result = try Sources.load(path)
    } catch {
        let reason = unsafe String(cString: strerror(error.errno))
        put(2, "\(program.name): \(error.path): \(reason)\n")
        exit(78)
    }
    if !result.report.isEmpty { put(2, result.report + "\n") }
    guard let suite = result.suite else { exit(78) }
    return suite
}

private func serve(_ program: Program, _ suite: Suite, path: String?) -> Never {
    suite.startLog(program.name)
    guard suite.isEnabled(program.name) else {
        Log.info("disabled in the configuration")
        ServiceManager.notify("READY=1")
        exit(0)
    }
    prepareProcess()
    #if DEBUG
    martlet_trap_jobs_outside_loops()
    #endif
    start(program, suite, path: path).runHere()
    exit(0)
}

/// Opens sockets and starts loops.
///
/// - Returns: the first loop. Nothing else of the start stays alive: a socket that a reload drops
///   closes when its last user lets go.
private func start(_ program: Program, _ suite: Suite, path: String?) -> LoopThread {
    var sockets = Sockets(passed: ServiceManager.passedSockets())
    let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    do throws(Sockets.Failure) {
        let listening = try sockets.change(
            to: suite.listeners(program), runDirectory: suite.server.runDirectory
        ).added
        let workers = Workers(
            count: suite.workers(program.name, cores: cores), name: "\(program.name)-work")
        do throws(ConnectionError) {
            let fleet = try Fleet(
                program, suite, loops: min(8, cores), workers: workers, listening: listening)
            let start = SupervisorStart(path: path, suite: suite, sockets: sockets)
            fleet.first.submit { context in
                Supervisor.start(program, fleet, start, context)
            }
            return fleet.first
        } catch {
            Log.error("cannot start", [LogField("reason", error.description)])
            exit(1)
        }
    } catch {
        Log.error(
            "cannot listen",
            [LogField("listener", error.listener), LogField("reason", error.reason)])
        exit(1)
    }
}

/// Signals, limits and the mask of new files.
private func prepareProcess() {
    _ = signal(SIGPIPE, SIG_IGN)  // OpenSSL writes with write(2)
    // Large blocks (19 MiB for each password hash) go back to the kernel when they are freed: a
    // fixed threshold, or glibc raises it to the largest block that was ever freed.
    _ = mallopt(M_MMAP_THRESHOLD, 1 << 20)
    var signals = Supervisor.signals()
    _ = unsafe sigprocmask(SIG_BLOCK, &signals, nil)
    var limit = rlimit()
    if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    _ = umask(0o077)
}

extension Suite {
    /// There is a certificate, and it can be used.
    func hasUsableTLS(_ program: String) -> Bool {
        tls(program)?.hasCertificate ?? false && tlsTrouble(program) == nil
    }

    /// Why the certificate cannot be used; nil: it can, or there is none.
    func tlsTrouble(_ program: String) -> String? {
        guard let tls = tls(program) else { return nil }
        do throws(TLSContextError) {
            _ = try TLSContext.server(tls, session: program, isStrict: true)
            return nil
        } catch {
            return error.description
        }
    }
}

private func put(_ descriptor: Int32, _ text: String) {
    let octets = [UInt8](text.utf8)
    _ = unsafe write(descriptor, octets, octets.count)
}
