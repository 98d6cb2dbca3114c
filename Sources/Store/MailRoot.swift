// SPDX-License-Identifier: Apache-2.0
//
// The directory below which all mail lies: accounts, staging area, delivery journal. docs/store.md.

import Bytes
import Mail

/// `<root>`, held by one process. Usable from any thread.
package final class MailRoot: Sendable {
    package let staging: StagingArea
    package let journal: DeliveryJournal

    init(staging: StagingArea, journal: DeliveryJournal) {
        self.staging = staging
        self.journal = journal
    }

    /// Opens (or makes) the root and takes its lock.
    ///
    /// - Parameter host: goes into file names, as Maildir has it.
    /// - Throws: `.inUse` if another process serves this root.
    package static func open(
        path: String, host: String, notice: @escaping NoticeSink
    ) throws(StoreError) -> MailRoot { throw .notPermitted }

    /// Opens an account's store; makes it, with INBOX and the usual folders, if it is new.
    package func openAccount(_ address: EmailAddress) throws(StoreError) -> AccountStore { throw .notPermitted }

    /// Deletes all mail of an account. Its store must be closed.
    package func removeAccount(_ address: EmailAddress) throws(StoreError) { throw .notPermitted }

    /// Takes back deliveries that a crash left half done. Before any account is opened.
    package func rollBackDeliveries() throws(StoreError) { throw .notPermitted }

    /// A file name that no other message has.
    package func makeUniqueName() -> UniqueName { UniqueName(octets: []) }
}
