// SPDX-License-Identifier: Apache-2.0
//
// The responses that an import needs, taken out of what a server said: FETCH, LIST, STATUS and
// NAMESPACE. RFC 3501 §7.2 and §7.4; RFC 6154 (special use); RFC 2342.

import Bytes
import IMAP
import Mail

/// `* 12 FETCH (UID 3 FLAGS (\Seen) ...)`. What was not sent is nil.
package struct FetchedMessage: Equatable, Sendable {
    package var uid: UInt32?
    package var flags: NamedFlags?
    package var internalDate: SecondsSince1970?
    package var size: UInt64?
    /// Of BODY[]: `.text`, `.spilled`, or `.nothing`.
    package var body: ResponseValue?

    package init?(_ response: ServerResponse) {
        guard case .data(.some, "FETCH", let values) = response, let items = values.first?.elements
        else { return nil }
        var index = 0
        while index + 1 < items.count {
            let value = items[index + 1]
            if let name = items[index].octets {
                take(String(decoding: name.map(\.asciiUppercased), as: UTF8.self), value)
            }
            index += 2
        }
    }

    private mutating func take(_ name: String, _ value: ResponseValue) {
        switch name {
        case "UID":
            uid = value.number.flatMap { UInt32(exactly: $0) }.flatMap { $0 > 0 ? $0 : nil }
        case "FLAGS": flags = value.elements.map(Self.flags)
        case "INTERNALDATE":
            if let octets = value.octets { internalDate = InternalDate.parse(octets.span) }
        case "RFC822.SIZE": size = value.number
        case "BODY[]", "RFC822": body = value
        default: break
        }
    }

    /// `\Recent` and flags that the store does not have are left out.
    static func flags(_ values: [ResponseValue]) -> NamedFlags {
        var flags = NamedFlags()
        for value in values {
            guard let name = value.octets else { continue }
            switch String(decoding: name.map(\.asciiLowercased), as: UTF8.self) {
            case "\\seen": flags.system.insert(.seen)
            case "\\answered": flags.system.insert(.answered)
            case "\\flagged": flags.system.insert(.flagged)
            case "\\deleted": flags.system.insert(.deleted)
            case "\\draft": flags.system.insert(.draft)
            default: KeywordName.add(name, to: &flags)
            }
        }
        return flags
    }
}

/// `* LIST (\HasNoChildren \Sent) "." "INBOX.Sent"`
package struct ListedMailbox: Equatable, Sendable {
    /// As the server writes it: for commands.
    package var wireName: [UInt8]
    package var separator: UInt8?
    /// In lower case.
    package var attributes: Set<String>
    package var isSubscribed = false

    package init?(_ response: ServerResponse) {
        guard case .data(nil, let kind, let values) = response, kind == "LIST" || kind == "LSUB",
            values.count >= 3, let attributes = values[0].elements, let name = values[2].octets
        else { return nil }
        wireName = name
        separator = values[1].octets.flatMap { $0.count == 1 ? $0[0] : nil }
        self.attributes = Set(
            attributes.compactMap { value in
                value.octets.map { String(decoding: $0.map(\.asciiLowercased), as: UTF8.self) }
            })
        isSubscribed = self.attributes.contains("\\subscribed")
    }

    package var isSelectable: Bool {
        !attributes.contains("\\noselect") && !attributes.contains("\\nonexistent")
    }

    /// A view of all messages, or of the flagged ones: what is in it is in other mailboxes too.
    package var isVirtual: Bool { attributes.contains("\\all") || attributes.contains("\\flagged") }

    package var specialUse: SpecialUse {
        let uses: [(String, SpecialUse)] = [
            ("\\drafts", .drafts), ("\\sent", .sent), ("\\junk", .junk), ("\\trash", .trash),
            ("\\archive", .archive),
        ]
        return uses.first { attributes.contains($0.0) }?.1 ?? .none
    }

    /// The name here; nil if no mailbox can have it.
    ///
    /// - Parameter prefix: of the personal namespace, `INBOX.` on some servers.
    package func name(prefix: [UInt8]) -> MailboxName? {
        var wire = wireName
        if wire.count > prefix.count, Array(wire.prefix(prefix.count)) == prefix {
            wire = Array(wire.dropFirst(prefix.count))
        }
        let decoded = ModifiedUTF7.decode(wire) ?? wire
        guard let separator else {
            return MailboxName(decoded.map { $0 == MailboxName.separator ? 0x5F : $0 })
        }
        let levels = decoded.split(separator: separator, omittingEmptySubsequences: true).map {
            // A separator of ours inside a level would make two of it.
            $0.map { $0 == MailboxName.separator ? 0x5F : $0 }
        }
        return MailboxName(Array(levels.joined(separator: [MailboxName.separator])))
    }
}

/// `* STATUS name (UIDNEXT 5 ...)`
package struct ListedStatus: Equatable, Sendable {
    package var name: [UInt8]
    package var messages: UInt64?
    package var uidNext: UInt64?
    package var uidValidity: UInt64?

    package init?(_ response: ServerResponse) {
        guard case .data(nil, "STATUS", let values) = response, values.count >= 2,
            let name = values[0].octets, let items = values[1].elements
        else { return nil }
        self.name = name
        var index = 0
        while index + 1 < items.count {
            let number = items[index + 1].number
            switch items[index].octets.map({
                String(decoding: $0.map(\.asciiUppercased), as: UTF8.self)
            }) {
            case "MESSAGES": messages = number
            case "UIDNEXT": uidNext = number
            case "UIDVALIDITY": uidValidity = number
            default: break
            }
            index += 2
        }
    }
}

extension ServerResponse {
    /// The prefix of the first personal namespace; nil if this is no NAMESPACE response.
    package var personalPrefix: [UInt8]? {
        guard case .data(nil, "NAMESPACE", let values) = self, let first = values.first,
            let spaces = first.elements, let space = spaces.first?.elements
        else { return nil }
        return space.first?.octets
    }
}
