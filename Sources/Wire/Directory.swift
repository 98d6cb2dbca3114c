// SPDX-License-Identifier: Apache-2.0
//
// Addresses, rights and quota on the control door: what is asked, what is answered, and how both
// become octets. docs/wire.md.

import Mail

/// What `changeAliases` does with the rows it carries.
package enum AliasEdit: UInt8, CaseIterable, Sendable {
    /// More targets for each address.
    case add = 0
    /// These targets and no others.
    case replace = 1
    /// Without targets: the whole alias.
    case remove = 2
}

package enum AccountSetting: Equatable, Sendable {
    case state(AccountStanding)
    /// Nil: what the domain says; 0: no limit.
    case octets(UInt64?)
    case messages(UInt64?)
    /// An address, or (empty local-part) all of a domain, as which the account may send.
    case addSender(EmailAddress)
    case removeSender(EmailAddress)
}

package enum DomainSetting: Equatable, Sendable {
    /// It stands for this domain from now on; empty: for itself.
    case aliasOf([UInt8])
    /// Nil: what mail.toml says; 0: no limit.
    case octets(UInt64?)
    case messages(UInt64?)
}

package enum DirectoryRequest: Equatable, Sendable {
    /// All or none. `force`: targets need not exist yet.
    case changeAliases([Alias], AliasEdit, force: Bool)  // .done or .problem
    case listAliases(domain: [UInt8])  // .aliases; empty: all
    case expand(EmailAddress)  // .expansion
    case listDomains  // .domains
    case setDomain([UInt8], DomainSetting)  // .done or .problem
    /// `exact`: what is not known yet is counted, which takes time.
    case listAccounts(domain: [UInt8], exact: Bool)  // .accounts; empty: all
    case showAccount(EmailAddress)  // .accounts with one row, counted now
    case setAccount(EmailAddress, AccountSetting)  // .done or .problem
    /// Counts the messages again, one by one.
    case recount(EmailAddress)  // .accounts with one row
    /// `keepAlias`: mail for the old address still arrives.
    case renameAccount(EmailAddress, to: EmailAddress, keepAlias: Bool)  // .done or .problem
    /// With all that is in it. `keepAlias`: the old name stands for the new one.
    case renameDomain([UInt8], to: [UInt8], keepAlias: Bool)  // .done or .problem
}

package struct DomainDetails: Equatable, Sendable {
    package var name: [UInt8]
    package var accounts: UInt32
    package var aliases: UInt32
    /// Named in mail.toml.
    package var isConfigured: Bool
    /// The domain it stands for; empty: itself.
    package var aliasOf: [UInt8]
    package var quota: QuotaSetting
    package var catchAll: [EmailAddress]

    package init(
        name: [UInt8], accounts: UInt32, aliases: UInt32, isConfigured: Bool, aliasOf: [UInt8],
        quota: QuotaSetting, catchAll: [EmailAddress]
    ) {
        self.name = name
        self.accounts = accounts
        self.aliases = aliases
        self.isConfigured = isConfigured
        self.aliasOf = aliasOf
        self.quota = quota
        self.catchAll = catchAll
    }
}

package struct AccountDetails: Equatable, Sendable {
    package var address: EmailAddress
    package var created: SecondsSince1970
    package var state: AccountStanding
    /// Nil: never counted.
    package var usage: MailUsage?
    /// What was set for this account.
    package var quota: QuotaSetting
    /// What is in force.
    package var limits: QuotaLimits
    package var senders: [EmailAddress]

    package init(
        address: EmailAddress, created: SecondsSince1970, state: AccountStanding, usage: MailUsage?,
        quota: QuotaSetting, limits: QuotaLimits, senders: [EmailAddress]
    ) {
        self.address = address
        self.created = created
        self.state = state
        self.usage = usage
        self.quota = quota
        self.limits = limits
        self.senders = senders
    }
}

package enum DirectoryReply: Equatable, Sendable {
    case aliases([Alias])
    case expansion([ExpansionStep])
    case domains([DomainDetails])
    case accounts([AccountDetails])
    /// Nothing was changed.
    case problem(AddressProblem)
    /// The answer to `quota` on the mailbox door.
    case quota(MailUsage, QuotaLimits)
    /// The answer to `deletedSize`.
    case octets(UInt64)
}

