// SPDX-License-Identifier: Apache-2.0
//
// The directory of `mailctl dev`: what is in it, and the mail.toml that describes it.
//
//     mail.toml       written at every start     run/    sockets
//     mail.toml.d/    yours                      state/  accounts and mail
//     dev.json        passwords, pids (0600)     tls/    certificate and key
//     log/            what the daemons say, for mailctl log

import Config
import Glibc

struct DevLayout: Sendable {
    static let domain = "example.test"
    static let hostname = "mail.example.test"

    let directory: String
    let offset: Int

    var configPath: String { "\(directory)/mail.toml" }
    var statePath: String { "\(directory)/dev.json" }
    var runDirectory: String { "\(directory)/run" }
    var logDirectory: String { "\(directory)/log" }
    var certificatePath: String { "\(directory)/tls/fullchain.pem" }
    var keyPath: String { "\(directory)/tls/privkey.pem" }

    /// What listens on a TCP port: the daemon, the name of its socket, the standard port.
    struct Port: Sendable {
        var daemon: String
        var name: String
        var standard: Int
        var mode: String?
    }

    static let ports: [Port] = [
        Port(daemon: "smtpd", name: "smtp", standard: 25, mode: "smtp"),
        Port(daemon: "smtpd", name: "submission", standard: 587, mode: "submission"),
        Port(daemon: "smtpd", name: "smtps", standard: 465, mode: "smtps"),
        Port(daemon: "imapd", name: "imap", standard: 143, mode: "imap"),
        Port(daemon: "imapd", name: "imaps", standard: 993, mode: "imaps"),
        Port(daemon: "pop3d", name: "pop3", standard: 110, mode: "pop3"),
        Port(daemon: "pop3d", name: "pop3s", standard: 995, mode: "pop3s"),
        Port(daemon: "smtpd", name: "smtpd-metrics", standard: 9100),
        Port(daemon: "pop3d", name: "pop3d-metrics", standard: 9101),
        Port(daemon: "imapd", name: "imapd-metrics", standard: 9102),
        Port(daemon: "msgstored", name: "msgstored-metrics", standard: 9103),
    ]

    static let daemons = ["msgstored", "smtpd", "imapd", "pop3d"]

    func port(_ name: String) -> Int {
        (Self.ports.first { $0.name == name }?.standard ?? 0) + offset
    }

    /// Makes the directories, the certificate if there is none, and mail.toml.
    func prepare(extra: String?) throws(Failure) {
        try Files.makeDirectory(directory, mode: 0o700)
        for name in ["run", "state", "tls", "log", "mail.toml.d"] {
            try Files.makeDirectory("\(directory)/\(name)", mode: 0o700)
        }
        if !Files.exists(certificatePath) || !Files.exists(keyPath) {
            let made = try SelfSigned.make(
                hostname: Self.hostname,
                names: [Self.hostname, Self.domain, "*.\(Self.domain)", "localhost"])
            try Files.write(keyPath, made.key, mode: 0o600)
            try Files.write(certificatePath, made.certificate, mode: 0o644)
        }
        let fragment = "\(directory)/mail.toml.d/00-dev-config.toml"
        if let extra {
            try Files.write(fragment, try Files.read(extra), mode: 0o600)
        } else {
            unsafe unlink(fragment)
        }
        try Files.write(configPath, Array(configuration.utf8), mode: 0o600)
    }

    private var configuration: String {
        var text = """
            # Written by mailctl dev at every start. What shall stay goes into mail.toml.d/*.toml.
            [server]
            hostname = "\(Self.hostname)"
            run_dir = \(literal(runDirectory))
            state_dir = \(literal("\(directory)/state"))
            log_format = "text"
            log_dir = \(literal(logDirectory))

            [server.tls]
            cert_file = \(literal(certificatePath))
            key_file = \(literal(keyPath))

            [smtpd]
            hostname = "\(Self.hostname)"


            """
        for port in Self.ports {
            if let mode = port.mode {
                text += "[\(port.daemon).listeners.\(port.name)]\n"
                text += "address = \"127.0.0.1:\(port.standard + offset)\"\nmode = \"\(mode)\"\n\n"
            } else {
                text += "[\(port.daemon).metrics]\n"
                text += "address = \"127.0.0.1:\(port.standard + offset)\"\n\n"
            }
        }
        return text + "[[domains]]\nname = \"\(Self.domain)\"\n"
    }

    private func literal(_ path: String) -> String { JSON.string(path).text }
}

/// An account of `mailctl dev`, with its password.
struct DevAccount: Sendable, Equatable {
    var address: String
    var password: String
}

/// dev.json: what a second start and `mailctl reload` want to know.
struct DevState {
    var accounts: [DevAccount] = []
    var pids: [String: Int] = [:]
    var ownPID = 0

    /// Nil if there is none, or it is not ours.
    static func read(_ path: String) -> DevState? {
        guard Files.exists(path) else { return nil }
        var octets: [UInt8] = []
        do throws(Failure) { octets = try Files.read(path, limit: 1 << 20) } catch { return nil }
        guard let json = JSON(octets), case .array(let accounts) = json["accounts"] else {
            return nil
        }
        var state = DevState()
        for account in accounts {
            guard let address = account["address"]?.stringValue,
                let password = account["password"]?.stringValue
            else { continue }
            state.accounts.append(DevAccount(address: address, password: password))
        }
        if case .object(let members) = json["pids"] {
            for member in members { state.pids[member.name] = member.value.integerValue }
        }
        state.ownPID = json["pid"]?.integerValue ?? 0
        return state
    }

    var accountsJSON: JSON {
        .array(
            accounts.map {
                .object([("address", .string($0.address)), ("password", .string($0.password))])
            })
    }

    var pidsJSON: JSON {
        .object(pids.keys.sorted().map { ($0, .integer(pids[$0] ?? 0)) })
    }

    func write(_ path: String) throws(Failure) {
        let json = JSON.object([
            ("accounts", accountsJSON), ("pid", .integer(ownPID)), ("pids", pidsJSON),
        ])
        try Files.write(path, Array((json.text + "\n").utf8), mode: 0o600)
    }
}
