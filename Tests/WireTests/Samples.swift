// SPDX-License-Identifier: Apache-2.0
//
// One or more values of every case that can cross the wire.

import Bytes
import Mail

@testable import Wire

enum Samples {
    static let alice = EmailAddress(local: Array("alice"), domain: Array("example.test"))
    static let bob = EmailAddress(local: Array("b@b o\"b"), domain: Array("[127.0.0.1]"))
    static let session = SessionHandle(rawValue: 0x0123_4567_89AB_CDEF)
    static let mailbox = MailboxID(rawValue: -7)
    static let trace = TraceID(rawValue: .max)

    static func name(_ text: String) -> MailboxName {
        guard let name = MailboxName(Array(text)) else { preconditionFailure(text) }
        return name
    }

    static let credentials = Credentials(
        authorizationID: [], authenticationID: Array("alice@example.test"),
        password: Array("päss\u{0}word"), remote: Array("2001:db8::1"), session: trace,
        service: Array("imap"))
    static let flags = NamedFlags(system: [.seen, .draft], keywords: [Array("$Junk"), Array("x")])
    static let ranges = [UIDRange(1, 1), UIDRange(3, 9), UIDRange(10, .max)]
    static let entries = (1...5).map {
        MessageEntry(
            uid: $0, size: .max - $0, flags: [.seen, .keyword(25)], modSeq: .max - UInt64($0),
            internalDate: -Int64($0))
    }

    static let report: IndexReport = {
        var report = IndexReport()
        report.mailboxes = 3
        report.messages = 1 << 40
        report.omitted = 7
        for kind in IndexFinding.Kind.allCases {
            report.add(
                IndexFinding(
                    kind, mailbox: Array("a/b"), uid: 9, detail: [0xFF, 0x00], isRepaired: true))
        }
        return report
    }()

    static let terms: EnvelopeTerms = {
        var terms = EnvelopeTerms()
        terms.body = .eightBit
        terms.isInternational = true
        terms.requiresTLS = true
        terms.ret = .headers
        terms.envelopeID = Array("QQ 314")
        terms.priority = -9
        terms.deliverBy = DeliverBy(seconds: -5, mode: .notify, isTraced: true)
        terms.mayReport = true
        return terms
    }()

    static let requests: [Request] =
        backupRequests + accessRequests + contentRequests + [
            .authenticate(credentials),
            .logout(session),
            .stage,
            .unstage(StageToken(rawValue: 9)),
            .checkRecipient(bob),
            .maySend(session, as: alice),
            .deliver(
                Delivery(
                    id: trace, session: TraceID(rawValue: 1), sender: .null, recipients: [alice],
                    body: .inline(Array("A: b\r\n\r\nc\r\n")))),
            .deliver(
                Delivery(
                    id: trace, session: trace, sender: .address(bob), recipients: [alice, bob],
                    body: .staged(StageToken(rawValue: .max)))),
            .deliver(
                Delivery(
                    id: trace, session: trace, sender: .address(bob), recipients: [alice, bob],
                    body: .inline([]), terms: terms,
                    recipientTerms: [
                        RecipientTerms(
                            notify: [],
                            original: OriginalRecipient(
                                type: Array("rfc822"), address: Array("x y@z"))),
                        RecipientTerms(notify: [.success, .delay]),
                    ])),
            .list(session),
            .create(session, name("Sent/Ä"), .sent),
            .delete(session, name("a/b/c")),
            .rename(session, from: name("a"), to: name("INBOX/b")),
            .subscribe(session, name("x"), true),
            .subscribe(session, name("x"), false),
            .status(session, .inbox),
            .open(session, .inbox, .maildrop),
            .close(session, mailbox), .watchAccount(session),
            .changes(session, mailbox, since: 1 << 40),
            .append(session, .inbox, flags: flags, date: -1, body: .inline([])),
            .append(
                session, .inbox, flags: NamedFlags(), date: nil,
                body: .staged(StageToken(rawValue: 1))),
            .store(session, mailbox, uids: ranges, .remove, flags, unchangedSince: 77),
            .store(session, mailbox, uids: [], .add, NamedFlags(), unchangedSince: nil),
            .copy(session, mailbox, uids: ranges, to: name("Archive"), move: true),
            .expunge(session, mailbox, uids: nil, force: false),
            .expunge(session, mailbox, uids: ranges, force: true),
            .read(session, mailbox, uids: [9, 1, 5], .header),
            .listDomains,
            .addDomain(Array("example.org")),
            .removeDomain(Array("example.org")),
            .listAccounts(domain: []),
            .changeAccount(.add(address: alice, password: Array("secret"), hash: [])),
            .changeAccount(.setPassword(address: alice, password: [], hash: Array("$argon2id$"))),
            .changeAccount(.remove(address: alice, keepMail: true)),
            .storeStatus,
            .rebuildIndex(alice),
            .checkIndex(alice, repair: true),
            .optimizeIndex(bob),
            .assume(alice),
            .createAs(session, name("Sent"), .sent, uidValidity: 77),
            .place(
                session, .inbox, PlacedUID(uidValidity: 7, uid: .max), flags: flags, date: -1,
                body: .inline([1, 2])),
            .place(
                session, .inbox, PlacedUID(uidValidity: 0, uid: 1), flags: NamedFlags(), date: nil,
                body: .staged(StageToken(rawValue: 8))),
            .rebuildSearch(alice),
            .searchStats(bob),
            .search(session, mailbox, uids: ranges, .text(Array("needle"))),
            .search(
                session, mailbox, uids: [],
                .all([
                    .any([]), .not(.body(Array("ß"))), .any([.sent(.before(-3)), .sent(.on(0))]),
                    .header(name: Array("List-Id"), []), .sent(.since(20_000)),
                ])),
            .checkMail(bob, size: .max),
            .quota(session),
            .summaries(session, mailbox, uids: ranges, [.envelope, .keys]),
            .resume(session, .inbox, .readOnly, mailbox, since: 1 << 40),
            .deletedSize(session, name("a/b")),
        ] + DirectorySamples.requests.map(Request.directory)

