// SPDX-License-Identifier: Apache-2.0
//
// Where mail for an address ends: alias domains, aliases of aliases, subaddresses, catch-all and
// postmaster. RFC 5321 §3.9, §4.5.1; RFC 5233; RFC 2142. The same walk serves RCPT, the check of
// a new alias, and `mailctl alias check`.

import Bytes
import Mail

/// What of mail.toml says how an address is read.
package struct AddressRules: Equatable, Sendable {
    /// Characters that begin a subaddress.
    package var separators: [UInt8]
    /// Our own names: `postmaster` of these is ours even if no such domain is served.
    package var hosts: [[UInt8]]

    package init(separators: [UInt8] = [], hosts: [[UInt8]] = []) {
        self.separators = separators
        self.hosts = hosts
    }
}

/// What one address leads to.
package struct Expansion: Equatable, Sendable {
    /// Each once, in the order of the aliases.
    package var accounts: [DirectoryAccount] = []
    package var steps: [ExpansionStep] = []
    /// The address itself is not ours.
    package var isRemote = false
    /// More than `Alias.targetLimit` accounts, or deeper than `Directory.depthLimit`.
    package var isTooLarge = false
}

/// What one address is, without looking further.
private enum Match {
    /// The key under which the alias is kept, and how it was found.
    case alias(EmailAddress, ExpansionStep.Outcome)
    case account(DirectoryAccount, ExpansionStep.Outcome)
    case unknown
    case remote
}

extension Directory {
    static let depthLimit = 16
    /// Addresses looked at for one expansion.
    private static let stepLimit = 4_000

    package func expand(_ address: EmailAddress) throws(StoreError) -> Expansion {
        try locked { () throws(StoreError) in try expandNow(address) }
    }

    /// Walks depth first; what was met before counts once, so that no loop is endless.
    func expandNow(_ address: EmailAddress) throws(StoreError) -> Expansion {
        var expansion = Expansion()
        var seenKeys: Set<EmailAddress> = []
        var seenAccounts: Set<EmailAddress> = []
        var open: [(address: EmailAddress, depth: Int, own: Bool)] = [(address, 0, false)]
        while let (address, depth, own) = open.popLast() {
            func note(_ outcome: ExpansionStep.Outcome, at depth: Int, _ address: EmailAddress) {
                expansion.steps.append(
                    ExpansionStep(
                        depth: UInt8(clamping: depth), address: address, outcome: outcome))
            }
            guard depth <= Self.depthLimit, expansion.steps.count < Self.stepLimit else {
                expansion.isTooLarge = true
                note(.tooDeep, at: depth, address)
                break
            }
            switch try own ? ownMatch(address) : match(address) {
            case .alias(let key, let how):
                guard seenKeys.insert(key).inserted else {
                    note(.repeated, at: depth, address)
                    continue
                }
                note(how, at: depth, address)
                for target in try targetsNow(key).reversed() {
                    open.append((target, depth + 1, target == key))
                }
            case .account(let account, let how):
                var end = depth
                if how != .account {
                    note(how, at: depth, address)
                    end += 1
                }
                guard seenAccounts.insert(account.address).inserted else {
                    note(.repeated, at: end, account.address)
                    continue
                }
                note(account.state == .disabled ? .disabled : .account, at: end, account.address)
                expansion.accounts.append(account)
                if expansion.accounts.count > Alias.targetLimit { expansion.isTooLarge = true }
            case .unknown: note(.unknown, at: depth, address)
            case .remote:
                if depth == 0 { expansion.isRemote = true }
                note(.remote, at: depth, address)
            }
        }
        return expansion
    }

    /// An alias that names itself means the account of that name.
    private func ownMatch(_ address: EmailAddress) throws(StoreError) -> Match {
        try accountNow(address).map { .account($0, .account) } ?? .unknown
    }

