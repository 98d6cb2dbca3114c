// SPDX-License-Identifier: Apache-2.0
//
// Messages in groups, in place of others, and what is known of them beside their octets: what imapd
// asks for MULTIAPPEND, REPLACE, CATENATE, SAVEDATE, OBJECTID and PREVIEW, and how it becomes
// octets. docs/wire.md.

import Mail

/// One message of a group; its octets are the next `size` of the group's body.
package struct GroupedMessage: Equatable, Sendable {
    package var flags: NamedFlags
    package var date: SecondsSince1970?
    package var size: UInt32

    package init(flags: NamedFlags, date: SecondsSince1970?, size: UInt32) {
        self.flags = flags
        self.date = date
        self.size = size
    }
}

/// The message that a group takes the place of.
package struct ReplacedMessage: Equatable, Sendable {
    /// Open in the session, and not read-only.
    package var mailbox: MailboxID
    package var uid: UInt32

    package init(mailbox: MailboxID, uid: UInt32) {
        self.mailbox = mailbox
        self.uid = uid
    }
}

package enum ContentRequest: Equatable, Sendable {
    /// At most `WireLimit.detailUIDs` of them are answered.
    case details(SessionHandle, MailboxID, uids: [UIDRange], PreviewWish)  // .details
    /// Which number a mailbox has as long as it is there, whatever its name.
    case mailboxNumber(SessionHandle, MailboxName)  // .directory(.octets)
    /// All or none; and what they replace goes in the same step.
    case appendGroup(
        SessionHandle, MailboxName, [GroupedMessage], MessageBody, replacing: ReplacedMessage?
    )  // .appendedGroup
    /// A message of a mailbox that need not be open: a `.message` part if it exists, then `.done`.
    case readNamed(SessionHandle, MailboxName, uidValidity: UInt32?, uid: UInt32)

    var code: RequestCode {
        switch self {
        case .details: .details
        case .mailboxNumber: .mailboxNumber
        case .appendGroup: .appendGroup
        case .readNamed: .readNamed
        }
    }

    var sizeHint: Int {
        switch self {
        case .details(_, _, let uids, _): 64 + 8 * uids.count
        case .appendGroup(_, _, let messages, let body, _):
            256 + 64 * messages.count + (body.inlineCount ?? 16)
        case .mailboxNumber, .readNamed: 64
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .details(let session, let mailbox, let uids, let wish):
            encoder.put(session)
            encoder.put(mailbox)
            encoder.put(ranges: uids)
            encoder.put(wish.rawValue)
        case .mailboxNumber(let session, let name):
            encoder.put(session)
            encoder.put(name)
        case .appendGroup(let session, let name, let messages, let body, let replaced):
            encoder.put(session)
            encoder.put(name)
            encoder.put(list: messages, limit: WireLimit.groupedMessages) { encoder, message in
                encoder.put(message.flags)
                encoder.put(optional: message.date) { $0.put($1) }
                encoder.put(message.size)
            }
            encoder.put(body)
            encoder.put(optional: replaced) { encoder, replaced in
                encoder.put(replaced.mailbox)
                encoder.put(replaced.uid)
            }
        case .readNamed(let session, let name, let uidValidity, let uid):
            encoder.put(session)
            encoder.put(name)
            encoder.put(optional: uidValidity) { $0.put($1) }
            encoder.put(uid)
        }
    }

    init(_ code: RequestCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .details:
            self = .details(
                try decoder.sessionHandle(), try decoder.mailboxID(), uids: try decoder.ranges(),
                try decoder.choice(PreviewWish.self, "preview"))
        case .mailboxNumber:
            self = .mailboxNumber(try decoder.sessionHandle(), try decoder.mailboxName())
        case .appendGroup:
            let session = try decoder.sessionHandle()
            let name = try decoder.mailboxName()
            let messages = try decoder.list(limit: WireLimit.groupedMessages, minimum: 17) {
                d throws(WireError) in
                GroupedMessage(
                    flags: try d.namedFlags(),
                    date: try d.optional { d throws(WireError) in try d.integer(Int64.self) },
                    size: try d.integer(UInt32.self))
            }
            self = .appendGroup(
                session, name, messages, try decoder.body(),
                replacing: try decoder.optional { d throws(WireError) in
                    ReplacedMessage(
                        mailbox: try d.mailboxID(), uid: try d.integer(UInt32.self))
                })
        case .readNamed:
            self = .readNamed(
                try decoder.sessionHandle(), try decoder.mailboxName(),
                uidValidity: try decoder.optional { d throws(WireError) in
                    try d.integer(UInt32.self)
                }, uid: try decoder.integer(UInt32.self))
        default: throw .unknownOpcode(code.rawValue)
        }
    }
}

package enum ContentReply: Equatable, Sendable {
    /// By rising UID; those that are gone are left out.
    case details([MessageDetail])
    /// The UIDs in the order of the messages. `highestModSeq`: of the mailbox in which a message
    /// was replaced.
    case appendedGroup(uidValidity: UInt32, uids: [UInt32], highestModSeq: UInt64)

    var code: ReplyCode {
        switch self {
        case .details: .details
        case .appendedGroup: .appendedGroup
        }
    }

    func encode(into encoder: inout Encoder) {
        switch self {
        case .details(let rows):
            encoder.put(list: rows, limit: WireLimit.detailUIDs) { encoder, row in
                encoder.put(row.uid)
                encoder.put(row.saved)
                encoder.put(row.emailID, limit: MessageDetail.emailIDCount)
                encoder.put(optional: row.preview) {
                    $0.put($1, limit: MessageDetail.previewLimit)
                }
            }
        case .appendedGroup(let uidValidity, let uids, let modSeq):
            encoder.put(uidValidity)
            encoder.put(uids: uids, limit: WireLimit.groupedMessages)
            encoder.put(modSeq)
        }
    }

    init?(_ code: ReplyCode, from decoder: inout Decoder) throws(WireError) {
        switch code {
        case .details:
            self = .details(
                try decoder.list(limit: WireLimit.detailUIDs, minimum: 17) {
                    d throws(WireError) in
                    MessageDetail(
                        uid: try d.integer(UInt32.self), saved: try d.integer(Int64.self),
                        emailID: try d.string(limit: MessageDetail.emailIDCount),
                        preview: try d.optional { d throws(WireError) in
                            try d.string(limit: MessageDetail.previewLimit)
                        })
                })
        case .appendedGroup:
            self = .appendedGroup(
                uidValidity: try decoder.integer(UInt32.self),
                uids: try decoder.uids(limit: WireLimit.groupedMessages),
                highestModSeq: try decoder.integer(UInt64.self))
        default: return nil
        }
    }
}

extension MessageBody {
    /// Nil if it is staged.
    fileprivate var inlineCount: Int? {
        if case .inline(let octets) = self { octets.count } else { nil }
    }
}
