// SPDX-License-Identifier: Apache-2.0
//
// What a submission's header says of its sender, and the header without what recipients must not
// see. RFC 6409 §6, §8; RFC 5322 §3.6.2, §3.6.3: Bcc never leaves the first server.

import Bytes
import MIME
import Mail

/// The header of a message that came from one of our users.
struct SubmissionHeader: Equatable, Sendable {
    /// Addresses that are looked at; nobody writes in the name of more.
    static let senderLimit = 20

    /// Complete, without Bcc and Resent-Bcc.
    private(set) var kept: [UInt8] = []
    /// Everybody in whose name it was written: From, Sender, Resent-From and Resent-Sender.
    private(set) var senders: [EmailAddress] = []
    private(set) var hasFrom = false
    /// A sender that is no address, or more of them than anybody may name.
    private(set) var hasBadSender = false

    init(_ header: [UInt8]) {
        let span = header.span
        var reader = HeaderReader(0..<header.count)
        var position = 0
        var fields = 0
        while let field = reader.next(span) {
            fields += 1
            let name = Array(header[field.name])
            if Self.hidden.contains(where: name.equalsIgnoringASCIICase) {
                kept += header[position..<field.whole.lowerBound]
                position = field.end
            } else if Self.authors.contains(where: name.equalsIgnoringASCIICase) {
                if name.count == 4 { hasFrom = true }
                add(AddressList(span, field.body))
            }
        }
        kept += header[position...]
        // Behind so many there might be another author that was not looked at.
        if fields >= HeaderReader.fieldLimit { hasBadSender = true }
    }

    private mutating func add(_ list: AddressList) {
        for address in list.addresses where address.kind == .mailbox {
            guard let local = address.local, let domain = address.domain, !local.isEmpty,
                !domain.isEmpty, senders.count < Self.senderLimit
            else {
                hasBadSender = true
                return
            }
            let sender = EmailAddress(
                local: Array(list.storage[local]), domain: Array(list.storage[domain]))
            if !senders.contains(sender) { senders.append(sender) }
        }
    }

    private static let hidden = [Array("Bcc"), Array("Resent-Bcc")]
    private static let authors = [
        Array("From"), Array("Sender"), Array("Resent-From"), Array("Resent-Sender"),
    ]
}
