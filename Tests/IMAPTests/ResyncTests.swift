// SPDX-License-Identifier: Apache-2.0
//
// QRESYNC as it is written and as the view tells it, IMAP4rev2 without RECENT, and what STORE.SILENT
// leaves out. RFC 7162 §3.2; RFC 9051 §6.4.6, appendix E.

import Bytes
import IMAP
import Mail
import Testing

private func parse(_ text: String) throws(CommandError) -> Command {
    try TaggedCommand(Array("a1 " + text)).command
}

private func resync(_ text: String) throws -> Resynchronization {
    guard case .select(let command) = try parse("SELECT x (QRESYNC \(text))"),
        let resync = command.resync
    else { throw CommandError.unknownCommand }
    return resync
}

private func entry(_ uid: UInt32, _ flags: Flags = [], modSeq: UInt64 = 1) -> MessageEntry {
    MessageEntry(uid: uid, size: 100, flags: flags, modSeq: modSeq, internalDate: 0)
}

private func view(_ uids: [UInt32]) -> ClientView {
    ClientView(
        MailboxSnapshot(
            id: MailboxID(rawValue: 1), uidValidity: 1, uidNext: (uids.last ?? 0) + 1,
            highestModSeq: 1, keywords: [], entries: uids.map { entry($0) })
    ) { _ in true }
}

private func changes(
    _ entries: [MessageEntry] = [], vanished: [UInt32] = [], uidNext: UInt32 = 0
) -> MailboxChanges {
    MailboxChanges(
        uidNext: max(uidNext, (entries.last?.uid ?? 0) + 1), highestModSeq: 9, keywords: [],
        entries: entries, vanished: vanished)
}

private func told(_ view: inout ClientView, expunges: Bool = true) -> String {
    var writer = ResponseWriter()
    view.tell(.init(expunges: expunges, isReadOnly: false), to: &writer)
    return String(decoding: writer.octets, as: UTF8.self)
}

@Suite("QRESYNC, RFC 7162") struct ResyncTests {
    @Test func `the parameter in its four forms`() throws {
        let short = try resync("(67890007 20050715194045000)")
        #expect(short.uidValidity == 67_890_007 && short.modSeq == 20_050_715_194_045_000)
        #expect(short.known == nil && short.match == nil)
        let known = try resync("(67890007 90060115194045000 41:211,214:541)")
        #expect(known.known?.resolved(largest: 0).map(\.last) == [211, 541])
        let match = try resync("(67890007 90060115194045000 (1,3 5,9))")
        #expect(match.known == nil && match.match?.uids.greatestNumber == 9)
        let all = try resync("(67890007 90060115194045000 41:211 (1 41))")
        #expect(all.known != nil && all.match != nil)
    }

    @Test(arguments: [
        "SELECT x (QRESYNC)", "SELECT x (QRESYNC (1))", "SELECT x (QRESYNC (0 1))",
        "SELECT x (QRESYNC (1 0))", "SELECT x (QRESYNC (1 2 3:*))",
        "SELECT x (QRESYNC (1 2 3 (1)))",
        "SELECT x (QRESYNC (1 2) QRESYNC (1 2))", "SELECT x (QRESYNC (1 2 3 (1:* 5)))",
        "FETCH 1 (FLAGS) (CHANGEDSINCE 5 VANISHED)", "UID FETCH 1 (FLAGS) (VANISHED)",
    ])
    func `what the grammar does not have is refused`(command: String) {
        #expect(throws: CommandError.self) { try parse(command) }
    }

    @Test func `UID FETCH can ask for what is gone`() throws {
        guard case .fetch(let fetch) = try parse("UID FETCH 1:9 (FLAGS) (CHANGEDSINCE 5 VANISHED)")
        else { return #expect(Bool(false)) }
        #expect(fetch.tellsVanished && fetch.changedSince == 5)
    }

    @Test(arguments: [
        ("(1 2 (1,2,3 10,20,30))", 30), ("(1 2 (1,2,3 10,20,31))", 20),
        ("(1 2 (1:3 9:11))", 0), ("(1 2 (3,900 30,1000))", 30), ("(1 2)", 0),
        ("(1 2 (1:4294967295 10))", 10), ("(1 2 (2:3 20,30))", 30),
    ])
    func `the greatest pair that still fits says what the client knows`(
        text: String, uid: UInt32
    ) throws {
        #expect(try resync(text).matchedUID(in: view([10, 20, 30])) == uid)
    }

    @Test func `VANISHED has UIDs, in one line, and none that was never counted`() {
        var view = view([1, 2, 3, 7, 9])
        view.tellsVanished = true
        view.apply(changes([entry(10, modSeq: 2)], vanished: [2, 3, 9])) { _ in false }
        view.apply(changes([], vanished: [10], uidNext: 11)) { _ in false }
        #expect(told(&view, expunges: false).hasPrefix("* 6 EXISTS"))
        #expect(told(&view) == "* VANISHED 2:3,9:10\r\n")
        #expect(view.entries.map(\.uid) == [1, 7])
        view.apply(changes([entry(12, modSeq: 3)])) { _ in false }
        view.apply(changes([], vanished: [12], uidNext: 13)) { _ in false }
        #expect(told(&view) == "")
    }

    @Test func `in IMAP4rev2 nothing is recent`() {
        var view = view([1, 2])
        view.forgetRecent()
        view.apply(changes([entry(3, modSeq: 2)])) { _ in true }
        #expect(told(&view) == "* 3 EXISTS\r\n")
        #expect(view.recentCount == 0 && view.entries.allSatisfy { !$0.flags.contains(.recent) })
    }

    @Test func `STORE SILENT tells what somebody else changed`() {
        var view = view([1, 2])
        view.stored(
            [entry(1, .flagged, modSeq: 3), entry(2, [.flagged, .seen], modSeq: 4)], keywords: []
        ) { flags, _ in flags.union(.flagged) }
        #expect(told(&view) == "* 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen \\Recent))\r\n")
        view.stored([entry(1, [.flagged, .seen], modSeq: 5)], keywords: [])
        #expect(told(&view) == "")
    }

    @Test func `flags that were not told before a silent STORE are told with it`() {
        var view = view([1])
        view.forgetRecent()
        view.apply(changes([entry(1, .draft, modSeq: 2)], uidNext: 2)) { _ in false }
        var writer = ResponseWriter()
        view.tell(.init(expunges: true, isReadOnly: false, flags: false), to: &writer)
        #expect(writer.count == 0)
        view.stored([entry(1, [], modSeq: 3)], keywords: []) { flags, _ in
            flags.subtracting(.draft)
        }
        #expect(told(&view) == "* 1 FETCH (UID 1 FLAGS ())\r\n")
    }
}
