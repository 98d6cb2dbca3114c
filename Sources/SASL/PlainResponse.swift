// SPDX-License-Identifier: Apache-2.0
//
// The one message of the PLAIN mechanism, RFC 4616 §2. SASLprep is not applied: names and
// passwords are compared as the octets they are.

import Bytes

/// A name and a password, as PLAIN (and LOGIN) carry them.
package struct PlainResponse: Equatable, Sendable {
    /// Who to act as; empty: whoever authenticates. Whether another's name is allowed is for the
    /// store to say, so it is passed on and never dropped.
    package var authorizationID: [UInt8]
    package var authenticationID: [UInt8]
    package var password: [UInt8]

    package init(authorizationID: [UInt8] = [], authenticationID: [UInt8], password: [UInt8]) {
        self.authorizationID = authorizationID
        self.authenticationID = authenticationID
        self.password = password
    }

    /// Parses `[authzid] NUL authcid NUL passwd`: exactly two NULs, valid UTF-8, a name and a
    /// password that are not empty.
    package init(_ message: [UInt8]) throws(SASLError) {
        guard message.count <= 2 * SASLLimits.identity + SASLLimits.password + 2 else {
            throw .tooLong
        }
        let parts = message.split(separator: 0, maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3, String(validating: message, as: UTF8.self) != nil,
            !parts[1].isEmpty, !parts[2].isEmpty
        else { throw .malformed }
        guard parts[0].count <= SASLLimits.identity, parts[1].count <= SASLLimits.identity,
            parts[2].count <= SASLLimits.password
        else { throw .tooLong }
        authorizationID = Array(parts[0])
        authenticationID = Array(parts[1])
        password = Array(parts[2])
    }

    /// Parses the line that a client sends, Base64 without its line end.
    package init(base64 line: Span<UInt8>) throws(SASLError) {
        try self.init(decoding(line))
    }
}

/// Undoes Base64 for both mechanisms; `*` alone is a cancellation (RFC 4954 §4).
func decoding(_ line: Span<UInt8>) throws(SASLError) -> [UInt8] {
    if line.count == 1, line[0] == 0x2A { throw .cancelled }
    do throws(Base64Error) {
        return try Base64.decode(line, limit: SASLLimits.line / 4 * 3)
    } catch .tooLong {
        throw .tooLong
    } catch {
        throw .encoding
    }
}
