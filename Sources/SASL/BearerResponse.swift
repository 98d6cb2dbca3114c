// SPDX-License-Identifier: Apache-2.0
//
// A token instead of a password: OAUTHBEARER (RFC 7628 §3.1) and its forerunner XOAUTH2 of Google
// and Microsoft.

import Bytes

package struct BearerResponse: Equatable, Sendable {
    /// Empty: whoever the token is for.
    package var name: [UInt8]
    package var token: [UInt8]

    private static let tokenLimit = 8_192
    private static let pairLimit = 16

    package init(name: [UInt8], token: [UInt8]) {
        self.name = name
        self.token = token
    }

    /// `n,a=user@example.com,^Ahost=...^Aport=...^Aauth=Bearer TOKEN^A^A`.
    init(oauthBearer message: [UInt8]) throws(SASLError) {
        var parts = message.split(
            separator: 1, maxSplits: Self.pairLimit, omittingEmptySubsequences: false)
        guard parts.count >= 3 else { throw .malformed }
        let header = parts.removeFirst().split(separator: 0x2C, omittingEmptySubsequences: false)
        // A channel binding is not defined for it.
        guard header.count == 3, header[2].isEmpty,
            header[0].elementsEqual("n".utf8) || header[0].elementsEqual("y".utf8)
        else { throw .malformed }
        name = []
        if !header[1].isEmpty {
            guard header[1].starts(with: "a=".utf8), header[1].count > 2 else { throw .malformed }
            name = Array(header[1].dropFirst(2))
            guard !name.contains(0x3D) else { throw .malformed }
        }
        token = try Self.token(parts)
        try check()
    }

    /// `user=user@example.com^Aauth=Bearer TOKEN^A^A`.
    init(xoauth2 message: [UInt8]) throws(SASLError) {
        var parts = message.split(
            separator: 1, maxSplits: Self.pairLimit, omittingEmptySubsequences: false)
        guard parts.count >= 3, parts[0].starts(with: "user=".utf8), parts[0].count > 5 else {
            throw .malformed
        }
        name = Array(parts.removeFirst().dropFirst(5))
        token = try Self.token(parts)
        try check()
    }

    /// The pairs behind the header; they end with two empty ones.
    private static func token(_ pairs: [ArraySlice<UInt8>]) throws(SASLError) -> [UInt8] {
        guard pairs.count <= pairLimit, pairs.suffix(2).allSatisfy(\.isEmpty) else {
            throw .malformed
        }
        var token: [UInt8]?
        for pair in pairs.dropLast(2) {
            guard let equals = pair.firstIndex(of: 0x3D), equals > pair.startIndex else {
                throw .malformed
            }
            guard pair[..<equals].elementsEqual("auth".utf8) else { continue }
            let value = pair[(equals + 1)...]
            let scheme = Array("bearer ")
            guard token == nil, value.count > scheme.count,
                Array(value.prefix(scheme.count)).equalsIgnoringASCIICase(scheme)
            else { throw .malformed }
            token = Array(value.dropFirst(scheme.count))
        }
        guard let token else { throw .malformed }
        return token
    }

    private func check() throws(SASLError) {
        guard name.count <= SASLLimits.identity, token.count <= Self.tokenLimit else {
            throw .tooLong
        }
        // RFC 6750 §2.1: b64token.
        let marks = Array("-._~+/=")
        guard !token.isEmpty, String(validating: name, as: UTF8.self) != nil, !name.contains(0),
            token.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || marks.contains($0) })
        else { throw .malformed }
    }
}
