// SPDX-License-Identifier: Apache-2.0
//
// Who has mail here: domains, accounts and credentials, in `<state>/directory.sqlite`.
// RFC 5321 §2.4 (case of local-parts); passwords only as PHC strings.

import Bytes
import Mail

package struct DirectoryDomain: Equatable, Sendable {
    package var name: [UInt8]
    package var accounts: UInt32
}

package struct DirectoryAccount: Equatable, Sendable {
    /// As accounts are kept: local-part and domain in lower case (ASCII).
    package var address: EmailAddress
    package var created: SecondsSince1970
}

/// Domains, accounts, credentials. Usable from any thread; a call may wait for the disk.
package final class Directory: @unchecked Sendable {  // safe: everything behind one lock
    init() {}

    /// Opens or makes the database; `configured` domains (mail.toml) are added to it.
    package static func open(
        stateDirectory: String, configured: [[UInt8]], notice: @escaping NoticeSink
    ) throws(StoreError) -> Directory { throw .notPermitted }
    package func close() {}

    package func hasDomain(_ name: [UInt8]) throws(StoreError) -> Bool { throw .notPermitted }
    package func domains() throws(StoreError) -> [DirectoryDomain] { throw .notPermitted }
    /// - Throws: `.alreadyExists`, `.notPermitted` for what cannot be a domain.
    package func addDomain(_ name: [UInt8]) throws(StoreError) { throw .notPermitted }
    /// - Throws: `.noSuchDomain`, `.notPermitted` while it has accounts.
    package func removeDomain(_ name: [UInt8]) throws(StoreError) { throw .notPermitted }

    /// The account that mail for `address` goes to; any ASCII case.
    package func account(_ address: EmailAddress) throws(StoreError) -> DirectoryAccount? { throw .notPermitted }
    /// Of one domain, or all.
    package func accounts(in domain: [UInt8]?) throws(StoreError) -> [DirectoryAccount] { throw .notPermitted }
    /// The PHC string to verify a password against; nil without such an account.
    package func passwordHash(_ address: EmailAddress) throws(StoreError) -> [UInt8]? { throw .notPermitted }
    /// - Throws: `.noSuchDomain`, `.alreadyExists`, `.notPermitted` for what cannot be an address.
    package func addAccount(_ address: EmailAddress, passwordHash: [UInt8]) throws(StoreError) { throw .notPermitted }
    package func setPassword(_ address: EmailAddress, passwordHash: [UInt8]) throws(StoreError) { throw .notPermitted }
    /// Forgets the account; its mail is `MailRoot.removeAccount`'s business.
    package func removeAccount(_ address: EmailAddress) throws(StoreError) { throw .notPermitted }
}
