// SPDX-License-Identifier: Apache-2.0
//
// The header fields that mail programs ask for when they show a list of messages: kept whole, so
// that BODY[HEADER.FIELDS (...)] of these names needs no file. RFC 9051 §6.4.5.

import Bytes

package enum ListFields {
    /// In small letters, by length; and every name that begins with `list-`. From what
    /// Thunderbird, mutt, neomutt, K-9, Apple Mail, Outlook and aerc were seen to ask for. Not
    /// Received, which alone would be as long as all the others.
    private static let names: [[[UInt8]]] = byLength([
        "date", "from", "sender", "reply-to", "to", "cc", "bcc", "subject", "message-id",
        "in-reply-to", "references", "newsgroups", "followup-to", "content-type",
        "content-transfer-encoding", "content-description", "content-disposition",
        "content-language", "content-class", "content-id", "mime-version", "lines",
        "priority", "importance", "x-priority", "x-msmail-priority", "x-label", "x-keywords",
        "keywords", "comments", "original-to", "x-original-to", "x-original-from", "delivered-to",
        "envelope-to", "return-path", "precedence", "auto-submitted", "x-auto-response-suppress",
        "x-spam-flag", "x-spam-status", "x-spam-level", "x-spam-score", "x-mailer", "user-agent",
        "organization", "mail-followup-to", "mail-reply-to", "disposition-notification-to",
        "return-receipt-to", "resent-date", "resent-from", "resent-to", "resent-cc",
        "resent-message-id", "x-account-key", "x-mozilla-draft-info", "x-k9mail-identity",
        "x-identity-key", "x-uniform-type-identifier", "x-universally-unique-identifier",
        "x-apple-base-url", "x-apple-mail-remote-attachments", "x-mail-created-date",
        "x-google-original-from", "x-forwarded-to", "x-forwarded-for", "x-gmail-labels",
        "thread-topic", "thread-index", "x-thread-info", "chat-version", "chat-group-id",
        "chat-user-avatar", "chat-disposition-notification-to", "x-microsoft-original-message-id",
        "x-ms-has-attach", "x-has-attach",
    ])

    private static func byLength(_ names: [StaticString]) -> [[[UInt8]]] {
        var table = [[[UInt8]]](repeating: [], count: 64)
        for name in names {
            var octets: [UInt8] = []
            octets.append(literal: name)
            table[octets.count].append(octets)
        }
        return table
    }

    /// Whether fields of this name, in any case, are kept.
    package static func holds(_ name: [UInt8]) -> Bool { holds(name.span, 0..<name.count) }

    static func holds(_ text: Span<UInt8>, _ name: Range<Int>) -> Bool {
        if name.count > 5, FieldBody.isWord(text, name.lowerBound..<(name.lowerBound + 5), "list-")
        {
            return true
        }
        guard name.count < names.count else { return false }
        let first = text.count > 0 && !name.isEmpty ? text[name.lowerBound].asciiLowercased : 0
        search: for candidate in names[name.count] where candidate[0] == first {
            for index in candidate.indices
            where candidate[index] != text[name.lowerBound + index].asciiLowercased {
                continue search
            }
            return true
        }
        return false
    }

    /// Appends the fields of the header at `range` that are kept, each whole and in order. What
    /// HEADER.FIELDS answers from this is what it answers from the header, for names that
    /// `holds`.
    ///
    /// - Returns: false if they were longer than `limit`.
    static func append(
        _ message: Span<UInt8>, _ range: Range<Int>, limit: Int, to output: inout [UInt8]
    ) -> Bool {
        var left = limit
        var reader = HeaderReader(range)
        while let field = reader.next(message) {
            guard holds(message, field.name) else { continue }
            left -= field.whole.count
            guard left >= 0 else { return false }
            output.append(copying: message.extracting(field.whole))
            // Cut off in the last field
            if output.last != .lf { output.append(literal: "\r\n") }
        }
        return true
    }
}
