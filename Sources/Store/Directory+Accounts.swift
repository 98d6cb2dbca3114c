// SPDX-License-Identifier: Apache-2.0
//
// What is known of accounts and domains beside their names: who may log in, how much may be kept,
// who may send as whom, and the last known totals. docs/store.md, "The directory".

import Bytes
import Mail

/// Everything about one account that decides whether it takes mail.
package struct AccountPolicy: Equatable, Sendable {
    package var state: AccountStanding
    /// What was set for the account, and for its domain.
    package var quota: QuotaSetting
    package var domainQuota: QuotaSetting
    /// As it was written last; nil: never counted.
    package var usage: MailUsage?
}

package struct DomainPolicy: Equatable, Sendable {
    /// Empty: the domain stands for itself.
    package var aliasOf: [UInt8] = []
    package var quota = QuotaSetting()
}

extension Directory {
    // MARK: - Accounts

    package func policy(_ address: EmailAddress) throws(StoreError) -> AccountPolicy? {
        try locked { () throws(StoreError) in
            let row = try query(.policy)
            bind(row, address)
            defer { row.reset() }
            guard try row.step() else { return nil }
            var policy = AccountPolicy(
                state: AccountStanding(row, 0), quota: QuotaSetting(row, 1),
                domainQuota: QuotaSetting(), usage: MailUsage(row, 3))
            policy.domainQuota = try domainPolicyNow(address.domain).quota
            return policy
        }
    }

    /// Accounts that nobody can log in to.
    package func inactiveAccounts() throws(StoreError) -> [EmailAddress] {
        try locked { () throws(StoreError) in
            var found: [EmailAddress] = []
            let rows = try query(.inactive)
            while try rows.step() {
                found.append(EmailAddress(local: rows.octets(1), domain: rows.octets(0)))
            }
            return found
        }
    }

    package func setState(
        _ address: EmailAddress, _ state: AccountStanding
    ) throws(StoreError) {
        try setAccount(address, .setState, Int64(state.rawValue))
    }

    package func setQuota(_ address: EmailAddress, octets: UInt64?) throws(StoreError) {
        try setAccount(address, .setAccountOctets, octets.map { Int64(clamping: $0) })
    }

    package func setQuota(_ address: EmailAddress, messages: UInt64?) throws(StoreError) {
        try setAccount(address, .setAccountMessages, messages.map { Int64(clamping: $0) })
    }

