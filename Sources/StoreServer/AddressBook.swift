// SPDX-License-Identifier: Apache-2.0
//
// Which account an address means: the directory, with what was found kept in memory. msgstored is
// the directory's only writer, so the memory is right until it changes something itself.
// RFC 5321 §2.3.11; RFC 5233 (subaddresses).

import Bytes
import Config
import Mail
import Store
import Synchronization

/// What an address is here.
enum Lookup: Sendable, Equatable {
    case account(AccountRef)
    case unknownAccount
    case notLocal
}

final class AddressBook: Sendable {
    private static let limit = 50_000

    private struct State {
        var known: [EmailAddress: Lookup] = [:]
        /// Goes up with every change of the directory: an answer read before it is not kept.
        var version: UInt64 = 0
        var configured: Set<[UInt8]> = []
        var separators: [UInt8] = []
        /// How often an account of this name was removed.
        var removals: [EmailAddress: UInt64] = [:]
    }

    private let directory: Directory
    private let state = Mutex(State())

    init(_ directory: Directory) { self.directory = directory }

    func apply(_ suite: Suite) {
        directory.setConfigured(suite.domains.map { Array($0) })
        state.withLock { state in
            state.configured = Set(suite.domains.map { Array($0).asciiLowercased })
            state.separators = Array(suite.msgstored.subaddress)
            state.known = [:]
            state.version += 1
        }
    }

    func isConfigured(_ domain: [UInt8]) -> Bool {
        state.withLock { $0.configured.contains(domain.asciiLowercased) }
    }

    /// Without asking the directory: for event loops.
    func known(_ address: EmailAddress) -> Lookup? { state.withLock { $0.known[address] } }

    /// Asks the directory if need be: blocks.
    func lookup(_ address: EmailAddress) throws(StoreError) -> Lookup {
        let (found, version, separators) = state.withLock {
            ($0.known[address], $0.version, $0.separators)
        }
        if let found { return found }
        let lookup = try ask(address, separators)
        state.withLock { state in
            guard state.version == version else { return }
            if state.known.count >= Self.limit { state.known = [:] }
            state.known[address] = lookup
        }
        return lookup
    }

    private func ask(_ address: EmailAddress, _ separators: [UInt8]) throws(StoreError) -> Lookup {
        if let found = try account(address) { return .account(found) }
        // The first separator ends the user's name, unless it starts it.
        if let cut = address.local.firstIndex(where: { separators.contains($0) }), cut > 0 {
            let user = EmailAddress(local: Array(address.local[..<cut]), domain: address.domain)
            if let found = try account(user) { return .account(found) }
        }
        return try directory.hasDomain(address.domain) ? .unknownAccount : .notLocal
    }

    /// The account with exactly this address, any case: blocks.
    func account(_ address: EmailAddress) throws(StoreError) -> AccountRef? {
        guard let found = try directory.account(address) else { return nil }
        return AccountRef(address: found.address, generation: generation(of: found.address))
    }

    func generation(of account: EmailAddress) -> UInt64 {
        state.withLock { $0.removals[account] ?? 0 }
    }

    /// To be called after every change of the directory.
    func directoryChanged(removed account: EmailAddress? = nil) {
        state.withLock { state in
            state.known = [:]
            state.version += 1
            if let account { state.removals[account, default: 0] += 1 }
        }
    }
}