    static let replies: [Reply] =
        backupReplies + accessReplies + contentReplies + StoreFailure.all.map(Reply.failure) + [
            .done,
            .authenticated(session, alice),
            .staged(StageToken(rawValue: 3)),
            .recipient(.notLocal),
            .permission(true),
            .permission(false),
            .delivered,
            .mailboxes([
                MailboxInfo(
                    name: .inbox, specialUse: .none, isSelectable: true, isSubscribed: true),
                MailboxInfo(
                    name: name("a/b"), specialUse: .archive, isSelectable: false,
                    isSubscribed: false),
            ]),
            .status(
                MailboxStatus(
                    messages: 1, unseen: 2, deleted: 3, size: 1 << 33, uidNext: 5, uidValidity: 6,
                    highestModSeq: 1 << 60)),
            .entries(entries),
            .entries([]),
            .opened(
                MailboxSnapshot(
                    id: mailbox, uidValidity: 1, uidNext: 2, highestModSeq: 3,
                    keywords: [Array("a"), Array("$Forwarded")], entries: [])),
            .changes(
                MailboxChanges(
                    isGone: false, uidNext: 2, highestModSeq: 3, keywords: [], entries: [],
                    vanished: [1, 2, 9])),
            .appended(uidValidity: 1, uid: 2),
            .stored(entries: entries, modified: [4, 5], keywords: [Array("k")]),
            .copied(CopyResult(uidValidity: 1, source: [1, 2], destination: [8, 9])),
            .expunged(uids: [1, 3], highestModSeq: 12),
            .message(uid: 1, size: 3, inline: [1, 2, 3]),
            .message(uid: 1, size: 1 << 31, inline: nil),
            .summaries([0, 0, 0, 7, 0, 0, 0, 1, 9]),
            .resumed(
                MailboxSnapshot(
                    id: MailboxID(rawValue: 3), uidValidity: 4, uidNext: 5, highestModSeq: 6,
                    keywords: [[0x61]], entries: []), isWhole: false, vanished: [1, 2]),
            .domains([DomainInfo(name: Array("example.test"), accounts: 2, isConfigured: true)]),
            .accounts([
                AccountInfo(address: alice, size: 1 << 40, messages: 5, mailboxes: 6, created: 7)
            ]),
            .storeStatus(
                StoreStatus(
                    version: Array("1.0"), startedAt: 1, accounts: 2, domains: 3, openDatabases: 4,
                    sessions: 5, deliveries: 6)),
            .indexReport(report),
            .found([7, 1, .max]),
            .searchStats(
                SearchStats(
                    isEnabled: true, messages: 1, indexed: 2, opaque: 3, octets: 4,
                    sourceOctets: 5, segments: 6)),
            .indexOptimized(before: 1 << 40, after: 9),
        ] + DirectorySamples.replies.map(Reply.directory)

    static let events: [Event] = [.changed(session, mailbox, highestModSeq: 99)]
}

func encoded(_ request: Request) -> [UInt8] {
    var encoder = Encoder()
    request.encode(into: &encoder)
    precondition(!encoder.isOversized)
    return encoder.octets
}

func encoded(_ reply: Reply) -> [UInt8] {
    var encoder = Encoder()
    reply.encode(into: &encoder)
    precondition(!encoder.isOversized)
    return encoder.octets
}

func encoded(_ event: Event) -> [UInt8] {
    var encoder = Encoder()
    event.encode(into: &encoder)
    return encoder.octets
}

func decodedRequest(_ code: RequestCode, _ octets: [UInt8]) throws(WireError) -> Request {
    var decoder = Decoder(octets)
    return try Request(code, from: &decoder)
}

func decodedReply(_ code: ReplyCode, _ octets: [UInt8]) throws(WireError) -> Reply {
    var decoder = Decoder(octets)
    return try Reply(code, from: &decoder)
}

func decodedEvent(_ code: EventCode, _ octets: [UInt8]) throws(WireError) -> Event {
    var decoder = Decoder(octets)
    return try Event(code, from: &decoder)
}
