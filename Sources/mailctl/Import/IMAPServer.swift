// SPDX-License-Identifier: Apache-2.0
//
// The client's side of an IMAP session, as far as an import needs it: log in, list, look at, fetch.
// Nothing is ever changed there. RFC 3501; RFC 9051; RFC 6154; RFC 4616.

import Bytes
import Glibc
import Interchange
import Mail

/// A long literal, kept in a nameless file.
final class SpillFile {
    let file: OpenFile
    private(set) var size = 0

    init() throws(Failure) {
        var template = Array("/var/tmp/mailctl-XXXXXX".utf8CString)
        let made = unsafe template.withUnsafeMutableBufferPointer { space in
            guard let start = space.baseAddress else { return Int32(-1) }
            let made = unsafe mkstemp(start)
            if made >= 0 {
                unsafe unlink(start)
                _ = fcntl(made, F_SETFD, FD_CLOEXEC)
            }
            return made
        }
        guard made >= 0 else {
            throw .system("cannot make a file in /var/tmp", errno, .cannotCreate)
        }
        file = OpenFile(owning: made)
    }

    func add(_ piece: [UInt8]) throws(Failure) {
        guard Files.writeAll(file.descriptor, piece) else {
            throw .system("cannot write to /var/tmp", errno, .cannotCreate)
        }
        size += piece.count
    }
}

final class IMAPServer {
    /// Literals up to here stay in memory.
    private static let inlineLimit = 256 << 10

    private let connection: ServerConnection
    private var assembler = ResponseAssembler()
    private let limits = ResponseAssembler.Limits()
    private var lastTag = 0
    private(set) var capabilities: Set<String> = []
    /// Of the response that was read last.
    private(set) var spilled: SpillFile?

    init(_ connection: ServerConnection) { self.connection = connection }

    // MARK: - Reading

    private static func broken(_ error: ResponseError) -> Failure {
        Failure(.remoteProtocol, "the server's answer cannot be used: \(error)")
    }

    /// The next response; a long literal of it is in `spilled`.
    func next() throws(Failure) -> ServerResponse {
        spilled = nil
        while true {
            let line = try connection.readLine(limit: limits.line)
            let step: ResponseAssembler.Step
            do throws(ResponseError) { step = try assembler.take(line: line) } catch {
                throw Self.broken(error)
            }
            switch step {
            case .response(let response):
                if case .untagged(let condition) = response, condition.status == "BYE" {
                    throw Failure(
                        .unavailable, "the server said goodbye: \(Shown.text(condition.text))",
                        hints: ["run the same command again to go on"])
                }
                return response
            case .literal(let size):
                let value = try literal(size)
                do throws(ResponseError) { try assembler.take(literal: value) } catch {
                    throw Self.broken(error)
                }
            }
        }
    }

    private func literal(_ size: Int) throws(Failure) -> ResponseValue {
        if size <= Self.inlineLimit {
            var octets: [UInt8] = []
            octets.reserveCapacity(size)
            try connection.read(size) { piece throws(Failure) in octets += piece }
            return .text(octets)
        }
        guard spilled == nil else {
            throw Failure(.remoteProtocol, "the server sent two long literals in one answer")
        }
        let file = try SpillFile()
        try connection.read(size) { piece throws(Failure) in try file.add(piece) }
        spilled = file
        return .spilled(size)
    }

    // MARK: - Commands

    /// Sends without waiting.
    func send(_ command: [UInt8]) throws(Failure) -> [UInt8] {
        lastTag += 1
        let tag = Array("m\(lastTag)")
        try connection.write(tag + [.space] + command + [.cr, .lf])
        return tag
    }

    /// Sends, and gives what comes before the end; NO and BAD are failures.
    @discardableResult
    func run(
        _ command: [UInt8], what: String,
        _ each: (ServerResponse) throws(Failure) -> Void = { _ throws(Failure) in }
    ) throws(Failure) -> ResponseCondition {
        let tag = try send(command)
        return try finish(tag, what: what, each)
    }

    func finish(
        _ tag: [UInt8], what: String, _ each: (ServerResponse) throws(Failure) -> Void
    ) throws(Failure) -> ResponseCondition {
        while true {
            let response = try next()
            guard case .tagged(let answered, let condition) = response else {
                take(response)
                try each(response)
                continue
            }
            guard answered == tag else {
                throw Failure(.remoteProtocol, "the server answered another command")
            }
            guard condition.status == "OK" else {
                throw Failure(
                    .remoteProtocol,
                    "the server refused \(what): \(Shown.text(condition.text, width: 300))")
            }
            takeCapabilities(condition.code)
            return condition
        }
    }

    private func take(_ response: ServerResponse) {
        switch response {
        case .data(nil, "CAPABILITY", let values):
            capabilities = Set(values.compactMap { $0.octets.map(Self.word) })
        case .untagged(let condition): takeCapabilities(condition.code)
        default: break
        }
    }

    private func takeCapabilities(_ code: [UInt8]) {
        let words = code.split(separator: .space).map { Self.word(Array($0)) }
        if words.first == "CAPABILITY" { capabilities = Set(words.dropFirst()) }
    }

    private static func word(_ octets: [UInt8]) -> String {
        String(decoding: octets.map(\.asciiUppercased), as: UTF8.self)
    }

