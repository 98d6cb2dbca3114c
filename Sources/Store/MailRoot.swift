// SPDX-License-Identifier: Apache-2.0
//
// The directory below which all mail lies: accounts, staging area, delivery journal. docs/store.md.

import Bytes
import Mail
import Synchronization

/// `<root>`, held by one process. Usable from any thread.
package final class MailRoot: Sendable {
    package let staging: StagingArea
    package let journal: DeliveryJournal
    package let retention = Retention()
    /// Without symbolic links.
    let path: String
    let notice: NoticeSink
    let directory: File
    private let lock: File
    private let host: [UInt8]
    private let counter = Atomic<UInt64>(0)

    private init(
        path: String, directory: consuming File, lock: consuming File, staging: StagingArea,
        journal: DeliveryJournal, host: [UInt8], notice: @escaping NoticeSink
    ) {
        self.path = path
        self.directory = directory
        self.lock = lock
        self.staging = staging
        self.journal = journal
        self.host = host
        self.notice = notice
    }

    /// Opens (or makes) the root and takes its lock.
    ///
    /// - Parameters:
    ///   - path: its parent must exist.
    ///   - host: goes into file names, as Maildir has it.
    /// - Throws: `.inUse` if another process serves this root.
    package static func open(
        path: String, host: String, notice: @escaping NoticeSink
    ) throws(StoreError) -> MailRoot {
        try System.makeDirectory(PathOctets(path))
        let real = try System.realPath(path)
        let directory = try System.openDirectory(PathOctets(real))
        let lock = try System.openLock(PathOctets(".lock"), in: directory.descriptor)
        guard System.lock(lock.descriptor) else { throw .inUse }
        for name in [StagingArea.directoryName, DeliveryJournal.directoryName] {
            try System.makeDirectory(PathOctets(name), in: directory.descriptor)
        }
        let staging = try StagingArea(
            try System.openDirectory(
                PathOctets(StagingArea.directoryName), in: directory.descriptor))
        let journal = DeliveryJournal(
            try System.openDirectory(
                PathOctets(DeliveryJournal.directoryName), in: directory.descriptor))
        try System.synchronize(directory.descriptor, "mail root")
        return MailRoot(
            path: real, directory: directory, lock: lock, staging: staging, journal: journal,
            host: UniqueName.host(host), notice: notice)
    }

    /// Opens an account's store; makes it, with INBOX and the usual folders, if it is new.
    package func openAccount(_ address: EmailAddress) throws(StoreError) -> AccountStore {
        let names = try components(address)
        let domain = try makeDurable(names.domain, in: directory.descriptor)
        let account = try makeDurable(names.local, in: domain.descriptor)
        let path =
            "\(path)/\(String(decoding: names.domain, as: UTF8.self))"
            + "/\(String(decoding: names.local, as: UTF8.self))"
        return try AccountStore(self, address, account, path)
    }

    /// True if there is a directory for the account.
    package func hasAccount(_ address: EmailAddress) throws(StoreError) -> Bool {
        let names = try components(address)
        guard
            let domain = try System.openDirectoryIfPresent(
                names.domain, in: directory.descriptor)
        else { return false }
        return try System.status(names.local, in: domain.descriptor)?.isDirectory == true
    }

    /// Takes all mail of an account away; it is kept beside the domains for the retention time.
    /// Its store must be closed.
    package func removeAccount(_ address: EmailAddress) throws(StoreError) {
        let names = try components(address)
        guard
            let domain = try System.openDirectoryIfPresent(
                names.domain, in: directory.descriptor)
        else { return }
        // First out of the way in one step, so that a crash leaves no half of an account.
        guard let trash = try setAside(names.local, in: domain.descriptor, address) else { return }
        if !retention.isOn { try System.removeTree(trash, in: directory.descriptor) }
    }

    /// Gives an account's mail another address. Its store must be closed. Doing it again, or for
    /// an account that never got mail, changes nothing.
    ///
    /// - Throws: `.alreadyExists` if there is mail at the new address.
    package func renameAccount(
        _ old: EmailAddress, to new: EmailAddress
    ) throws(StoreError) {
        let (from, to) = (try components(old), try components(new))
        guard
            let source = try System.openDirectoryIfPresent(from.domain, in: directory.descriptor),
            try System.status(from.local, in: source.descriptor) != nil
        else { return }
        let target = try makeDurable(to.domain, in: directory.descriptor)
        guard try System.status(to.local, in: target.descriptor) == nil else {
            throw .alreadyExists
        }
        _ = try System.rename(
            from.local, in: source.descriptor, to: to.local, in: target.descriptor)
        try System.synchronize(target.descriptor, "domain")
        try System.synchronize(source.descriptor, "domain")
    }

    /// Takes back deliveries that a crash left half done, and finishes removals. Before any
    /// account is opened.
    package func rollBackDeliveries() throws(StoreError) {
        try sweepRemoved()
        for intent in try journal.pending() {
            var isTakenBack = true
            for target in intent.targets {
                do throws(StoreError) {
                    try takeBack(target)
                } catch {
                    // The others must not wait for it; the intent stays for the next start.
                    isTakenBack = false
                    notice(
                        StoreNotice(
                            .postponed, account: target.address.text,
                            subject: "take delivery back: \(error)"))
                }
            }
            if isTakenBack { try journal.forget(intent.name) }
        }
    }

    private func takeBack(_ target: DeliveryTarget) throws(StoreError) {
        guard try hasAccount(target.address) else { return }
        let account = try openAccount(target.address)
        try account.retract(target.unique)
        try account.close()
        notice(StoreNotice(.deliveryRolledBack, account: target.address.text, count: 1))
    }

    /// A file name that no other message has. maildir(5).
    package func makeUniqueName() -> UniqueName {
        let (seconds, microseconds) = System.now()
        let number = counter.add(1, ordering: .relaxed).newValue
        var name = PathOctets("\(seconds).M\(microseconds)P\(System.processID)Q\(number).")
        name += host
        return UniqueName(octets: name)
    }

    func components(
        _ address: EmailAddress
    ) throws(StoreError) -> (domain: PathOctets, local: PathOctets) {
        guard let domain = AccountPath.component(address.domain),
            let local = AccountPath.component(address.local.asciiLowercased)
        else { throw .notPermitted }
        return (domain, local)
    }

    func makeDurable(_ name: PathOctets, in parent: Int32) throws(StoreError) -> File {
        if let present = try System.openDirectoryIfPresent(name, in: parent) { return present }
        try System.makeDirectory(name, in: parent)
        try System.synchronize(parent, "directory")
        return try System.openDirectory(name, in: parent)
    }
}
