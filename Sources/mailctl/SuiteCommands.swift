// SPDX-License-Identifier: Apache-2.0
//
// `mailctl status` and `mailctl reload`: all daemons at once, through their /health.

import CLinux
import Config
import Glibc
import Wire

/// A daemon as its health endpoint tells.
struct DaemonHealth {
    var name: String
    var isEnabled: Bool
    var metrics: MetricsSettings
    /// Nil: no answer.
    var answer: JSON?
    var status = 0

    var generation: Int { answer?["generation"]?.integerValue ?? 0 }
    var failedReloads: Int { answer?["failed_reloads"]?.integerValue ?? 0 }
    var pid: Int? { answer?["pid"]?.integerValue }

    static func all(_ suite: Suite) -> [DaemonHealth] {
        var all = [
            DaemonHealth(
                name: "msgstored", isEnabled: suite.msgstored.isEnabled,
                metrics: suite.msgstored.metrics),
            DaemonHealth(
                name: "smtpd", isEnabled: suite.smtpd.isEnabled, metrics: suite.smtpd.metrics),
            DaemonHealth(
                name: "imapd", isEnabled: suite.imapd.isEnabled, metrics: suite.imapd.metrics),
            DaemonHealth(
                name: "pop3d", isEnabled: suite.pop3d.isEnabled, metrics: suite.pop3d.metrics),
        ]
        for index in all.indices where all[index].isEnabled { all[index].ask() }
        return all
    }

    mutating func ask() {
        answer = nil
        status = 0
        guard metrics.enabled, case .tcp(let host, let port) = metrics.address else { return }
        do throws(Failure) {
            let (status, body) = try HTTP.get(host: host, port: port, path: "/health", seconds: 5)
            self.status = status
            answer = JSON(body) ?? .object([])
        } catch {
            // No answer is the answer: it is shown as down.
            answer = nil
        }
    }

    var state: String {
        if !isEnabled { return "disabled" }
        if !metrics.enabled { return "unknown (metrics are off)" }
        guard let answer else { return "down" }
        return answer["status"]?.stringValue ?? (status == 200 ? "ok" : "failing (\(status))")
    }
}

enum StatusCommand {
    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let suite = try ConfigFiles.suite(invocation)
        let daemons = DaemonHealth.all(suite)
        var store: StoreStatus?
        var storeProblem: Failure?
        do throws(Failure) {
            var client = try ControlClient(
                path: suite.server.socketPath(Door.control.socketName), seconds: 10)
            let reply = try client.call(.storeStatus)
            guard case .storeStatus(let status) = reply else { throw Store.unexpected(reply) }
            store = status
        } catch {
            storeProblem = error
        }
        if invocation.json {
            for daemon in daemons { Terminal.out(json(daemon).text) }
            if let store { Terminal.out(json(store).text) }
        } else {
            show(daemons, store, storeProblem, invocation)
        }
        let isWell = daemons.allSatisfy { daemon in
            !daemon.isEnabled || !daemon.metrics.enabled || daemon.state == "ok"
        }
        return isWell && store != nil ? .ok : .problems
    }

    private static func show(
        _ daemons: [DaemonHealth], _ store: StoreStatus?, _ problem: Failure?,
        _ invocation: Invocation
    ) {
        var rows = [["DAEMON", "STATE", "PID", "SESSIONS", "CONFIG"]]
        for daemon in daemons {
            let answer = daemon.answer
            rows.append([
                daemon.name, daemon.state, daemon.pid.map { String($0) } ?? "-",
                answer?["sessions"]?.integerValue.map { String($0) } ?? "-",
                answer == nil ? "-" : "#\(daemon.generation)",
            ])
        }
        Terminal.out(Terminal.table(rows, right: [2, 3]))
        if let store {
            let since = AccountCommands.timestamp(store.startedAt)
            Terminal.out(
                """

                store  version \(Store.text(store.version)), since \(since)
                       \(store.domains) domains, \(store.accounts) accounts, \
                \(store.deliveries) messages delivered
                       \(store.sessions) sessions, \(store.openDatabases) databases open
                """)
        } else if let problem {
            Terminal.error("\nstore  \(problem.message)")
            for hint in problem.hints { Terminal.error("       \(hint)") }
        }
    }

    private static func json(_ daemon: DaemonHealth) -> JSON {
        var members: [(name: String, value: JSON)] = [
            ("daemon", .string(daemon.name)), ("state", .string(daemon.state)),
        ]
        if let answer = daemon.answer { members.append(("health", answer)) }
        return .object(members)
    }

    private static func json(_ store: StoreStatus) -> JSON {
        .object([
            ("store", .string(Store.text(store.version))),
            ("started", .string(AccountCommands.timestamp(store.startedAt))),
            ("domains", .integer(Int(store.domains))), ("accounts", .integer(Int(store.accounts))),
            ("deliveries", .integer(Int(clamping: store.deliveries))),
            ("sessions", .integer(Int(store.sessions))),
            ("open_databases", .integer(Int(store.openDatabases))),
        ])
    }
}

