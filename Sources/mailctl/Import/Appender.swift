// SPDX-License-Identifier: Apache-2.0
//
// Messages on their way into the store: many requests in flight, long messages in staged files, a
// bound on what is in memory. docs/wire.md, "Bodies".

import Glibc
import Mail
import Wire

/// Where a message goes, and what comes with it.
struct IncomingMessage {
    var mailbox: MailboxName
    var flags: NamedFlags
    var date: SecondsSince1970?
    /// The number that it must keep.
    var placed: PlacedUID?
    /// How the import calls it.
    var key: String
}

/// A message that the store has durably.
struct StoredMessage {
    var key: String
    var uid: UInt32
}

/// Sends messages ahead of their answers.
final class Appender {
    private static let windowRequests = 256
    private static let windowOctets = 4 << 20

    private struct Sent {
        var message: IncomingMessage
        var octets: Int
    }

    var session: MailSession
    private var inFlight: [UInt32: Sent] = [:]
    private var octetsInFlight = 0

    init(_ session: MailSession) { self.session = session }

    var isIdle: Bool { inFlight.isEmpty }

    /// - Parameter stored: gets messages that were sent before and are durable now.
    func append(
        _ message: IncomingMessage, _ body: CollectedBody,
        _ stored: (StoredMessage) throws(Failure) -> Void
    ) throws(Failure) {
        let (octets, wire) = body.forWire()
        // A staged file is sealed on another thread: alone, so that the order stays.
        let isStaged = octets == 0
        if isStaged { try drain(stored) }
        while inFlight.count >= Self.windowRequests
            || (!inFlight.isEmpty && octetsInFlight + octets > Self.windowOctets)
        {
            try takeAnswer(stored)
        }
        let request: Request
        if let placed = message.placed {
            request = .place(
                session.handle, message.mailbox, placed, flags: message.flags, date: message.date,
                body: wire)
        } else {
            request = .append(
                session.handle, message.mailbox, flags: message.flags, date: message.date,
                body: wire)
        }
        inFlight[try session.client.send(request)] = Sent(message: message, octets: octets)
        octetsInFlight += octets
        if isStaged { try drain(stored) }
    }

    /// Waits until everything that was sent is durable.
    func drain(_ stored: (StoredMessage) throws(Failure) -> Void) throws(Failure) {
        while !inFlight.isEmpty { try takeAnswer(stored) }
    }

    private func takeAnswer(
        _ stored: (StoredMessage) throws(Failure) -> Void
    ) throws(Failure) {
        let answer = try session.client.next()
        guard answer.isLast, let sent = inFlight.removeValue(forKey: answer.id) else {
            throw Failure(.remoteProtocol, "msgstored answered what was not asked")
        }
        octetsInFlight -= sent.octets
        guard case .appended(_, let uid) = answer.reply else {
            throw Self.refusal(answer.reply, sent.message)
        }
        try stored(StoredMessage(key: sent.message.key, uid: uid))
    }

    private static func refusal(_ reply: Reply, _ message: IncomingMessage) -> Failure {
        let name = Shown.text(message.mailbox.octets)
        let goOn = "what is in the store is safe: run the same command again to go on"
        switch reply {
        case .failure(.overQuota):
            return Failure(
                .cannotCreate, "the account is over its quota",
                hints: ["see: mailctl help quota", goOn])
        case .failure(.unavailable):
            return Failure(
                .tryAgain, "msgstored cannot keep mail now (is the disk full?)",
                hints: ["see its log", goOn])
        case .failure(.noSuchMailbox):
            return Failure(.tryAgain, "mailbox \(name) was removed meanwhile", hints: [goOn])
        case .failure(.alreadyExists) where message.placed != nil:
            return Failure(
                .cannotCreate,
                "UID \(message.placed?.uid ?? 0) of \(name) cannot be kept: it was given out here",
                hints: ["import into another mailbox, or without --keep-uid"])
        case .failure(.notPermitted) where message.placed != nil:
            return Failure(.tryAgain, "mailbox \(name) is another one now", hints: [goOn])
        default: return Store.unexpected(reply)
        }
    }

    /// A file for a long message; nothing may be in flight.
    func stage() throws(Failure) -> (StageToken, OpenFile) {
        let answer = try session.client.call(.stage) { _ throws(Failure) in }
        guard case .staged(let token) = answer.reply, let file = answer.file else {
            throw Store.unexpected(answer.reply)
        }
        return (token, file)
    }

    func unstage(_ token: StageToken) throws(Failure) {
        try session.expectDone(.unstage(token))
    }
}

/// The octets of one message while they are collected: in memory up to 256 KiB, then in a file that
/// the store lent.
struct CollectedBody {
    private(set) var size = 0
    private var octets: [UInt8] = []
    private(set) var token: StageToken?
    private var file: OpenFile?
    private let digest: Digest?

    /// - Parameter isDigested: make a SHA-256 digest on the way.
    init(isDigested: Bool) throws(Failure) { digest = isDigested ? try Digest() : nil }

    mutating func add(
        _ piece: [UInt8], stage: () throws(Failure) -> (StageToken, OpenFile)
    ) throws(Failure) {
        size += piece.count
        guard size <= UInt32.max >> 1 else {
            throw Failure(.badData, "a message of more than 2 GiB")
        }
        try digest?.update(piece)
        if token == nil, octets.count + piece.count <= MessageBody.inlineLimit {
            octets += piece
            return
        }
        if token == nil {
            let lent = try stage()
            (token, file) = (lent.0, lent.1)
            try write(octets)
            octets = []
        }
        try write(piece)
    }

    private func write(_ piece: [UInt8]) throws(Failure) {
        guard let file, Files.writeAll(file.descriptor, piece) else {
            throw .system("cannot write a staged message", errno, .tryAgain)
        }
    }

    func finishDigest() throws(Failure) -> [UInt8] { try digest?.finish() ?? [] }

    /// Closes the file: the store takes it only then.
    mutating func close() { file = nil }

    /// Octets that are in the request itself; 0 for a staged one.
    func forWire() -> (octets: Int, MessageBody) {
        if let token { return (0, .staged(token)) }
        return (max(1, octets.count), .inline(octets))
    }
}
