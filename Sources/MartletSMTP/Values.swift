// SPDX-License-Identifier: Apache-2.0
//
// What the library's interfaces speak of: addresses, clients, transactions, verdicts.
// RFC 5321 §2.3.11, §4.2; RFC 3463; RFC 3461 §4.

import Bytes
import Mail
import SMTP
import SMTPServer
import Transport

/// A mailbox: `alice@example.org`.
///
/// Two addresses are equal if their domains are the same whatever their case or spelling (IDNA),
/// and their local parts are the same octets: what case means there is for their domain to say.
public struct Address: Hashable, Sendable, CustomStringConvertible {
    let wire: EmailAddress

    init(_ wire: EmailAddress) { self.wire = wire }

    /// Splits at the last `@`; nil without one, or with nothing on one side of it.
    public init?(_ text: String) {
        guard let wire = EmailAddress(splitting: Array(text.utf8)) else { return nil }
        self.wire = wire
    }

    /// What stands before the `@`, without quotes.
    public var local: String { String(decoding: wire.local, as: UTF8.self) }

    /// What stands behind the `@`: lower case, internationalized domains as A-labels.
    public var domain: String { String(decoding: wire.domain, as: UTF8.self) }

    /// `local@domain`, the local part in quotes if it needs them (RFC 5321 §4.1.2).
    public var description: String { String(decoding: wire.quoted, as: UTF8.self) }
}

/// Who is connected, as far as it is known at the moment of a call.
public struct Client: Sendable {
    /// Without port: `203.0.113.5`, `2001:db8::5`, or `unix`.
    public let address: String
    /// The client's port.
    public let port: Int
    /// The listener that accepted the connection.
    public let listener: String
    /// What the client calls itself in EHLO or HELO; empty before.
    public let name: String
    /// `TLSv1.3`, `TLSv1.2`; nil: the connection is not encrypted.
    public let tlsVersion: String?
    /// Who has logged in.
    public let account: Account?
    /// The session in the log's lines.
    public let session: String

    init(_ visitor: Visitor, _ account: Account?) {
        address = visitor.peer.text
        port = Int(visitor.peer.port)
        listener = visitor.listener
        name = String(decoding: visitor.name, as: UTF8.self)
        tlsVersion = visitor.tlsVersion
        self.account = account
        session = visitor.session.description
    }
}

/// A message on its way: what MAIL and RCPT have said so far.
public struct Transaction: Sendable {
    /// Who sends.
    public let client: Client
    /// Where reports go; nil: it is a report itself (`MAIL FROM:<>`).
    public let sender: Address?
    /// Octets that the client has announced with SIZE.
    public let announcedSize: Int?
    /// Recipients that were accepted before this call.
    public let recipients: [Address]

    init(_ client: Client, sender: ReversePath, size: Int?, recipients: [EmailAddress]) {
        self.client = client
        if case .address(let address) = sender {
            self.sender = Address(address)
        } else {
            self.sender = nil
        }
        announcedSize = size
        self.recipients = recipients.map { Address($0) }
    }
}

/// An answer to a client.
public enum Verdict: Sendable, Equatable {
    /// Go on. For a message: it is safe, and delivering it is the agent's duty from now on.
    case accept
    /// Not now (4xx) or never (5xx).
    case refuse(Refusal)

    /// The client keeps the message and tries again: `451 4.7.1`.
    public static func tryLater(_ text: String = "Try again later") -> Verdict {
        .refuse(Refusal(temporary: text))
    }

    /// The client gives up and tells its sender: `550 5.7.1`.
    public static func reject(_ text: String = "Rejected") -> Verdict {
        .refuse(Refusal(permanent: text))
    }

    /// There is no such mailbox: `550 5.1.1`.
    public static var unknownUser: Verdict {
        .refuse(Refusal(code: 550, status: (5, 1, 1), text: "No such user here"))
    }

    /// The address is elsewhere, and this client may not send there from here: `554 5.7.1`.
    public static var relayingDenied: Verdict {
        .refuse(Refusal(code: 554, status: (5, 7, 1), text: "Client host rejected: Access denied"))
    }

    var reply: Reply? {
        switch self {
        case .accept: nil
        case .refuse(let refusal): refusal.reply
        }
    }
}

/// A reply that says no.
public struct Refusal: Error, Sendable, Equatable {
    let reply: Reply

