// SPDX-License-Identifier: Apache-2.0
//
// POP3 status lines and response codes. RFC 1939 §3, RFC 2449 §8, RFC 3206.

import Bytes

/// The machine-readable reason in front of a reply's text.
package enum ResponseCode: String, Sendable {
    /// The maildrop is locked by another session (RFC 2449 §8.1.2).
    case inUse = "[IN-USE]"
    /// The credentials, or the lack of a way to give them, are the problem (RFC 3206 §5).
    case auth = "[AUTH]"
    /// Ours and temporary: the same again later may work (RFC 3206 §4).
    case systemTemporary = "[SYS/TEMP]"
    /// Ours, and somebody has to mend it (RFC 3206 §4).
    case systemPermanent = "[SYS/PERM]"
}

/// One status line. Lines of a multi-line answer follow it elsewhere.
package struct Reply: Equatable, Sendable {
    package let isPositive: Bool
    package let code: ResponseCode?
    /// Printable ASCII; nothing a client sent is ever repeated in it.
    package let text: String

    package static func ok(_ text: String) -> Reply {
        Reply(isPositive: true, code: nil, text: text)
    }

    package static func error(_ text: String, _ code: ResponseCode? = nil) -> Reply {
        Reply(isPositive: false, code: code, text: text)
    }

    /// The octets of the line, CRLF included; at most 512 (RFC 1939 §3).
    package var line: [UInt8] {
        var octets: [UInt8] = isPositive ? Array("+OK") : Array("-ERR")
        if let code {
            octets.append(.space)
            octets.append(code.rawValue)
        }
        if !text.isEmpty {
            octets.append(.space)
            octets.append(text)
        }
        octets.append(contentsOf: [.cr, .lf])
        return octets
    }
}

extension CommandError {
    /// What the client is told.
    package var reply: Reply {
        switch self {
        case .lineTooLong: .error("line too long")
        case .emptyLine: .error("empty command")
        case .unknownCommand: .error("unknown command")
        case .syntax(let verb): .error("bad arguments to \(verb.rawValue)")
        case .notOffered(let verb): .error("\(verb.rawValue) is not offered")
        }
    }
}
