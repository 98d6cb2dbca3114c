// SPDX-License-Identifier: Apache-2.0
//
// Replies and events as frames. An opcode never changes its meaning; a new meaning gets a new
// number. docs/wire.md has the same table for readers.

import Bytes
import Mail

/// The numbers of the replies.
package enum ReplyCode: UInt16, CaseIterable, Sendable {
    case failure = 0x8001
    case done = 0x8002
    case authenticated = 0x8003
    case staged = 0x8004
    case recipient = 0x8005
    case permission = 0x8006
    case delivered = 0x8007
    case mailboxes = 0x8008
    case status = 0x8009
    case entries = 0x800A
    case opened = 0x800B
    case changes = 0x800C
    case appended = 0x800D
    case stored = 0x800E
    case copied = 0x800F
    case expunged = 0x8010
    case message = 0x8011
    case domains = 0x8012
    case accounts = 0x8013
    case storeStatus = 0x8014
    case indexReport = 0x8020
    case indexOptimized = 0x8021
    case aliases = 0x8028
    case expansion = 0x8029
    case domainDetails = 0x802A
    case accountDetails = 0x802B
    case addressProblem = 0x802C
    case quota = 0x802D
    case octets = 0x802E
    case found = 0x8038
    case searchStats = 0x8039
    case summaries = 0x8030
    case resumed = 0x8031
    case details = 0x8070
    case appendedGroup = 0x8071
    case snapshotFolder = 0x8040
    case snapshotMessages = 0x8041
    case snapshot = 0x8042
    case file = 0x8043
    case retained = 0x8044
    case undeleted = 0x8045
    case removedAccounts = 0x8046
    case directoryRestored = 0x8047
    case loginRefused = 0x8060
    case scramParameters = 0x8061
    case proven = 0x8062
    case appPasswords = 0x8063
    case bans = 0x8064
    /// A part: the next octets of a reply that is too long for one frame. The last octets come in
    /// the frame with the reply's own opcode.
    case fragment = 0x80FF
}

/// The numbers of the events.
package enum EventCode: UInt16, CaseIterable, Sendable {
    case changed = 0xC001
}

extension StoreFailure {
    /// The number on the wire.
    package var code: UInt8 {
        switch self {
        case .unavailable: 1
        case .noSuchMailbox: 2
        case .mailboxExists: 3
        case .notPermitted: 4
        case .noSuchAccount: 5
        case .noSuchDomain: 6
        case .alreadyExists: 7
        case .badCredentials: 8
        case .overQuota: 9
        case .limit: 10
        case .inUse: 11
        case .staleHandle: 12
        case .badStage: 13
        }
    }

    package static let all: [StoreFailure] = [
        .unavailable, .noSuchMailbox, .mailboxExists, .notPermitted, .noSuchAccount, .noSuchDomain,
        .alreadyExists, .badCredentials, .overQuota, .limit, .inUse, .staleHandle, .badStage,
    ]

    package init?(code: UInt8) {
        guard let failure = Self.all.first(where: { $0.code == code }) else { return nil }
        self = failure
    }
}

extension Reply {
    package var code: ReplyCode {
        switch self {
        case .failure: .failure
        case .done: .done
        case .authenticated: .authenticated
        case .staged: .staged
        case .recipient: .recipient
        case .permission: .permission
        case .delivered: .delivered
        case .mailboxes: .mailboxes
        case .status: .status
        case .entries: .entries
        case .opened: .opened
        case .changes: .changes
        case .appended: .appended
        case .stored: .stored
        case .copied: .copied
        case .expunged: .expunged
        case .message: .message
        case .summaries: .summaries
        case .resumed: .resumed
        case .domains: .domains
        case .accounts: .accounts
        case .storeStatus: .storeStatus
        case .indexReport: .indexReport
        case .found: .found
        case .searchStats: .searchStats
        case .indexOptimized: .indexOptimized
        case .directory(let reply): reply.code
        case .backup(let reply): reply.code
        case .content(let reply): reply.code
        case .access(let reply): reply.code
        }
    }

