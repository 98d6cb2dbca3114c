// SPDX-License-Identifier: Apache-2.0
//
// Why an exchange ended without a name and a password. RFC 4422 §3; each protocol words it its way.

/// What is wrong with what the client sent.
package enum SASLError: Error, Equatable, Sendable {
    /// The client sent `*`: 501 (RFC 4954 §4), tagged BAD (RFC 9051 §6.2.2), -ERR (RFC 5034 §4).
    case cancelled
    /// Not Base64.
    case encoding
    /// A response, a name or a password longer than allowed.
    case tooLong
    /// Base64, but not what the mechanism wants: NULs missing or too many, an empty name or
    /// password, not UTF-8.
    case malformed
}

/// Limits on what a client may send.
package enum SASLLimits {
    /// Octets of one Base64 line that a protocol has to read (RFC 4954 §4).
    package static let line = 12_288
    /// Octets of a name, decoded: any address; RFC 4616 wants at least 255.
    package static let identity = 320
    /// Octets of a password, decoded.
    package static let password = 1_024
}
