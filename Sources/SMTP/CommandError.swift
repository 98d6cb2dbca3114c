// SPDX-License-Identifier: Apache-2.0
//
// What can be wrong with a command line, and the reply to it. RFC 5321 §4.2.2, §4.2.4; RFC 3463.

import Bytes

/// Why a line is not a command that we carry out.
package enum CommandError: Error, Equatable, Sendable {
    case unrecognized
    /// Known, but not offered: EXPN, XFORWARD, ...
    case notImplemented
    case lineTooLong
    /// Control characters (a lone CR or LF among them), or octets that are not UTF-8.
    case illegalOctet
    /// The arguments of `verb`.
    case syntax(Usage)
    case senderSyntax
    case recipientSyntax
    /// A MAIL or RCPT parameter that was not offered.
    case unknownParameter
    /// A known parameter with a bad value, or twice.
    case badParameter
    /// HELP for something that is no command.
    case noSuchTopic
    /// BDAT without a readable size: what follows cannot be told from commands any more.
    case chunkSize

    /// Commands whose arguments have a form.
    package enum Usage: String, Sendable {
        case hello = "HELO hostname"
        case extendedHello = "EHLO hostname"
        case mail = "MAIL FROM:<address> [parameters]"
        case rcpt = "RCPT TO:<address> [parameters]"
        case data = "DATA"
        case rset = "RSET"
        case quit = "QUIT"
        case startTLS = "STARTTLS"
        case vrfy = "VRFY address"
        case auth = "AUTH mechanism [initial-response]"
        case xclient = "XCLIENT attribute=value [attribute=value ...]"
        case xdebug = "XDEBUG"
    }

    package var reply: Reply {
        switch self {
        case .unrecognized: Reply(500, (5, 5, 2), "Command not recognized")
        case .notImplemented: Reply(502, (5, 5, 1), "Command not implemented")
        case .lineTooLong: Reply(500, (5, 5, 2), "Line too long")
        case .illegalOctet: Reply(500, (5, 5, 2), "Illegal character in command")
        case .syntax(let usage): Reply(501, (5, 5, 4), "Syntax: \(usage.rawValue)")
        case .senderSyntax: Reply(501, (5, 1, 7), "Bad sender address syntax")
        case .recipientSyntax: Reply(501, (5, 1, 3), "Bad recipient address syntax")
        case .unknownParameter: Reply(555, (5, 5, 4), "Parameter not recognized or not implemented")
        case .badParameter: Reply(501, (5, 5, 4), "Bad parameter")
        case .noSuchTopic: Reply(504, (5, 5, 4), "No help for that: send HELP alone")
        case .chunkSize: Reply(501, (5, 5, 4), "Syntax: BDAT size [LAST]; closing connection")
        }
    }
}
