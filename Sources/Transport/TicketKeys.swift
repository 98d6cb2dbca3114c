// SPDX-License-Identifier: Apache-2.0
//
// Keys of session tickets (RFC 5077 §4, RFC 8446 §2.2): made when the process starts, never written
// anywhere, changed by the clock. All loops and listeners of a process share them.

import CSSL
import Synchronization

enum TicketKeys {
    private struct Key: Sendable {
        /// Stands in front of every ticket.
        var name: [UInt8]
        /// 32 octets for AES-256-CBC, 32 for HMAC-SHA-256.
        var secret: [UInt8]

        init?() {
            guard let octets = TicketKeys.random(Key.nameSize + 64) else { return nil }
            name = Array(octets[..<Key.nameSize])
            secret = Array(octets[Key.nameSize...])
        }

        static let nameSize = 16
    }

    /// The one that makes tickets, then the one before it, whose tickets are still good.
    private static let keys = Mutex<[Key]>([])

    /// Makes a new key; tickets of the one before the last are worth nothing from now on.
    ///
    /// - Returns: false if there is no randomness; the old keys stay.
    static func rotate() -> Bool {
        guard let key = Key() else { return false }
        keys.withLock { $0 = [key] + $0.prefix(1) }
        return true
    }

    /// Lets `context` make and take tickets under these keys.
    static func install(on context: OpaquePointer) -> Bool {
        if keys.withLock({ $0.isEmpty }), !rotate() { return false }
        return unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(context) {
            ssl, name, vector, cipher, mac, isNew in
            guard let name = unsafe name, let vector = unsafe vector else { return -1 }
            return isNew == 1
                ? unsafe TicketKeys.seal(name, vector, cipher, mac)
                : unsafe TicketKeys.open(
                    name, vector, cipher, mac, isTLS13: SSL_version(ssl) > 0x0303)
        } == 1
    }

    /// Returns 1 if the ticket can be made, -1 if not: the session goes on without.
    private static func seal(
        _ name: UnsafeMutablePointer<UInt8>, _ vector: UnsafeMutablePointer<UInt8>,
        _ cipher: OpaquePointer?, _ mac: OpaquePointer?
    ) -> Int32 {
        guard let key = keys.withLock({ $0.first }),
            unsafe RAND_bytes(vector, 16) == 1
        else { return -1 }
        for (index, octet) in key.name.enumerated() { unsafe name[index] = octet }
        return unsafe martlet_ssl_ticket_key(cipher, mac, key.secret, vector, 1) == 1 ? 1 : -1
    }

    /// Returns 0 for a ticket that is not ours, 1 for one that is, 2 if the client should have a
    /// new one: always in TLS 1.3, where a ticket used twice tells who it is (RFC 8446 §C.4).
    private static func open(
        _ name: UnsafeMutablePointer<UInt8>, _ vector: UnsafeMutablePointer<UInt8>,
        _ cipher: OpaquePointer?, _ mac: OpaquePointer?, isTLS13: Bool
    ) -> Int32 {
        let asked = unsafe Array(UnsafeBufferPointer(start: name, count: Key.nameSize))
        let all = keys.withLock { $0 }
        guard let place = all.firstIndex(where: { $0.name == asked }),
            unsafe martlet_ssl_ticket_key(cipher, mac, all[place].secret, vector, 0) == 1
        else { return 0 }
        return place > 0 || isTLS13 ? 2 : 1
    }

    private static func random(_ count: Int) -> [UInt8]? {
        var octets = [UInt8](repeating: 0, count: count)
        return unsafe RAND_bytes(&octets, Int32(count)) == 1 ? octets : nil
    }
}

extension TLSContext {
    /// Changes the keys of session tickets: tickets of the keys before the last are refused.
    ///
    /// - Returns: false if there is no randomness; the old keys stay.
    package static func rotateTicketKeys() -> Bool { TicketKeys.rotate() }
}
