// SPDX-License-Identifier: Apache-2.0
//
// `mailctl domain` and `mailctl account`: what lives in the store.

import Config
import IDNA
import Mail
import Wire

/// The control door of the configured suite.
enum Store {
    static func connect(_ invocation: Invocation) throws(Failure) -> ControlClient {
        let suite = try ConfigFiles.suite(invocation)
        return try ControlClient(path: suite.server.socketPath(Door.control.socketName))
    }

    static func unexpected(_ reply: Reply) -> Failure {
        switch reply {
        case .failure(.unavailable):
            Failure(.tryAgain, "msgstored cannot do that now", hints: ["see its log"])
        case .failure(.noSuchAccount): Failure(.noSuchAccount, "there is no such account")
        case .failure(.noSuchDomain): Failure(.noSuchDomain, "there is no such domain")
        case .failure(.alreadyExists): Failure(.cannotCreate, "that exists already")
        case .failure(.notPermitted): Failure(.permission, "msgstored does not allow that")
        case .failure(.limit): Failure(.badData, "that is more than msgstored can keep")
        case .failure(let failure): Failure(.software, "msgstored says: \(failure)")
        default: Failure(.remoteProtocol, "msgstored gave a strange answer")
        }
    }

    static func domains(_ client: inout ControlClient) throws(Failure) -> [DomainInfo] {
        let reply = try client.call(.listDomains)
        guard case .domains(let domains) = reply else { throw unexpected(reply) }
        return domains
    }

    static func text(_ octets: [UInt8]) -> String { String(decoding: octets, as: UTF8.self) }

    /// `12.3 MB` for people.
    static func size(_ octets: UInt64) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(octets)
        var unit = 0
        while value >= 1000 && unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        let tenths = (value * 10).rounded() / 10
        return unit == 0 ? "\(octets) B" : "\(tenths) \(units[unit])"
    }
}

enum DomainCommands {
    private static func name(_ invocation: Invocation) throws(Failure) -> [UInt8] {
        // A name in any script becomes the one spelling that the store keeps.
        let name = DomainName.ascii(Array(invocation.arguments[0].utf8)) ?? []
        let labels = name.split(separator: 0x2E, omittingEmptySubsequences: false)
        let isName = labels.allSatisfy { label in
            (1...63).contains(label.count) && label.first != 0x2D && label.last != 0x2D
                && label.allSatisfy { octet in
                    (0x61...0x7A).contains(octet) || (0x30...0x39).contains(octet) || octet == 0x2D
                }
        }
        guard isName, name.count <= 253 else {
            throw Failure(
                .badData, "`\(invocation.arguments[0])` is not a domain name",
                hints: ["letters of any script, digits, `-` and `.`"])
        }
        return name
    }

    static func add(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let name = try name(invocation)
        var client = try Store.connect(invocation)
        let reply = try client.call(.addDomain(name))
        switch reply {
        case .done: break
        case .failure(.alreadyExists):
            throw Failure(.cannotCreate, "\(Store.text(name)) is served already")
        default: throw Store.unexpected(reply)
        }
        if invocation.json {
            Terminal.out(JSON.object([("domain", .string(Store.text(name)))]).text)
        } else {
            invocation.say("\(Store.text(name)) added.")
            invocation.say("  next:  mailctl account add NAME@\(Store.text(name))")
        }
        return .ok
    }

    static func list(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var client = try Store.connect(invocation)
        let domains = try Store.domains(&client)
        if invocation.json {
            for domain in domains {
                Terminal.out(
                    JSON.object([
                        ("domain", .string(Store.text(domain.name))),
                        ("accounts", .integer(Int(domain.accounts))),
                        ("configured", .boolean(domain.isConfigured)),
                    ]).text)
            }
            return .ok
        }
        guard !domains.isEmpty else {
            invocation.say("No domains.  mailctl domain add DOMAIN")
            return .ok
        }
        let rows = domains.map { domain in
            [
                Store.text(domain.name), String(domain.accounts),
                domain.isConfigured ? "mail.toml" : "mailctl",
            ]
        }
        Terminal.out(Terminal.table([["DOMAIN", "ACCOUNTS", "FROM"]] + rows, right: [1]))
        return .ok
    }

    static func remove(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let name = try name(invocation)
        let text = Store.text(name)
        var client = try Store.connect(invocation)
        let domains = try Store.domains(&client)
        guard let domain = domains.first(where: { $0.name == name }) else {
            let meant = suggestion(for: text, among: domains.map { Store.text($0.name) })
            throw Failure(
                .noSuchDomain,
                "\(text) is not served here." + (meant.map { " Did you mean \($0)?" } ?? ""))
        }
        guard !domain.isConfigured else {
            throw Failure(
                .permission, "\(text) is named in mail.toml",
                hints: ["remove its [[domains]] there, then:  mailctl reload"])
        }
        guard domain.accounts == 0 else {
            throw Failure(
                .permission,
                "\(text) has \(domain.accounts) account\(domain.accounts == 1 ? "" : "s")",
                hints: ["see: mailctl account list \(text)"])
        }
        let details = try Addresses.domains(&client)
        if let own = details.first(where: { $0.name == name }), own.aliases > 0 {
            throw Failure(
                .permission, "\(text) has \(own.aliases) alias\(own.aliases == 1 ? "" : "es")",
                hints: ["see: mailctl alias list \(text)"])
        }
        if let standIn = details.first(where: { $0.aliasOf == name }) {
            let other = Store.text(standIn.name)
            throw Failure(
                .permission, "\(other) stands for \(text)",
                hints: ["first:  mailctl domain alias \(other) --remove"])
        }
        let reply = try client.call(.removeDomain(name))
        guard reply == .done else { throw Store.unexpected(reply) }
        invocation.say("\(text) removed.")
        return .ok
    }
}
