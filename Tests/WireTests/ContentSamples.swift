// SPDX-License-Identifier: Apache-2.0
//
// Values of every case of message groups, replacement and details.

import Bytes
import Mail

@testable import Wire

extension Samples {
    static let contentRequests: [Request] = [
        .content(.details(session, mailbox, uids: [UIDRange(1, 3), UIDRange(9, .max)], .made)),
        .content(.details(session, mailbox, uids: [], .none)),
        .content(.mailboxNumber(session, name("a/b"))),
        .content(
            .appendGroup(
                session, .inbox,
                [
                    GroupedMessage(
                        flags: NamedFlags(system: .seen, keywords: [Array("$x".utf8)]), date: -1,
                        size: 3),
                    GroupedMessage(flags: NamedFlags(), date: nil, size: .max),
                ], .inline(Array("abc".utf8)), replacing: nil)),
        .content(
            .appendGroup(
                session, name("Drafts"), [], .staged(StageToken(rawValue: 9)),
                replacing: ReplacedMessage(mailbox: mailbox, uid: 7))),
        .content(.readNamed(session, name("a/b"), uidValidity: 5, uid: 6)),
        .content(.readNamed(session, .inbox, uidValidity: nil, uid: .max)),
    ]

    static let contentReplies: [Reply] = [
        .content(.details([])),
        .content(
            .details([
                MessageDetail(uid: 1, saved: 0, emailID: [], preview: nil),
                MessageDetail(
                    uid: .max, saved: 1_700_000_000,
                    emailID: Array("0123456789abcdef01234567".utf8),
                    preview: Array("Grüße".utf8)),
            ])),
        .content(.appendedGroup(uidValidity: 1, uids: [3, 4, 5], highestModSeq: 1 << 40)),
    ]
}
