// SPDX-License-Identifier: Apache-2.0
//
// One run of `mailctl dev`: open the ports, start the daemons, make the accounts, say so, and keep
// everything going until told to stop.

import Glibc
import Mail
import Wire

final class DevRun {
    /// Deaths of daemons before everything answered, after which something is wrong for good.
    private static let deathLimit = 12
    /// Requests on their way to the store at once.
    private static let window = 64

    private let layout: DevLayout
    private let invocation: Invocation
    private let isTemporary: Bool
    private let more: [DevAccount]
    private var state = DevState()

    init(layout: DevLayout, invocation: Invocation, isTemporary: Bool, more: [DevAccount]) {
        self.layout = layout
        self.invocation = invocation
        self.isTemporary = isTemporary
        self.more = more
    }

    func run(startLimit: UInt64) throws(Failure) -> ExitCode {
        let known = DevState.read(layout.statePath)
        state.ownPID = Int(getpid())
        for name in ["alice", "bob"] {
            let address = "\(name)@\(DevLayout.domain)"
            let old = known?.accounts.first { $0.address == address }
            state.accounts.append(
                old ?? DevAccount(address: address, password: Password.generate()))
        }
        let ownProgram = try Files.ownProgram()
        let programs = try findPrograms(beside: Files.directory(of: ownProgram))
        let sockets = try DevSockets.open(layout)
        let children = DevChildren(
            sockets: sockets, layout: layout, programs: programs, ownProgram: ownProgram)
        children.onChange = { [self, unowned children] in note(children) }
        var failure: Failure?
        do throws(Failure) {
            try start(children, deadline: DevChildren.milliseconds + startLimit)
            if children.stopRequests == 0 { announce(children) }
            while children.stopRequests == 0 { children.pump(1000) }
        } catch {
            failure = error
        }
        children.stop()
        if let failure { throw failure }
        return .ok
    }

    /// dev.json has the pids of now.
    private func note(_ children: DevChildren) {
        state.pids = children.pids
        do throws(Failure) {
            try state.write(layout.statePath)
        } catch {
            Terminal.error("mailctl: \(error.message)")
        }
    }

    private func findPrograms(beside directory: String) throws(Failure) -> [String: String] {
        var programs: [String: String] = [:]
        for name in DevLayout.daemons {
            let places = ["\(directory)/\(name)", "\(directory)/../libexec/martlet/\(name)"]
            guard let found = places.first(where: { unsafe access($0, X_OK) == 0 }) else {
                throw Failure(
                    .software, "there is no \(name)",
                    hints: ["looked for: \(places.joined(separator: " "))", "swift build makes it"])
            }
            programs[name] = found
        }
        return programs
    }

    // MARK: Starting

    private func start(_ children: DevChildren, deadline: UInt64) throws(Failure) {
        try wait(children, deadline, "msgstored") { [self] in
            isHealthy("msgstored-metrics")
        }
        var isDone = false
        var last: Failure?
        while !isDone && children.stopRequests == 0 {
            do throws(Failure) {
                try makeAccounts()
                isDone = true
            } catch {
                guard error.code == .unavailable || error.code == .tryAgain else { throw error }
                last = error
                children.pump(100)
                if DevChildren.milliseconds > deadline { throw last ?? error }
            }
        }
        for port in DevLayout.ports where port.mode == nil && port.daemon != "msgstored" {
            try wait(children, deadline, port.daemon) { [self] in isHealthy(port.name) }
        }
    }

    /// Pumps until `isReady`, the deadline, or until a daemon has died too often.
    private func wait(
        _ children: DevChildren, _ deadline: UInt64, _ what: String, until isReady: () -> Bool
    ) throws(Failure) {
        children.pump(0)
        while children.stopRequests == 0 && !isReady() {
            children.pump(20)
            guard children.deaths < Self.deathLimit else {
                throw Failure(.software, "the daemons do not stay alive; see their messages above")
            }
            guard DevChildren.milliseconds < deadline else {
                throw Failure(.unavailable, "\(what) does not answer")
            }
        }
    }

    private func isHealthy(_ name: String) -> Bool {
        do throws(Failure) {
            let (status, _) = try HTTP.get(
                host: "127.0.0.1", port: UInt16(layout.port(name)), path: "/health", seconds: 2)
            return status == 200
        } catch {
            return false
        }
    }

