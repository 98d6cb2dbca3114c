// SPDX-License-Identifier: Apache-2.0
//
// SEARCH programs against messages. RFC 3501 §6.4.4.

import Bytes
import IMAP
import MIME
import Mail
import Testing

@Suite("SEARCH, RFC 3501 §6.4.4")
struct SearchTests {
    private static let message = Array(
        "From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: Tea time\r\n"
            + "Date: Thu, 05 Mar 2020 23:30:00 -0800\r\n\r\nThe kettle is on.\r\n")

    /// UID 7, number 3, of 500 octets, arrived on 2020-03-06, flags Seen, Recent and keyword 1.
    private static let entry = MessageEntry(
        uid: 7, size: 500, flags: [.seen, .recent, .keyword(1)], modSeq: 42,
        internalDate: 1_583_478_000)

    private func matches(_ keys: String) throws -> Bool {
        guard
            case .search(let program, _) = try TaggedCommand(Array("a SEARCH " + keys)).command
        else { throw CommandError.unknownCommand }
        let search = PreparedSearch(
            program, keywords: [Array("$Junk"), Array("$Label")], messages: 9, largestUID: 30,
            now: 1_583_478_000 + 100)
        switch search.verdict(Self.entry, number: 3) {
        case .yes: return true
        case .no: return false
        case .unknown:
            let question = search.question(search.answers(Self.entry, number: 3))
            #expect(question != .all([]) && question != .any([]))
            return TextMatcher(question).matches(Self.message)
        }
    }

    @Test(arguments: [
        "ALL", "SEEN", "NOT UNSEEN", "RECENT", "NOT NEW", "NOT OLD", "KEYWORD $label",
        "UNKEYWORD $Junk", "UNKEYWORD nobody", "3", "1:3", "3:*", "UID 7", "UID 1:10", "LARGER 499",
        "SMALLER 501", "MODSEQ 42", "MODSEQ \"/flags/\\\\Seen\" all 41", "ON 6-Mar-2020",
        "SINCE 6-Mar-2020", "BEFORE 7-Mar-2020", "SENTON 5-Mar-2020", "SENTBEFORE \"6-Mar-2020\"",
        "SENTSINCE 5-Mar-2020", "FROM alice", "TO BOB@", "SUBJECT \"tea TIME\"",
        "HEADER Subject tea", "HEADER Date \"\"", "BODY kettle", "TEXT kettle", "TEXT Subject",
        "OR FLAGGED SEEN", "OR BODY nothing BODY kettle", "(SEEN FROM alice)",
        "NOT (BODY nothing)", "CHARSET UTF-8 TEXT {6}\r\nkettle", "YOUNGER 200", "OLDER 50",
    ])
    func `matches`(keys: String) throws {
        #expect(try matches(keys))
    }

    @Test(arguments: [
        "UNSEEN", "NOT ALL", "NEW", "OLD", "KEYWORD nobody", "KEYWORD $Junk", "4", "4:*", "UID 8",
        "LARGER 500", "SMALLER 500", "MODSEQ 43", "ON 5-Mar-2020", "BEFORE 6-Mar-2020",
        "SENTON 6-Mar-2020", "FROM carol", "BODY Subject", "TEXT nothing", "HEADER X-None \"\"",
        "OR FLAGGED DRAFT", "SEEN FLAGGED", "FLAGGED BODY kettle", "NOT TEXT kettle", "YOUNGER 50",
        "OLDER 200", "BODY kettle BODY nothing",
    ])
    func `does not match`(keys: String) throws {
        #expect(try !matches(keys))
    }
}
