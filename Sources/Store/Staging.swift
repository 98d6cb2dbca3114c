// SPDX-License-Identifier: Apache-2.0
//
// Message files on their way into mailboxes: nameless, so a crash leaves nothing. open(2),
// O_TMPFILE; fcntl(2), leases; docs/store.md.

import Bytes
import Mail
import Synchronization

/// Makes nameless files on the file system of the mail. Usable from any thread.
package final class StagingArea: Sendable {
    static let directoryName = ".staging"
    private let directory: File
    private let counter = Atomic<UInt64>(0)

    /// Names left here by a process that died on a file system without nameless files go away.
    init(_ directory: consuming File) throws(StoreError) {
        self.directory = directory
        for name in try System.names(in: self.directory.descriptor) {
            try System.unlink(name, in: self.directory.descriptor)
        }
    }

    /// A file for a front daemon to write into.
    package func create() throws(StoreError) -> StagedFile {
        let made = try make(in: directory.descriptor)
        let reader = try System.reopenReadOnly(made.file.descriptor)
        return StagedFile(
            MessageFile(reader, name: made.name, directory: directory.descriptor),
            writer: SharedDescriptor(made.file))
    }

    /// A message that is already in memory, ready to be appended to many mailboxes.
    ///
    /// - Parameter date: INTERNALDATE; nil: now.
    package func stage(
        _ octets: [UInt8], date: SecondsSince1970? = nil
    ) throws(StoreError) -> StagedMessage {
        let file = try makeFile(octets, in: directory.descriptor, date: date)
        try System.synchronize(file.descriptor, "message")
        return try StagedMessage(file)
    }

    /// A file that holds `octets`, not durable yet, on the file system of `preferred`.
    func makeFile(
        _ octets: [UInt8], in preferred: Int32, date: SecondsSince1970?
    ) throws(StoreError) -> MessageFile {
        let made = try make(in: preferred)
        let file = MessageFile(made.file, name: made.name, directory: directory.descriptor)
        try System.write(octets, to: file.descriptor)
        if let date { try System.setModificationTime(file.descriptor, date) }
        return file
    }

    /// A file without a place, open for reading.
    package func file(with octets: [UInt8]) throws(StoreError) -> SharedDescriptor {
        let file = try makeFile(octets, in: directory.descriptor, date: nil)
        return SharedDescriptor(try System.reopenReadOnly(file.descriptor))
    }

    private struct Made: ~Copyable {
        var file: File
        var name: PathOctets?
    }

    /// With a name in the staging area where nameless files cannot be had.
    private func make(in preferred: Int32) throws(StoreError) -> Made {
        if let file = try System.createNameless(in: preferred) {
            return Made(file: file, name: nil)
        }
        let number = counter.add(1, ordering: .relaxed).newValue
        let name = PathOctets("\(System.processID)-\(number)")
        return Made(file: try System.createFile(name, in: directory.descriptor), name: name)
    }
}

/// An open message file that has no place in a mailbox yet.
final class MessageFile: Sendable {
    private let file: File
    private let name: PathOctets?
    private let directory: Int32

    init(_ file: consuming File, name: PathOctets?, directory: Int32) {
        self.file = file
        self.name = name
        self.directory = directory
    }

    var descriptor: Int32 { file.descriptor }

    deinit {
        guard let name else { return }
        // The name was a stand-in; one that stays is removed at the next start.
        _ = try? System.unlink(name, in: directory)
    }
}

/// A staged file that may still be written. Not durable, and gone if the process dies.
package final class StagedFile: Sendable {
    private let file: MessageFile
    private let writer: SharedDescriptor

    init(_ file: MessageFile, writer: SharedDescriptor) {
        self.file = file
        self.writer = writer
    }

    /// The writable descriptor for the writer; the caller closes it. Once only.
    package func takeWriter() -> Int32? { writer.take() }

    /// Makes the file durable and unchangeable. Waits for the disk.
    ///
    /// - Parameter date: INTERNALDATE; nil: now.
    /// - Throws: `.badStage` while a writable descriptor is left anywhere.
    package func seal(date: SecondsSince1970? = nil) throws(StoreError) -> StagedMessage {
        if let left = writer.take() { _ = File(owning: left) }
        guard try System.hasNoWriter(file.descriptor) else { throw .badStage }
        try System.setModificationTime(file.descriptor, date ?? System.now().seconds)
        try System.synchronize(file.descriptor, "message")
        return try StagedMessage(file)
    }
}

/// A message for many accounts that the delivery log has. Its file is made by the first of them.
package final class SharedMessage: Sendable {
    let octets: [UInt8]
    let date: SecondsSince1970
    private let made = Mutex<(MessageFile, MessageSummary)?>(nil)

    package init(_ octets: [UInt8], date: SecondsSince1970) {
        self.octets = octets
        self.date = date
    }

    func made(
        _ staging: StagingArea, near directory: Int32
    ) throws(StoreError) -> (MessageFile, MessageSummary) {
        try made.withLock { made throws(StoreError) in
            if let made { return made }
            let new = (
                try staging.makeFile(octets, in: directory, date: date),
                MessageSummary(octets, isWhole: true)
            )
            made = new
            return new
        }
    }
}

/// A durable file without a name, which nobody can change any more.
package final class StagedMessage: Sendable {
    package let size: Int
    package let date: SecondsSince1970
    let file: MessageFile

    /// - Parameter file: synced.
    init(_ file: MessageFile) throws(StoreError) {
        let status = try System.status(file.descriptor)
        self.file = file
        size = Int(status.size)
        date = status.seconds
    }

    /// Its first octets, at most `count`.
    package func front(_ count: Int) throws(StoreError) -> [UInt8] {
        try System.read(file.descriptor, from: 0, count: min(count, size))
    }
}
