// SPDX-License-Identifier: Apache-2.0
//
// Requests as frames. Their numbers are in RequestCode.swift.

import Bytes
import Mail

extension Request {
    package var code: RequestCode {
        switch self {
        case .authenticate: .authenticate
        case .logout: .logout
        case .stage: .stage
        case .unstage: .unstage
        case .checkRecipient: .checkRecipient
        case .maySend: .maySend
        case .deliver(let delivery): delivery.isPlain ? .deliver : .deliverOnTerms
        case .checkMail: .checkMail
        case .list: .list
        case .create: .create
        case .delete: .delete
        case .rename: .rename
        case .subscribe: .subscribe
        case .status: .status
        case .open: .open
        case .close: .close
        case .watchAccount: .watchAccount
        case .changes: .changes
        case .append: .append
        case .store: .store
        case .copy: .copy
        case .expunge: .expunge
        case .read: .read
        case .quota: .quota
        case .deletedSize: .deletedSize
        case .search: .search
        case .summaries: .summaries
        case .resume: .resume
        case .listDomains: .listDomains
        case .addDomain: .addDomain
        case .removeDomain: .removeDomain
        case .listAccounts: .listAccounts
        case .changeAccount: .changeAccount
        case .storeStatus: .storeStatus
        case .rebuildIndex: .rebuildIndex
        case .checkIndex: .checkIndex
        case .optimizeIndex: .optimizeIndex
        case .rebuildSearch: .rebuildSearch
        case .searchStats: .searchStats
        case .assume: .assume
        case .directory(let request): request.code
        case .createAs: .createAs
        case .place: .place
        case .backup(let request): request.code
        case .content(let request): request.code
        case .attempt: .attempt
        case .access(let request): request.code
        }
    }

    /// About how long the frame will be, to allocate once.
    var sizeHint: Int {
        switch self {
        case .deliver(let delivery): 256 + 80 * delivery.recipients.count + delivery.body.sizeHint
        case .append(_, _, _, _, let body), .place(_, _, _, _, _, let body): 256 + body.sizeHint
        case .read(_, _, let uids, _): 64 + 4 * uids.count
        case .directory(.changeAliases(let rows, _, _)): 64 + 128 * rows.count
        case .search(_, _, let uids, _): 256 + 8 * uids.count
        case .content(let request): request.sizeHint
        case .summaries(_, _, let uids, _): 64 + 8 * uids.count
        default: 128
        }
    }

    /// Writes the payload. A value over its limit makes the encoder `isOversized`.
    package func encode(into encoder: inout Encoder) {
        switch self {
        case .authenticate(let credentials): encoder.put(credentials)
        case .logout(let session), .quota(let session): encoder.put(session)
        case .stage, .listDomains, .storeStatus: break
        case .unstage(let token): encoder.put(token)
        case .checkRecipient(let address), .rebuildIndex(let address),
            .optimizeIndex(let address), .assume(let address), .rebuildSearch(let address),
            .searchStats(let address):
            encoder.put(address)
        case .checkIndex(let address, let repair):
            encoder.put(address)
            encoder.put(repair)
        case .maySend(let session, let address):
            encoder.put(session)
            encoder.put(address)
        case .deliver(let delivery): delivery.encode(into: &encoder)
        case .checkMail(let address, let size):
            encoder.put(address)
            encoder.put(size)
        case .directory(let request): request.encode(into: &encoder)
        case .addDomain(let name), .removeDomain(let name), .listAccounts(let name):
            encoder.put(name, limit: WireLimit.domain)
        case .changeAccount(let change): change.encode(into: &encoder)
        case .backup(let request): request.encode(into: &encoder)
        case .content(let request): request.encode(into: &encoder)
        case .attempt(let attempt, let client):
            attempt.encode(into: &encoder)
            client.encode(into: &encoder)
        case .access(let request): request.encode(into: &encoder)
        default: encodeMailboxRequest(into: &encoder)
        }
    }

