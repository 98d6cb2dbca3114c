// SPDX-License-Identifier: Apache-2.0
//
// What a sender asked for beside a delivery, as it stands behind the body. docs/wire.md.

import Bytes
import Mail

extension Delivery {
    func putTerms(into encoder: inout Encoder) {
        encoder.put(terms.body.rawValue)
        encoder.put(terms.isInternational)
        encoder.put(terms.requiresTLS)
        encoder.put(terms.mayReport)
        encoder.put(optional: terms.ret) { $0.put($1.rawValue) }
        encoder.put(optional: terms.envelopeID) {
            $0.put($1, limit: EnvelopeTerms.envelopeIDLimit)
        }
        encoder.put(optional: terms.priority) { $0.put(UInt8(bitPattern: $1)) }
        encoder.put(optional: terms.deliverBy) {
            $0.put($1.seconds)
            $0.put($1.mode.rawValue)
            $0.put($1.isTraced)
        }
        guard recipientTerms.isEmpty || recipientTerms.count == recipients.count else {
            encoder.refuse()
            return
        }
        encoder.put(list: recipientTerms, limit: WireLimit.recipients) { encoder, terms in
            encoder.put(optional: terms.notify) { $0.put($1.rawValue) }
            encoder.put(optional: terms.original) {
                $0.put($1.type, limit: OriginalRecipient.typeLimit)
                $0.put($1.address, limit: OriginalRecipient.addressLimit)
            }
        }
    }

    mutating func readTerms(from decoder: inout Decoder) throws(WireError) {
        terms.body = try decoder.choice(BodyKind.self, "body kind")
        terms.isInternational = try decoder.bool()
        terms.requiresTLS = try decoder.bool()
        terms.mayReport = try decoder.bool()
        terms.ret = try decoder.optional { d throws(WireError) in
            try d.choice(ReturnContent.self, "return")
        }
        terms.envelopeID = try decoder.optional { d throws(WireError) in
            try d.string(limit: EnvelopeTerms.envelopeIDLimit)
        }
        terms.priority = try decoder.optional { d throws(WireError) in
            Int8(bitPattern: try d.octet())
        }
        if let priority = terms.priority, !(-9...9).contains(priority) {
            throw .invalid("priority")
        }
        terms.deliverBy = try decoder.optional { d throws(WireError) in
            DeliverBy(
                seconds: try d.integer(Int32.self),
                mode: try d.choice(DeliverBy.Mode.self, "deliver by"), isTraced: try d.bool())
        }
        recipientTerms = try decoder.list(limit: WireLimit.recipients, minimum: 2) {
            d throws(WireError) in
            let notify = try d.optional { d throws(WireError) in try d.octet() }
            guard notify ?? 0 <= NotifyConditions.all.rawValue else { throw .invalid("notify") }
            let original = try d.optional { d throws(WireError) in
                OriginalRecipient(
                    type: try d.string(limit: OriginalRecipient.typeLimit),
                    address: try d.string(limit: OriginalRecipient.addressLimit))
            }
            return RecipientTerms(
                notify: notify.map { NotifyConditions(rawValue: $0) }, original: original)
        }
        guard recipientTerms.isEmpty || recipientTerms.count == recipients.count else {
            throw .invalid("terms")
        }
        // The shorter request is the only form of a delivery without terms.
        guard !isPlain else { throw .invalid("no terms") }
    }
}
