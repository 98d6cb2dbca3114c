// SPDX-License-Identifier: Apache-2.0
//
// What ENVELOPE says of a message, read out of its header once. RFC 9051 §7.5.2, RFC 5322 §3.6.
// Encoded words stay as they are.

import Bytes

/// Packs envelopes. In this order: Date, Subject, the lists From, Sender, Reply-To, To, Cc, Bcc,
/// then In-Reply-To and Message-ID.
package enum PackedEnvelope {
    /// How a list begins: no list, the list of From, or else the number of its addresses + 2.
    package static let noList = 0
    package static let likeFrom = 1
    package static let firstCount = 2

    /// Appends the envelope of the header at `range`; anything after its empty line is not looked
    /// at.
    package static func append(
        _ message: Span<UInt8>, _ range: Range<Int>, to packed: inout [UInt8]
    ) {
        let fields = EnvelopeFields(message, range)
        append(fields.date, message, &packed)
        append(fields.subject, message, &packed)
        var list = AddressList()
        for field in [KnownField.from, .sender, .replyTo, .to, .cc, .bcc] {
            list.removeAll()
            for (known, body) in fields.addresses where known == field {
                list.append(message, body)
            }
            // RFC 9051 §7.5.2: absent or empty, these two are the same as From
            let isFromAlias = field == .sender || field == .replyTo
            append(list, absent: isFromAlias ? likeFrom : noList, &packed)
        }
        append(fields.inReplyTo, message, &packed)
        append(fields.messageID, message, &packed)
    }

    private static func append(
        _ body: Range<Int>?, _ message: Span<UInt8>, _ packed: inout [UInt8]
    ) {
        packed.pack(body.map { FieldBody.trimmed(message, $0) }, of: message)
    }

    private static func append(_ list: AddressList, absent: Int, _ packed: inout [UInt8]) {
        guard !list.addresses.isEmpty else {
            packed.pack(absent)
            return
        }
        packed.pack(list.addresses.count + firstCount)
        let storage = list.storage.span
        for address in list.addresses {
            packed.pack(address.name, of: storage)
            packed.pack(address.route, of: storage)
            packed.pack(address.local, of: storage)
            packed.pack(address.domain, of: storage)
        }
    }
}

/// The fields that an envelope is made of.
private struct EnvelopeFields {
    /// Of repeated fields the first counts.
    var date: Range<Int>?
    var subject: Range<Int>?
    var inReplyTo: Range<Int>?
    var messageID: Range<Int>?
    /// Repeated address fields add up.
    var addresses: [(field: KnownField, body: Range<Int>)] = []

    init(_ message: Span<UInt8>, _ range: Range<Int>) {
        addresses.reserveCapacity(6)
        var reader = HeaderReader(range)
        while let field = reader.next(message) {
            guard let known = KnownField(message, field.name) else { continue }
            switch known {
            case .date: date = date ?? field.body
            case .subject: subject = subject ?? field.body
            case .inReplyTo: inReplyTo = inReplyTo ?? field.body
            case .messageID: messageID = messageID ?? field.body
            case .from, .sender, .replyTo, .to, .cc, .bcc: addresses.append((known, field.body))
            default: break
            }
        }
    }
}