    private func match(_ given: EmailAddress) throws(StoreError) -> Match {
        let lowered = Self.canonical(given)
        let address = try unaliased(lowered)
        guard try hasDomainNow(address.domain) else {
            if rules.hosts.contains(address.domain), let found = try fallback(address) {
                return .account(found, .postmaster)
            }
            return .remote
        }
        let isAliasDomain = address != lowered
        let plain = withoutSubaddress(address)
        for (index, candidate) in [address, plain ?? address].enumerated() {
            if index == 1, plain == nil { break }
            let how: ExpansionStep.Outcome? =
                isAliasDomain ? .aliasDomain : index == 1 ? .subaddress : nil
            if try !targetsNow(candidate).isEmpty { return .alias(candidate, how ?? .alias) }
            if let found = try accountNow(candidate) { return .account(found, how ?? .account) }
        }
        let rest = EmailAddress(local: [], domain: address.domain)
        if try !targetsNow(rest).isEmpty { return .alias(rest, .catchAll) }
        if let found = try fallback(plain ?? address) { return .account(found, .postmaster) }
        return .unknown
    }

    /// postmaster and abuse are always somebody: the first account of the domain, or of all.
    private func fallback(_ address: EmailAddress) throws(StoreError) -> DirectoryAccount? {
        guard [UInt8]("postmaster".utf8) == address.local || [UInt8]("abuse".utf8) == address.local
        else { return nil }
        for kind: DirectoryQuery in [.firstAccount, .firstAccountOfAll] {
            let row = try query(kind)
            if kind == .firstAccount { row.set(1, address.domain) }
            let found =
                try row.step()
                ? EmailAddress(local: row.octets(1), domain: row.octets(0)) : nil
            row.reset()
            if let found { return try accountNow(found) }
        }
        return nil
    }

    /// As an account would be called: in lower case, in the domain that its domain stands for.
    package func resolved(_ address: EmailAddress) throws(StoreError) -> EmailAddress {
        try locked { () throws(StoreError) in try unaliased(Self.canonical(address)) }
    }

    /// The same address in the domain that its domain stands for.
    func unaliased(_ address: EmailAddress) throws(StoreError) -> EmailAddress {
        let target = try domainPolicyNow(address.domain).aliasOf
        return target.isEmpty ? address : EmailAddress(local: address.local, domain: target)
    }

    /// Nil if there is no subaddress. The first separator ends the user's name, unless it starts it.
    func withoutSubaddress(_ address: EmailAddress) -> EmailAddress? {
        guard let cut = address.local.firstIndex(where: { rules.separators.contains($0) }), cut > 0
        else { return nil }
        return EmailAddress(local: Array(address.local[..<cut]), domain: address.domain)
    }

    // MARK: - Aliases

    /// By address; of one domain, or all.
    package func aliases(in domain: [UInt8]?) throws(StoreError) -> [Alias] {
        try locked { () throws(StoreError) in
            let wanted = domain?.asciiLowercased
            var aliases: [Alias] = []
            let rows = try query(.aliases)
            while try rows.step() {
                let address = EmailAddress(local: rows.octets(1), domain: rows.octets(0))
                guard wanted == nil || wanted == address.domain else { continue }
                let target = EmailAddress(local: rows.octets(3), domain: rows.octets(2))
                if aliases.last?.address == address {
                    aliases[aliases.count - 1].targets.append(target)
                } else {
                    aliases.append(Alias(address: address, targets: [target]))
                }
            }
            return aliases
        }
    }

