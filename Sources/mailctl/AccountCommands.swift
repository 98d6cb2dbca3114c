// SPDX-License-Identifier: Apache-2.0
//
// `mailctl account`: add, password, remove.

import Bytes
import Config
import Glibc
import Mail
import Wire

enum AccountCommands {
    static func address(_ invocation: Invocation) throws(Failure) -> EmailAddress {
        let text = invocation.arguments[0]
        guard let address = EmailAddress(splitting: Array(text.utf8)),
            address.local.count <= 64, address.domain.count <= 253,
            address.octets.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != 0x2F })
        else {
            throw Failure(
                .badData, "`\(text)` is not an address", hints: ["write it as NAME@DOMAIN"])
        }
        return address
    }

    /// The store may keep local parts in lower case.
    private static func isSame(_ left: EmailAddress, _ right: EmailAddress) -> Bool {
        left.domain == right.domain && left.local.asciiLowercased == right.local.asciiLowercased
    }

    /// The error for an account whose domain, or which itself, is not there.
    static func missing(
        _ address: EmailAddress, _ client: inout ControlClient
    ) throws(Failure) -> Failure {
        let domains = try Store.domains(&client)
        let domain = Store.text(address.domain)
        guard domains.contains(where: { $0.name == address.domain }) else {
            let meant = suggestion(for: domain, among: domains.map { Store.text($0.name) })
            return Failure(
                .noSuchDomain,
                "domain \(domain) is not served here."
                    + (meant.map { " Did you mean \($0)?" } ?? ""),
                hints: ["add it first:  mailctl domain add \(domain)"])
        }
        let accounts = try list(address.domain, &client).map(\.address.text)
        let meant = suggestion(for: address.text, among: accounts)
        return Failure(
            .noSuchAccount,
            "there is no account \(address.text)." + (meant.map { " Did you mean \($0)?" } ?? ""),
            hints: ["see: mailctl account list \(domain)"])
    }

    private static func list(
        _ domain: [UInt8], _ client: inout ControlClient
    ) throws(Failure) -> [AccountDetails] {
        try Addresses.accounts(.listAccounts(domain: domain, exact: false), &client)
    }

    static func add(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try address(invocation)
        let suite = try ConfigFiles.suite(invocation)
        var client = try ControlClient(path: suite.server.socketPath(Door.control.socketName))
        // Before anybody types a password in vain.
        let domains = try Store.domains(&client)
        guard domains.contains(where: { $0.name == address.domain }) else {
            throw try missing(address, &client)
        }
        let given = try Password.given(invocation, for: address.text)
        let reply = try client.call(
            .changeAccount(.add(address: address, password: given.password, hash: given.hash)))
        switch reply {
        case .done: break
        case .failure(.alreadyExists):
            throw Failure(
                .cannotCreate, "\(address.text) exists already",
                hints: ["to set its password:  mailctl account password \(address.text)"])
        case .failure(.noSuchDomain): throw try missing(address, &client)
        default: throw Store.unexpected(reply)
        }
        if invocation.json {
            var members: [(name: String, value: JSON)] = [("address", .string(address.text))]
            if let password = given.generated { members.append(("password", .string(password))) }
            Terminal.out(JSON.object(members).text)
            return .ok
        }
        invocation.say("\(address.text) added.")
        if let password = given.generated { Terminal.out("  password: \(password)   (shown once)") }
        for line in endpoints(suite, address.text) { invocation.say("  \(line)") }
        return .ok
    }

    /// Where mail programs connect.
    private static func endpoints(_ suite: Suite, _ user: String) -> [String] {
        func first(_ listeners: [ListenerSettings], _ name: String) -> String? {
            let listener = listeners.first { $0.tlsImplicit } ?? listeners.first
            guard let listener, case .tcp(_, let port) = listener.address else { return nil }
            let tls = listener.tlsImplicit ? "TLS" : "STARTTLS"
            return "\(name)  \(suite.server.hostname):\(port) \(tls)"
        }
        let submission = suite.smtpd.listeners.filter { $0.mode != "smtp" && $0.mode != "alt" }
        var lines: [String] = []
        if suite.imapd.isEnabled, let line = first(suite.imapd.listeners, "IMAP") {
            lines.append("\(line)   user: \(user)")
        }
        if suite.smtpd.isEnabled, let line = first(submission, "SMTP") { lines.append(line) }
        if suite.pop3d.isEnabled, let line = first(suite.pop3d.listeners, "POP3") {
            lines.append(line)
        }
        return lines
    }

    /// ISO 8601, UTC.
    static func timestamp(_ seconds: SecondsSince1970) -> String {
        var time = time_t(seconds)
        var parts = unsafe tm()
        unsafe gmtime_r(&time, &parts)
        var buffer = [CChar](repeating: 0, count: 40)
        let count = unsafe strftime(&buffer, 40, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(
            decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func password(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try address(invocation)
        var client = try Store.connect(invocation)
        let known = try list([], &client)
        guard known.contains(where: { isSame($0.address, address) }) else {
            throw try missing(address, &client)
        }
        let given = try Password.given(invocation, for: address.text)
        guard given.hash.isEmpty || !invocation.has("cram-md5") else {
            throw Failure(.usage, "--cram-md5 needs the password, not its hash")
        }
        let reply = try client.call(
            .changeAccount(
                .setPassword(address: address, password: given.password, hash: given.hash)))
        switch reply {
        case .done: break
        case .failure(.noSuchAccount), .failure(.noSuchDomain):
            throw try missing(address, &client)
        default: throw Store.unexpected(reply)
        }
        if invocation.has("cram-md5") {
            let kept = try client.call(.access(.setCramSecret(address, password: given.password)))
            guard kept == .done else { throw Store.unexpected(kept) }
        }
        if invocation.json {
            var members: [(name: String, value: JSON)] = [("address", .string(address.text))]
            if let password = given.generated { members.append(("password", .string(password))) }
            Terminal.out(JSON.object(members).text)
            return .ok
        }
        invocation.say("Password of \(address.text) set.")
        if let password = given.generated { Terminal.out("  password: \(password)   (shown once)") }
        return .ok
    }

    static func remove(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let address = try address(invocation)
        var client = try Store.connect(invocation)
        let accounts = try list([], &client)
        guard let account = accounts.first(where: { isSame($0.address, address) }) else {
            throw try missing(address, &client)
        }
        let keepMail = invocation.has("keep-mail")
        if !invocation.has("yes") {
            guard Terminal.isInputTerminal else {
                throw Failure(
                    .usage, "this destroys mail and there is no terminal to ask on",
                    hints: ["say --yes"])
            }
            let messages = account.usage.map { String($0.messages) } ?? "unknown number of"
            let what =
                keepMail
                ? "Remove \(address.text)?"
                : "Remove \(address.text) and its \(messages) messages for good?"
            guard Terminal.confirm(what) else {
                Terminal.error("Nothing was changed.")
                return .problems
            }
        }
        let reply = try client.call(.changeAccount(.remove(address: address, keepMail: keepMail)))
        switch reply {
        case .done: break
        case .failure(.noSuchAccount): throw try missing(address, &client)
        default: throw Store.unexpected(reply)
        }
        invocation.say("\(address.text) removed.")
        return .ok
    }
}