    private func encodeMailboxRequest(into encoder: inout Encoder) {
        switch self {
        case .list(let session): encoder.put(session)
        case .create(let session, let name, let use):
            encoder.put(session)
            encoder.put(name)
            encoder.put(use.rawValue)
        case .createAs(let session, let name, let use, let uidValidity):
            encoder.put(session)
            encoder.put(name)
            encoder.put(use.rawValue)
            encoder.put(uidValidity)
        case .delete(let session, let name), .status(let session, let name),
            .deletedSize(let session, let name):
            encoder.put(session)
            encoder.put(name)
        case .rename(let session, let from, let to):
            encoder.put(session)
            encoder.put(from)
            encoder.put(to)
        case .subscribe(let session, let name, let wanted):
            encoder.put(session)
            encoder.put(name)
            encoder.put(wanted)
        case .open(let session, let name, let mode):
            encoder.put(session)
            encoder.put(name)
            encoder.put(mode.rawValue)
        case .watchAccount(let session): encoder.put(session)
        case .close(let session, let mailbox):
            encoder.put(session)
            encoder.put(mailbox)
        case .changes(let session, let mailbox, let since):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(since)
        default: encodeMessageRequest(into: &encoder)
        }
    }

    private func encodeMessageRequest(into encoder: inout Encoder) {
        switch self {
        case .append(let session, let name, let flags, let date, let body):
            encoder.put(session)
            encoder.put(name)
            encoder.put(flags)
            encoder.put(optional: date) { $0.put($1) }
            encoder.put(body)
        case .place(let session, let name, let wanted, let flags, let date, let body):
            encoder.put(session)
            encoder.put(name)
            encoder.put(wanted.uidValidity)
            encoder.put(wanted.uid)
            encoder.put(flags)
            encoder.put(optional: date) { $0.put($1) }
            encoder.put(body)
        case .store(let session, let mailbox, let uids, let operation, let flags, let unchanged):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(ranges: uids)
            encoder.put(operation.rawValue)
            encoder.put(flags)
            encoder.put(optional: unchanged) { $0.put($1) }
        case .copy(let session, let mailbox, let uids, let name, let move):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(ranges: uids)
            encoder.put(name)
            encoder.put(move)
        case .expunge(let session, let mailbox, let uids, let force):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(optional: uids) { $0.put(ranges: $1) }
            encoder.put(force)
        case .summaries(let session, let mailbox, let uids, let pieces):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(ranges: uids)
            encoder.put(pieces.rawValue)
        case .resume(let session, let name, let mode, let mailbox, let since):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(name)
            encoder.put(mode.rawValue)
            encoder.put(since)
        case .read(let session, let mailbox, let uids, let part):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(uids: uids, limit: WireLimit.readUIDs)
            encoder.put(part.rawValue)
        case .search(let session, let mailbox, let uids, let query):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(ranges: uids)
            encoder.put(query)
        default: encoder.refuse()  // the two functions above wrote every other case
        }
    }

