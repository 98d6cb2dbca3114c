// SPDX-License-Identifier: Apache-2.0
//
// Which accounts may have mail that their search index does not know, from the times of files: no
// account is opened for it. `search.checked` is written when an account that nobody uses was found,
// or brought, up to date.

import Bytes
import Mail

extension MailRoot {
    private static let checked = PathOctets("search.checked")

    /// True if the index was written since the search index was known to be complete; false is
    /// certain.
    package func mayLackSearch(_ address: EmailAddress) throws(StoreError) -> Bool {
        guard let account = try openAccountDirectory(address),
            let index = try newest("index.sqlite", in: account.descriptor)
        else { return false }
        guard let checked = try System.status(Self.checked, in: account.descriptor),
            try System.status(PathOctets("search.sqlite"), in: account.descriptor) != nil
        else { return true }
        return checked.time <= index
    }

    /// The search index knows everything: the next start need not look. The account is closed.
    package func noteSearchChecked(_ address: EmailAddress) {
        do throws(StoreError) {
            guard let account = try openAccountDirectory(address) else { return }
            try System.unlink(Self.checked, in: account.descriptor)
            _ = try System.createFile(Self.checked, in: account.descriptor)
        } catch {
            // Then the next start looks at it once more.
            notice(StoreNotice(.postponed, account: address.text, subject: "search: \(error)"))
        }
    }

    private func openAccountDirectory(_ address: EmailAddress) throws(StoreError) -> File? {
        let names = try components(address)
        guard
            let domain = try System.openDirectoryIfPresent(names.domain, in: directory.descriptor)
        else { return nil }
        return try System.openDirectoryIfPresent(names.local, in: domain.descriptor)
    }

    /// The time of a database or of its log, whichever is newer; nil if there is none.
    private func newest(_ name: String, in directory: Int32) throws(StoreError) -> Int64? {
        guard let file = try System.status(PathOctets(name), in: directory) else { return nil }
        let log = try System.status(PathOctets(name + "-wal"), in: directory)
        return max(file.time, log?.time ?? 0)
    }
}
