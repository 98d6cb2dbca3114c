// SPDX-License-Identifier: Apache-2.0
//
// The view of a mailbox that a client has, and that it never gets out of step. RFC 3501 §7.4.1.

import Bytes
import IMAP
import Mail
import Testing

private func entry(_ uid: UInt32, _ flags: Flags = [], modSeq: UInt64 = 1) -> MessageEntry {
    MessageEntry(uid: uid, size: 100, flags: flags, modSeq: modSeq, internalDate: 0)
}

private func view(_ uids: [UInt32], modSeq: UInt64 = 1) -> ClientView {
    ClientView(
        MailboxSnapshot(
            id: MailboxID(rawValue: 1), uidValidity: 1, uidNext: (uids.last ?? 0) + 1,
            highestModSeq: modSeq, keywords: [], entries: uids.map { entry($0) })
    ) { _ in false }
}

private func changes(
    _ entries: [MessageEntry] = [], vanished: [UInt32] = [], modSeq: UInt64, uidNext: UInt32 = 0,
    keywords: [[UInt8]] = []
) -> MailboxChanges {
    MailboxChanges(
        uidNext: max(uidNext, (entries.last?.uid ?? 0) + 1), highestModSeq: modSeq,
        keywords: keywords, entries: entries, vanished: vanished)
}

private func told(_ view: inout ClientView, expunges: Bool = true) -> String {
    var writer = ResponseWriter()
    view.tell(.init(expunges: expunges, isReadOnly: false), to: &writer)
    return String(decoding: writer.octets, as: UTF8.self)
}

@Suite("The client's view, RFC 3501 §7")
struct ClientViewTests {
    @Test func `nothing new tells nothing`() {
        var view = view([1, 2, 3])
        #expect(told(&view) == "")
        view.apply(changes(modSeq: 5)) { _ in true }
        #expect(told(&view) == "" && view.highestModSeq == 5)
    }

    @Test func `new messages are EXISTS and RECENT`() {
        var view = view([1, 2])
        view.apply(changes([entry(7, modSeq: 2)], modSeq: 2)) { $0.uid >= 7 }
        #expect(told(&view) == "* 3 EXISTS\r\n* 1 RECENT\r\n")
        #expect(told(&view) == "")
        #expect(view.entries[2].flags.contains(.recent))
    }

