// SPDX-License-Identifier: Apache-2.0
//
// What a submission's header says of its sender, and the header without what recipients must not
// see. RFC 6409 §6, §8; RFC 5322 §3.6.2, §3.6.3: Bcc never leaves the first server; §3.6.6: who
// sends on what another has written, answers for the newest resent fields, which stand above all
// older ones, and not for From.

import Bytes
import MIME
import Mail

/// The header of a message that came from one of our users.
struct SubmissionHeader: Equatable, Sendable {
    /// Addresses that are looked at; nobody writes in the name of more.
    static let senderLimit = 20

    /// Complete, without Bcc and Resent-Bcc, and without the Return-Path of an earlier delivery
    /// (RFC 5321 §4.4).
    private(set) var kept: [UInt8] = []
    /// Everybody in whose name it is sent: From and Sender, or, of a message that is sent on,
    /// Resent-From and Resent-Sender.
    var senders: [EmailAddress] { isResent ? resent : authors + resent }
    private var authors: [EmailAddress] = []
    private var resent: [EmailAddress] = []
    private var isResent = false
    private(set) var hasFrom = false
    /// A sender that is no address, or more of them than anybody may name.
    private(set) var hasBadSender = false

    init(_ header: [UInt8]) {
        let span = header.span
        var reader = HeaderReader(0..<header.count)
        var position = 0
        var fields = 0
        var newest: Set<[UInt8]> = []
        var hasBadAuthor = false
        var isOld = false
        while let field = reader.next(span) {
            fields += 1
            let name = Array(header[field.name])
            if Self.hidden.contains(where: name.equalsIgnoringASCIICase) {
                kept += header[position..<field.whole.lowerBound]
                position = field.end
            } else if Self.authorFields.contains(where: name.equalsIgnoringASCIICase) {
                if name.count == 4 { hasFrom = true }
                if !Self.add(AddressList(span, field.body), to: &authors) { hasBadAuthor = true }
            } else if Self.resentFields.contains(where: name.equalsIgnoringASCIICase) {
                // A second one of a name, and all behind it, is of an earlier time.
                let isNewest = newest.insert(name.asciiLowercased).inserted && !isOld
                if !isNewest {
                    isOld = true
                } else if !Self.add(AddressList(span, field.body), to: &resent) {
                    hasBadSender = true
                }
            }
        }
        kept += header[position...]
        isResent = !resent.isEmpty && newest.contains(Self.resentFields[0].asciiLowercased)
        if !isResent, hasBadAuthor { hasBadSender = true }
        // Behind so many there might be another author that was not looked at.
        if fields >= HeaderReader.fieldLimit { hasBadSender = true }
    }

    /// False: there is one that is no address.
    private static func add(_ list: AddressList, to senders: inout [EmailAddress]) -> Bool {
        for address in list.addresses where address.kind == .mailbox {
            guard let local = address.local, let domain = address.domain, !local.isEmpty,
                !domain.isEmpty, senders.count < senderLimit
            else { return false }
            let sender = EmailAddress(
                local: Array(list.storage[local]), domain: Array(list.storage[domain]))
            if !senders.contains(sender) { senders.append(sender) }
        }
        return true
    }

    private static let hidden = [Array("Bcc"), Array("Resent-Bcc"), Array("Return-Path")]
    private static let authorFields = [Array("From"), Array("Sender")]
    private static let resentFields = [Array("Resent-From"), Array("Resent-Sender")]
}