    /// Whether exactly one descriptor comes with it; with every other reply none may.
    package var carriesDescriptor: Bool {
        switch self {
        case .staged: true
        case .message(_, _, let inline): inline == nil
        case .backup(.file): true
        default: false
        }
    }

    /// About how long the payload will be, to allocate once.
    package var sizeHint: Int {
        switch self {
        case .entries(let entries): 16 + 32 * entries.count
        case .stored(let entries, _, _): 256 + 32 * entries.count
        case .message(_, _, let inline): 32 + (inline?.count ?? 0)
        case .summaries(let rows): 16 + rows.count
        case .backup(let reply): reply.sizeHint
        default: 64
        }
    }

    /// Writes the payload. A value over its limit makes the encoder `isOversized`.
    package func encode(into encoder: inout Encoder) {
        switch self {
        case .failure(let failure): encoder.put(failure.code)
        case .done, .delivered: break
        case .authenticated(let session, let account):
            encoder.put(session)
            encoder.put(account)
        case .staged(let token): encoder.put(token)
        case .recipient(let status): encoder.put(status.rawValue)
        case .permission(let granted): encoder.put(granted)
        case .mailboxes(let rows):
            encoder.put(list: rows, limit: WireLimit.rows) { $0.put($1) }
        case .status(let status): encoder.put(status)
        case .entries(let entries): encoder.put(entries: entries, limit: Reply.entriesPerPart)
        case .opened(let snapshot): encoder.put(snapshot)
        case .changes(let changes): encoder.put(changes)
        case .appended(let uidValidity, let uid):
            encoder.put(uidValidity)
            encoder.put(uid)
        case .stored(let entries, let modified, let keywords):
            encoder.put(entries: entries)
            encoder.put(uids: modified)
            encoder.put(keywords: keywords)
        case .copied(let result):
            encoder.put(result.uidValidity)
            encoder.put(uids: result.source)
            encoder.put(uids: result.destination)
        case .expunged(let uids, let highestModSeq):
            encoder.put(uids: uids)
            encoder.put(highestModSeq)
        case .message(let uid, let size, let inline):
            encoder.put(uid)
            encoder.put(size)
            encoder.put(optional: inline) { $0.put($1, limit: WireLimit.messageInline) }
        case .summaries(let rows): encoder.put(rows, limit: WireLimit.summaries)
        case .resumed(let snapshot, let isWhole, let vanished):
            encoder.put(snapshot)
            encoder.put(isWhole)
            encoder.put(uids: vanished)
        case .domains(let rows): encoder.put(list: rows, limit: WireLimit.rows) { $0.put($1) }
        case .accounts(let rows): encoder.put(list: rows, limit: WireLimit.rows) { $0.put($1) }
        case .storeStatus(let status): encoder.put(status)
        case .indexReport(let report): encoder.put(report)
        case .found(let uids): encoder.put(uids: uids, limit: Reply.foundPerPart)
        case .searchStats(let stats): encoder.put(stats)
        case .indexOptimized(let before, let after):
            encoder.put(before)
            encoder.put(after)
        case .directory(let reply): reply.encode(into: &encoder)
        case .backup(let reply): reply.encode(into: &encoder)
        case .content(let reply): reply.encode(into: &encoder)
        case .access(let reply): reply.encode(into: &encoder)
        }
    }

