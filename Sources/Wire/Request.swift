// SPDX-License-Identifier: Apache-2.0
//
// Everything that can be asked of msgstored. The opcode of a case is in RequestCode.swift; the
// answer to each is named behind it and defined in Reply.swift. Any request may be answered by
// `.failure`.

import Mail

/// A login on one connection to the store: valid there only, for its account only.
package struct SessionHandle: Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A message file that the store lent out to be written (`stage`).
package struct StageToken: Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A name and password, as PLAIN and LOGIN carry them (RFC 4616).
package struct Credentials: Equatable, Sendable {
    /// Who to act as; empty: the same as `authenticationID`. Another's is refused.
    package var authorizationID: [UInt8]
    package var authenticationID: [UInt8]
    package var password: [UInt8]
    /// For logs and limits: the address of the client, the session's id, and `imap`, `pop3` or `smtp`.
    package var remote: [UInt8]
    package var session: TraceID
    package var service: [UInt8]

    package init(
        authorizationID: [UInt8], authenticationID: [UInt8], password: [UInt8], remote: [UInt8],
        session: TraceID, service: [UInt8]
    ) {
        self.authorizationID = authorizationID
        self.authenticationID = authenticationID
        self.password = password
        self.remote = remote
        self.session = session
        self.service = service
    }
}

/// The octets of a message: in the frame, or in a staged file whose writer has closed it.
package enum MessageBody: Equatable, Sendable {
    /// At most 256 KiB, complete, CRLF line ends.
    case inline([UInt8])
    case staged(StageToken)

    /// Longer messages are staged.
    package static let inlineLimit = 256 << 10
}

/// One message for one or more local recipients: all get it, or none.
package struct Delivery: Equatable, Sendable {
    package var id: TraceID
    package var session: TraceID
    package var sender: ReversePath
    /// 1 to 1,000, each checked with `checkRecipient` before.
    package var recipients: [EmailAddress]
    /// Complete with Return-Path and Received in front.
    package var body: MessageBody
    /// What was asked for with MAIL.
    package var terms: EnvelopeTerms
    /// What was asked for with each RCPT, in the order of `recipients`; empty: nothing.
    package var recipientTerms: [RecipientTerms]

    package init(
        id: TraceID, session: TraceID, sender: ReversePath, recipients: [EmailAddress],
        body: MessageBody, terms: EnvelopeTerms = EnvelopeTerms(),
        recipientTerms: [RecipientTerms] = []
    ) {
        self.id = id
        self.session = session
        self.sender = sender
        self.recipients = recipients
        self.body = body
        self.terms = terms
        self.recipientTerms = recipientTerms
    }

    /// What the recipient at `index` was named with.
    package func terms(of index: Int) -> RecipientTerms {
        index < recipientTerms.count ? recipientTerms[index] : RecipientTerms()
    }

    /// Nothing was asked for: the shorter request will do.
    package var isPlain: Bool { terms == EnvelopeTerms() && recipientTerms.isEmpty }
}

/// The number that a message had where it comes from.
package struct PlacedUID: Equatable, Sendable {
    /// Must be the mailbox's.
    package var uidValidity: UInt32
    package var uid: UInt32

    package init(uidValidity: UInt32, uid: UInt32) {
        self.uidValidity = uidValidity
        self.uid = uid
    }
}

/// How a mailbox is opened.
package enum OpenMode: UInt8, Sendable {
    case readWrite = 0
    case readOnly = 1
    /// INBOX for POP3: refused with `.inUse` while another session holds it (RFC 1939 §4).
    case maildrop = 2
}

/// Which octets `read` wants.
package enum ReadPart: UInt8, Sendable {
    case whole = 0
    /// Up to and including the empty line behind the header.
    case header = 1
}

/// Changes to accounts and domains.
package enum AccountChange: Equatable, Sendable {
    /// `password` in clear (the store hashes it), or `hash` in PHC form; exactly one is not empty.
    case add(address: EmailAddress, password: [UInt8], hash: [UInt8])
    case setPassword(address: EmailAddress, password: [UInt8], hash: [UInt8])
    /// Also deletes the mail, unless `keepMail`.
    case remove(address: EmailAddress, keepMail: Bool)
}