    @Test func `expunges are told from the highest number, before EXISTS`() {
        var view = view([1, 2, 3, 4])
        view.apply(changes([entry(5, modSeq: 2)], vanished: [1, 3, 99], modSeq: 2)) { _ in false }
        #expect(
            told(&view) == "* 3 EXPUNGE\r\n* 1 EXPUNGE\r\n* 3 EXISTS\r\n* 0 RECENT\r\n")
        #expect(view.entries.map(\.uid) == [2, 4, 5])
    }

    @Test func `expunges wait while numbers must not move`() {
        var view = view([1, 2, 3])
        view.apply(changes([entry(4, modSeq: 2)], vanished: [2], modSeq: 2)) { _ in false }
        #expect(told(&view, expunges: false) == "* 4 EXISTS\r\n* 0 RECENT\r\n")
        #expect(view.entries.map(\.uid) == [1, 2, 3, 4] && view.isVanished(2))
        #expect(told(&view) == "* 2 EXPUNGE\r\n" && view.messages == 3)
    }

    @Test func `a message that came and went untold is never told`() {
        var view = view([1])
        view.apply(changes([entry(2, modSeq: 2)], modSeq: 2)) { _ in false }
        view.apply(changes(vanished: [2], modSeq: 3)) { _ in false }
        #expect(told(&view) == "")
        #expect(view.messages == 1)
    }

    @Test func `an expunged message does not come back`() {
        var view = view([1, 2])
        view.apply(changes(vanished: [2], modSeq: 2)) { _ in false }
        _ = told(&view)
        view.apply(changes([entry(2, .seen, modSeq: 3)], modSeq: 3)) { _ in false }
        #expect(told(&view) == "" && view.messages == 1)
    }

    @Test func `flags of others are told with UID, and MODSEQ after CONDSTORE`() {
        var view = view([3, 5])
        view.apply(changes([entry(5, .seen, modSeq: 9)], modSeq: 9)) { _ in false }
        #expect(told(&view) == "* 2 FETCH (UID 5 FLAGS (\\Seen))\r\n")
        view.apply(changes([entry(5, .seen, modSeq: 10)], modSeq: 10)) { _ in false }
        #expect(told(&view) == "")
        view.tellsModSeq = true
        view.apply(changes([entry(3, .flagged, modSeq: 11)], modSeq: 11)) { _ in false }
        #expect(told(&view) == "* 1 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (11))\r\n")
    }

    @Test func `the result of one's own STORE is not told twice`() {
        var view = view([1, 2])
        view.stored([entry(1, .seen, modSeq: 4)], keywords: [])
        view.apply(changes([entry(1, .seen, modSeq: 4)], modSeq: 4)) { _ in false }
        #expect(told(&view) == "" && view.entries[0].flags == .seen)
        // and an older state that arrives late changes nothing
        view.apply(changes([entry(1, [], modSeq: 3)], modSeq: 4)) { _ in false }
        #expect(told(&view) == "" && view.entries[0].flags == .seen)
    }

    @Test func `Recent survives changes of other flags`() {
        var view = view([1])
        view.apply(changes([entry(2, modSeq: 2)], modSeq: 2)) { _ in true }
        view.apply(changes([entry(2, .seen, modSeq: 3)], modSeq: 3)) { _ in false }
        #expect(
            told(&view)
                == "* 2 EXISTS\r\n* 1 RECENT\r\n* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent))\r\n")
    }

    @Test func `new keywords come with a new FLAGS line`() {
        var view = view([1])
        view.apply(
            changes([entry(1, .keyword(0), modSeq: 2)], modSeq: 2, keywords: [Array("$Junk")])
        ) { _ in false }
        let lines = told(&view).split(separator: "\r\n")
        #expect(
            lines.first == "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk)"
                && lines.last == "* 1 FETCH (UID 1 FLAGS ($Junk))")
    }

    @Test func `numbers beyond the last message are refused, UIDs are not`() throws {
        let view = view([2, 4, 6])
        func set(_ text: String) throws -> SequenceSet {
            guard
                case .copy(let set, _, _, _) = try TaggedCommand(Array("a COPY \(text) x")).command
            else { throw CommandError.unknownCommand }
            return set
        }
        #expect(view.indexes(try set("4"), byUID: false) == nil)
        #expect(view.indexes(try set("2:*"), byUID: false) == [1..<3])
        #expect(view.indexes(try set("5"), byUID: true) == [])
        #expect(view.indexes(try set("1:4,99"), byUID: true) == [0..<2])
        #expect(view.indexes(try set("99:*"), byUID: true) == [2..<3])
        let empty = ClientViewTests.empty
        #expect(empty.indexes(try set("1:*"), byUID: false) == [])
        #expect(empty.indexes(try set("1"), byUID: false) == nil)
    }

    private static let empty = view([])
}

/// What a client that believes every line it is told knows of a mailbox.
private struct ModelClient {
    var messages = 0
    /// By number; nil where it was never told.
    var flags: [Set<String>?] = []

    mutating func hear(_ text: String) throws {
        for line in text.split(separator: "\r\n") {
            let words = line.split(separator: " ", maxSplits: 3)
            guard words.count >= 3, let number = Int(words[1]) else { continue }
            switch words[2] {
            case "EXISTS":
                try #require(number >= flags.count, "EXISTS must not shrink: \(line)")
                flags += Array(repeating: nil, count: number - flags.count)
            case "EXPUNGE":
                try #require(flags.indices.contains(number - 1), "unknown number: \(line)")
                flags.remove(at: number - 1)
            case "FETCH":
                try #require(flags.indices.contains(number - 1), "unknown number: \(line)")
                let inner = try #require(line.split(separator: "FLAGS (").last)
                let names = inner.prefix { $0 != ")" }.split(separator: " ").map(String.init)
                flags[number - 1] = Set(names)
            default: break
            }
        }
        messages = flags.count
    }
}

/// A store with a history, as msgstored keeps one.
private struct ModelStore {
    var entries: [MessageEntry] = []
    var vanished: [(uid: UInt32, modSeq: UInt64)] = []
    var uidNext: UInt32 = 1
    var modSeq: UInt64 = 1

    func snapshot() -> MailboxSnapshot {
        MailboxSnapshot(
            id: MailboxID(rawValue: 1), uidValidity: 1, uidNext: uidNext, highestModSeq: modSeq,
            keywords: [], entries: entries)
    }

