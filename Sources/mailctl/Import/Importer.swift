// SPDX-License-Identifier: Apache-2.0
//
// What all imports share: mailboxes are made, messages that were brought before are left out, the
// rest goes to the store, and the journal keeps up. docs/migrating.md.

import Bytes
import Glibc
import Mail
import Wire

/// What an import did.
struct ImportTotals {
    var imported = 0
    var already = 0
    /// Files that hold no message.
    var empty = 0
    var octets = 0
    var mailboxes = 0
    var flagsChanged = 0
    /// Their UID was given out here to another message.
    var renumbered = 0
}

/// A mailbox as it is called and numbered where it comes from.
struct ImportedMailbox {
    var name: MailboxName
    var use = SpecialUse.none
    /// 0 where there is no such number.
    var sourceValidity: UInt32 = 0
    var isSubscribed = true
}

/// How a message is recognised when the import runs again.
enum ImportKey {
    case known(String)
    /// By its content; the second copy of the same one by its number.
    case content
}

final class Importer {
    private struct Candidate: Hashable {
        var size: UInt32
        var date: SecondsSince1970
    }

    let keepsUIDs: Bool
    let isDryRun: Bool
    let syncsFlags: Bool
    private let comparesAll: Bool
    private(set) var totals = ImportTotals()
    var progress: Progress
    private let appender: Appender
    private let journal: ImportJournal?
    private let start: Double
    private var mailbox = ImportedMailbox(name: .inbox)
    private var uidValidity: UInt32 = 0
    private var openMailbox: MailboxID?
    /// UIDs below it may be in use here.
    private var placedBelow: UInt32 = 0
    private var existing: Set<MailboxName> = []
    private var candidates: [Candidate: [UInt32]] = [:]
    private var copies: [String: Int] = [:]
    private var flagsToSet: [(uid: UInt32, flags: NamedFlags)] = []
    private var keptFlags: [UInt32: Flags] = [:]
    private var keywords: [[UInt8]] = []
    private var sinceDrain = 0

    /// - Parameter source: the same text for the same mail.
    init(_ invocation: Invocation, source: String) throws(Failure) {
        guard let account = invocation.value("account") else {
            throw Failure(.usage, "whose mail is it?", hints: ["say --account NAME@DOMAIN"])
        }
        keepsUIDs = invocation.has("keep-uid")
        isDryRun = invocation.has("dry-run")
        syncsFlags = invocation.has("sync")
        comparesAll = invocation.has("compare")
        var session = try MailSession(account, invocation)
        existing = Set(try session.mailboxes().filter(\.isSelectable).map(\.name))
        journal =
            isDryRun
            ? nil
            : try ImportJournal(
                directory: invocation.value("journal")
                    ?? session.suite.stateDirectory + "/imports", account: session.address,
                source: source, again: invocation.has("again"))
        appender = Appender(session)
        progress = Progress(isDryRun ? "counting" : "importing", "messages", invocation)
        start = progress.elapsed
    }

    // MARK: - Mailboxes

    /// To be called before the messages of a mailbox.
    func begin(_ mailbox: ImportedMailbox) throws(Failure) {
        self.mailbox = mailbox
        progress.subject = mailbox.name.text
        candidates = [:]
        copies = [:]
        guard let journal else { return }
        try create(mailbox)
        let status = try appender.session.status(mailbox.name)
        uidValidity = status.uidValidity
        placedBelow = keepsUIDs ? status.uidNext : 0
        if keepsUIDs, mailbox.sourceValidity != 0, uidValidity != mailbox.sourceValidity {
            throw cannotKeep(mailbox)
        }
        let known = try journal.known(
            mailbox.name, uidValidity: uidValidity, sourceValidity: mailbox.sourceValidity)
        if known == nil {
            try journal.begin(
                mailbox.name, uidValidity: uidValidity, sourceValidity: mailbox.sourceValidity,
                mark: status.uidNext)
        }
        let mark = comparesAll ? 1 : known?.mark ?? status.uidNext
        if mark < status.uidNext { try findCandidates(from: mark) }
        if syncsFlags || placedBelow > 1, openMailbox == nil {
            try openNow { _ throws(Failure) in }
        }
    }

    private func create(_ mailbox: ImportedMailbox) throws(Failure) {
        let isNew: Bool
        if keepsUIDs, mailbox.sourceValidity != 0 {
            let reply = try appender.session.client.call(
                .createAs(
                    appender.session.handle, mailbox.name, mailbox.use,
                    uidValidity: mailbox.sourceValidity))
            switch reply {
            case .done: isNew = existing.insert(mailbox.name).inserted
            case .failure(.mailboxExists), .failure(.alreadyExists), .failure(.limit):
                throw cannotKeep(mailbox)
            default: throw Store.unexpected(reply)
            }
        } else {
            isNew =
                mailbox.name.isInbox
                ? false : try appender.session.create(mailbox.name, mailbox.use)
        }
        if isNew {
            totals.mailboxes += 1
            try appender.session.expectDone(
                .subscribe(appender.session.handle, mailbox.name, mailbox.isSubscribed))
        }
    }

