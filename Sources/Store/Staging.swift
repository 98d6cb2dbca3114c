// SPDX-License-Identifier: Apache-2.0
//
// Message files on their way into mailboxes: nameless, so a crash leaves nothing. open(2),
// O_TMPFILE; fcntl(2), leases; docs/store.md.

import Bytes
import Mail

/// Makes nameless files on the file system of the mail. Usable from any thread.
package final class StagingArea: Sendable {
    init() {}

    /// A file for a front daemon to write into.
    package func create() throws(StoreError) -> StagedFile { throw .notPermitted }

    /// A message that is already in memory, ready to be appended to many mailboxes.
    package func stage(_ octets: [UInt8]) throws(StoreError) -> StagedMessage { throw .notPermitted }
}

/// A staged file that may still be written. Not durable, and gone if the process dies.
package final class StagedFile: Sendable {
    init() {}

    /// A writable descriptor for the writer; the caller closes it. Once only.
    package func takeWriter() -> Int32? { nil }

    /// Makes the file durable and unchangeable.
    ///
    /// - Throws: `.badStage` while a writable descriptor is left anywhere.
    package func seal() throws(StoreError) -> StagedMessage { throw .notPermitted }
}

/// A durable file without a name, which nobody can change any more.
package final class StagedMessage: Sendable {
    package let size: Int
    init(size: Int) { self.size = size }
}
