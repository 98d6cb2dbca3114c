// SPDX-License-Identifier: Apache-2.0
//
// The grammar of commands. RFC 3501 §9 and the extensions named in Command.swift.

import Bytes
import Mail

extension TaggedCommand {
    /// Octets of a tag.
    package static let tagLimit = 128

    /// The tag of a command that may be wrong otherwise; nil if it has none.
    package static func tag(of octets: [UInt8]) -> [UInt8]? {
        var cursor = Cursor(octets.span)
        return try? cursor.tag()
    }

    /// - Parameter octets: a whole command from `CommandAssembler`.
    package init(_ octets: [UInt8]) throws(CommandError) {
        var cursor = Cursor(octets.span)
        tag = try cursor.tag()
        try cursor.space()
        command = try cursor.command()
        try cursor.end()
    }
}

extension Cursor {
    fileprivate mutating func tag() throws(CommandError) -> [UInt8] {
        let tag = take(while: \.isTagOctet)
        guard !tag.isEmpty, tag.count <= TaggedCommand.tagLimit, tag != [0x2B], tag != [0x2A]
        else { throw .badTag }
        return tag
    }

    fileprivate mutating func command() throws(CommandError) -> Command {
        let name = word()
        switch name {
        case "CAPABILITY": return .capability
        case "NOOP": return .noop
        case "LOGOUT": return .logout
        case "STARTTLS": return .startTLS
        case "NAMESPACE": return .namespace
        case "NOTIFY": return .notify(try notify())
        case "CHECK": return .check
        case "CLOSE": return .close
        case "COMPRESS":
            try space()
            return .compress(try atom())
        case "UNAUTHENTICATE": return .unauthenticate
        case "UNSELECT": return .unselect
        case "IDLE": return .idle
        case "EXPUNGE": return .expunge(uids: nil)
        case "ID":
            try space()
            try skipIDParameters()
            return .id
        case "AUTHENTICATE": return try authenticate()
        case "LOGIN":
            try space()
            let user = try astring()
            try space()
            return .login(name: user, password: try astring())
        case "ENABLE": return try enable()
        case "SELECT": return try select(isReadOnly: false)
        case "EXAMINE": return try select(isReadOnly: true)
        case "CREATE": return try create()
        case "DELETE": return .delete(mailbox: try argument())
        case "RENAME":
            let old = try argument()
            return .rename(from: old, to: try argument())
        case "SUBSCRIBE": return .subscribe(mailbox: try argument(), true)
        case "UNSUBSCRIBE": return .subscribe(mailbox: try argument(), false)
        case "LIST": return .list(try list(.list))
        case "LSUB": return .list(try list(.lsub))
        case "XLIST": return .list(try list(.xlist))
        case "GETQUOTA": return .getQuota(root: try argument())
        case "GETQUOTAROOT": return .getQuotaRoot(mailbox: try argument())
        case "SETQUOTA": return try setQuota()
        case "STATUS":
            let mailbox = try argument()
            try space()
            return .status(mailbox: mailbox, try statusItems())
        case "CANCELUPDATE": return .cancelUpdate(tags: try cancelledTags())
        case "ESEARCH": return .multiSearch(try multiSearch())
        case "UID":
            try space()
            return try messageCommand(word(), byUID: true)
        default: return try messageCommand(name, byUID: false)
        }
    }

    private mutating func messageCommand(
        _ name: String, byUID: Bool
    ) throws(CommandError) -> Command {
        switch name {
        case "FETCH":
            try space()
            return .fetch(try fetch(byUID: byUID))
        case "STORE":
            try space()
            return .store(try store(byUID: byUID))
        case "SORT": return .sort(try sort(byUID: byUID))
        case "THREAD": return .thread(try thread(byUID: byUID))
        case "SEARCH": return .search(try SearchProgram(from: &self), byUID: byUID)
        case "COPY", "MOVE":
            try space()
            let set = try SequenceSet(from: &self)
            return .copy(set, to: try argument(), move: name == "MOVE", byUID: byUID)
        case "EXPUNGE" where byUID:
            try space()
            return .expunge(uids: try SequenceSet(from: &self))
        default: throw .unknownCommand
        }
    }