package enum Request: Equatable, Sendable {
    // Doors deliver and mailbox; control all but the first two
    case authenticate(Credentials)  // .authenticated or .access(.refused)
    /// Another mechanism: Authentication.swift. As above, or what `Attempt` says.
    case attempt(Attempt, LoginClient)
    case logout(SessionHandle)  // .done
    case stage  // .staged, with a writable descriptor
    case unstage(StageToken)  // .done; the file is forgotten

    // Door deliver
    case checkRecipient(EmailAddress)  // .recipient
    /// As above for a message of so many octets (MAIL SIZE=).
    case checkMail(EmailAddress, size: UInt64)  // .recipient
    case maySend(SessionHandle, as: EmailAddress)  // .permission
    case deliver(Delivery)  // .delivered

    // Doors mailbox and control
    case list(SessionHandle)  // .mailboxes
    case create(SessionHandle, MailboxName, SpecialUse)  // .done
    case delete(SessionHandle, MailboxName)  // .done
    case rename(SessionHandle, from: MailboxName, to: MailboxName)  // .done
    case subscribe(SessionHandle, MailboxName, Bool)  // .done
    case status(SessionHandle, MailboxName)  // .status
    /// Opens and watches: `.changed` events follow until `close`.
    case open(SessionHandle, MailboxName, OpenMode)  // parts .entries, then .opened
    case close(SessionHandle, MailboxID)  // .done
    /// `.changed` events of all mailboxes follow, and of mailbox 0 when the list of them changes,
    /// until `close` of mailbox 0.
    case watchAccount(SessionHandle)  // .done
    case changes(SessionHandle, MailboxID, since: UInt64)  // parts .entries, then .changes
    case append(
        SessionHandle, MailboxName, flags: NamedFlags, date: SecondsSince1970?, body: MessageBody
    )  // .appended
    case store(
        SessionHandle, MailboxID, uids: [UIDRange], FlagOperation, NamedFlags,
        unchangedSince: UInt64?
    )  // .stored
    /// To the mailbox named; `move` takes the messages out of the source in the same step.
    case copy(SessionHandle, MailboxID, uids: [UIDRange], to: MailboxName, move: Bool)  // .copied
    /// Removes messages with `\Deleted` (nil: in the whole mailbox), or, with `force`, the UIDs named.
    case expunge(SessionHandle, MailboxID, uids: [UIDRange]?, force: Bool)  // .expunged
    /// One `.message` part for each UID that exists, in the order asked, then `.done`.
    case read(SessionHandle, MailboxID, uids: [UInt32], ReadPart)
    case quota(SessionHandle)  // .directory(.quota)
    /// Octets of the messages with `\Deleted` (STATUS DELETED-STORAGE).
    case deletedSize(SessionHandle, MailboxName)  // .directory(.octets)
    /// `.found` parts with the UIDs whose text matches, in no order, then `.done`.
    case search(SessionHandle, MailboxID, uids: [UIDRange], TextQuery)
    /// What lists show of the messages: parts `.summaries` by rising UID, then `.done`.
    case summaries(SessionHandle, MailboxID, uids: [UIDRange], SummaryPieces)
    /// As `open`, by somebody who knows the mailbox as it was at `since`: parts `.entries`, then
    /// `.resumed`.
    case resume(SessionHandle, MailboxName, OpenMode, MailboxID, since: UInt64)

    // Door control
    case listDomains  // .domains
    case addDomain([UInt8])  // .done
    case removeDomain([UInt8])  // .done
    case listAccounts(domain: [UInt8])  // .accounts; empty: all
    case changeAccount(AccountChange)  // .done
    case storeStatus  // .storeStatus
    case rebuildIndex(EmailAddress)  // .done
    /// Throws the search index away; it is made again in the background.
    case rebuildSearch(EmailAddress)  // .done
    case searchStats(EmailAddress)  // .searchStats
    /// Compares the index with the Maildir; with `repair` also puts right what can be.
    case checkIndex(EmailAddress, repair: Bool)  // .indexReport
    /// Makes the index as small and as well ordered as it can be.
    case optimizeIndex(EmailAddress)  // .indexOptimized
    /// A login without a password: mailctl acts on this account's mail.
    case assume(EmailAddress)  // .authenticated
    /// Addresses, rights, quota: Directory.swift.
    case directory(DirectoryRequest)
    /// A mailbox with a UIDVALIDITY from elsewhere; one that never had a message gets it.
    case createAs(SessionHandle, MailboxName, SpecialUse, uidValidity: UInt32)  // .done
    /// `append` with a UID from elsewhere, not below UIDNEXT.
    case place(
        SessionHandle, MailboxName, PlacedUID, flags: NamedFlags, date: SecondsSince1970?,
        body: MessageBody
    )  // .appended
    case backup(BackupRequest)  // .backup, or .done
    /// Groups of messages, and what is known of messages: Content.swift.
    case content(ContentRequest)
    /// App passwords and bans: Authentication.swift.
    case access(AccessRequest)
}

/// Sent by the store without being asked.
package enum Event: Equatable, Sendable {
    /// The open mailbox has changes behind this MODSEQ. A hint: ask with `changes`.
    case changed(SessionHandle, MailboxID, highestModSeq: UInt64)
}