    /// Adds what is missing, many requests at a time: 5,000 accounts are a matter of seconds.
    private func makeAccounts() throws(Failure) {
        var client = try ControlClient(path: "\(layout.runDirectory)/\(Door.control.socketName)")
        let all = state.accounts + more
        var domains: [String] = []
        for account in all {
            let domain = account.address.split(separator: "@").last.map { $0.lowercased() } ?? ""
            if domain != DevLayout.domain, !domains.contains(domain) { domains.append(domain) }
        }
        for domain in domains {
            let reply = try client.call(.addDomain(Array(domain.utf8)))
            try accept(reply, domain, orExists: true)
        }
        // Accounts of this suite get the password that is shown, whatever they had before.
        var requests: [(address: String, request: Request)] = []
        for account in all {
            guard let address = EmailAddress(splitting: Array(account.address.utf8)) else {
                throw Failure(.badData, "not an address: \(account.address)")
            }
            requests.append(
                (
                    account.address,
                    .changeAccount(
                        .add(address: address, password: Array(account.password.utf8), hash: []))
                ))
        }
        var existing: [Int] = []
        try pipeline(requests, &client) { index, reply throws(Failure) in
            if reply == .failure(.alreadyExists) {
                existing.append(index)
            } else {
                try accept(reply, requests[index].address, orExists: false)
            }
        }
        for index in existing where index < state.accounts.count {
            let account = all[index]
            guard let address = EmailAddress(splitting: Array(account.address.utf8)) else {
                continue
            }
            let reply = try client.call(
                .changeAccount(
                    .setPassword(
                        address: address, password: Array(account.password.utf8), hash: [])))
            try accept(reply, account.address, orExists: false)
        }
        try state.write(layout.statePath)
    }

    private func pipeline(
        _ requests: [(address: String, request: Request)], _ client: inout ControlClient,
        _ answered: (Int, Reply) throws(Failure) -> Void
    ) throws(Failure) {
        var waiting: [UInt32: Int] = [:]
        var next = 0
        while next < requests.count || !waiting.isEmpty {
            while next < requests.count && waiting.count < Self.window {
                waiting[try client.send(requests[next].request)] = next
                next += 1
            }
            let answer = try client.next()
            guard answer.isLast else { continue }
            guard let index = waiting.removeValue(forKey: answer.id) else {
                throw Failure(.remoteProtocol, "msgstored answered what was not asked")
            }
            try answered(index, answer.reply)
        }
    }

    private func accept(_ reply: Reply, _ what: String, orExists: Bool) throws(Failure) {
        switch reply {
        case .done: return
        case .failure(.alreadyExists) where orExists: return
        case .failure(.unavailable): throw Failure(.tryAgain, "msgstored cannot add \(what) now")
        case .failure(let failure): throw Failure(.badData, "cannot add \(what): \(failure)")
        default: throw Failure(.remoteProtocol, "msgstored gave a strange answer for \(what)")
        }
    }

    // MARK: Saying so

    private func announce(_ children: DevChildren) {
        state.pids = children.pids
        func number(_ name: String) -> JSON { .integer(layout.port(name)) }
        if invocation.json {
            let names = DevLayout.ports.filter { $0.mode != nil }.map(\.name)
            let metrics = ["smtpd", "pop3d", "imapd", "msgstored"]
            let ports: [(name: String, value: JSON)] =
                names.map { ($0, number($0)) }
                + [("metrics", .object(metrics.map { ($0, number("\($0)-metrics")) }))]
            let object = JSON.object([
                ("ports", .object(ports)), ("accounts", state.accountsJSON),
                ("directory", .string(layout.directory)), ("config", .string(layout.configPath)),
                ("certificate", .string(layout.certificatePath)), ("pids", state.pidsJSON),
            ])
            Terminal.out(object.text)
            return
        }
        func port(_ name: String) -> String { String(layout.port(name)) }
        var rows = [
            ["SMTP", "localhost:\(port("smtp"))", "STARTTLS; mail from other servers"],
            ["", "localhost:\(port("submission"))", "STARTTLS and log-in; submission"],
            ["", "localhost:\(port("smtps"))", "TLS and log-in; submission"],
            ["IMAP", "localhost:\(port("imap"))", "STARTTLS"],
            ["", "localhost:\(port("imaps"))", "TLS"],
            ["POP3", "localhost:\(port("pop3"))", "STLS"],
            ["", "localhost:\(port("pop3s"))", "TLS"],
        ]
        for account in state.accounts {
            rows.append(["User", account.address, account.password])
        }
        let kept = isTemporary ? "removed at the end; --dir DIR keeps it" : "kept"
        invocation.say(Terminal.table(rows))
        invocation.say(
            """
            Data  \(layout.directory)  (\(kept))
            TLS   \(layout.certificatePath)  (self-signed)
            See   mailctl --config \(layout.configPath) status
            Nothing leaves this machine. Ctrl-C stops.
            """)
    }
}
