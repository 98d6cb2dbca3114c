// SPDX-License-Identifier: Apache-2.0
//
// What an address leads to and how much an account may keep: values that the store, the wire and
// mailctl share. RFC 5321 §3.9 (aliases), §4.5.1 (postmaster); RFC 9208 (quota); docs/store.md.

/// Whether an account may be used.
package enum AccountStanding: UInt8, CaseIterable, Sendable {
    case active = 0
    /// Nobody can log in; mail is still taken.
    case loginDisabled = 1
    /// Nobody can log in and mail is refused.
    case disabled = 2
}

/// How much mail an account may keep; 0: as much as there is room for.
package struct QuotaLimits: Equatable, Sendable {
    package var octets: UInt64
    package var messages: UInt64

    package init(octets: UInt64 = 0, messages: UInt64 = 0) {
        self.octets = octets
        self.messages = messages
    }

    package var isUnlimited: Bool { octets == 0 && messages == 0 }

    /// Whether `usage` and `count` messages of `size` octets together stay inside.
    package func allow(_ count: UInt64, _ size: UInt64, beside usage: MailUsage) -> Bool {
        let total = usage.octets.addingReportingOverflow(size)
        let number = usage.messages.addingReportingOverflow(count)
        return (octets == 0 || !total.overflow && total.partialValue <= octets)
            && (messages == 0 || !number.overflow && number.partialValue <= messages)
    }
}

/// Limits as they were set for one account or domain: nil is what the domain, or mail.toml, says.
package struct QuotaSetting: Equatable, Sendable {
    package var octets: UInt64?
    package var messages: UInt64?

    package init(octets: UInt64? = nil, messages: UInt64? = nil) {
        self.octets = octets
        self.messages = messages
    }

    /// What is in force if `fallback` is what lies behind.
    package func over(_ fallback: QuotaLimits) -> QuotaLimits {
        QuotaLimits(octets: octets ?? fallback.octets, messages: messages ?? fallback.messages)
    }
}

/// What an account keeps, over all its mailboxes.
package struct MailUsage: Hashable, Sendable {
    package var octets: UInt64
    package var messages: UInt64
    package var mailboxes: UInt32

    package init(octets: UInt64 = 0, messages: UInt64 = 0, mailboxes: UInt32 = 0) {
        self.octets = octets
        self.messages = messages
        self.mailboxes = mailboxes
    }

    package mutating func add(_ more: MailUsage) {
        octets += more.octets
        messages += more.messages
        mailboxes += more.mailboxes
    }
}

/// An address whose mail goes elsewhere. An empty local-part is the rest of the domain: whatever
/// is neither account nor alias there (catch-all).
package struct Alias: Hashable, Sendable {
    package var address: EmailAddress
    package var targets: [EmailAddress]

    package static let targetLimit = 1_000

    package init(address: EmailAddress, targets: [EmailAddress]) {
        self.address = address
        self.targets = targets
    }

    package var isCatchAll: Bool { address.local.isEmpty }
}

/// Why an alias, a domain or a right to send cannot be as it was asked for. `address` is what was
/// to be changed, `target` where it would lead.
package struct AddressProblem: Error, Hashable, Sendable {
    package enum Kind: UInt8, CaseIterable, Sendable {
        /// The alias would lead to itself.
        case loop = 0
        /// The target is not on this server; mail is not sent to others yet.
        case remoteTarget = 1
        /// Neither account nor alias.
        case unknownTarget = 2
        /// More than 1,000 accounts, or aliases of aliases more than 16 deep.
        case tooMany = 3
        /// The domain of the alias is not served here.
        case notOurDomain = 4
        /// The domain only stands for another one and has no addresses of its own.
        case aliasDomain = 5
        case noSuchAlias = 6
        /// Not something that can be an address or a domain.
        case badAddress = 7
        /// The domain has accounts, aliases or alias domains of its own.
        case domainInUse = 8
        /// An account or alias of this name is there already.
        case exists = 9
    }

    package var kind: Kind
    package var address: EmailAddress
    package var target: EmailAddress?

    package init(_ kind: Kind, _ address: EmailAddress, target: EmailAddress? = nil) {
        self.kind = kind
        self.address = address
        self.target = target
    }
}

/// One line of the answer to "where does mail for this address end?", depth first.
package struct ExpansionStep: Hashable, Sendable {
    package enum Outcome: UInt8, CaseIterable, Sendable {
        /// Its targets follow, one deeper; so with the next four.
        case alias = 0
        case aliasDomain = 1
        case catchAll = 2
        /// postmaster or abuse without an address of its own.
        case postmaster = 3
        case subaddress = 4
        /// Mail ends here.
        case account = 5
        case disabled = 6
        case unknown = 7
        case remote = 8
        /// It was met before and counts once.
        case repeated = 9
        /// Not followed any further.
        case tooDeep = 10
    }

    package var depth: UInt8
    package var address: EmailAddress
    package var outcome: Outcome

    package init(depth: UInt8, address: EmailAddress, outcome: Outcome) {
        self.depth = depth
        self.address = address
        self.outcome = outcome
    }
}