enum ReloadCommand {
    private static let patience: UInt64 = 30_000

    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        // A file with errors reaches nobody.
        let suite = try ConfigFiles.suite(invocation)
        let problems = CertificateCheck.problems(suite).filter { $0.severity == .error }
        guard problems.isEmpty else {
            for problem in problems { Terminal.error(problem.text + "\n") }
            throw Failure(.configuration, "nothing was reloaded")
        }
        let before = DaemonHealth.all(suite).filter { $0.isEnabled && $0.answer != nil }
        guard !before.isEmpty else {
            throw Failure(
                .unavailable, "no daemon answers", hints: ["see: mailctl status"])
        }
        try signalAll(invocation, before.map(\.name))
        var waiting = before
        var refused: [String] = []
        let deadline = DevChildren.milliseconds + patience
        while !waiting.isEmpty && DevChildren.milliseconds < deadline {
            usleep(50_000)
            waiting.removeAll { old in
                var new = old
                new.ask()
                guard new.answer != nil else { return false }
                if new.failedReloads > old.failedReloads {
                    refused.append(old.name)
                    return true
                }
                return new.generation != old.generation || new.pid != old.pid
            }
        }
        for daemon in before {
            let result =
                refused.contains(daemon.name)
                ? "refused"
                : waiting.contains { $0.name == daemon.name } ? "no answer" : "reloaded"
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("daemon", .string(daemon.name)), ("result", .string(result)),
                    ]).text)
            } else {
                invocation.say("\(daemon.name): \(result)")
            }
        }
        if !refused.isEmpty {
            Terminal.error(
                "error: \(refused.joined(separator: ", ")) keep the old settings; see their log")
        }
        return refused.isEmpty && waiting.isEmpty ? .ok : .problems
    }

    private static func signalAll(_ invocation: Invocation, _ names: [String]) throws(Failure) {
        let directory = Files.directory(of: Files.absolute(ConfigFiles.path(invocation)))
        if let dev = DevState.read("\(directory)/dev.json"), isParent(dev.ownPID, of: dev.pids) {
            for name in names {
                if let pid = dev.pids[name] { kill(pid_t(pid), SIGHUP) }
            }
            return
        }
        let arguments =
            ["systemctl", "--no-ask-password", "reload"] + names.map { "\($0).service" }
        var pid: pid_t = 0
        let result = unsafe withTerminated(arguments) { argv in
            unsafe posix_spawnp(&pid, "systemctl", nil, nil, argv, Glibc.environ)
        }
        guard result == 0 else { throw .system("cannot run systemctl", result, .unavailable) }
        var status: Int32 = 0
        while unsafe waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else {
            throw Failure(
                .problems, "systemctl reload failed",
                hints: ["see: systemctl status \(names.joined(separator: " "))"])
        }
    }

    /// Whether the pids in dev.json still are children of that mailctl dev.
    private static func isParent(_ parent: Int, of pids: [String: Int]) -> Bool {
        guard parent > 0, !pids.isEmpty else { return false }
        return pids.allSatisfy { name, pid in
            do throws(Failure) {
                let stat = try Files.read("/proc/\(pid)/stat", limit: 4096)
                // pid (name) state ppid ...
                guard let end = stat.lastIndex(of: UInt8(ascii: ")")) else { return false }
                let rest = stat[(end + 1)...].split(separator: 0x20)
                return rest.count > 1 && String(decoding: rest[1], as: UTF8.self) == "\(parent)"
            } catch {
                return false
            }
        }
    }
}

enum TLSCommands {
    static func selfSigned(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = ConfigFiles.path(invocation)
        var suite = Suite()
        // It is made to repair a configuration: one with errors must not prevent it.
        if Files.exists(path), let read = try ConfigFiles.load(path).suite { suite = read }
        let machine = ConfigFiles.machineName
        let hostname =
            invocation.value("hostname")
            ?? (suite.server.hostname == "localhost" ? machine : suite.server.hostname)
        guard !hostname.isEmpty, hostname.utf8.count <= 253,
            hostname.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2C })
        else { throw Failure(.badData, "`\(hostname)` is not a host name") }
        var certificatePath = suite.server.tls.certificateFile
        var keyPath = suite.server.tls.keyFile
        if let directory = invocation.value("out-dir") {
            certificatePath = "\(directory)/fullchain.pem"
            keyPath = "\(directory)/privkey.pem"
        } else if !suite.server.tls.hasCertificate {
            certificatePath = "/etc/martlet/tls/fullchain.pem"
            keyPath = "/etc/martlet/tls/privkey.pem"
        }
        for file in [certificatePath, keyPath] where Files.exists(file) && !invocation.has("yes") {
            throw Failure(
                .cannotCreate, "\(file) exists already", hints: ["to replace it, say --yes"])
        }
        let made = try SelfSigned.make(hostname: hostname, names: [hostname, "localhost"])
        try Files.makeDirectory(Files.directory(of: keyPath), mode: 0o755)
        try Files.makeDirectory(Files.directory(of: certificatePath), mode: 0o755)
        let isShared = Files.isShared(Files.directory(of: keyPath))
        try Files.write(keyPath, made.key, mode: isShared ? 0o640 : 0o600)
        try Files.write(certificatePath, made.certificate, mode: 0o644)
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("hostname", .string(hostname)), ("cert_file", .string(certificatePath)),
                    ("key_file", .string(keyPath)),
                ]).text)
        } else {
            invocation.say("Certificate for \(hostname): \(certificatePath)")
            invocation.say("Key:                \(keyPath)")
        }
        return .ok
    }
}
