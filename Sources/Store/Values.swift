// SPDX-License-Identifier: Apache-2.0
//
// What goes into and comes out of an account's store, beside the values of Mail.

import Mail
import Synchronization

/// The octets of a message to be kept.
package enum MessageSource: Sendable {
    /// Complete, CRLF line ends.
    case octets([UInt8])
    /// A sealed file of the staging area; may serve many accounts (hard links).
    case staged(StagedMessage)
    /// `size` octets of a sealed file from `offset` on: copied.
    case slice(StagedMessage, offset: Int64, size: Int)
    /// Octets that go to many accounts, who share one file.
    case shared(SharedMessage)

    /// Octets.
    var size: Int {
        switch self {
        case .octets(let octets): octets.count
        case .staged(let message): message.size
        case .slice(_, _, let size): size
        case .shared(let message): message.octets.count
        }
    }
}

/// One message on its way into one mailbox.
package struct PendingAppend: Sendable {
    package var mailbox: MailboxName
    package var flags: NamedFlags
    /// INTERNALDATE; nil: now.
    package var date: SecondsSince1970?
    package var source: MessageSource
    /// The name under which a journal can find the file again; nil: one is made.
    package var unique: UniqueName?
    /// The UID that it must get; nil: the next.
    package var wanted: WantedUID?
    /// Where the delivery log has the message; then nothing is synced here.
    package var position: LogPosition?
    /// Success was reported already: it is stored, or stays with the caller, but is not refused;
    /// and nothing that the log has later is stored before it.
    package var isAnswered = false

    package init(
        mailbox: MailboxName, flags: NamedFlags = NamedFlags(), date: SecondsSince1970? = nil,
        source: MessageSource, unique: UniqueName? = nil, wanted: WantedUID? = nil,
        position: LogPosition? = nil
    ) {
        self.mailbox = mailbox
        self.flags = flags
        self.date = date
        self.source = source
        self.unique = unique
        self.wanted = wanted
        self.position = position
    }
}

/// Where an appended message is now.
package struct AppendedMessage: Equatable, Sendable {
    package var mailbox: MailboxID
    package var uidValidity: UInt32
    package var uid: UInt32
    package var size: UInt32
}

/// What `store` did.
package struct StoredFlags: Equatable, Sendable {
    /// Every message that was not refused, with its flags now, by rising UID.
    package var entries: [MessageEntry]
    /// UIDs refused because of `unchangedSince`, rising.
    package var modified: [UInt32]
    package var keywords: [[UInt8]]
}

/// What `expunge` did.
package struct ExpungedMessages: Equatable, Sendable {
    package var uids: [UInt32]
    package var highestModSeq: UInt64
}

/// A mailbox that has something new for its watchers.
package struct MailboxChange: Equatable, Sendable {
    package var mailbox: MailboxID
    package var highestModSeq: UInt64
    package var isGone: Bool
}

/// Sums over an account.
package struct AccountTotals: Equatable, Sendable {
    package var size: UInt64
    package var messages: UInt64
    package var mailboxes: UInt32
}

/// Which octets `read` wants.
package enum MessagePart: Sendable {
    case whole
    /// Up to and including the empty line behind the header, at most 1 MiB.
    case header
}

/// A message, or its header, with CRLF line ends.
package enum MessageContent: Sendable {
    case octets([UInt8])
    /// A read-only file of exactly `size` octets, offset 0.
    case file(SharedDescriptor, size: UInt32)

    package var size: UInt32 {
        switch self {
        case .octets(let octets): UInt32(clamping: octets.count)
        case .file(_, let size): size
        }
    }
}

/// A descriptor that may cross threads inside copyable values. Closes unless taken.
package final class SharedDescriptor: Sendable {
    private let descriptor: Atomic<Int32>

    package init(_ file: consuming File) {
        descriptor = Atomic(file.release())
    }

    /// The descriptor, which the caller must close from now on; nil if it was taken before.
    package func take() -> Int32? {
        let taken = descriptor.exchange(-1, ordering: .acquiringAndReleasing)
        return taken < 0 ? nil : taken
    }

    /// For a look at the file while this is not taken.
    var borrowed: Int32? {
        let number = descriptor.load(ordering: .acquiring)
        return number < 0 ? nil : number
    }

    deinit {
        if let left = take() { _ = File(owning: left) }
    }
}
