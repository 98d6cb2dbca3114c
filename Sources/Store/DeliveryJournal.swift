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
///     state  intent    files and rows   after a crash here
///     J0     –         –                nothing happened
///     J1     durable   –                the intent is removed at start
///     J2     durable   some or all      taken back on every account at start
///     J3     gone      all              done: the message may be reported as delivered
///
/// `begin` is J1, an `append` per account J2, `commit` J3. If an append fails: `retract` on every
/// target, then `abandon`. Between J2 and J3 an account may already show a message that is taken
/// back later; nobody was told that it is there to stay. One recipient needs no intent.
package final class DeliveryJournal: Sendable {
    static let directoryName = ".journal"
    static let targetLimit = 1_000
    private let directory: File

    init(_ directory: consuming File) { self.directory = directory }

    package func begin(_ id: TraceID, _ targets: [DeliveryTarget]) throws(StoreError) {
        guard targets.count <= Self.targetLimit else { throw .limit }
        let name = PathOctets(id.description)
        let file = try System.createFile(name, in: directory.descriptor)
        do throws(StoreError) {
            try System.write(Self.encode(targets), to: file.descriptor)
            try System.synchronize(file.descriptor, "intent")
            try System.synchronize(directory.descriptor, "journal")
        } catch {
            // Nothing was delivered yet: an intent that stays is removed at the next start.
            _ = try? System.unlink(name, in: directory.descriptor)
            throw error
        }
    }

    /// - Throws: then nothing may be reported as delivered; take it back.
    package func commit(_ id: TraceID) throws(StoreError) {
        guard try System.unlink(PathOctets(id.description), in: directory.descriptor) else {
            throw .file("commit", errno: 2)
        }
        try System.synchronize(directory.descriptor, "journal")
    }

    /// Forgets an intent after every target was retracted.
    package func abandon(_ id: TraceID) throws(StoreError) {
        try System.unlink(PathOctets(id.description), in: directory.descriptor)
        try System.synchronize(directory.descriptor, "journal")
    }

    /// Intents left behind. An incomplete one has no targets: its `begin` never returned.
    func pending() throws(StoreError) -> [(name: PathOctets, targets: [DeliveryTarget])] {
        var intents: [(name: PathOctets, targets: [DeliveryTarget])] = []
        for name in try System.names(in: directory.descriptor) {
            guard let file = try System.openFile(name, in: directory.descriptor) else { continue }
            let octets = try System.read(file.descriptor, from: 0, count: DurableFile.octetLimit)
            intents.append((name, Self.decode(octets)))
        }
        return intents
    }

    func forget(_ name: PathOctets) throws(StoreError) {
        try System.unlink(name, in: directory.descriptor)
        try System.synchronize(directory.descriptor, "journal")
    }

    /// A line per target, `<local, percent-encoded> TAB <domain, ...> TAB <unique name>`, then `end`.
    static func encode(_ targets: [DeliveryTarget]) -> [UInt8] {
        var octets = [UInt8]("martlet-intent 1\n")
        for target in targets {
            octets += percentEncoded(target.address.local)
            octets.append(.tab)
            octets += percentEncoded(target.address.domain)
            octets.append(.tab)
            octets += target.unique.octets
            octets.append(.lf)
        }
        octets.append("end\n")
        return octets
    }

    /// Empty for anything incomplete.
    static func decode(_ octets: [UInt8]) -> [DeliveryTarget] {
        var lines = octets.split(separator: .lf)
        guard lines.first?.elementsEqual("martlet-intent 1".utf8) == true,
            lines.last?.elementsEqual("end".utf8) == true
        else { return [] }
        lines.removeFirst()
        lines.removeLast()
        return lines.compactMap { line in
            let fields = line.split(separator: .tab)
            guard fields.count == 3, let local = percentDecoded(Array(fields[0])),
                let domain = percentDecoded(Array(fields[1]))
            else { return nil }
            return DeliveryTarget(
                address: EmailAddress(local: local, domain: domain),
                unique: UniqueName(octets: Array(fields[2])))
        }
    }

    private static func percentEncoded(_ octets: [UInt8]) -> [UInt8] {
        let digits = [UInt8]("0123456789ABCDEF")
        return octets.flatMap { octet in
            octet.isASCIIVisible && octet != 0x25
                ? [octet] : [0x25, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
    }

    private static func percentDecoded(_ octets: [UInt8]) -> [UInt8]? {
        var decoded: [UInt8] = []
        var index = 0
        while index < octets.count {
            if octets[index] == 0x25 {
                guard index + 2 < octets.count,
                    let value = UInt8(
                        String(decoding: octets[(index + 1)...(index + 2)], as: UTF8.self),
                        radix: 16)
                else { return nil }
                decoded.append(value)
                index += 3
            } else {
                decoded.append(octets[index])
                index += 1
            }
        }
        return decoded
    }
}