    func changes(since: UInt64) -> MailboxChanges {
        MailboxChanges(
            uidNext: uidNext, highestModSeq: modSeq, keywords: [],
            entries: entries.filter { $0.modSeq > since },
            vanished: vanished.filter { $0.modSeq > since }.map(\.uid).sorted())
    }

    mutating func append() {
        modSeq += 1
        entries.append(entry(uidNext, modSeq: modSeq))
        uidNext += 1
    }

    mutating func setFlags(_ flags: Flags, at index: Int) -> MessageEntry {
        modSeq += 1
        entries[index].flags = flags
        entries[index].modSeq = modSeq
        return entries[index]
    }

    mutating func expunge(_ index: Int) -> UInt32 {
        modSeq += 1
        let gone = entries.remove(at: index)
        vanished.append((gone.uid, modSeq))
        return gone.uid
    }
}

@Suite("Two sessions over random histories")
struct ClientViewPropertyTests {
    private static let choices: [Flags] = [
        [], .seen, [.seen, .deleted], .flagged, [.answered, .seen],
    ]

    /// After every NOOP each client knows exactly the store's messages, whatever happened.
    @Test(arguments: 0..<60)
    func `a client that believes what it is told ends up with the store's mailbox`(
        seed: UInt64
    ) throws {
        var random = SplitMix(state: seed)
        var store = ModelStore()
        for _ in 0..<Int.random(in: 0..<20, using: &random) { store.append() }
        var views = [ClientView]()
        var clients = [ModelClient]()
        for _ in 0..<2 {
            views.append(ClientView(store.snapshot()) { _ in false })
            var client = ModelClient()
            client.flags = store.entries.map { Self.names($0.flags) }
            clients.append(client)
        }
        for _ in 0..<400 {
            let who = Int.random(in: 0..<2, using: &random)
            try step(&store, &views[who], &clients[who], &random)
        }
        for who in 0..<2 {
            let since = views[who].highestModSeq
            views[who].apply(store.changes(since: since)) { _ in false }
            try clients[who].hear(told(&views[who]))
            #expect(views[who].entries == store.entries)
            try #require(clients[who].flags.count == store.entries.count)
            for (known, entry) in zip(clients[who].flags, store.entries) {
                // never told: the client would fetch it; told: it must be right
                if let known { #expect(known == Self.names(entry.flags)) }
            }
        }
    }

    private func step(
        _ store: inout ModelStore, _ view: inout ClientView, _ client: inout ModelClient,
        _ random: inout SplitMix
    ) throws {
        let index = store.entries.indices.randomElement(using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0...2: store.append()
        case 3:
            // someone else's STORE
            if let index {
                _ = store.setFlags(Self.choices.randomElement(using: &random) ?? [], at: index)
            }
        case 4:
            if let index { _ = store.expunge(index) }
        case 5:
            // this session's STORE: synchronize, change, tell the rest, then the answer
            view.apply(store.changes(since: view.highestModSeq)) { _ in false }
            try client.hear(told(&view, expunges: false))
            guard let index else { return }
            let changed = store.setFlags(.flagged, at: index)
            view.stored([changed], keywords: [])
            try client.hear(told(&view, expunges: false))
            let number = try #require(view.index(of: changed.uid)) + 1
            try client.hear("* \(number) FETCH (UID \(changed.uid) FLAGS (\\Flagged))\r\n")
        case 6:
            // this session's EXPUNGE
            view.apply(store.changes(since: view.highestModSeq)) { _ in false }
            guard let index else { return }
            view.expunged([store.expunge(index)])
            try client.hear(told(&view))
        case 7:
            // FETCH by number
            view.apply(store.changes(since: view.highestModSeq)) { _ in false }
            let before = client.messages
            try client.hear(told(&view, expunges: false))
            #expect(client.messages >= before, "no number moved")
            #expect(client.messages == view.entries.count)
        default:
            view.apply(store.changes(since: view.highestModSeq)) { _ in false }
            try client.hear(told(&view))
            #expect(client.messages == store.entries.count)
            #expect(view.entries.map(\.uid) == store.entries.map(\.uid))
        }
    }

    private static func names(_ flags: Flags) -> Set<String> {
        var octets: [UInt8] = []
        flags.appendNames(keywords: [], to: &octets)
        return Set(String(decoding: octets, as: UTF8.self).split(separator: " ").map(String.init))
    }
}

/// Random numbers that are the same in every run.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