    private func cannotKeep(_ mailbox: ImportedMailbox) -> Failure {
        let name = Shown.text(mailbox.name.octets)
        return Failure(
            .cannotCreate,
            "the UIDs of \(name) cannot be kept: it, or another mailbox, has numbers of its own",
            hints: [
                "--keep-uid needs mailboxes that never had a message",
                "an account that is made for it:  mailctl account add NAME@DOMAIN",
            ])
    }

    /// Messages that an earlier run may have brought without coming to note it.
    private func findCandidates(from mark: UInt32) throws(Failure) {
        try openNow { entries throws(Failure) in
            for entry in entries where entry.uid >= mark {
                self.candidates[
                    Candidate(size: entry.size, date: entry.internalDate), default: []
                ].append(entry.uid)
            }
        }
    }

    private func openNow(_ each: ([MessageEntry]) throws(Failure) -> Void) throws(Failure) {
        keptFlags = [:]
        let snapshot = try appender.session.open(mailbox.name, .readWrite) {
            entries throws(Failure) in
            if self.syncsFlags { for entry in entries { self.keptFlags[entry.uid] = entry.flags } }
            try each(entries)
        }
        keywords = snapshot.keywords
        openMailbox = snapshot.id
    }

    /// To be called behind the messages of a mailbox.
    func end() throws(Failure) {
        guard let journal else { return }
        try drain()
        try setFlags()
        try journal.sync()
        if let open = openMailbox {
            try appender.session.close(open)
            openMailbox = nil
        }
    }

    /// Messages that --dry-run does not look at one by one.
    func count(_ messages: Int, in name: MailboxName) throws(Failure) {
        progress.subject = name.text
        totals.imported += messages
        progress.advance(by: messages)
    }

    // MARK: - Messages

    /// Whether an earlier run brought it; then it is counted.
    ///
    /// - Parameter flags: as they are there, for --sync.
    func isKnown(_ key: String, flags: NamedFlags? = nil) throws(Failure) -> Bool {
        guard let uid = journal?.uid(of: key) else { return false }
        if syncsFlags, let flags { try note(flags, uid) }
        totals.already += 1
        progress.skip()
        return true
    }

    /// Brings one message.
    ///
    /// - Parameter produce: gives the octets, with CRLF line ends, in pieces.
    func add(
        _ key: ImportKey, flags: NamedFlags, date: SecondsSince1970?, uid: UInt32? = nil,
        _ produce: ((_ piece: [UInt8]) throws(Failure) -> Void) throws(Failure) -> Void
    ) throws(Failure) {
        if case .known(let text) = key, try isKnown(text, flags: flags) { return }
        guard let journal else {
            totals.imported += 1
            progress.advance()
            return
        }
        var isContentKey = false
        if case .content = key { isContentKey = true }
        let mayBeTaken = uid.map { $0 < placedBelow } ?? false
        var body = try CollectedBody(
            isDigested: isContentKey || mayBeTaken || !candidates.isEmpty)
        try produce { piece throws(Failure) in
            try body.add(piece) { () throws(Failure) in
                try self.drain()
                return try self.appender.stage()
            }
        }
        body.close()
        guard body.size > 0 else {
            totals.empty += 1
            progress.skip()
            return
        }
        let digest = try body.finishDigest()
        let name: String
        switch key {
        case .known(let text): name = text
        case .content:
            let text = Digest.hex(digest.prefix(16))
            copies[text, default: 0] += 1
            name = "\(text)#\(copies[text] ?? 1)"
            if try isKnown(name, flags: flags) {
                try discard(body)
                return
            }
        }
        var found = try matching(body.size, date, digest)
        if found == nil, mayBeTaken, let uid, try isSame(uid, digest) { found = uid }
        if let uid = found {
            try discard(body)
            try journal.add(name, uid: uid, raisesMark: false)
            totals.already += 1
            progress.skip()
            return
        }
        let size = body.size
        let message = IncomingMessage(
            mailbox: mailbox.name, flags: flags, date: date,
            placed: keepsUIDs && !mayBeTaken
                ? uid.map { PlacedUID(uidValidity: uidValidity, uid: $0) } : nil,
            key: name)
        if mayBeTaken { totals.renumbered += 1 }
        try appender.append(message, body) { stored throws(Failure) in try self.note(stored) }
        totals.octets += size
        sinceDrain += 1
        if sinceDrain >= 2_000 { try drain() }
    }