    /// Adds targets; `replacing`: these and no others. All or none.
    ///
    /// - Parameter force: targets need not exist (yet).
    /// - Throws: `.address` with the reason.
    package func addAliases(
        _ aliases: [Alias], replacing: Bool, force: Bool
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                for alias in aliases { try put(alias, replacing: replacing) }
                // Checked when all are there: they may need each other.
                for alias in aliases { try check(Self.canonical(alias.address), force: force) }
            }
        }
    }

    private func put(_ alias: Alias, replacing: Bool) throws(StoreError) {
        let address = Self.canonical(alias.address)
        guard alias.isCatchAll || Self.isLocalPart(address.local) else {
            throw .address(AddressProblem(.badAddress, address))
        }
        guard try hasDomainNow(address.domain) else {
            throw .address(AddressProblem(.notOurDomain, address))
        }
        guard try domainPolicyNow(address.domain).aliasOf.isEmpty else {
            throw .address(AddressProblem(.aliasDomain, address))
        }
        if replacing {
            let statement = try query(.removeAlias)
            bind(statement, address)
            try statement.run()
        }
        var known = Set(try targetsNow(address))
        for target in alias.targets {
            let target = Self.canonical(target)
            guard Self.isLocalPart(target.local) else {
                throw .address(AddressProblem(.badAddress, address, target: target))
            }
            guard try hasDomainNow(unaliased(target).domain) else {
                throw .address(AddressProblem(.remoteTarget, address, target: target))
            }
            guard known.insert(target).inserted else { continue }
            try addTarget(address, target)
        }
        guard known.count <= Alias.targetLimit else {
            throw .address(AddressProblem(.tooMany, address))
        }
    }

    func addTarget(_ address: EmailAddress, _ target: EmailAddress) throws(StoreError) {
        let last = try query(.lastPlace)
        bind(last, address)
        let place = try last.step() ? last.integer(0) + 1 : 1
        last.reset()
        let statement = try query(.addTarget)
        bind(statement, address)
        statement.set(3, place)
        statement.set(4, target.domain)
        statement.set(5, target.local)
        try statement.run()
    }

    /// A new alias must lead somewhere, and not to itself.
    private func check(_ address: EmailAddress, force: Bool) throws(StoreError) {
        for target in try targetsNow(address) where target != address {
            // Whether the way from the target comes by here again.
            if try reaches(address, from: target) {
                throw .address(AddressProblem(.loop, address, target: target))
            }
            guard !force else { continue }
            let expansion = try expandNow(target)
            if expansion.accounts.isEmpty {
                throw .address(AddressProblem(.unknownTarget, address, target: target))
            }
        }
        let namesItself = try targetsNow(address).contains(address)
        if namesItself, !force, try accountNow(address) == nil {
            throw .address(AddressProblem(.loop, address, target: address))
        }
        if !address.local.isEmpty, try expandNow(address).isTooLarge {
            throw .address(AddressProblem(.tooMany, address))
        }
    }

    private func reaches(
        _ key: EmailAddress, from target: EmailAddress
    ) throws(StoreError) -> Bool {
        var seen: Set<EmailAddress> = []
        var open = [target]
        while let next = open.popLast() {
            guard case .alias(let found, _) = try match(next) else { continue }
            if found == key { return true }
            guard seen.insert(found).inserted else { continue }
            guard seen.count <= Self.stepLimit else {
                throw .address(AddressProblem(.tooMany, key, target: target))
            }
            open += try targetsNow(found).filter { $0 != found }
        }
        return false
    }

    /// Takes targets away; without any named, the whole alias. All or none.
    package func removeAliases(_ aliases: [Alias]) throws(StoreError) {
        try locked { () throws(StoreError) in
            try change { () throws(StoreError) in
                for alias in aliases {
                    let address = Self.canonical(alias.address)
                    let known = try targetsNow(address)
                    guard !known.isEmpty else {
                        throw .address(AddressProblem(.noSuchAlias, address))
                    }
                    if alias.targets.isEmpty {
                        let statement = try query(.removeAlias)
                        bind(statement, address)
                        try statement.run()
                    }
                    for target in alias.targets {
                        let target = Self.canonical(target)
                        guard known.contains(target) else {
                            throw .address(AddressProblem(.noSuchAlias, address, target: target))
                        }
                        let statement = try query(.removeTarget)
                        bind(statement, address)
                        statement.set(3, target.domain)
                        statement.set(4, target.local)
                        try statement.run()
                    }
                }
            }
        }
    }

    /// The targets of the alias of exactly this name; empty if there is none.
    func targetsNow(_ address: EmailAddress) throws(StoreError) -> [EmailAddress] {
        var targets: [EmailAddress] = []
        let rows = try query(.aliasTargets)
        bind(rows, address)
        while try rows.step() {
            targets.append(EmailAddress(local: rows.octets(1), domain: rows.octets(0)))
        }
        return targets
    }
}
