// SPDX-License-Identifier: Apache-2.0
//
// What imapd asks for MULTIAPPEND, REPLACE, CATENATE, SAVEDATE, OBJECTID and PREVIEW. docs/wire.md.

import Mail
import Transport
import Wire

extension MailboxSession {
    private func ask(
        _ request: ContentRequest, within: Duration
    ) async throws(StoreFailure) -> Reply {
        try checkValid()
        return try await link.call(.content(request), within: within)
    }

    /// What is known of messages beside their octets, by rising UID. At most
    /// `WireLimit.detailUIDs` of them are answered; those that are gone are left out.
    package func details(
        _ mailbox: MailboxID, uids: [UIDRange], _ wish: PreviewWish
    ) async throws(StoreFailure) -> [MessageDetail] {
        let request = ContentRequest.details(handle, mailbox, uids: uids, wish)
        guard case .content(.details(let rows)) = try await ask(request, within: .seconds(120))
        else { throw .unavailable }
        return rows
    }

    /// The number that a mailbox keeps whatever its name.
    package func number(of name: MailboxName) async throws(StoreFailure) -> UInt64 {
        let request = ContentRequest.mailboxNumber(handle, name)
        guard case .directory(.octets(let number)) = try await ask(request, within: .seconds(60))
        else { throw .unavailable }
        return number
    }

    /// Messages into one mailbox, all or none, and `replaced` out of its own in the same step.
    package func append(
        _ name: MailboxName, _ messages: [GroupedMessage], _ body: MessageBody,
        replacing replaced: ReplacedMessage?
    ) async throws(StoreFailure) -> (uidValidity: UInt32, uids: [UInt32], highestModSeq: UInt64) {
        let request = ContentRequest.appendGroup(
            handle, name, messages, body, replacing: replaced)
        guard
            case .content(.appendedGroup(let uidValidity, let uids, let modSeq)) = try await ask(
                request, within: .seconds(240))
        else { throw .unavailable }
        return (uidValidity, uids, modSeq)
    }

    /// Starts reading one message of a mailbox that need not be open; nothing comes if there is no
    /// such message, or if the mailbox has another UIDVALIDITY.
    package func read(
        _ name: MailboxName, uidValidity: UInt32?, uid: UInt32
    ) -> MessageReader {
        MessageReader(session: self, uids: [uid]) { [handle] _ in
            .content(.readNamed(handle, name, uidValidity: uidValidity, uid: uid))
        }
    }
}