    /// SP astring
    private mutating func argument() throws(CommandError) -> [UInt8] {
        try space()
        return try astring()
    }

    /// RFC 2971 §3.1: NIL or a list of pairs. Only its shape is checked: nothing is kept.
    private mutating func skipIDParameters() throws(CommandError) {
        if take("NIL") { return }
        try expect(0x28)
        _ = skip(while: { $0 == .space })
        var strings = 0
        while !take(0x29) {
            if !take("NIL") { _ = try string() }
            strings += 1
            guard strings <= 200 else { throw .tooComplex }
            _ = skip(while: { $0 == .space })
        }
    }

    private mutating func authenticate() throws(CommandError) -> Command {
        try space()
        let mechanism = try atom()
        guard !isAtEnd else {
            return .authenticate(mechanism: mechanism, initialResponse: nil)
        }
        try space()
        let response = take(while: { $0 > .space && $0 < 0x7F })  // base64, or "=" if empty
        return .authenticate(
            mechanism: mechanism, initialResponse: response.isEmpty ? nil : response)
    }

    private mutating func enable() throws(CommandError) -> Command {
        var names: [String] = []
        repeat {
            try space()
            guard names.count < 16 else { throw .tooComplex }
            names.append(String(decoding: try atom().map(\.asciiUppercased), as: UTF8.self))
        } while !isAtEnd
        return .enable(names)
    }

    private mutating func select(isReadOnly: Bool) throws(CommandError) -> Command {
        let mailbox = try argument()
        return .select(try selectParameters(of: mailbox, isReadOnly: isReadOnly))
    }

    /// RFC 9208 §4.1.2: `SETQUOTA root (name limit ...)`. Read to its end and not kept.
    private mutating func setQuota() throws(CommandError) -> Command {
        _ = try argument()
        try space()
        try expect(0x28)
        var count = 0
        while !take(0x29) {
            if count > 0 { try space() }
            _ = try atom()
            try space()
            guard !take(while: \.isASCIIDigit).isEmpty else { throw failure }
            count += 1
            guard count <= 16 else { throw .tooComplex }
        }
        return .setQuota
    }

    /// RFC 6154 §3: `CREATE name (USE (\Drafts))`.
    private mutating func create() throws(CommandError) -> Command {
        let mailbox = try argument()
        var use = SpecialUse.none
        if skip(while: { $0 == .space }) > 0, take(0x28) {
            guard take("USE") else { throw failure }
            try space()
            try expect(0x28)
            try expect(0x5C)
            let name = word()
            guard let known = SpecialUse.allCases.first(where: { $0.attribute == name }) else {
                throw failure
            }
            use = known
            try expect(0x29)
            try expect(0x29)
        }
        return .create(mailbox: mailbox, use)
    }

    fileprivate mutating func statusItems() throws(CommandError) -> StatusItems {
        try expect(0x28)
        var items: StatusItems = []
        _ = skip(while: { $0 == .space })
        while !take(0x29) {
            switch word() {
            case "MESSAGES": items.insert(.messages)
            case "RECENT": items.insert(.recent)
            case "UIDNEXT": items.insert(.uidNext)
            case "UIDVALIDITY": items.insert(.uidValidity)
            case "UNSEEN": items.insert(.unseen)
            case "HIGHESTMODSEQ": items.insert(.highestModSeq)
            case "MAILBOXID": items.insert(.mailboxID)
            case "SIZE": items.insert(.size)
            case "DELETED": items.insert(.deleted)
            case "DELETED-STORAGE": items.insert(.deletedStorage)
            default: throw failure
            }
            _ = skip(while: { $0 == .space })
        }
        return items
    }
}

