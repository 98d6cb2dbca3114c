// SPDX-License-Identifier: Apache-2.0
//
// GETQUOTA, GETQUOTAROOT and SETQUOTA. RFC 9208. Every mailbox of an account with limits has the one
// quota root "" (RFC 9208 §3.2); without limits there is none.

import Bytes
import IMAP
import Mail
import StoreClient
import Wire

extension Session {
    func getQuota(_ tag: [UInt8], _ root: [UInt8]) async throws(Failure) {
        let (usage, limits) = try await quota()
        guard root.isEmpty, !limits.isUnlimited else {
            throw .no("[NONEXISTENT] No such quota root")
        }
        writeQuota(usage, limits)
        writer.line(tag, "OK GETQUOTA completed")
    }

    /// RFC 9208 §4.1.3: the mailbox need not exist.
    func getQuotaRoot(_ tag: [UInt8], _ wire: [UInt8]) async throws(Failure) {
        let name = try mailboxName(wire)
        let (usage, limits) = try await quota()
        writer.write("* QUOTAROOT ")
        writer.mailbox(name)
        writer.write(limits.isUnlimited ? "\r\n" : " \"\"\r\n")
        if !limits.isUnlimited { writeQuota(usage, limits) }
        writer.line(tag, "OK GETQUOTAROOT completed")
    }

    func setQuota() throws(Failure) {
        _ = try requireLogin()
        throw .no("[NOPERM] Quota is set by the owner of the server")
    }

    private func quota() async throws(Failure) -> (MailUsage, QuotaLimits) {
        let store = try requireLogin()
        return try await asking { () async throws(StoreFailure) in try await store.quota() }
    }

    /// RFC 9208 §5.1: STORAGE is in units of 1,024 octets; what is begun counts.
    private func writeQuota(_ usage: MailUsage, _ limits: QuotaLimits) {
        writer.write("* QUOTA \"\" (")
        if limits.octets > 0 {
            writer.write("STORAGE ")
            writer.write(usage.octets.kibibytes)
            writer.write(" ")
            writer.write(limits.octets.kibibytes)
            if limits.messages > 0 { writer.write(" ") }
        }
        if limits.messages > 0 {
            writer.write("MESSAGE ")
            writer.write(usage.messages)
            writer.write(" ")
            writer.write(limits.messages)
        }
        writer.write(")\r\n")
    }
}

extension UInt64 {
    fileprivate var kibibytes: UInt64 { self / 1_024 + (self % 1_024 > 0 ? 1 : 0) }
}