extension DirectoryRequest {
    var code: RequestCode {
        switch self {
        case .changeAliases: .changeAliases
        case .listAliases: .listAliases
        case .expand: .expand
        case .listDomains: .listDomainDetails
        case .setDomain: .setDomain
        case .listAccounts: .listAccountDetails
        case .showAccount: .showAccount
        case .setAccount: .setAccount
        case .recount: .recount
        case .renameAccount: .renameAccount
        case .renameDomain: .renameDomain
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .changeAliases(let rows, let edit, let force):
            encoder.put(list: rows, limit: WireLimit.aliasRows) { $0.put($1) }
            encoder.put(edit.rawValue)
            encoder.put(force)
        case .listAliases(let domain): encoder.put(domain, limit: WireLimit.domain)
        case .expand(let address), .showAccount(let address), .recount(let address):
            encoder.put(address)
        case .listDomains: break
        case .setDomain(let name, let setting):
            encoder.put(name, limit: WireLimit.domain)
            setting.encode(into: &encoder)
        case .listAccounts(let domain, let exact):
            encoder.put(domain, limit: WireLimit.domain)
            encoder.put(exact)
        case .setAccount(let address, let setting):
            encoder.put(address)
            setting.encode(into: &encoder)
        case .renameAccount(let old, let new, let keepAlias):
            encoder.put(old)
            encoder.put(new)
            encoder.put(keepAlias)
        case .renameDomain(let old, let new, let keepAlias):
            encoder.put(old, limit: WireLimit.domain)
            encoder.put(new, limit: WireLimit.domain)
            encoder.put(keepAlias)
        }
    }

    /// Nil for a code that is another's.
    init?(_ code: RequestCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .changeAliases:
            self = .changeAliases(
                try decoder.list(limit: WireLimit.aliasRows, minimum: 12) { d throws(WireError) in
                    try d.alias()
                },
                try decoder.choice(AliasEdit.self, "alias edit"), force: try decoder.bool())
        case .listAliases:
            self = .listAliases(domain: try decoder.domain())
        case .expand: self = .expand(try decoder.address())
        case .listDomainDetails: self = .listDomains
        case .setDomain:
            self = .setDomain(
                try decoder.domain(), try DomainSetting(from: &decoder))
        case .listAccountDetails:
            self = .listAccounts(
                domain: try decoder.domain(), exact: try decoder.bool())
        case .showAccount: self = .showAccount(try decoder.address())
        case .setAccount:
            self = .setAccount(try decoder.address(), try AccountSetting(from: &decoder))
        case .recount: self = .recount(try decoder.address())
        case .renameAccount:
            self = .renameAccount(
                try decoder.address(), to: try decoder.address(), keepAlias: try decoder.bool())
        case .renameDomain:
            self = .renameDomain(
                try decoder.domain(), to: try decoder.domain(), keepAlias: try decoder.bool())
        default: return nil
        }
    }
}

extension AccountSetting {
    fileprivate func encode(into encoder: inout Encoder) {
        switch self {
        case .state(let state):
            encoder.put(UInt8(0))
            encoder.put(state.rawValue)
        case .octets(let limit):
            encoder.put(UInt8(1))
            encoder.put(optional: limit) { $0.put($1) }
        case .messages(let limit):
            encoder.put(UInt8(2))
            encoder.put(optional: limit) { $0.put($1) }
        case .addSender(let address):
            encoder.put(UInt8(3))
            encoder.put(address)
        case .removeSender(let address):
            encoder.put(UInt8(4))
            encoder.put(address)
        }
    }

    fileprivate init(from decoder: inout Decoder) throws(WireError) {
        switch try decoder.octet() {
        case 0: self = .state(try decoder.choice(AccountStanding.self, "account state"))
        case 1: self = .octets(try decoder.limit())
        case 2: self = .messages(try decoder.limit())
        case 3: self = .addSender(try decoder.address())
        case 4: self = .removeSender(try decoder.address())
        default: throw .invalid("account setting")
        }
    }
}

extension DomainSetting {
    fileprivate func encode(into encoder: inout Encoder) {
        switch self {
        case .aliasOf(let domain):
            encoder.put(UInt8(0))
            encoder.put(domain, limit: WireLimit.domain)
        case .octets(let limit):
            encoder.put(UInt8(1))
            encoder.put(optional: limit) { $0.put($1) }
        case .messages(let limit):
            encoder.put(UInt8(2))
            encoder.put(optional: limit) { $0.put($1) }
        }
    }

    fileprivate init(from decoder: inout Decoder) throws(WireError) {
        switch try decoder.octet() {
        case 0: self = .aliasOf(try decoder.domain())
        case 1: self = .octets(try decoder.limit())
        case 2: self = .messages(try decoder.limit())
        default: throw .invalid("domain setting")
        }
    }
}

