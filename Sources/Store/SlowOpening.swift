// SPDX-License-Identifier: Apache-2.0
//
// Which accounts take long to open: those whose index has to be made, or brought forward from an
// earlier version. A look at the file only.

import Bytes
import Mail

extension MailRoot {
    /// Octets of an index that is brought forward quickly.
    private static let quickMigration: Int64 = 8 << 20
    /// Where SQLite keeps `user_version`, big-endian.
    private static let versionOffset: Int64 = 60

    /// Whether opening the account may take more than a moment. Wrong answers only cost time.
    package func mayOpenSlowly(_ address: EmailAddress) -> Bool {
        do throws(StoreError) {
            let names = try components(address)
            guard
                let domain = try System.openDirectoryIfPresent(
                    names.domain, in: directory.descriptor),
                let account = try System.openDirectoryIfPresent(names.local, in: domain.descriptor)
            else { return false }
            guard
                let file = try System.openFile(PathOctets("index.sqlite"), in: account.descriptor)
            else {
                // A Maildir without an index: every message is looked at.
                return try System.status(PathOctets("Maildir"), in: account.descriptor) != nil
            }
            let version = try System.read(file.descriptor, from: Self.versionOffset, count: 4)
            guard version.count == 4 else { return false }
            let found = version.reduce(Int64(0)) { $0 << 8 | Int64($1) }
            guard found != Schema.version else { return false }
            return try System.status(file.descriptor).size > Self.quickMigration
        } catch {
            return false  // opening it says what is wrong
        }
    }
}
