// SPDX-License-Identifier: Apache-2.0
//
// The attributes of XCLIENT: what a proxy says about its client (postfix.org, XCLIENT_README).
// Values are xtext (RFC 3461 §4).

import Bytes
import Network

/// What a trusted proxy says. Nil: it did not say, or does not know.
package struct ClientClaim: Equatable, Sendable {
    package var address: IPAddress?
    package var port: UInt16?
    package var name: [UInt8]?
    package var hello: [UInt8]?

    /// As EHLO lists them. LOGIN is not among them: only the store knows who somebody is.
    package static let attributes = "NAME ADDR PORT PROTO HELO"

    package init(
        address: IPAddress? = nil, port: UInt16? = nil, name: [UInt8]? = nil,
        hello: [UInt8]? = nil
    ) {
        self.address = address
        self.port = port
        self.name = name
        self.hello = hello
    }

    /// `1*( name "=" value )`, each attribute at most once.
    init(_ cursor: inout Cursor) throws(CommandError) {
        var seen: [String] = []
        repeat {
            let name = cursor.keyword()
            guard ["NAME", "ADDR", "PORT", "PROTO", "HELO"].contains(name), !seen.contains(name),
                cursor.take(0x3D)
            else { throw .syntax(.xclient) }
            seen.append(name)
            let text = cursor.take { $0 > 0x20 && $0 < 0x7F && $0 != 0x3D }
            guard let value = Xtext.decoded(text), !value.isEmpty else { throw .syntax(.xclient) }
            if !Self.isUnknown(value) { try set(name, value) }
        } while cursor.skip(while: { $0 == .space }) > 0 && !cursor.isAtEnd
        guard cursor.isAtEnd else { throw .syntax(.xclient) }
    }

    private mutating func set(_ attribute: String, _ value: [UInt8]) throws(CommandError) {
        switch attribute {
        case "ADDR":
            let isTagged = value.prefix(5).elementsEqual("IPV6:".utf8) { $0.asciiUppercased == $1 }
            guard let address = IPAddress(isTagged ? Array(value.dropFirst(5)) : value),
                !isTagged || value.dropFirst(5).contains(0x3A)
            else { throw .syntax(.xclient) }
            self.address = address
        case "PORT":
            guard (1...5).contains(value.count), value.allSatisfy(\.isASCIIDigit),
                let port = UInt16(String(decoding: value, as: UTF8.self))
            else { throw .syntax(.xclient) }
            self.port = port
        case "PROTO":
            let word = String(decoding: value.map(\.asciiUppercased), as: UTF8.self)
            guard word == "SMTP" || word == "ESMTP" else { throw .syntax(.xclient) }
        case "NAME": name = try Self.name(value)
        default: hello = try Self.name(value)
        }
    }

    private static func name(_ value: [UInt8]) throws(CommandError) -> [UInt8] {
        guard value.count <= Path.domainLimit, value.allSatisfy(\.isASCIIVisible) else {
            throw .syntax(.xclient)
        }
        return value
    }

    private static func isUnknown(_ value: [UInt8]) -> Bool {
        ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].contains {
            value.equalsIgnoringASCIICase(Array($0.utf8))
        }
    }
}
