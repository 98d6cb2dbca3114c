// SPDX-License-Identifier: Apache-2.0
//
// Replies of the server: a code, an enhanced status and one or more lines. RFC 5321 §4.2, §4.2.1;
// RFC 2034 §4 (the status stands in every line, and only in 2xx, 4xx and 5xx replies).

import Bytes
import Mail

/// One reply, ready to be sent. Frequent ones are made once: writing them allocates nothing.
package struct Reply: Equatable, Sendable {
    package let code: UInt16
    /// As it goes over the wire, with CRLF behind every line.
    package let octets: [UInt8]

    /// - Parameter lines: at least one. Octets that would end a line become `?`.
    package init(_ code: UInt16, _ status: EnhancedStatus?, lines: [[UInt8]]) {
        self.code = code
        var octets: [UInt8] = []
        let prefix = status.map { Array($0.description) + [.space] } ?? []
        for (number, line) in lines.enumerated() {
            octets.appendDecimal(code)
            octets.append(number == lines.count - 1 ? .space : 0x2D)
            octets += prefix
            octets += line.map { $0 < 0x20 || $0 == 0x7F ? 0x3F : $0 }
            octets += [.cr, .lf]
        }
        self.octets = octets
    }

    package init(_ code: UInt16, _ status: (UInt8, UInt16, UInt16)?, _ text: String) {
        let status = status.map { EnhancedStatus($0.0, $0.1, $0.2) }
        self.init(code, status, lines: [Array(text)])
    }

    package var isPositive: Bool { code < 400 }
    package var isTemporary: Bool { (400..<500).contains(code) }

    /// The first line without its end, for logs.
    package var summary: [UInt8] { Array(octets.prefix { $0 != .cr }) }
}

extension Reply {
    package static let senderOK = Reply(250, (2, 1, 0), "OK")
    package static let recipientOK = Reply(250, (2, 1, 5), "OK")
    package static let ok = Reply(250, (2, 0, 0), "OK")
    package static let bye = Reply(221, (2, 0, 0), "Bye")
    package static let startMail = Reply(354, nil, "Start mail input; end with <CRLF>.<CRLF>")
    package static let readyForTLS = Reply(220, (2, 0, 0), "Ready to start TLS")
    package static let authenticated = Reply(235, (2, 7, 0), "Authentication succeeded")
    package static let cannotVerify = Reply(
        252, (2, 5, 0), "Cannot verify, but will accept the message and attempt delivery")

    package static let badSequence = Reply(503, (5, 5, 1), "Bad sequence of commands")
    package static let helloFirst = Reply(503, (5, 5, 1), "Send HELO or EHLO first")
    package static let noMail = Reply(503, (5, 5, 1), "Bad sequence of commands: MAIL first")
    package static let nested = Reply(503, (5, 5, 1), "Bad sequence of commands: nested MAIL")
    package static let noRecipients = Reply(
        503, (5, 5, 1), "Bad sequence of commands: no valid recipients")
    package static let insideChunks = Reply(
        503, (5, 5, 1), "Bad sequence of commands: BDAT in progress")
    package static let binaryNeedsChunks = Reply(
        503, (5, 5, 1), "Bad sequence of commands: BINARYMIME needs BDAT")
    package static let nullByte = Reply(550, (5, 6, 0), "Message contains a NUL octet")
    package static let tooLarge = Reply(552, (5, 3, 4), "Message size exceeds the limit")
    package static let tooManyRecipients = Reply(452, (4, 5, 3), "Too many recipients")
    package static let tooManyErrors = Reply(421, (4, 7, 0), "Too many errors, closing connection")
    package static let tooManyCommands = Reply(
        421, (4, 7, 0), "Too many commands without a message, closing connection")
    package static let notASCII = Reply(553, (5, 6, 7), "Non-ASCII address needs SMTPUTF8")
    package static let bareNewline = Reply(
        550, (5, 6, 11), "Message contains a bare CR or LF: lines must end with CRLF")
    package static let loop = Reply(554, (5, 4, 6), "Too many hops: routing loop detected")
    package static let startTLSFirst = Reply(
        530, (5, 7, 0), "Must issue a STARTTLS command first")
    /// RFC 8689 §4.1: the sender learns that this hop does not do it, as it is.
    package static let requireTLSInClear = Reply(530, (5, 7, 4), "REQUIRETLS needs TLS")
    package static let authenticationRequired = Reply(
        530, (5, 7, 0), "Authentication required")
    package static let encryptionRequired = Reply(
        538, (5, 7, 11), "Encryption required for requested authentication mechanism")
    package static let unknownMechanism = Reply(
        504, (5, 5, 4), "Unrecognized authentication mechanism")
    package static let alreadyTLS = Reply(503, (5, 5, 1), "TLS already active")
    package static let alreadyAuthenticated = Reply(503, (5, 5, 1), "Already authenticated")
}