    /// A reply of its own.
    ///
    /// - Parameters:
    ///   - code: 400 to 599. Anything else is a mistake in the calling program and ends it.
    ///   - status: the enhanced status (RFC 3463); its first number is the code's.
    ///   - text: one line; what cannot stand in a line is replaced.
    public init(code: Int, status: (Int, Int, Int), text: String) {
        precondition((400...599).contains(code), "a refusal is a code of 400 to 599, not \(code)")
        precondition(
            status.0 == code / 100 && (0...999).contains(status.1) && (0...999).contains(status.2),
            "\(status) is no status for \(code)")
        // RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets.
        reply = Reply(
            UInt16(code), EnhancedStatus(UInt8(status.0), UInt16(status.1), UInt16(status.2)),
            lines: [Array(text.utf8.prefix(480))])
    }

    /// `451 4.7.1`.
    public init(temporary text: String) { self.init(code: 451, status: (4, 7, 1), text: text) }

    /// `550 5.7.1`.
    public init(permanent text: String) { self.init(code: 550, status: (5, 7, 1), text: text) }

    /// The whole reply: `550 5.7.1 Rejected`.
    public var text: String { String(decoding: reply.summary, as: UTF8.self) }
}

/// A name and password that a client has sent.
public struct Credentials: Sendable {
    /// The name, as it came.
    public let name: String
    /// The password, as it came.
    public let password: String
    /// As whom to act, if the client asked to be somebody else (RFC 4616); most never do.
    public let authorization: String?
    /// Who asks; nobody is logged in yet.
    public let client: Client
}

/// Somebody who has logged in.
public struct Account: Sendable, Hashable {
    /// The account's name for logs, and the one address it may send from unless the provider
    /// knows more.
    public let address: Address

    /// An account by its address.
    public init(_ address: Address) { self.address = address }
}

/// What a sender asked for beside the delivery (RFC 3461, RFC 6531, RFC 8689, RFC 6710, RFC 2852).
/// An agent that only stores mail may ignore all of it; one that sends it on must not.
public struct Terms: Sendable, Hashable {
    let wire: EnvelopeTerms

    /// The message has octets above 127 (8BITMIME).
    public var isEightBit: Bool { wire.body != .sevenBit }
    /// Addresses or header fields may be UTF-8 (SMTPUTF8).
    public var isInternational: Bool { wire.isInternational }
    /// It may only travel over TLS (REQUIRETLS).
    public var requiresTLS: Bool { wire.requiresTLS }
    /// ENVID, for reports.
    public var envelopeID: String? {
        wire.envelopeID.map { String(decoding: $0, as: UTF8.self) }
    }
    /// A report of failure brings back the header only (RET=HDRS); nil: nothing was said.
    public var returnsHeadersOnly: Bool? { wire.ret.map { $0 == .headers } }
    /// -9 to 9 (MT-PRIORITY).
    public var priority: Int? { wire.priority.map { Int($0) } }
    /// Seconds from the transaction until it must be delivered (DELIVERBY).
    public var deliverBySeconds: Int? { wire.deliverBy.map { Int($0.seconds) } }
    /// Given back when that time is over, and not only reported as late.
    public var deliverByReturns: Bool { wire.deliverBy?.mode == .return }
}

/// One recipient of a message, with what RCPT asked for.
public struct Recipient: Sendable, Hashable {
    /// When the sender wants to hear of this recipient (RFC 3461 §4.1).
    public struct Notify: OptionSet, Sendable, Hashable {
        /// The bits.
        public let rawValue: UInt8

        /// From bits.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// When it was delivered.
        public static let success = Notify(rawValue: 1)
        /// When it cannot be delivered.
        public static let failure = Notify(rawValue: 2)
        /// When it takes long.
        public static let delay = Notify(rawValue: 4)
    }

    /// The address of RCPT.
    public let address: Address
    /// Nil: nothing was said. Empty: NEVER.
    public let notify: Notify?
    /// ORCPT as `rfc822;bob@example.org`.
    public let originalRecipient: String?

    init(_ address: EmailAddress, _ terms: RecipientTerms) {
        self.address = Address(address)
        notify = terms.notify.map { Notify(rawValue: $0.rawValue) }
        originalRecipient = terms.original.map {
            String(decoding: $0.type + [0x3B] + $0.address, as: UTF8.self)
        }
    }
}