    /// Reads the payload behind `code`; the decoder must be at its end afterwards.
    package init(_ code: RequestCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .authenticate: self = .authenticate(try decoder.credentials())
        case .attempt:
            self = .attempt(try Attempt(from: &decoder), try LoginClient(from: &decoder))
        case .logout: self = .logout(try decoder.sessionHandle())
        case .stage: self = .stage
        case .unstage: self = .unstage(try decoder.stageToken())
        case .checkRecipient: self = .checkRecipient(try decoder.address())
        case .maySend: self = .maySend(try decoder.sessionHandle(), as: try decoder.address())
        case .deliver: self = .deliver(try Delivery(from: &decoder))
        case .deliverOnTerms:
            var delivery = try Delivery(from: &decoder)
            try delivery.readTerms(from: &decoder)
            self = .deliver(delivery)
        case .checkMail:
            self = .checkMail(try decoder.address(), size: try decoder.integer(UInt64.self))
        case .quota: self = .quota(try decoder.sessionHandle())
        case .deletedSize:
            self = .deletedSize(try decoder.sessionHandle(), try decoder.mailboxName())
        case .list: self = .list(try decoder.sessionHandle())
        case .create:
            self = .create(
                try decoder.sessionHandle(), try decoder.mailboxName(),
                try decoder.choice(SpecialUse.self, "special use"))
        case .delete: self = .delete(try decoder.sessionHandle(), try decoder.mailboxName())
        case .rename:
            self = .rename(
                try decoder.sessionHandle(), from: try decoder.mailboxName(),
                to: try decoder.mailboxName())
        case .subscribe:
            self = .subscribe(
                try decoder.sessionHandle(), try decoder.mailboxName(), try decoder.bool())
        case .status: self = .status(try decoder.sessionHandle(), try decoder.mailboxName())
        case .open:
            self = .open(
                try decoder.sessionHandle(), try decoder.mailboxName(),
                try decoder.choice(OpenMode.self, "open mode"))
        case .close: self = .close(try decoder.sessionHandle(), try decoder.mailboxID())
        case .watchAccount: self = .watchAccount(try decoder.sessionHandle())
        case .append, .changes, .createAs, .place, .store, .copy, .expunge, .read, .search,
            .summaries, .resume:
            self = try Self.messageRequest(code, &decoder)
        case .listDomains: self = .listDomains
        case .addDomain: self = .addDomain(try decoder.domain())
        case .removeDomain: self = .removeDomain(try decoder.domain())
        case .listAccounts:
            self = .listAccounts(domain: try decoder.domain())
        case .changeAccount: self = .changeAccount(try AccountChange(from: &decoder))
        case .storeStatus: self = .storeStatus
        case .rebuildIndex: self = .rebuildIndex(try decoder.address())
        case .checkIndex:
            self = .checkIndex(try decoder.address(), repair: try decoder.bool())
        case .optimizeIndex: self = .optimizeIndex(try decoder.address())
        case .rebuildSearch: self = .rebuildSearch(try decoder.address())
        case .searchStats: self = .searchStats(try decoder.address())
        case .assume: self = .assume(try decoder.address())
        case .changeAliases, .listAliases, .expand, .listDomainDetails, .setDomain,
            .listAccountDetails, .showAccount, .setAccount, .recount, .renameAccount,
            .renameDomain:
            guard let request = try DirectoryRequest(code, from: &decoder) else {
                throw .unknownOpcode(code.rawValue)
            }
            self = .directory(request)
        case .backupSnapshot, .backupFiles, .backupRelease, .copyDirectory, .restoreDirectory,
            .placeAccount, .listRetained, .undelete, .listRemoved, .noteBackup:
            guard let request = try BackupRequest(code, from: &decoder) else {
                throw .unknownOpcode(code.rawValue)
            }
            self = .backup(request)
        case .details, .mailboxNumber, .appendGroup, .readNamed:
            self = .content(try ContentRequest(code, from: &decoder))
        case .addAppPassword, .listAppPasswords, .removeAppPassword, .listBans, .addBan,
            .removeBan, .setCramSecret:
            guard let request = try AccessRequest(code, from: &decoder) else {
                throw .unknownOpcode(code.rawValue)
            }
            self = .access(request)
        }
        try decoder.finish()
    }

    private static func messageRequest(
        _ code: RequestCode, _ decoder: inout Decoder
    ) throws(WireError) -> Request {
        let session = try decoder.sessionHandle()
        if code == .createAs {
            return .createAs(
                session, try decoder.mailboxName(),
                try decoder.choice(SpecialUse.self, "special use"),
                uidValidity: try decoder.integer(UInt32.self))
        }
        if code == .place {
            let name = try decoder.mailboxName()
            let wanted = PlacedUID(
                uidValidity: try decoder.integer(UInt32.self),
                uid: try decoder.integer(UInt32.self))
            return .place(
                session, name, wanted, flags: try decoder.namedFlags(),
                date: try decoder.optional { d throws(WireError) in try d.integer(Int64.self) },
                body: try decoder.body())
        }
        if code == .append {
            let name = try decoder.mailboxName()
            return .append(
                session, name, flags: try decoder.namedFlags(),
                date: try decoder.optional { d throws(WireError) in try d.integer(Int64.self) },
                body: try decoder.body())
        }
        let mailbox = try decoder.mailboxID()
        switch code {
        case .changes:
            return .changes(session, mailbox, since: try decoder.integer(UInt64.self))
        case .store:
            let uids = try decoder.ranges()
            let operation = try decoder.choice(FlagOperation.self, "flag operation")
            return .store(
                session, mailbox, uids: uids, operation, try decoder.namedFlags(),
                unchangedSince: try decoder.optional { d throws(WireError) in
                    try d.integer(UInt64.self)
                })
        case .copy:
            let uids = try decoder.ranges()
            return .copy(
                session, mailbox, uids: uids, to: try decoder.mailboxName(),
                move: try decoder.bool())
        case .expunge:
            let uids = try decoder.optional { d throws(WireError) in try d.ranges() }
            return .expunge(session, mailbox, uids: uids, force: try decoder.bool())
        case .read:
            let uids = try decoder.uids(limit: WireLimit.readUIDs)
            return .read(session, mailbox, uids: uids, try decoder.choice(ReadPart.self, "part"))
        case .search:
            let uids = try decoder.ranges()
            return .search(session, mailbox, uids: uids, try decoder.textQuery())
        case .summaries:
            let uids = try decoder.ranges()
            let pieces = SummaryPieces(rawValue: try decoder.octet())
            guard !pieces.isEmpty, SummaryPieces.all.contains(pieces) else {
                throw .invalid("pieces")
            }
            return .summaries(session, mailbox, uids: uids, pieces)
        case .resume:
            let name = try decoder.mailboxName()
            let mode = try decoder.choice(OpenMode.self, "open mode")
            return .resume(
                session, name, mode, mailbox, since: try decoder.integer(UInt64.self))
        default:
            throw .unknownOpcode(code.rawValue)
        }
    }
}

