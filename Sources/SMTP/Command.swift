// SPDX-License-Identifier: Apache-2.0
//
// SMTP command lines as values. RFC 5321 §4.1.1; RFC 1870 (SIZE); RFC 6152 (8BITMIME); RFC 6531
// (SMTPUTF8); RFC 3030 (BDAT); RFC 3207 (STARTTLS); RFC 4954 (AUTH). Whether a command is allowed
// now is ServerMachine's business.

import Bytes
import Mail

/// One SMTP command line, parsed.
package enum Command: Equatable, Sendable {
    /// `EHLO` or `HELO`. The name is the client's claim; nothing may trust it (RFC 5321 §4.1.4).
    case hello(name: [UInt8], isExtended: Bool)
    case mail(from: ReversePath, MailParameters)
    case rcpt(to: Recipient)
    case data
    /// `size` octets follow the line (RFC 3030 §2).
    case bdat(size: UInt64, isLast: Bool)
    case rset, noop, help, startTLS, quit
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
        case "HELP": self = .help
        case "VRFY":
            guard !cursor.isAtEnd else { throw .syntax(.vrfy) }
            self = .vrfy
        case "AUTH": self = try Self.auth(&cursor)
        case "EXPN", "XCLIENT", "XDEBUG", "XFORWARD", "ETRN", "TURN", "SEND", "SOML", "SAML":
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
        let from: ReversePath
        switch cursor.path() {
        case .null: from = .null
        case .address(let address): from = .address(address)
        case .postmaster, nil: throw .senderSyntax
        }
        guard cursor.isAtEnd || cursor.next == .space else { throw .senderSyntax }
        return .mail(from: from, try MailParameters(&cursor))
    }

    private static func rcpt(_ cursor: inout Cursor) throws(CommandError) -> Command {
        guard cursor.take("TO:") else { throw .syntax(.rcpt) }
        _ = cursor.skip { $0 == .space }
        let to: Recipient
        switch cursor.path() {
        case .postmaster: to = .postmaster
        case .address(let address): to = .address(address)
        case .null, nil: throw .recipientSyntax  // the null path is a sender only
        }
        guard !cursor.isAtEnd else { return .rcpt(to: to) }
        guard cursor.next == .space else { throw .recipientSyntax }
        throw .unknownParameter  // none is offered
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

/// The parameters of MAIL that are offered.
package struct MailParameters: Equatable, Sendable {
    /// Declared octets, `Int.max` for more than that; nil if undeclared (RFC 1870 §6).
    package var size: Int?
    /// BODY=8BITMIME (RFC 6152 §2); kept for a relay to know.
    package var isEightBit = false
    /// SMTPUTF8 (RFC 6531 §3.4).
    package var isInternational = false

    package init(size: Int? = nil, isEightBit: Bool = false, isInternational: Bool = false) {
        self.size = size
        self.isEightBit = isEightBit
        self.isInternational = isInternational
    }

    /// `*( SP esmtp-keyword [ "=" esmtp-value ] )`, each at most once.
    init(_ cursor: inout Cursor) throws(CommandError) {
        var hasBody = false
        var hasAuth = false
        while cursor.skip(while: { $0 == .space }) > 0, !cursor.isAtEnd {
            let keyword = cursor.keyword()
            if cursor.skip(while: { $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D }) > 0 {
                throw .unknownParameter  // longer than any of ours
            }
            let value =
                cursor.take(0x3D)
                ? cursor.take { $0 > 0x20 && $0 != 0x3D } : nil
            guard cursor.isAtEnd || cursor.next == .space else { throw .badParameter }
            switch keyword {
            case "SIZE":
                guard size == nil, let value, (1...20).contains(value.count),
                    value.allSatisfy(\.isASCIIDigit)
                else { throw .badParameter }
                size = Self.clamped(value)
            case "BODY":
                guard !hasBody, let value else { throw .badParameter }
                hasBody = true
                try setBody(value)
            case "SMTPUTF8":
                guard !isInternational, value == nil else { throw .badParameter }
                isInternational = true
            case "AUTH":
                // RFC 4954 §5: an identity that we do not trust is treated as `<>`.
                guard !hasAuth, let value, Self.isXtext(value) else { throw .badParameter }
                hasAuth = true
            default: throw .unknownParameter
            }
        }
    }

    private mutating func setBody(_ value: [UInt8]) throws(CommandError) {
        if value.equalsIgnoringASCIICase(Array("8BITMIME")) {
            isEightBit = true
        } else if value.equalsIgnoringASCIICase(Array("BINARYMIME")) {
            throw .unknownParameter  // not offered
        } else if !value.equalsIgnoringASCIICase(Array("7BIT")) {
            throw .badParameter
        }
    }

    private static func clamped(_ digits: [UInt8]) -> Int {
        digits.reduce(0) { sum, digit in
            let (tenfold, overflow) = sum.multipliedReportingOverflow(by: 10)
            let (next, carried) = tenfold.addingReportingOverflow(Int(digit - 0x30))
            return overflow || carried ? .max : next
        }
    }

    /// RFC 3461 §4; `<>` stands for nobody.
    private static func isXtext(_ value: [UInt8]) -> Bool {
        if value.elementsEqual([0x3C, 0x3E]) { return true }
        guard !value.isEmpty else { return false }
        var index = 0
        while index < value.count {
            guard value[index].isASCIIVisible, value[index] != 0x3D else { return false }
            if value[index] == 0x2B {
                guard index + 2 < value.count, value[index + 1].isHexDigit,
                    value[index + 2].isHexDigit
                else { return false }
                index += 2
            }
            index += 1
        }
        return true
    }
}
