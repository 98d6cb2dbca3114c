// SPDX-License-Identifier: Apache-2.0
//
// The capabilities that the server can name, in the order in which it names them, and what each
// command needs of them: one that is switched off is not named, and what it brings is unknown.
// RFC 9051 §7.2.2; RFC 5161.

import Bytes
import Mail

/// One word of CAPABILITY. A case here is named unless it is switched off; those that need more
/// are in `isOffered` of the session.
package enum Capability: String, CaseIterable, Sendable {
    case imap4rev1 = "IMAP4rev1"
    case imap4rev2 = "IMAP4rev2"
    case literalPlus = "LITERAL+"
    case saslInitialResponse = "SASL-IR"
    case id = "ID"
    case enable = "ENABLE"
    case binary = "BINARY"
    case catenate = "CATENATE"
    case compress = "COMPRESS=DEFLATE"
    case idle = "IDLE"
    case inProgress = "INPROGRESS"
    case multiAppend = "MULTIAPPEND"
    case namespace = "NAMESPACE"
    case notify = "NOTIFY"
    case uidPlus = "UIDPLUS"
    case move = "MOVE"
    case unselect = "UNSELECT"
    case condstore = "CONDSTORE"
    case qresync = "QRESYNC"
    case children = "CHILDREN"
    case specialUse = "SPECIAL-USE"
    case createSpecialUse = "CREATE-SPECIAL-USE"
    case listExtended = "LIST-EXTENDED"
    case listStatus = "LIST-STATUS"
    case statusSize = "STATUS=SIZE"
    case within = "WITHIN"
    case esearch = "ESEARCH"
    case searchRes = "SEARCHRES"
    case partial = "PARTIAL"
    case sort = "SORT"
    case sortDisplay = "SORT=DISPLAY"
    case esort = "ESORT"
    case threadOrderedSubject = "THREAD=ORDEREDSUBJECT"
    case threadReferences = "THREAD=REFERENCES"
    case threadRefs = "THREAD=REFS"
    case contextSearch = "CONTEXT=SEARCH"
    case contextSort = "CONTEXT=SORT"
    case multiSearch = "MULTISEARCH"
    case replace = "REPLACE"
    case urlPartial = "URL-PARTIAL"
    case utf8Accept = "UTF8=ACCEPT"
    case quota = "QUOTA"
    case quotaStorage = "QUOTA=RES-STORAGE"
    case quotaMessage = "QUOTA=RES-MESSAGE"
    case objectID = "OBJECTID"
    case preview = "PREVIEW"
    case saveDate = "SAVEDATE"
    case snippet = "SNIPPET=FUZZY"
    case unauthenticate = "UNAUTHENTICATE"
    case appendLimit = "APPENDLIMIT"
    case xlist = "XLIST"

    /// The protocol itself, and what the parser reads before anybody can ask.
    private static let basic: Set<Capability> = [
        .imap4rev1, .literalPlus, .saslInitialResponse,
    ]

    /// Those that mail.toml or an account can switch off.
    package static let switchable = allCases.filter { !basic.contains($0) }

    /// Without the first of a pair the second means nothing.
    private static let needs: [(base: Capability, beside: Capability)] = [
        (.specialUse, .createSpecialUse), (.listExtended, .listStatus),
        (.esearch, .searchRes), (.esearch, .partial), (.esearch, .contextSearch),
        (.esearch, .multiSearch), (.sort, .sortDisplay), (.sort, .esort), (.sort, .contextSort),
        (.condstore, .qresync), (.quota, .quotaStorage), (.quota, .quotaMessage),
    ]

    /// A name in any case. Nil if it is unknown or cannot be switched off.
    package init?(switchable name: String) {
        let name = name.uppercased()
        guard let known = Self.switchable.first(where: { $0.rawValue.uppercased() == name })
        else { return nil }
        self = known
    }

    fileprivate var bit: UInt128 {
        1 << UInt128(Self.allCases.firstIndex(of: self) ?? 0)
    }

    /// Everything that goes when this goes.
    fileprivate var withDependents: UInt128 {
        Self.needs.reduce(bit) { $1.base == self ? $0 | $1.beside.bit : $0 }
    }
}

/// Capabilities that are switched off.
package struct DisabledCapabilities: Equatable, Sendable {
    private var bits: UInt128 = 0

    package init() {}

    /// Names that mean nothing are passed over: they were refused where they were written.
    package init(names: [String]) {
        for name in names {
            if let capability = Capability(switchable: name) { insert(capability) }
        }
    }

    package mutating func insert(_ capability: Capability) { bits |= capability.withDependents }
    package mutating func formUnion(_ others: DisabledCapabilities) { bits |= others.bits }
    package func contains(_ capability: Capability) -> Bool { bits & capability.bit != 0 }
    package var isEmpty: Bool { bits == 0 }

    /// Whether a command asks for something that is switched off.
    package func forbid(_ command: Command) -> Bool {
        guard !isEmpty else { return false }
        return command.needs.contains { contains($0) }
    }
}

