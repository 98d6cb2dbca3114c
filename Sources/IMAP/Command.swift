// SPDX-License-Identifier: Apache-2.0
//
// IMAP commands as values. RFC 3501 §6 with UIDPLUS (4315), MOVE (6851), CONDSTORE (7162),
// LIST-EXTENDED (5258), LIST-STATUS (5819), SPECIAL-USE (6154), STATUS=SIZE (8438), ENABLE (5161),
// ID (2971), IDLE (2177), NAMESPACE (2342), UNSELECT (3691), QUOTA (9208) and Gmail's XLIST.
// Mailbox names are kept as the client wrote them.

import Bytes
import Mail

/// A command with its tag.
package struct TaggedCommand: Equatable, Sendable {
    package var tag: [UInt8]
    package var command: Command
}

/// What the client wants. APPEND is not here: its message is not kept (`CommandAssembler`).
package enum Command: Equatable, Sendable {
    case capability
    case noop
    case logout
    case id
    case startTLS
    case authenticate(mechanism: [UInt8], initialResponse: [UInt8]?)
    case login(name: [UInt8], password: [UInt8])
    case enable([String])
    case namespace
    case notify(NotifyCommand)
    case select(SelectCommand)
    case create(mailbox: [UInt8], SpecialUse)
    case delete(mailbox: [UInt8])
    case rename(from: [UInt8], to: [UInt8])
    case subscribe(mailbox: [UInt8], Bool)
    case list(ListCommand)
    case status(mailbox: [UInt8], StatusItems)
    case unauthenticate
    case getQuota(root: [UInt8])
    case getQuotaRoot(mailbox: [UInt8])
    /// RFC 9208 §4.1.2: only the owner of the server may.
    case setQuota
    case check
    case close
    case compress([UInt8])
    case unselect
    case idle
    /// nil: every message with `\Deleted`.
    case expunge(uids: SequenceSet?)
    case search(SearchProgram, byUID: Bool)
    case sort(SortCommand)
    case thread(ThreadCommand)
    case multiSearch(MultiSearchCommand)
    case cancelUpdate(tags: [[UInt8]])
    case fetch(FetchCommand)
    case store(StoreCommand)
    case copy(SequenceSet, to: [UInt8], move: Bool, byUID: Bool)

    /// The name, for metrics and logs.
    package var name: String {
        switch self {
        case .capability: "CAPABILITY"
        case .noop: "NOOP"
        case .logout: "LOGOUT"
        case .id: "ID"
        case .startTLS: "STARTTLS"
        case .authenticate: "AUTHENTICATE"
        case .login: "LOGIN"
        case .enable: "ENABLE"
        case .namespace: "NAMESPACE"
        case .notify: "NOTIFY"
        case .select(let select): select.isReadOnly ? "EXAMINE" : "SELECT"
        case .create: "CREATE"
        case .delete: "DELETE"
        case .rename: "RENAME"
        case .subscribe(_, let isOn): isOn ? "SUBSCRIBE" : "UNSUBSCRIBE"
        case .list(let list): list.form.rawValue
        case .status: "STATUS"
        case .unauthenticate: "UNAUTHENTICATE"
        case .getQuota: "GETQUOTA"
        case .getQuotaRoot: "GETQUOTAROOT"
        case .setQuota: "SETQUOTA"
        case .check: "CHECK"
        case .close: "CLOSE"
        case .compress: "COMPRESS"
        case .unselect: "UNSELECT"
        case .idle: "IDLE"
        case .expunge: "EXPUNGE"
        case .search: "SEARCH"
        case .sort: "SORT"
        case .thread: "THREAD"
        case .multiSearch: "ESEARCH"
        case .cancelUpdate: "CANCELUPDATE"
        case .fetch: "FETCH"
        case .store: "STORE"
        case .copy(_, _, let move, _): move ? "MOVE" : "COPY"
        }
    }
}