    /// A quoted string; names have no line ends.
    static func quoted(_ name: [UInt8]) -> [UInt8] {
        var text: [UInt8] = [0x22]
        for octet in name {
            if octet == 0x22 || octet == 0x5C { text.append(0x5C) }
            text.append(octet)
        }
        return text + [0x22]
    }

    // MARK: - Session

    /// Greeting, TLS, login.
    func open(
        _ security: ServerSecurity, verify: Bool, authorities: String?, user: [UInt8],
        password: [UInt8]
    ) throws(Failure) {
        if security == .tls {
            try connection.startTLS(verify: verify, authorities: authorities)
        }
        let greeting = try next()
        guard case .untagged(let condition) = greeting,
            condition.status == "OK" || condition.status == "PREAUTH"
        else { throw Failure(.remoteProtocol, "that is no IMAP server") }
        takeCapabilities(condition.code)
        if security == .startTLS {
            try run(Array("STARTTLS"), what: "STARTTLS")
            try connection.startTLS(verify: verify, authorities: authorities)
            capabilities = []
        }
        if capabilities.isEmpty { try run(Array("CAPABILITY"), what: "CAPABILITY") }
        if condition.status == "OK" { try logIn(user, password) }
        try run(Array("CAPABILITY"), what: "CAPABILITY")
    }

    private func logIn(_ user: [UInt8], _ password: [UInt8]) throws(Failure) {
        let isPlain = capabilities.contains("AUTH=PLAIN")
        guard isPlain || !capabilities.contains("LOGINDISABLED") else {
            throw Failure(
                .remoteProtocol, "the server takes no password on this connection",
                hints: ["use --tls or --starttls"])
        }
        let tag: [UInt8]
        if isPlain {
            tag = try send(Array("AUTHENTICATE PLAIN"))
            try waitForGo(tag)
            let secret = [0] + user + [0] + password
            try connection.write(Base64.encode(secret.span) + [.cr, .lf])
        } else {
            tag = try send(Array("LOGIN {\(user.count)}"))
            try waitForGo(tag)
            try connection.write(user + Array(" {\(password.count)}\r\n"))
            try waitForGo(tag)
            try connection.write(password + [.cr, .lf])
        }
        do throws(Failure) {
            _ = try finish(tag, what: "the login") { _ throws(Failure) in }
        } catch {
            throw Failure(
                error.code == .remoteProtocol ? .permission : error.code, error.message,
                hints: ["is the user name right, and is the password the one for IMAP?"])
        }
    }

    private func waitForGo(_ tag: [UInt8]) throws(Failure) {
        while true {
            switch try next() {
            case .proceed: return
            case .tagged(_, let condition):
                throw Failure(
                    .permission,
                    "the server refused the login: \(Shown.text(condition.text, width: 300))")
            default: continue
            }
        }
    }

    /// Mailboxes, and the prefix of their names that means nothing here.
    func list() throws(Failure) -> (mailboxes: [ListedMailbox], prefix: [UInt8]) {
        var prefix: [UInt8] = []
        if capabilities.contains("NAMESPACE") {
            try run(Array("NAMESPACE"), what: "NAMESPACE") { response throws(Failure) in
                if let found = response.personalPrefix { prefix = found }
            }
        }
        let isExtended =
            capabilities.contains("LIST-EXTENDED") && capabilities.contains("SPECIAL-USE")
        let command =
            isExtended ? "LIST \"\" \"*\" RETURN (SPECIAL-USE SUBSCRIBED)" : "LIST \"\" \"*\""
        var found: [ListedMailbox] = []
        try run(Array(command), what: "LIST") { response throws(Failure) in
            guard let mailbox = ListedMailbox(response) else { return }
            guard found.count < 100_000 else {
                throw Failure(.remoteProtocol, "the server lists too many mailboxes")
            }
            found.append(mailbox)
        }
        if !isExtended {
            var subscribed: Set<[UInt8]> = []
            try run(Array("LSUB \"\" \"*\""), what: "LSUB") { response throws(Failure) in
                if let mailbox = ListedMailbox(response), subscribed.count < 100_000 {
                    subscribed.insert(mailbox.wireName)
                }
            }
            for index in found.indices {
                found[index].isSubscribed = subscribed.contains(found[index].wireName)
            }
        }
        return (found, prefix)
    }

    /// Messages in a mailbox.
    func count(_ name: [UInt8]) throws(Failure) -> Int {
        var count = 0
        try run(Array("STATUS ") + Self.quoted(name) + Array(" (MESSAGES)"), what: "STATUS") {
            response throws(Failure) in
            if let status = ListedStatus(response) { count = Int(clamping: status.messages ?? 0) }
        }
        return count
    }

    /// Opens a mailbox for reading only.
    /// - Returns: its UIDVALIDITY and how many messages it has.
    func examine(_ name: [UInt8]) throws(Failure) -> (uidValidity: UInt32, messages: Int) {
        var uidValidity: UInt32 = 0
        var messages = 0
        try run(Array("EXAMINE ") + Self.quoted(name), what: "EXAMINE") {
            response throws(Failure) in
            switch response {
            case .untagged(let condition):
                if let number = condition.number(of: "UIDVALIDITY") {
                    uidValidity = UInt32(clamping: number)
                }
            case .data(.some(let number), "EXISTS", _): messages = Int(clamping: number)
            default: break
            }
        }
        guard uidValidity > 0 else {
            throw Failure(.remoteProtocol, "the server gives no UIDVALIDITY")
        }
        return (uidValidity, messages)
    }
}