extension DirectoryReply {
    var code: ReplyCode {
        switch self {
        case .aliases: .aliases
        case .expansion: .expansion
        case .domains: .domainDetails
        case .accounts: .accountDetails
        case .problem: .addressProblem
        case .quota: .quota
        case .octets: .octets
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .aliases(let rows): encoder.put(list: rows, limit: WireLimit.rows) { $0.put($1) }
        case .expansion(let steps):
            encoder.put(list: steps, limit: WireLimit.rows) { encoder, step in
                encoder.put(step.depth)
                encoder.put(step.address)
                encoder.put(step.outcome.rawValue)
            }
        case .domains(let rows): encoder.put(list: rows, limit: WireLimit.rows) { $0.put($1) }
        case .accounts(let rows): encoder.put(list: rows, limit: WireLimit.rows) { $0.put($1) }
        case .problem(let problem):
            encoder.put(problem.kind.rawValue)
            encoder.put(problem.address)
            encoder.put(optional: problem.target) { $0.put($1) }
        case .quota(let usage, let limits):
            encoder.put(usage)
            encoder.put(limits.octets)
            encoder.put(limits.messages)
        case .octets(let count): encoder.put(count)
        }
    }

    /// Nil for a code that is another's.
    init?(_ code: ReplyCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .aliases:
            self = .aliases(try decoder.rows(12) { d throws(WireError) in try d.alias() })
        case .expansion:
            self = .expansion(
                try decoder.rows(10) { d throws(WireError) in
                    ExpansionStep(
                        depth: try d.octet(), address: try d.address(),
                        outcome: try d.choice(ExpansionStep.Outcome.self, "outcome"))
                })
        case .domainDetails:
            self = .domains(try decoder.rows(24) { d throws(WireError) in try d.domainDetails() })
        case .accountDetails:
            self = .accounts(
                try decoder.rows(40) { d throws(WireError) in try d.accountDetails() })
        case .addressProblem:
            self = .problem(
                AddressProblem(
                    try decoder.choice(AddressProblem.Kind.self, "problem"),
                    try decoder.address(),
                    target: try decoder.optional { d throws(WireError) in try d.address() }))
        case .quota:
            self = .quota(
                try decoder.usage(),
                QuotaLimits(
                    octets: try decoder.integer(UInt64.self),
                    messages: try decoder.integer(UInt64.self)))
        case .octets: self = .octets(try decoder.integer(UInt64.self))
        default: return nil
        }
    }
}

extension Encoder {
    fileprivate mutating func put(_ alias: Alias) {
        put(alias.address)
        put(list: alias.targets, limit: Alias.targetLimit) { $0.put($1) }
    }

    fileprivate mutating func put(_ usage: MailUsage) {
        put(usage.octets)
        put(usage.messages)
        put(usage.mailboxes)
    }

    fileprivate mutating func put(_ quota: QuotaSetting) {
        put(optional: quota.octets) { $0.put($1) }
        put(optional: quota.messages) { $0.put($1) }
    }

    fileprivate mutating func put(_ row: DomainDetails) {
        put(row.name, limit: WireLimit.domain)
        put(row.accounts)
        put(row.aliases)
        put(row.isConfigured)
        put(row.aliasOf, limit: WireLimit.domain)
        put(row.quota)
        put(list: row.catchAll, limit: Alias.targetLimit) { $0.put($1) }
    }

    fileprivate mutating func put(_ row: AccountDetails) {
        put(row.address)
        put(row.created)
        put(row.state.rawValue)
        put(optional: row.usage) { $0.put($1) }
        put(row.quota)
        put(row.limits.octets)
        put(row.limits.messages)
        put(list: row.senders, limit: Alias.targetLimit) { $0.put($1) }
    }
}

extension Decoder {
    fileprivate mutating func addresses() throws(WireError) -> [EmailAddress] {
        try list(limit: Alias.targetLimit, minimum: 8) { d throws(WireError) in try d.address() }
    }

    fileprivate mutating func alias() throws(WireError) -> Alias {
        Alias(address: try address(), targets: try addresses())
    }

    fileprivate mutating func limit() throws(WireError) -> UInt64? {
        try optional { d throws(WireError) in try d.integer(UInt64.self) }
    }

    fileprivate mutating func usage() throws(WireError) -> MailUsage {
        MailUsage(
            octets: try integer(UInt64.self), messages: try integer(UInt64.self),
            mailboxes: try integer(UInt32.self))
    }

    fileprivate mutating func domainDetails() throws(WireError) -> DomainDetails {
        DomainDetails(
            name: try string(limit: WireLimit.domain), accounts: try integer(UInt32.self),
            aliases: try integer(UInt32.self), isConfigured: try bool(),
            aliasOf: try string(limit: WireLimit.domain),
            quota: QuotaSetting(octets: try limit(), messages: try limit()),
            catchAll: try addresses())
    }

    fileprivate mutating func accountDetails() throws(WireError) -> AccountDetails {
        AccountDetails(
            address: try address(), created: try integer(Int64.self),
            state: try choice(AccountStanding.self, "account state"),
            usage: try optional { d throws(WireError) in try d.usage() },
            quota: QuotaSetting(octets: try limit(), messages: try limit()),
            limits: QuotaLimits(
                octets: try integer(UInt64.self), messages: try integer(UInt64.self)),
            senders: try addresses())
    }
}
