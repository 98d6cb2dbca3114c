// SPDX-License-Identifier: Apache-2.0
//
// SMTP command lines as values. RFC 5321 §4.1.1; RFC 3030 (BDAT); RFC 3207 (STARTTLS); RFC 4954
// (AUTH). Whether a command is allowed now is ServerMachine's business.

import Bytes
import Mail

/// One SMTP command line, parsed.
package enum Command: Equatable, Sendable {
    /// `EHLO` or `HELO`. The name is the client's claim; nothing may trust it (RFC 5321 §4.1.4).
    case hello(name: [UInt8], isExtended: Bool)
    case mail(from: ReversePath, MailParameters)
    case rcpt(to: Recipient, RecipientParameters = RecipientParameters())
    case data
    /// `size` octets follow the line (RFC 3030 §2).
    case bdat(size: UInt64, isLast: Bool)
    case rset, noop, startTLS, quit
    /// The command to explain, in capitals; empty: all (RFC 5321 §4.1.1.8).
    case help(topic: String)
    /// A proxy says for whom it speaks.
    case xclient(ClientClaim)
    /// For development: what the session knows.
    case xdebug
    /// The argument is not looked at: the answer is the same for everyone.
    case vrfy
    /// `initial` is the initial response, still in Base64; `=` for an empty one.
    case auth(mechanism: [UInt8], initial: [UInt8]?)

    /// Octets of a line without CRLF: RFC 5321 §4.5.3.1.4, room for the parameters of the
    /// extensions, RFC 4954 §4.
    package static let lineLimit = 510
    package static let parameterLineLimit = 1_510
    package static let authLineLimit = 12_286

    /// Parses one line.
    ///
    /// - Parameter line: CRLF excluded.
    /// - Throws: why not; `CommandError.reply` has the words.
    package init(_ line: Span<UInt8>) throws(CommandError) {
        // Trailing white space is tolerated, RFC 5321 §4.1.1.
        var end = line.count
        while end > 0, line[end - 1] == .space || line[end - 1] == .tab { end -= 1 }
        let line = line.extracting(0..<end)
        var cursor = Cursor(line)
        let verb = cursor.keyword()
        guard line.count <= Self.limit(verb) else { throw .lineTooLong }
        try Self.checkOctets(line)
        guard cursor.isAtEnd || cursor.next == .space else { throw .unrecognized }
        _ = cursor.skip { $0 == .space }
        switch verb {
        case "EHLO": self = try Self.hello(&cursor, isExtended: true)
        case "HELO": self = try Self.hello(&cursor, isExtended: false)
        case "MAIL": self = try Self.mail(&cursor)
        case "RCPT": self = try Self.rcpt(&cursor)
        case "DATA": self = try Self.plain(.data, cursor, .data)
        case "BDAT": self = try Self.bdat(&cursor)
        case "RSET": self = try Self.plain(.rset, cursor, .rset)
        case "QUIT": self = try Self.plain(.quit, cursor, .quit)
        case "STARTTLS": self = try Self.plain(.startTLS, cursor, .startTLS)
        case "NOOP": self = .noop  // may carry a string, RFC 5321 §4.1.1.9
        case "HELP":
            let topic = cursor.keyword()
            guard cursor.isAtEnd else { throw .noSuchTopic }
            self = .help(topic: topic)
        case "VRFY":
            guard !cursor.isAtEnd else { throw .syntax(.vrfy) }
            self = .vrfy
        case "AUTH": self = try Self.auth(&cursor)
        case "XCLIENT": self = .xclient(try ClientClaim(&cursor))
        case "XDEBUG": self = try Self.plain(.xdebug, cursor, .xdebug)
        case "EXPN", "XFORWARD", "ETRN", "TURN", "SEND", "SOML", "SAML":
            throw .notImplemented
        default: throw .unrecognized
        }
    }

    private static func limit(_ verb: String) -> Int {
        switch verb {
        case "AUTH": authLineLimit
        case "MAIL", "RCPT": parameterLineLimit
        default: lineLimit
        }
    }

    /// No control characters, and UTF-8 wherever it is not ASCII: nothing that a log, a header
    /// field or another parser could take for the end of a line.
    private static func checkOctets(_ line: Span<UInt8>) throws(CommandError) {
        var isASCII = true
        for index in line.indices {
            let octet = line[index]
            guard octet >= 0x20, octet != 0x7F else { throw .illegalOctet }
            if octet >= 0x80 { isASCII = false }
        }
        guard isASCII || String(validating: [UInt8](copying: line), as: UTF8.self) != nil else {
            throw .illegalOctet
        }
    }

    private static func plain(
        _ command: Command, _ cursor: borrowing Cursor, _ usage: CommandError.Usage
    ) throws(CommandError) -> Command {
        guard cursor.isAtEnd else { throw .syntax(usage) }
        return command
    }

    private static func hello(
        _ cursor: inout Cursor, isExtended: Bool
    ) throws(CommandError) -> Command {
        let name = cursor.take(while: \.isASCIIVisible)
        guard (1...Path.domainLimit).contains(name.count), cursor.isAtEnd else {
            throw .syntax(isExtended ? .extendedHello : .hello)
        }
        return .hello(name: name, isExtended: isExtended)
    }

    private static func mail(_ cursor: inout Cursor) throws(CommandError) -> Command {
        guard cursor.take("FROM:") else { throw .syntax(.mail) }
        _ = cursor.skip { $0 == .space }  // not in the grammar, but widely sent
        let start = cursor.offset
        let from: ReversePath
        switch cursor.path() {
        case .null: from = .null
        case .address(let address): from = .address(address)
        case .postmaster, nil: throw .senderSyntax
        }
        guard cursor.isAtEnd || cursor.next == .space else { throw .senderSyntax }
        let end = cursor.offset
        var parameters = try MailParameters(&cursor)
        parameters.hasInternationalPath = cursor.hasNonASCII(start..<end)
        return .mail(from: from, parameters)
    }

    private static func rcpt(_ cursor: inout Cursor) throws(CommandError) -> Command {
        guard cursor.take("TO:") else { throw .syntax(.rcpt) }
        _ = cursor.skip { $0 == .space }
        let start = cursor.offset
        let to: Recipient
        switch cursor.path() {
        case .postmaster: to = .postmaster
        case .address(let address): to = .address(address)
        case .null, nil: throw .recipientSyntax  // the null path is a sender only
        }
        guard cursor.isAtEnd || cursor.next == .space else { throw .recipientSyntax }
        let end = cursor.offset
        var parameters = try RecipientParameters(&cursor)
        parameters.hasInternationalPath = cursor.hasNonASCII(start..<end)
        return .rcpt(to: to, parameters)
    }

    private static func bdat(_ cursor: inout Cursor) throws(CommandError) -> Command {
        guard let size = cursor.number() else { throw .chunkSize }
        if cursor.isAtEnd { return .bdat(size: size, isLast: false) }
        guard cursor.skip(while: { $0 == .space }) > 0, cursor.take("LAST"), cursor.isAtEnd else {
            throw .chunkSize
        }
        return .bdat(size: size, isLast: true)
    }

    private static func auth(_ cursor: inout Cursor) throws(CommandError) -> Command {
        let mechanism = cursor.take {
            $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x5F
        }
        guard (1...20).contains(mechanism.count) else { throw .syntax(.auth) }
        if cursor.isAtEnd { return .auth(mechanism: mechanism, initial: nil) }
        guard cursor.skip(while: { $0 == .space }) > 0 else { throw .syntax(.auth) }
        let initial = cursor.take(while: \.isASCIIVisible)
        guard cursor.isAtEnd else { throw .syntax(.auth) }
        return .auth(mechanism: mechanism, initial: initial)
    }
}

/// What RCPT names.
package enum Recipient: Hashable, Sendable {
    /// `<Postmaster>`: whoever that is at this server (RFC 5321 §4.5.1).
    case postmaster
    case address(EmailAddress)

    /// True if it may only be used under SMTPUTF8.
    package var isInternational: Bool {
        switch self {
        case .postmaster: false
        case .address(let address): Path.address(address).isInternational
        }
    }

    /// For logs.
    package var octets: [UInt8] {
        switch self {
        case .postmaster: Array("postmaster")
        case .address(let address): address.octets
        }
    }
}

extension Cursor {
    fileprivate func hasNonASCII(_ range: Range<Int>) -> Bool {
        copy(range).contains { $0 >= 0x80 }
    }
}