    /// Reads the payload behind `code`; the decoder must be at its end afterwards.
    package init(_ code: ReplyCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .failure:
            guard let failure = StoreFailure(code: try decoder.octet()) else {
                throw .invalid("failure")
            }
            self = .failure(failure)
        case .done: self = .done
        case .authenticated:
            self = .authenticated(try decoder.sessionHandle(), try decoder.address())
        case .staged: self = .staged(try decoder.stageToken())
        case .recipient: self = .recipient(try decoder.choice(RecipientStatus.self, "recipient"))
        case .permission: self = .permission(try decoder.bool())
        case .delivered: self = .delivered
        case .mailboxes:
            self = .mailboxes(try decoder.rows(8) { d throws(WireError) in try d.mailboxInfo() })
        case .status: self = .status(try decoder.mailboxStatus())
        case .entries: self = .entries(try decoder.entries(limit: Reply.entriesPerPart))
        case .opened: self = .opened(try decoder.snapshot())
        case .changes: self = .changes(try decoder.changes())
        case .appended:
            self = .appended(
                uidValidity: try decoder.integer(UInt32.self),
                uid: try decoder.integer(UInt32.self))
        case .stored:
            self = .stored(
                entries: try decoder.entries(), modified: try decoder.uids(),
                keywords: try decoder.keywords())
        case .copied: self = .copied(try decoder.copyResult())
        case .expunged:
            self = .expunged(
                uids: try decoder.uids(), highestModSeq: try decoder.integer(UInt64.self))
        case .message:
            self = .message(
                uid: try decoder.integer(UInt32.self), size: try decoder.integer(UInt32.self),
                inline: try decoder.optional { d throws(WireError) in
                    try d.string(limit: WireLimit.messageInline)
                })
        case .summaries:
            self = .summaries(try decoder.string(limit: WireLimit.summaries))
        case .resumed:
            self = .resumed(
                try decoder.snapshot(), isWhole: try decoder.bool(), vanished: try decoder.uids())
        case .domains:
            self = .domains(try decoder.rows(9) { d throws(WireError) in try d.domainInfo() })
        case .accounts:
            self = .accounts(try decoder.rows(36) { d throws(WireError) in try d.accountInfo() })
        case .storeStatus: self = .storeStatus(try decoder.storeStatus())
        case .indexReport: self = .indexReport(try decoder.indexReport())
        case .found: self = .found(try decoder.uids(limit: Reply.foundPerPart))
        case .searchStats: self = .searchStats(try decoder.searchStats())
        case .indexOptimized:
            self = .indexOptimized(
                before: try decoder.integer(UInt64.self), after: try decoder.integer(UInt64.self))
        case .aliases, .expansion, .domainDetails, .accountDetails, .addressProblem, .quota,
            .octets:
            guard let reply = try DirectoryReply(code, from: &decoder) else {
                throw .unknownOpcode(code.rawValue)
            }
            self = .directory(reply)
        case .snapshotFolder, .snapshotMessages, .snapshot, .file, .retained, .undeleted,
            .removedAccounts, .directoryRestored:
            guard let reply = try BackupReply(code, from: &decoder) else {
                throw .unknownOpcode(code.rawValue)
            }
            self = .backup(reply)
        case .details, .appendedGroup:
            guard let reply = try ContentReply(code, from: &decoder) else {
                throw .unknownOpcode(code.rawValue)
            }
            self = .content(reply)
        case .loginRefused, .scramParameters, .proven, .appPasswords, .bans:
            guard let reply = try AccessReply(code, from: &decoder) else {
                throw .unknownOpcode(code.rawValue)
            }
            self = .access(reply)
        case .fragment: throw .unknownOpcode(code.rawValue)  // put together before it is decoded
        }
        try decoder.finish()
    }
}

extension Event {
    package var code: EventCode {
        switch self {
        case .changed: .changed
        }
    }

    package func encode(into encoder: inout Encoder) {
        switch self {
        case .changed(let session, let mailbox, let highestModSeq):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(highestModSeq)
        }
    }

    package init(_ code: EventCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .changed:
            self = .changed(
                try decoder.sessionHandle(), try decoder.mailboxID(),
                highestModSeq: try decoder.integer(UInt64.self))
        }
        try decoder.finish()
    }
}