    private func discard(_ body: CollectedBody) throws(Failure) {
        guard let token = body.token else { return }
        try drain()
        try appender.unstage(token)
    }

    private func note(_ stored: StoredMessage) throws(Failure) {
        totals.imported += 1
        progress.advance()
        try journal?.add(stored.key, uid: stored.uid, raisesMark: appender.isIdle)
    }

    /// Waits for the store.
    private func drain() throws(Failure) {
        sinceDrain = 0
        try appender.drain { stored throws(Failure) in try self.note(stored) }
    }

    /// The UID of the same message, if an earlier run brought it.
    private func matching(
        _ size: Int, _ date: SecondsSince1970?, _ digest: [UInt8]
    ) throws(Failure) -> UInt32? {
        guard !candidates.isEmpty, let date, let size = UInt32(exactly: size) else { return nil }
        let place = Candidate(size: size, date: date)
        guard let uids = candidates[place] else { return nil }
        for uid in uids where try isSame(uid, digest) {
            candidates[place]?.removeAll { $0 == uid }
            return uid
        }
        return nil
    }

    /// Whether the message with this UID here has these octets.
    private func isSame(_ uid: UInt32, _ digest: [UInt8]) throws(Failure) -> Bool {
        guard let open = openMailbox else { return false }
        try drain()
        let found = try Digest()
        var isThere = false
        try appender.session.read(open, [uid], .whole) { _, octets throws(Failure) in
            isThere = true
            try octets.forEachPiece { piece throws(Failure) in try found.update(piece) }
        }
        guard isThere else { return false }
        return try found.finish() == digest
    }

    // MARK: - Flags of messages that are here

    private func note(_ flags: NamedFlags, _ uid: UInt32) throws(Failure) {
        guard let kept = keptFlags[uid] else { return }  // removed here: it stays so
        var wanted = flags.system
        var isNew = false
        for keyword in flags.keywords {
            if let number = keywords.firstIndex(where: { $0.equalsIgnoringASCIICase(keyword) }) {
                wanted.insert(.keyword(number))
            } else {
                isNew = true
            }
        }
        guard isNew || kept != wanted else { return }
        flagsToSet.append((uid, flags))
        if flagsToSet.count >= 1_000 { try setFlags() }
    }

    private func setFlags() throws(Failure) {
        guard !flagsToSet.isEmpty, let open = openMailbox else { return }
        try drain()
        for (uid, flags) in flagsToSet {
            let reply = try appender.session.client.call(
                .store(
                    appender.session.handle, open, uids: [UIDRange(uid, uid)], .replace, flags,
                    unchangedSince: nil))
            guard case .stored = reply else { throw Store.unexpected(reply) }
        }
        totals.flagsChanged += flagsToSet.count
        flagsToSet = []
    }

    // MARK: - The end

    func report(_ invocation: Invocation) {
        let seconds = progress.elapsed - start
        progress.finish()
        if invocation.json {
            Terminal.out(
                JSON.object([
                    ("imported", .integer(totals.imported)), ("already", .integer(totals.already)),
                    ("empty", .integer(totals.empty)), ("octets", .integer(totals.octets)),
                    ("mailboxes", .integer(totals.mailboxes)),
                    ("flags", .integer(totals.flagsChanged)),
                    ("renumbered", .integer(totals.renumbered)), ("dry_run", .boolean(isDryRun)),
                    ("seconds", .number((seconds * 100).rounded() / 100)),
                ]).text)
            return
        }
        let verb = isDryRun ? "would be imported" : "imported"
        var text = "\(Progress.grouped(totals.imported)) messages \(verb)"
        if totals.octets > 0 { text += " (\(Store.size(UInt64(totals.octets))))" }
        if totals.mailboxes > 0 { text += ", \(totals.mailboxes) mailboxes made" }
        if totals.already > 0 {
            text += ", \(Progress.grouped(totals.already)) were here already"
        }
        if totals.flagsChanged > 0 { text += ", flags of \(totals.flagsChanged) brought" }
        if totals.empty > 0 { text += ", \(totals.empty) empty files left out" }
        invocation.say(text + ".")
        if totals.renumbered > 0 {
            invocation.say(
                "  \(totals.renumbered) got another UID: theirs was given out here already")
        }
        if !isDryRun, seconds > 1, totals.imported > 0 {
            invocation.say(
                "  \(Progress.grouped(Int(Double(totals.imported) / seconds))) messages/s, "
                    + Progress.duration(seconds))
        }
    }
}
