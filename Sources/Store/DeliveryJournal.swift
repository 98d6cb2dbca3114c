// SPDX-License-Identifier: Apache-2.0
//
// Deliveries to many accounts: all get the message, or none. RFC 5321 §6.1; docs/store.md.

import Bytes
import Mail

/// The part of a file name that is like no other's: `<sec>.M<usec>P<pid>Q<n>.<host>`.
package struct UniqueName: Hashable, Sendable {
    package let octets: [UInt8]
    init(octets: [UInt8]) { self.octets = octets }
}

/// An account that a delivery goes to, and the name its file will have there.
package struct DeliveryTarget: Equatable, Sendable {
    package var address: EmailAddress
    package var unique: UniqueName

    package init(address: EmailAddress, unique: UniqueName) {
        self.address = address
        self.unique = unique
    }
}

/// Intents in `<root>/.journal`. Usable from any thread.
///
///     begin(id, targets)        durable intent
///     append on every account   each durable
///     commit(id)                intent durably gone: now it may be reported as delivered
///
/// If an append fails: `retract` on every target, then `abandon(id)`. An intent left by a crash is
/// rolled back by `MailRoot.rollBackDeliveries`. One recipient needs no intent.
package final class DeliveryJournal: Sendable {
    init() {}
    package func begin(_ id: TraceID, _ targets: [DeliveryTarget]) throws(StoreError) { throw .notPermitted }
    package func commit(_ id: TraceID) throws(StoreError) { throw .notPermitted }
    package func abandon(_ id: TraceID) throws(StoreError) { throw .notPermitted }
}
