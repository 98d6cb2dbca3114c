// SPDX-License-Identifier: Apache-2.0
//
// What one listener offers and demands, and the greeting and EHLO replies that say so.
// RFC 5321 §4.1.1.1, §4.2; RFC 1869; RFC 9422 (LIMITS).

import Bytes
import Mail

/// Settings of a session that its machine needs; fixed when the connection is accepted.
package struct ServerPolicy: Equatable, Sendable {
    package var hostname: [UInt8]
    /// Octets of a message (RFC 1870).
    package var sizeLimit: Int
    package var recipientLimit: Int
    /// There is a certificate, and the connection is not encrypted from its start.
    package var offersStartTLS: Bool
    /// Names of the mechanisms, capitals; empty: no AUTH at all.
    package var mechanisms: [[UInt8]]
    /// MAIL only after AUTH: submission (RFC 6409 §4.3).
    package var requiresAuthentication: Bool
    /// AUTH in clear: never but for development on loopback.
    package var allowsPlaintextAuthentication: Bool
    /// Nothing but the start of TLS before TLS (RFC 3207 §4).
    package var requiresEncryption = false
    /// The client is one of `xclient_hosts`.
    package var offersXCLIENT = false
    /// `dev_mode`: XDEBUG is there.
    package var isDevelopment = false
    /// Lines that are no command until the connection is closed.
    package var badCommandLimit = 20
    /// Refused commands until the connection is closed.
    package var errorLimit = 20
    /// Failed AUTH commands until the connection is closed.
    package var authenticationFailureLimit = 3
    /// Refused recipients until the connection is closed: whoever needs more is guessing.
    package var refusedRecipientLimit = 100
    /// Commands between two messages that bring none nearer, until the connection is closed; 0:
    /// as many as the client likes.
    package var idleCommandLimit = 0
    /// Octets of an envelope, as `Envelope.weight` counts them.
    package var envelopeLimit = Int.max

    package init(
        hostname: [UInt8], sizeLimit: Int, recipientLimit: Int, offersStartTLS: Bool,
        mechanisms: [[UInt8]], requiresAuthentication: Bool,
        allowsPlaintextAuthentication: Bool = false
    ) {
        self.hostname = hostname
        self.sizeLimit = sizeLimit
        self.recipientLimit = recipientLimit
        self.offersStartTLS = offersStartTLS
        self.mechanisms = mechanisms
        self.requiresAuthentication = requiresAuthentication
        self.allowsPlaintextAuthentication = allowsPlaintextAuthentication
    }

    /// The first words of the server.
    package var greeting: Reply {
        Reply(220, nil, lines: [hostname + Array(" ESMTP Martlet")])
    }

    /// The reply to HELO, or to EHLO with all that is offered now.
    func hello(
        _ client: [UInt8], isExtended: Bool, isEncrypted: Bool, offersAuth: Bool,
        isAuthenticated: Bool
    ) -> Reply {
        let first = hostname + Array(" Hello ") + client
        guard isExtended else { return Reply(250, nil, lines: [first]) }
        var lines = [
            first, Array("SIZE \(sizeLimit)"), Array("8BITMIME"), Array("PIPELINING"),
            Array("SMTPUTF8"), Array("ENHANCEDSTATUSCODES"), Array("CHUNKING"), Array("DSN"),
        ]
        if offersStartTLS, !isEncrypted { lines.append(Array("STARTTLS")) }
        if isEncrypted {
            // In clear the list is the one that the oldest clients know by heart.
            lines += [
                Array("REQUIRETLS"), Array("BINARYMIME"), Array("LIMITS RCPTMAX=\(recipientLimit)"),
            ]
        }
        if isAuthenticated { lines += [Array("DELIVERBY"), Array("MT-PRIORITY")] }
        if offersAuth { lines.append(Array("AUTH ") + mechanisms.joined(separator: [.space])) }
        if offersXCLIENT { lines.append(Array("XCLIENT \(ClientClaim.attributes)")) }
        lines.append(Array("HELP"))
        return Reply(250, nil, lines: lines)
    }
}