extension Cursor {
    fileprivate mutating func list(_ form: ListCommand.Form) throws(CommandError) -> ListCommand {
        try space()
        var command = ListCommand(form: form, reference: [], patterns: [])
        if form == .list, next == 0x28 {
            command.selection = try options(allowing: [
                .subscribed, .remote, .recursiveMatch, .specialUse,
            ])
            try space()
        }
        // RFC 5258 §3: RECURSIVEMATCH says nothing by itself
        if command.selection.contains(.recursiveMatch),
            command.selection.isDisjoint(with: [.subscribed, .specialUse])
        {
            throw failure
        }
        command.reference = try astring()
        try space()
        if form == .list, take(0x28) {
            repeat {
                _ = skip(while: { $0 == .space })
                guard command.patterns.count < ListCommand.patternLimit else { throw .tooComplex }
                command.patterns.append(try listMailbox())
            } while next == .space
            try expect(0x29)
        } else {
            command.patterns = [try listMailbox()]
        }
        if form == .list, skip(while: { $0 == .space }) > 0, !isAtEnd {
            guard take("RETURN") else { throw failure }
            try space()
            command.returns = try options(
                allowing: [.subscribed, .children, .specialUse], status: &command.status)
        }
        return command
    }

    private mutating func options(
        allowing allowed: ListOptions
    ) throws(CommandError) -> ListOptions {
        var status: StatusItems? = nil
        return try options(allowing: allowed, optionalStatus: &status)
    }

    private mutating func options(
        allowing allowed: ListOptions, status: inout StatusItems
    ) throws(CommandError) -> ListOptions {
        var items: StatusItems? = []
        let options = try options(allowing: allowed, optionalStatus: &items)
        status = items ?? []
        return options
    }

    /// - Parameter status: nil where STATUS is not an option.
    private mutating func options(
        allowing allowed: ListOptions, optionalStatus status: inout StatusItems?
    ) throws(CommandError) -> ListOptions {
        try expect(0x28)
        var options: ListOptions = []
        _ = skip(while: { $0 == .space })
        while !take(0x29) {
            let option: ListOptions
            switch word() {
            case "SUBSCRIBED": option = .subscribed
            case "REMOTE": option = .remote
            case "RECURSIVEMATCH": option = .recursiveMatch
            case "SPECIAL-USE": option = .specialUse
            case "CHILDREN": option = .children
            case "STATUS" where status != nil:
                try space()
                status = try statusItems()
                option = []
            default: throw failure
            }
            guard allowed.isSuperset(of: option) else { throw failure }
            options.formUnion(option)
            _ = skip(while: { $0 == .space })
        }
        return options
    }

    /// RFC 3501 §6.4.6, RFC 7162 §3.1.3.
    fileprivate mutating func store(byUID: Bool) throws(CommandError) -> StoreCommand {
        let set = try SequenceSet(from: &self)
        try space()
        var unchangedSince: UInt64?
        if take(0x28) {
            guard word() == "UNCHANGEDSINCE" else { throw failure }
            try space()
            unchangedSince = try modSeq()
            try expect(0x29)
            try space()
        }
        let operation: FlagOperation = take(0x2B) ? .add : take(0x2D) ? .remove : .replace
        let item = word()
        guard item == "FLAGS" || item == "FLAGS.SILENT" else { throw failure }
        try space()
        return StoreCommand(
            set: set, operation: operation,
            flags: try flagList(parenthesesRequired: false).flags,
            isSilent: item == "FLAGS.SILENT", unchangedSince: unchangedSince, byUID: byUID)
    }
}

extension SpecialUse {
    /// Name of the attribute without its backslash, in capitals; empty for `.none`.
    fileprivate var attribute: String {
        switch self {
        case .none: ""
        case .drafts: "DRAFTS"
        case .sent: "SENT"
        case .junk: "JUNK"
        case .trash: "TRASH"
        case .archive: "ARCHIVE"
        }
    }
}