extension Command {
    /// The capabilities without which the command, as it was written, does not exist.
    package var needs: [Capability] {
        switch self {
        case .id: [.id]
        case .compress: [.compress]
        case .enable: [.enable]
        case .idle: [.idle]
        case .namespace: [.namespace]
        case .notify: [.notify]
        case .unselect: [.unselect]
        case .unauthenticate: [.unauthenticate]
        case .getQuota, .getQuotaRoot, .setQuota: [.quota]
        case .expunge(let set): set == nil ? [] : [.uidPlus]
        case .copy(_, _, let move, _): move ? [.move] : []
        case .create(_, let use): use == .none ? [] : [.createSpecialUse]
        case .select(let select):
            (select.condstore ? [.condstore] : []) + (select.resync == nil ? [] : [.qresync])
        case .store(let store): store.unchangedSince == nil ? [] : [.condstore]
        case .search(let program, _): program.needs(.esearch, .contextSearch)
        case .multiSearch(let command):
            [.multiSearch] + command.program.needs(.esearch, .contextSearch)
        case .cancelUpdate: [.contextSearch]
        case .sort(let sort):
            [.sort] + sort.program.needs(.esort, .contextSort)
                + (sort.order.contains(where: \.isDisplay) ? [.sortDisplay] : [])
        case .thread(let thread): [thread.algorithm.capability] + thread.program.needs
        case .list(let list): list.needs
        case .status(_, let items): items.needs
        case .fetch(let fetch): fetch.needs
        default: []
        }
    }
}

extension SearchProgram {
    fileprivate var needs: [Capability] { key.needs + (mentionsModSeq ? [.condstore] : []) }

    /// - Parameters: what RETURN and its UPDATE need.
    fileprivate func needs(_ extended: Capability, _ context: Capability) -> [Capability] {
        guard let returns else { return needs }
        var needs = needs + [extended]
        if returns.contains(.save) { needs.append(.searchRes) }
        if returns.contains(.update) { needs.append(context) }
        if returns.partial != nil { needs.append(.partial) }
        return needs
    }
}

extension SortCriterion {
    fileprivate var isDisplay: Bool { key == .displayFrom || key == .displayTo }
}

extension ThreadAlgorithm {
    fileprivate var capability: Capability {
        switch self {
        case .orderedSubject: .threadOrderedSubject
        case .references: .threadReferences
        case .refs: .threadRefs
        }
    }
}

extension SearchKey {
    /// The parser has bounded how deep they are nested.
    fileprivate var needs: [Capability] {
        switch self {
        case .and(let keys): keys.flatMap(\.needs)
        case .or(let left, let right): left.needs + right.needs
        case .not(let key): key.needs
        case .savedDay: [.saveDate]
        case .emailID: [.objectID]
        case .younger: [.within]
        default: []
        }
    }
}

extension ListCommand {
    fileprivate var needs: [Capability] {
        var needs = status.needs
        if form == .xlist { needs.append(.xlist) }
        if !status.isEmpty { needs.append(.listStatus) }
        let options = selection.union(returns)
        if options.contains(.specialUse) { needs.append(.specialUse) }
        if patterns.count > 1 || !options.isEmpty || !status.isEmpty {
            needs.append(.listExtended)
        }
        return needs
    }
}

extension StatusItems {
    fileprivate var needs: [Capability] {
        var needs: [Capability] = []
        if contains(.size) { needs.append(.statusSize) }
        if contains(.highestModSeq) { needs.append(.condstore) }
        if contains(.mailboxID) { needs.append(.objectID) }
        if contains(.deletedStorage) { needs.append(.quotaStorage) }
        return needs
    }
}

extension FetchCommand {
    fileprivate var needs: [Capability] {
        var needs: [Capability] = changedSince == nil ? [] : [.condstore]
        if tellsVanished { needs.append(.qresync) }
        if partial != nil { needs.append(.partial) }
        for attribute in attributes {
            switch attribute {
            case .modSeq: needs.append(.condstore)
            case .binary, .binarySize: needs.append(.binary)
            case .emailID, .threadID: needs.append(.objectID)
            case .preview: needs.append(.preview)
            case .saveDate: needs.append(.saveDate)
            case .snippet: needs.append(.snippet)
            default: break
            }
        }
        return needs
    }
}
