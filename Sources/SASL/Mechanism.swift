// SPDX-License-Identifier: Apache-2.0
//
// The mechanisms that the suite knows. RFC 4422 §3.1; each one's own RFC is in its own file.

import Bytes

/// A mechanism, by its registered name.
package enum Mechanism: String, CaseIterable, Sendable {
    case plain = "PLAIN"
    case login = "LOGIN"
    case scramSHA256Plus = "SCRAM-SHA-256-PLUS"
    case scramSHA256 = "SCRAM-SHA-256"
    case scramSHA1Plus = "SCRAM-SHA-1-PLUS"
    case scramSHA1 = "SCRAM-SHA-1"
    case cramMD5 = "CRAM-MD5"
    case external = "EXTERNAL"
    case oauthBearer = "OAUTHBEARER"
    case xoauth2 = "XOAUTH2"

    /// By name in any case.
    package init?(name: [UInt8]) {
        for mechanism in Self.allCases
        where Array(mechanism.rawValue).equalsIgnoringASCIICase(name) {
            self = mechanism
            return
        }
        return nil
    }

    /// As mail.toml writes it.
    package var word: String { rawValue.lowercased() }

    /// Those of mail.toml that can be used on one connection, in that order.
    package static func offered(
        _ words: [String], isTLS: Bool, hasCertificateName: Bool
    ) -> [Mechanism] {
        words.compactMap { word in allCases.first { $0.word == word } }.filter { mechanism in
            switch mechanism {
            // Without TLS there is nothing to bind to (RFC 5802 §6).
            case .scramSHA256Plus, .scramSHA1Plus: isTLS
            case .external: hasCertificateName
            default: true
            }
        }
    }
}

/// What identifies the TLS connection under an exchange, by the names of RFC 5056's registry.
package struct ChannelBindings: Equatable, Sendable {
    /// RFC 9266; empty: not to be had.
    package var exporter: [UInt8]
    /// RFC 5929 §4; empty: not to be had.
    package var serverEndPoint: [UInt8]

    package init(exporter: [UInt8] = [], serverEndPoint: [UInt8] = []) {
        self.exporter = exporter
        self.serverEndPoint = serverEndPoint
    }

    func data(_ name: ArraySlice<UInt8>) -> [UInt8]? {
        if name.elementsEqual("tls-exporter".utf8), !exporter.isEmpty { return exporter }
        if name.elementsEqual("tls-server-end-point".utf8), !serverEndPoint.isEmpty {
            return serverEndPoint
        }
        return nil
    }
}
