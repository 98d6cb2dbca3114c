// SPDX-License-Identifier: Apache-2.0
//
// POP3 command lines as values. RFC 1939 §3 and §5 to §7; RFC 2449 (CAPA), RFC 2595 (STLS),
// RFC 5034 (AUTH). Whether a command is allowed now is ServerMachine's business.

import Bytes

/// Why a line is no command. The session goes on after each of them.
package enum CommandError: Error, Equatable, Sendable {
    /// Longer than the reader allows; it was discarded.
    case lineTooLong
    case emptyLine
    case unknownCommand
    /// Known, but its arguments are missing, too many or not what they should be.
    case syntax(Verb)
    /// Known, and deliberately not offered: APOP needs passwords in clear, LAST left with RFC 1725.
    case notOffered(Verb)
}

/// The name of a command, for replies and metrics.
package enum Verb: String, CaseIterable, Sendable {
    case user = "USER"
    case pass = "PASS"
    case apop = "APOP"
    case auth = "AUTH"
    case capa = "CAPA"
    case dele = "DELE"
    case last = "LAST"
    case list = "LIST"
    case noop = "NOOP"
    case quit = "QUIT"
    case retr = "RETR"
    case rset = "RSET"
    case stat = "STAT"
    case stls = "STLS"
    case top = "TOP"
    case uidl = "UIDL"
}

/// One POP3 command line, parsed.
package enum Command: Equatable, Sendable {
    /// The name, spaces and all (RFC 1939 §7).
    case user([UInt8])
    /// The password; spaces belong to it (RFC 1939 §7, PASS).
    case pass([UInt8])
    /// `AUTH` alone (nil) asks for the mechanisms, as clients from before RFC 5034 do. `initial` is
    /// still base64; `=` stands for an empty one.
    case auth(mechanism: [UInt8]?, initial: [UInt8]?)
    case capa, noop, quit, rset, stat, stls
    case list(Int?)
    case uidl(Int?)
    case retr(Int)
    case dele(Int)
    case top(Int, lines: Int)

    /// Octets of a command line that are read at most; RFC 2449 §4 promises 255 with CRLF.
    package static let lineLimit = 1_024
    /// Octets of a line inside an AUTH exchange (RFC 4954 §4 has the same figure).
    package static let responseLimit = 12_288

    package var verb: Verb {
        switch self {
        case .user: .user
        case .pass: .pass
        case .auth: .auth
        case .capa: .capa
        case .noop: .noop
        case .quit: .quit
        case .rset: .rset
        case .stat: .stat
        case .stls: .stls
        case .list: .list
        case .uidl: .uidl
        case .retr: .retr
        case .dele: .dele
        case .top: .top
        }
    }

    /// Parses one line.
    ///
    /// - Parameter line: without its line end.
    package init(_ line: Span<UInt8>) throws(CommandError) {
        var cursor = Cursor(line)
        guard !cursor.isAtEnd else { throw .emptyLine }
        let word = cursor.keyword()
        guard let verb = Verb(rawValue: word), cursor.isAtEnd || cursor.next == .space else {
            throw .unknownCommand
        }
        switch verb {
        case .user: self = .user(try cursor.rest(of: verb))
        case .pass: self = .pass(try cursor.rest(of: verb))
        case .auth: self = try cursor.auth()
        case .list: self = .list(try cursor.optionalNumber(of: verb))
        case .uidl: self = .uidl(try cursor.optionalNumber(of: verb))
        case .retr: self = .retr(try cursor.onlyNumber(of: verb))
        case .dele: self = .dele(try cursor.onlyNumber(of: verb))
        case .top:
            let message = try cursor.messageNumber(of: verb)
            guard cursor.skipSpaces() > 0, let lines = cursor.number(limit: .messageNumberLimit)
            else { throw .syntax(verb) }
            try cursor.end(of: verb)
            self = .top(message, lines: Int(lines))
        case .capa: self = try cursor.alone(.capa, verb)
        case .noop: self = try cursor.alone(.noop, verb)
        case .quit: self = try cursor.alone(.quit, verb)
        case .rset: self = try cursor.alone(.rset, verb)
        case .stat: self = try cursor.alone(.stat, verb)
        case .stls: self = try cursor.alone(.stls, verb)
        case .apop, .last: throw .notOffered(verb)
        }
    }
}

extension UInt64 {
    /// Message numbers and line counts above this are nonsense; it also fits an Int.
    fileprivate static let messageNumberLimit: UInt64 = 0xFFFF_FFFF
}

extension Cursor {
    fileprivate mutating func skipSpaces() -> Int { skip { $0 == .space } }

    /// Trailing spaces are forgiven, anything else is not.
    fileprivate mutating func end(of verb: Verb) throws(CommandError) {
        _ = skipSpaces()
        guard isAtEnd else { throw .syntax(verb) }
    }

    fileprivate mutating func alone(
        _ command: Command, _ verb: Verb
    ) throws(CommandError) -> Command {
        try end(of: verb)
        return command
    }

    /// Everything behind one space: at least one octet, no NUL (it separates fields in SASL) and no
    /// CR (it would end the line for somebody else).
    fileprivate mutating func rest(of verb: Verb) throws(CommandError) -> [UInt8] {
        guard take(.space) else { throw .syntax(verb) }
        let text = takeRest()
        guard !text.isEmpty, text.allSatisfy({ $0 != 0 && $0 != .cr }) else { throw .syntax(verb) }
        return text
    }

    fileprivate mutating func messageNumber(of verb: Verb) throws(CommandError) -> Int {
        guard skipSpaces() > 0, let value = number(limit: .messageNumberLimit) else {
            throw .syntax(verb)
        }
        return Int(value)
    }

    fileprivate mutating func onlyNumber(of verb: Verb) throws(CommandError) -> Int {
        let value = try messageNumber(of: verb)
        try end(of: verb)
        return value
    }

    fileprivate mutating func optionalNumber(of verb: Verb) throws(CommandError) -> Int? {
        let start = offset
        _ = skipSpaces()
        if isAtEnd { return nil }
        rewind(to: start)
        return try onlyNumber(of: verb)
    }

    /// `[SP mechanism [SP initial-response]]`, RFC 5034 §4.
    fileprivate mutating func auth() throws(CommandError) -> Command {
        _ = skipSpaces()
        if isAtEnd { return .auth(mechanism: nil, initial: nil) }
        // sasl-mech is 1 to 20 of these, RFC 4422 §3.1.
        let mechanism = take { $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D || $0 == 0x5F }
        guard (1...20).contains(mechanism.count) else { throw .syntax(.auth) }
        let name = mechanism.map(\.asciiUppercased)
        guard skipSpaces() > 0 else {
            try end(of: .auth)
            return .auth(mechanism: name, initial: nil)
        }
        let initial = take(while: \.isASCIIVisible)
        try end(of: .auth)
        return .auth(mechanism: name, initial: initial.isEmpty ? nil : initial)
    }
}
