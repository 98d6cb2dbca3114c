// SPDX-License-Identifier: Apache-2.0
//
// What a sender asks for beside the delivery itself: values that SMTP reads, the wire carries and
// the store keeps. RFC 3461 (DSN), RFC 3030 (BODY), RFC 6531 (SMTPUTF8), RFC 8689 (REQUIRETLS),
// RFC 6710 (MT-PRIORITY), RFC 2852 (DELIVERBY).

/// What the octets of a message are, as the sender declared them (RFC 6152 §2, RFC 3030 §3).
package enum BodyKind: UInt8, CaseIterable, Sendable {
    case sevenBit = 0
    case eightBit = 1
    case binary = 2
}

/// How much of a message a report of failure brings back (RFC 3461 §4.3).
package enum ReturnContent: UInt8, CaseIterable, Sendable {
    case full = 0
    case headers = 1
}

/// When a sender wants to hear of a recipient; none of them is NEVER (RFC 3461 §4.1).
package struct NotifyConditions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let success = NotifyConditions(rawValue: 1)
    package static let failure = NotifyConditions(rawValue: 2)
    package static let delay = NotifyConditions(rawValue: 4)
    package static let all: NotifyConditions = [.success, .failure, .delay]
}

/// Whom the sender of a message thought to be writing to (RFC 3461 §4.2).
package struct OriginalRecipient: Hashable, Sendable {
    /// `rfc822`, `utf-8`, ...: letters, digits and hyphens.
    package var type: [UInt8]
    /// Without its xtext encoding; no control characters.
    package var address: [UInt8]

    package static let typeLimit = 32
    /// Octets of the address (RFC 3461 §4.2: the parameter has at most 500).
    package static let addressLimit = 500

    package init(type: [UInt8], address: [UInt8]) {
        self.type = type
        self.address = address
    }
}

/// What RCPT asked for beside the recipient.
package struct RecipientTerms: Hashable, Sendable {
    /// Nil if nothing was said: failures only, and delays if the server likes.
    package var notify: NotifyConditions?
    package var original: OriginalRecipient?

    package init(notify: NotifyConditions? = nil, original: OriginalRecipient? = nil) {
        self.notify = notify
        self.original = original
    }

    package var isPlain: Bool { notify == nil && original == nil }
}

/// By when a message must be delivered (RFC 2852 §4).
package struct DeliverBy: Hashable, Sendable {
    package enum Mode: UInt8, CaseIterable, Sendable {
        /// Go on trying, but say that it is late.
        case notify = 0
        /// Give it back.
        case `return` = 1
    }

    /// From now; not positive: it is late already.
    package var seconds: Int32
    package var mode: Mode
    /// Relays report that they passed it on.
    package var isTraced: Bool

    package init(seconds: Int32, mode: Mode, isTraced: Bool = false) {
        self.seconds = seconds
        self.mode = mode
        self.isTraced = isTraced
    }
}

/// What MAIL asked for beside the sender.
package struct EnvelopeTerms: Hashable, Sendable {
    package var body = BodyKind.sevenBit
    /// SMTPUTF8 (RFC 6531 §3.4).
    package var isInternational = false
    /// Only ever over TLS to servers that promise the same (RFC 8689 §2).
    package var requiresTLS = false
    package var ret: ReturnContent?
    /// ENVID without its xtext encoding; printable ASCII (RFC 3461 §4.4).
    package var envelopeID: [UInt8]?
    /// -9 to 9 (RFC 6710 §2).
    package var priority: Int8?
    package var deliverBy: DeliverBy?
    /// The sender is known to be who it says, so reports may go there.
    package var mayReport = false

    /// Octets of ENVID (RFC 3461 §4.4).
    package static let envelopeIDLimit = 100

    package init() {}

    /// Nothing that must be kept with the message.
    package var isPlain: Bool {
        !requiresTLS && ret == nil && envelopeID == nil && priority == nil && deliverBy == nil
    }
}