extension MessageBody {
    fileprivate var sizeHint: Int {
        switch self {
        case .inline(let octets): octets.count
        case .staged: 0
        }
    }
}

extension Delivery {
    fileprivate func encode(into encoder: inout Encoder) {
        encoder.put(id)
        encoder.put(session)
        encoder.put(sender)
        encoder.put(list: recipients, limit: WireLimit.recipients) { $0.put($1) }
        if recipients.isEmpty { encoder.refuse() }
        encoder.put(body)
        if !isPlain { putTerms(into: &encoder) }
    }

    fileprivate init(from decoder: inout Decoder) throws(WireError) {
        let id = try decoder.traceID()
        let session = try decoder.traceID()
        let sender = try decoder.reversePath()
        let recipients = try decoder.list(limit: WireLimit.recipients, minimum: 8) {
            d throws(WireError) in try d.address()
        }
        guard !recipients.isEmpty else { throw .invalid("recipients") }
        self.init(
            id: id, session: session, sender: sender, recipients: recipients,
            body: try decoder.body())
    }
}

extension AccountChange {
    fileprivate func encode(into encoder: inout Encoder) {
        switch self {
        case .add(let address, let password, let hash):
            encoder.put(UInt8(0))
            encoder.put(address)
            encoder.put(password, limit: WireLimit.password)
            encoder.put(hash, limit: WireLimit.hash)
            if password.isEmpty == hash.isEmpty { encoder.refuse() }
        case .setPassword(let address, let password, let hash):
            encoder.put(UInt8(1))
            encoder.put(address)
            encoder.put(password, limit: WireLimit.password)
            encoder.put(hash, limit: WireLimit.hash)
            if password.isEmpty == hash.isEmpty { encoder.refuse() }
        case .remove(let address, let keepMail):
            encoder.put(UInt8(2))
            encoder.put(address)
            encoder.put(keepMail)
        }
    }

    fileprivate init(from decoder: inout Decoder) throws(WireError) {
        let kind = try decoder.octet()
        let address = try decoder.address()
        switch kind {
        case 0, 1:
            let password = try decoder.string(limit: WireLimit.password)
            let hash = try decoder.string(limit: WireLimit.hash)
            guard password.isEmpty != hash.isEmpty else { throw .invalid("password") }
            self =
                kind == 0
                ? .add(address: address, password: password, hash: hash)
                : .setPassword(address: address, password: password, hash: hash)
        case 2: self = .remove(address: address, keepMail: try decoder.bool())
        default: throw .invalid("account change")
        }
    }
}
