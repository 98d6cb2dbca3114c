// SPDX-License-Identifier: Apache-2.0
//
// A domain that gets another name, with all that is in it: accounts and their mail, aliases,
// rights, quota. One rename of one directory moves the mail. docs/store.md, "The directory".

import Bytes
import Mail

extension Directory {
    /// In the row of a rename: the old name shall stand for the new one.
    private static let keepMark = [UInt8]("alias".utf8)

    /// Gives a domain another name. `move` renames the directory of its mail, while nobody uses
    /// it, and may be called again after a crash.
    ///
    ///     state  renames   mail       rows   after a crash
    ///     M0     -         old        old    nothing happened
    ///     M1     noted     old, new   old    the mail and the rows are renamed at start
    ///     M2     gone      new        new    done
    ///
    /// - Parameter keepAlias: the old name stands for the new one from then on.
    /// - Throws: `.noSuchDomain`, `.address` with the reason; nothing was changed then.
    package func renameDomain(
        _ old: [UInt8], to new: [UInt8], keepAlias: Bool, move: () throws(StoreError) -> Void
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            let (old, new) = (old.asciiLowercased, new.asciiLowercased)
            try checkDomainRename(old, new)
            try change { () throws(StoreError) in
                let statement = try query(.putRename)
                statement.set(1, old)
                statement.set(2, [])
                statement.set(3, new)
                statement.set(4, keepAlias ? Self.keepMark : [])
                try statement.run()
            }
            do throws(StoreError) {
                try move()
            } catch {
                // It stays where it was, or a half is finished at the next start.
                if case .alreadyExists = error { try forgetRename(old, []) }
                throw error
            }
            try finishDomainRename(old, new, keepAlias: keepAlias)
        }
    }

    private func checkDomainRename(_ old: [UInt8], _ new: [UInt8]) throws(StoreError) {
        func problem(_ kind: AddressProblem.Kind) -> StoreError {
            .address(AddressProblem(kind, EmailAddress(local: [], domain: new)))
        }
        guard try hasDomainNow(old) else { throw .noSuchDomain }
        guard Self.isDomain(new) else { throw problem(.badAddress) }
        guard old != new, try accountCount(new) == 0, try aliasCountNow(new) == 0 else {
            throw problem(.exists)
        }
        guard try domainPolicyNow(old).aliasOf.isEmpty else {
            throw .address(AddressProblem(.aliasDomain, EmailAddress(local: [], domain: old)))
        }
        // It may have stood for the old one: now they change places.
        let target = try domainPolicyNow(new).aliasOf
        guard target.isEmpty || target == old else { throw problem(.aliasDomain) }
    }

    /// All rows in one transaction.
    func finishDomainRename(
        _ old: [UInt8], _ new: [UInt8], keepAlias: Bool
    ) throws(StoreError) {
        try change { () throws(StoreError) in
            let renames = [
                "UPDATE accounts SET domain=?2 WHERE domain=?1",
                "UPDATE aliases SET domain=?2 WHERE domain=?1",
                "UPDATE aliases SET target_domain=?2 WHERE target_domain=?1",
                "UPDATE senders SET domain=?2 WHERE domain=?1",
                "UPDATE app_passwords SET domain=?2 WHERE domain=?1",
                // It may have had the right to send as both.
                "UPDATE OR REPLACE senders SET sender_domain=?2 WHERE sender_domain=?1",
                "DELETE FROM domain_settings WHERE name=?2 AND ?1<>?2",
                "UPDATE domain_settings SET name=?2 WHERE name=?1",
                "UPDATE domain_settings SET alias_of=?2 WHERE alias_of=?1",
            ]
            for text in renames {
                let statement = try database.statement(text: text)
                statement.set(1, old)
                statement.set(2, new)
                try statement.run()
            }
            if try !hasDomainNow(new) {
                let statement = try query(.addDomain)
                statement.set(1, new)
                try statement.run()
            }
            if keepAlias {
                let setting = try query(.putDomainSetting)
                setting.set(1, old)
                try setting.run()
                let target = try query(.setAliasOf)
                target.set(1, old)
                target.set(2, new)
                try target.run()
            } else {
                let statement = try query(.removeDomain)
                statement.set(1, old)
                try statement.run()
            }
            try dropRename(old, [])
        }
    }

    /// Finishes what a crash interrupted. Before anything else is asked.
    ///
    /// - Parameters:
    ///   - move: an account's mail.
    ///   - moveDomain: the mail of all accounts of a domain.
    package func finishRenames(
        _ move: (EmailAddress, EmailAddress) throws(StoreError) -> Void,
        domain moveDomain: ([UInt8], [UInt8]) throws(StoreError) -> Void = { _, _ in }
    ) throws(StoreError) {
        try locked { () throws(StoreError) in
            var open: [(EmailAddress, EmailAddress)] = []
            let rows = try query(.renames)
            while try rows.step() {
                open.append(
                    (
                        EmailAddress(local: rows.octets(1), domain: rows.octets(0)),
                        EmailAddress(local: rows.octets(3), domain: rows.octets(2))
                    ))
            }
            for (old, new) in open {
                let isDomain = old.local.isEmpty
                do throws(StoreError) {
                    if isDomain {
                        try moveDomain(old.domain, new.domain)
                    } else {
                        try move(old, new)
                    }
                } catch .alreadyExists {
                    try forgetRename(old.domain, old.local)  // it had not begun, and cannot
                    continue
                }
                if isDomain {
                    try finishDomainRename(
                        old.domain, new.domain, keepAlias: new.local == Self.keepMark)
                } else {
                    try finishRename(old, new)
                }
            }
        }
    }

    func forgetRename(_ domain: [UInt8], _ local: [UInt8]) throws(StoreError) {
        try change { () throws(StoreError) in try dropRename(domain, local) }
    }

    func dropRename(_ domain: [UInt8], _ local: [UInt8]) throws(StoreError) {
        let statement = try query(.removeRename)
        statement.set(1, domain)
        statement.set(2, local)
        try statement.run()
    }
}

extension MailRoot {
    /// What the delivery log has of these accounts is durable without it, and a crash does not
    /// bring it back under their old names. None of them may be open.
    package func forgetDeliveries(_ accounts: [EmailAddress]) throws(StoreError) {
        try log.synchronizeMail()
        for account in accounts { try log.forget(account) }
    }

    /// Gives the mail of all accounts of a domain another domain: one rename, then durable. Doing
    /// it again, or for a domain that never got mail, changes nothing.
    ///
    /// - Throws: `.alreadyExists` if there is mail in the new domain.
    package func renameDomain(_ old: [UInt8], to new: [UInt8]) throws(StoreError) {
        guard let from = AccountPath.component(old.asciiLowercased),
            let to = AccountPath.component(new.asciiLowercased)
        else {
            throw .notPermitted
        }
        guard try System.status(from, in: directory.descriptor) != nil else { return }
        if let target = try System.openDirectoryIfPresent(to, in: directory.descriptor) {
            guard try System.names(in: target.descriptor).isEmpty else { throw .alreadyExists }
            // An empty directory is replaced by the rename.
        }
        _ = try System.rename(from, in: directory.descriptor, to: to, in: directory.descriptor)
        try System.synchronize(directory.descriptor, "mail root")
    }
}