    private func setAccount(
        _ address: EmailAddress, _ column: DirectoryQuery, _ value: Int64?
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            try requireAccount(address)
            try change { () throws(StoreError) in
                let statement = try query(column)
                bind(statement, address)
                if let value { statement.set(3, value) } else { statement.set(3, nil) }
                try statement.run()
            }
        }
    }

    /// Remembers totals for lists. They may be a little old, and are never decided on alone.
    package func setUsage(_ rows: [EmailAddress: MailUsage]) throws(StoreError) {
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                for (address, usage) in rows {
                    let statement = try query(.setUsage)
                    bind(statement, address)
                    statement.set(3, Int64(clamping: usage.octets))
                    statement.set(4, Int64(clamping: usage.messages))
                    statement.set(5, Int64(usage.mailboxes))
                    try statement.run()
                }
            }
        }
    }

    /// What all accounts use together, as far as it was written with `setUsage`.
    package func mailOctets() throws(StoreError) -> UInt64 {
        try locked { () throws(StoreError) in
            let row = try query(.mailOctets)
            defer { row.reset() }
            return try row.step() ? UInt64(clamping: row.integer(0)) : 0
        }
    }

    // MARK: - Domains

    package func domainPolicy(_ name: [UInt8]) throws(StoreError) -> DomainPolicy {
        try locked { () throws(StoreError) in try domainPolicyNow(name.asciiLowercased) }
    }

    func domainPolicyNow(_ name: [UInt8]) throws(StoreError) -> DomainPolicy {
        let row = try query(.domainSetting)
        row.set(1, name)
        defer { row.reset() }
        guard try row.step() else { return DomainPolicy() }
        return DomainPolicy(aliasOf: row.octets(0), quota: QuotaSetting(row, 1))
    }

    package func aliasCount(_ domain: [UInt8]) throws(StoreError) -> UInt32 {
        try locked { () throws(StoreError) in try aliasCountNow(domain.asciiLowercased) }
    }

    func aliasCountNow(_ domain: [UInt8]) throws(StoreError) -> UInt32 {
        try count(.aliasCount, domain)
    }

    /// How many domains stand for this one.
    func standInsNow(_ domain: [UInt8]) throws(StoreError) -> UInt32 {
        try count(.standIns, domain)
    }

    private func count(_ counter: DirectoryQuery, _ domain: [UInt8]) throws(StoreError) -> UInt32 {
        let row = try query(counter)
        row.set(1, domain)
        defer { row.reset() }
        return try row.step() ? UInt32(clamping: row.integer(0)) : 0
    }

    package func setQuota(domain: [UInt8], octets: UInt64?) throws(StoreError) {
        try setDomain(domain, .setDomainOctets, octets)
    }

    package func setQuota(domain: [UInt8], messages: UInt64?) throws(StoreError) {
        try setDomain(domain, .setDomainMessages, messages)
    }

    private func setDomain(
        _ domain: [UInt8], _ column: DirectoryQuery, _ limit: UInt64?
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            let domain = domain.asciiLowercased
            guard try hasDomainNow(domain) else { throw .noSuchDomain }
            try change { () throws(StoreError) in
                try makeDomainSetting(domain)
                let statement = try query(column)
                statement.set(1, domain)
                if let limit {
                    statement.set(2, Int64(clamping: limit))
                } else {
                    statement.set(2, nil)
                }
                try statement.run()
            }
        }
    }

    private func makeDomainSetting(_ domain: [UInt8]) throws(StoreError) {
        let row = try query(.putDomainSetting)
        row.set(1, domain)
        try row.run()
    }

    /// Makes `domain` stand for another, for all addresses; empty: for itself again. A domain that
    /// is not served yet is added.
    ///
    /// - Throws: `.address` if it has accounts or aliases of its own, others stand for it, or the
    ///   other only stands for a third; `.noSuchDomain` if the other is not served.
    package func setAliasOf(_ domain: [UInt8], _ target: [UInt8]) throws(StoreError) {
        try locked { () throws(StoreError) in
            let (domain, target) = (domain.asciiLowercased, target.asciiLowercased)
            let named = EmailAddress(local: [], domain: domain)
            guard Self.isDomain(domain) else {
                throw .address(AddressProblem(.badAddress, named))
            }
            let isServed = try hasDomainNow(domain)
            if target.isEmpty {
                guard isServed else { throw .noSuchDomain }
            } else {
                let other = EmailAddress(local: [], domain: target)
                guard try hasDomainNow(target) else { throw .noSuchDomain }
                guard target != domain else {
                    throw .address(AddressProblem(.loop, named, target: other))
                }
                guard try domainPolicyNow(target).aliasOf.isEmpty else {
                    throw .address(AddressProblem(.aliasDomain, other))
                }
                guard try accountCount(domain) == 0, try aliasCountNow(domain) == 0,
                    try standInsNow(domain) == 0
                else { throw .address(AddressProblem(.domainInUse, named)) }
            }
            try change { () throws(StoreError) in
                if !isServed {
                    let statement = try query(.addDomain)
                    statement.set(1, domain)
                    try statement.run()
                }
                try makeDomainSetting(domain)
                let statement = try query(.setAliasOf)
                statement.set(1, domain)
                statement.set(2, target.isEmpty ? nil : target)
                try statement.run()
            }
        }
    }

    // MARK: - Senders

    /// What an account was allowed to send as, beside its own address and aliases.
    package func senders(_ address: EmailAddress) throws(StoreError) -> [EmailAddress] {
        try locked { () throws(StoreError) in
            var senders: [EmailAddress] = []
            let rows = try query(.senders)
            bind(rows, address)
            while try rows.step() {
                senders.append(EmailAddress(local: rows.octets(1), domain: rows.octets(0)))
            }
            return senders
        }
    }

    /// - Parameter sender: with an empty local-part: every address of the domain.
    package func addSender(
        _ sender: EmailAddress, to address: EmailAddress
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            try requireAccount(address)
            guard Self.isDomain(sender.domain),
                sender.local.isEmpty || Self.isLocalPart(sender.local)
            else { throw .address(AddressProblem(.badAddress, sender)) }
            try changeSender(.addSender, sender, address)
        }
    }

    package func removeSender(
        _ sender: EmailAddress, from address: EmailAddress
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            try requireAccount(address)
            try changeSender(.removeSender, sender, address)
        }
    }

    private func changeSender(
        _ kind: DirectoryQuery, _ sender: EmailAddress, _ address: EmailAddress
    ) throws(StoreError) {
        try change { () throws(StoreError) in
            let statement = try query(kind)
            bind(statement, address)
            statement.set(3, sender.domain)
            statement.set(4, sender.local.asciiLowercased)
            try statement.run()
        }
    }

    /// Whether the account may send as `sender`: its own address with or without a subaddress, an
    /// address whose mail it gets, or one that it was allowed to use.
    package func maySend(
        _ address: EmailAddress, as sender: EmailAddress
    ) throws(StoreError) -> Bool {
        try locked { () throws(StoreError) in
            let account = Self.canonical(address)
            let wanted = try unaliased(Self.canonical(sender))
            let plain = withoutSubaddress(wanted)
            if wanted == account || plain == account { return true }
            for named in wanted == sender ? [wanted] : [wanted, Self.canonical(sender)] {
                let row = try query(.mayUse)
                bind(row, account)
                row.set(3, named.domain)
                row.set(4, named.local)
                row.set(5, (withoutSubaddress(named) ?? named).local)
                defer { row.reset() }
                if try row.step() { return true }
            }
            return try expandNow(wanted).accounts.contains { $0.address == account }
        }
    }

    // MARK: - Renaming

    /// Gives an account another address: rights and quota go along, aliases follow. `move` renames
    /// its mail, while nobody uses it, and may be called again after a crash.
    ///
    ///     state  renames   mail       row    after a crash
    ///     N0     -         old        old    nothing happened
    ///     N1     noted     old, new   old    the mail and the row are renamed at start
    ///     N2     gone      new        new    done
    package func renameAccount(
        _ old: EmailAddress, to new: EmailAddress, keepAlias: Bool,
        move: () throws(StoreError) -> Void
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            let (old, new) = (Self.canonical(old), Self.canonical(new))
            try requireAccount(old)
            guard Self.isLocalPart(new.local) else {
                throw .address(AddressProblem(.badAddress, new))
            }
            guard try hasDomainNow(new.domain) else { throw .noSuchDomain }
            guard try domainPolicyNow(new.domain).aliasOf.isEmpty else {
                throw .address(AddressProblem(.aliasDomain, new))
            }
            guard try accountNow(new) == nil, try targetsNow(new).isEmpty else {
                throw .address(AddressProblem(.exists, new))
            }
            try change { () throws(StoreError) in
                let statement = try query(.putRename)
                bind(statement, old)
                statement.set(3, new.domain)
                statement.set(4, new.local)
                try statement.run()
            }
            do throws(StoreError) {
                try move()
            } catch {
                // It stays where it was, or a half is finished at the next start.
                if case .alreadyExists = error { try forgetRename(old.domain, old.local) }
                throw error
            }
            try finishRename(old, new)
            guard keepAlias else { return }
            try change { () throws(StoreError) in try addTarget(old, new) }
        }
    }

    func finishRename(
        _ old: EmailAddress, _ new: EmailAddress
    ) throws(StoreError) {
        try change { () throws(StoreError) in
            for kind: DirectoryQuery in [
                .renameAccount, .renameSenders, .renameTargets, .renameAppPasswords,
            ] {
                let statement = try query(kind)
                bind(statement, old)
                statement.set(3, new.domain)
                statement.set(4, new.local)
                try statement.run()
            }
            try dropRename(old.domain, old.local)
        }
    }
}

extension AccountStanding {
    /// What a later release may have written counts as the strictest we know.
    init(_ row: Statement, _ column: Int32) {
        self = AccountStanding(rawValue: UInt8(clamping: row.integer(column))) ?? .disabled
    }
}

extension QuotaSetting {
    init(_ row: Statement, _ column: Int32) {
        self.init(
            octets: row.isNull(column) ? nil : UInt64(clamping: row.integer(column)),
            messages: row.isNull(column + 1) ? nil : UInt64(clamping: row.integer(column + 1)))
    }
}

extension MailUsage {
    init?(_ row: Statement, _ column: Int32) {
        if row.isNull(column) { return nil }
        self.init(
            octets: UInt64(clamping: row.integer(column)),
            messages: UInt64(clamping: row.integer(column + 1)),
            mailboxes: UInt32(clamping: row.integer(column + 2)))
    }
}
