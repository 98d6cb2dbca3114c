// SPDX-License-Identifier: Apache-2.0
//
// Quota at RCPT and on the mailbox door. RFC 5321 §4.2.2 (552), RFC 1870 §6 (SIZE=), RFC 9208.
// What is kept is decided by the account itself when the message comes (Store/Usage.swift).

import Mail
import Store
import Telemetry
import Transport
import Wire

extension DoorConnection {
    /// - Parameter size: octets of the message, as far as the client has said; 0 if it has not.
    func recipient(
        _ address: EmailAddress, size: UInt64 = 0
    ) async throws(StoreFailure) -> RecipientStatus {
        let lookup = try await lookup(address)
        switch lookup {
        case .unknownAccount: return .unknownAccount
        case .notLocal: return .notLocal
        case .disabled: return .disabled
        case .account, .accounts: break
        }
        for account in lookup.accounts where try await !hasRoom(account, size) {
            core.metrics.overQuota.increment(["rcpt"])
            if let usage = core.usages.known(account.address),
                let limits = core.addresses.knownLimits(account.address)
            {
                core.quotaWarnings.noteRefused(account.address, limits, usage)
            }
            Log.info(
                "over quota",
                [
                    LogField("account", account.address.octets),
                    LogField("to", address.octets), LogField("size", Int(clamping: size)),
                ])
            return .overQuota
        }
        return .accepted
    }

    private func hasRoom(
        _ account: AccountRef, _ size: UInt64
    ) async throws(StoreFailure) -> Bool {
        let limits = try await limits(account.address)
        if limits.isUnlimited { return true }
        if let usage = core.usages.known(account.address), limits.allow(1, size, beside: usage) {
            return true
        }
        // Never refused because of a number that may be old.
        return limits.allow(1, size, beside: try await usage(account))
    }

    private func limits(_ account: EmailAddress) async throws(StoreFailure) -> QuotaLimits {
        let addresses = core.addresses
        if let known = addresses.knownLimits(account) { return known }
        return try await onDirectory(changes: false) { _ throws(StoreError) in
            try addresses.limits(account)
        }
    }

    private func usage(_ account: AccountRef) async throws(StoreFailure) -> MailUsage {
        let outcome = await core.perform(account) { store throws(StoreError) in
            try store.usage()
        }
        switch outcome {
        case .success(let usage):
            core.usages.note(account.address, usage)
            return usage
        case .failure(let error): throw StoreFailure(error)
        }
    }

    func quota(_ session: Session) async throws(StoreFailure) -> Reply {
        let limits = try await limits(session.account.address)
        let usage = try await onAccount(session) { store throws(StoreError) in
            try store.usage()
        }
        return .directory(.quota(usage, limits))
    }
}
