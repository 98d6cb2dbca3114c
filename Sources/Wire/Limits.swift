// SPDX-License-Identifier: Apache-2.0
//
// The most that one value on the wire may be. Encoders refuse to write more, decoders to read more,
// so that the numbers exist once. docs/wire.md lists them.

/// Octets and elements.
package enum WireLimit {
    /// Octets of an address, local-part and domain together, without `@` (RFC 5321 §4.5.3.1).
    package static let address = 320
    /// Octets of a domain name or address literal.
    package static let domain = 255
    /// Octets of a name or authorization id in credentials.
    package static let identity = 320
    package static let password = 1_024
    /// Octets of a password hash in PHC form.
    package static let hash = 512
    /// Octets of a client's address in text.
    package static let remote = 64
    /// Octets of `imap`, `pop3`, `smtp`.
    package static let service = 16
    /// Octets of one keyword (a flag's name).
    package static let keyword = 255
    /// Keywords in one table or request (`Flags.keywordLimit`).
    package static let keywords = 26
    package static let recipients = 1_000
    /// Ranges in a UID set that is part of a request.
    package static let ranges = 100_000
    /// UIDs in one `read` request.
    package static let readUIDs = 16_384
    /// Messages in one answer about details.
    package static let detailUIDs = 512
    /// Messages that are appended together.
    package static let groupedMessages = 256
    /// UIDs in one reply.
    package static let replyUIDs = 8 << 20
    /// Entries in one reply or part.
    package static let entries = 1 << 20
    /// Mailboxes, domains and accounts in one reply.
    package static let rows = 1 << 20
    /// Aliases in one request.
    package static let aliasRows = 10_000
    /// Octets of the inline body of a `.message`: a header may be longer than a body that is
    /// worth sending inline.
    package static let messageInline = 512 << 10
    /// Octets of one part of summaries: a little less than a frame.
    package static let summaries = 768 << 10
    /// Octets of a reply that came in fragments.
    package static let fragmentedReply = 64 << 20
    /// Octets of what one finding of `checkIndex` says.
    package static let findingDetail = 512
    /// Octets of the store's version text.
    package static let version = 64
    /// Requests that one connection may have unanswered; the store reads no further until then.
    package static let requestsInFlight = 1_024
    /// Staged files that one connection may hold.
    package static let stagedFiles = 256
    /// Logins that one connection may hold.
    package static let sessions = 65_536
}