/// LIST, LSUB and XLIST. RFC 5258 §3 for the options.
package struct ListCommand: Equatable, Sendable {
    package enum Form: String, Sendable {
        case list = "LIST"
        case lsub = "LSUB"
        case xlist = "XLIST"
    }

    /// Patterns of one command.
    package static let patternLimit = 32

    package var form: Form
    package var reference: [UInt8]
    package var patterns: [[UInt8]]
    package var selection: ListOptions = []
    package var returns: ListOptions = []
    package var status: StatusItems = []

    package init(form: Form, reference: [UInt8], patterns: [[UInt8]]) {
        self.form = form
        self.reference = reference
        self.patterns = patterns
    }
}

package struct ListOptions: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let subscribed = ListOptions(rawValue: 1)
    package static let remote = ListOptions(rawValue: 2)
    package static let recursiveMatch = ListOptions(rawValue: 4)
    package static let specialUse = ListOptions(rawValue: 8)
    package static let children = ListOptions(rawValue: 16)
}

package struct StatusItems: OptionSet, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    package static let messages = StatusItems(rawValue: 1)
    package static let recent = StatusItems(rawValue: 2)
    package static let uidNext = StatusItems(rawValue: 4)
    package static let uidValidity = StatusItems(rawValue: 8)
    package static let unseen = StatusItems(rawValue: 16)
    package static let highestModSeq = StatusItems(rawValue: 32)
    package static let size = StatusItems(rawValue: 64)
    package static let deleted = StatusItems(rawValue: 128)
    package static let deletedStorage = StatusItems(rawValue: 256)
    package static let mailboxID = StatusItems(rawValue: 512)
}

package struct StoreCommand: Equatable, Sendable {
    package var set: SequenceSet
    package var operation: FlagOperation
    package var flags: NamedFlags
    package var isSilent: Bool
    package var unchangedSince: UInt64?
    package var byUID: Bool
}

package struct FetchCommand: Equatable, Sendable {
    /// Attributes in one command.
    package static let attributeLimit = 64

    package var set: SequenceSet
    package var attributes: [FetchAttribute]
    package var changedSince: UInt64?
    /// RFC 7162 §3.2.6: also which messages are gone since then.
    package var tellsVanished = false
    /// RFC 9394 §3.3: only so many of the messages of the set.
    package var partial: PartialRange?
    package var byUID: Bool

    package init(
        set: SequenceSet, attributes: [FetchAttribute], changedSince: UInt64?, byUID: Bool
    ) {
        self.set = set
        self.attributes = attributes
        self.changedSince = changedSince
        self.byUID = byUID
    }
}

/// One data item. RFC 3501 §6.4.5.
package enum FetchAttribute: Equatable, Sendable {
    case flags
    case internalDate
    case size
    case uid
    case modSeq
    case envelope
    /// BODYSTRUCTURE, or BODY without a section.
    case structure(extended: Bool)
    case section(SectionFetch)
    /// RFC 3516: a part with its transfer encoding taken off, or its size then.
    case binary(BinaryFetch)
    case binarySize(part: [UInt32])
    /// RFC 8474.
    case emailID
    case threadID
    /// RFC 8970. LAZY: if it is there already.
    case preview(isLazy: Bool)
    /// RFC 8514.
    case saveDate
    /// What Dovecot had before PREVIEW: `SNIPPET (FUZZY)`.
    case snippet(isLazy: Bool)
}

/// BODY[...] and its RFC822 forms.
package struct SectionFetch: Equatable, Sendable {
    /// How the answer calls it.
    package enum Label: Sendable {
        case body
        case rfc822
        case rfc822Header
        case rfc822Text
    }

    package var section: Section
    package var label: Label
    /// Does not set `\Seen`.
    package var isPeek: Bool
    /// `<offset.count>`
    package var partial: Section.Partial?

    package init(
        section: Section, label: Label = .body, isPeek: Bool, partial: Section.Partial? = nil
    ) {
        self.section = section
        self.label = label
        self.isPeek = isPeek
        self.partial = partial
    }
}
