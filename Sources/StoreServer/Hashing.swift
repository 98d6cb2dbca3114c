// SPDX-License-Identifier: Apache-2.0
//
// Password hashes are slow and take memory by intent: few at a time, on threads of their own, and
// no more waiting than can be served in time. RFC 9106.

import Crypto
import Synchronization
import Transport

final class Hashing: Sendable {
    /// Logins that may wait; more are told to come back.
    private static let waitingLimit = 256

    let parameters: Argon2Parameters
    private let workers: Workers
    private let waiting = Atomic<Int>(0)
    /// Verified when there is no account, so that an answer takes the same time.
    let decoy: [UInt8]

    init(_ parameters: Argon2Parameters, atOnce: Int) throws(PasswordHashError) {
        self.parameters = parameters
        decoy = try PasswordHash.make(RandomOctets.make(24), parameters)
        workers = Workers(count: atOnce, name: "hash")
    }

    /// Nil if too many wait already.
    func run<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R? {
        let before = waiting.wrappingAdd(1, ordering: .relaxed).oldValue
        defer { waiting.wrappingSubtract(1, ordering: .relaxed) }
        guard before < Self.waitingLimit else { return nil }
        return await workers.run(body)
    }
}
