// SPDX-License-Identifier: Apache-2.0
//
// Messages in groups and in place of others, and what is known of messages beside their octets.
// RFC 3502, RFC 8508, RFC 8474, RFC 8514, RFC 8970; docs/wire.md.

import Mail
import Store
import Wire

extension DoorConnection {
    func content(_ request: ContentRequest, _ id: UInt32) async throws(StoreFailure) -> Reply {
        switch request {
        case .details(let handle, let mailbox, let uids, let wish):
            return try await details(mailbox, uids, wish, try session(handle))
        case .mailboxNumber(let handle, let name):
            let number = try await onAccount(try session(handle)) { store throws(StoreError) in
                try store.number(of: name)
            }
            return .directory(.octets(UInt64(bitPattern: number)))
        case .appendGroup(let handle, let name, let messages, let body, let replaced):
            return try await appendGroup(name, messages, body, replaced, try session(handle))
        case .readNamed(let handle, let name, let uidValidity, let uid):
            let content = try await onAccount(try session(handle)) { store throws(StoreError) in
                try store.read(
                    name, uidValidity: uidValidity, uid: uid, inlineLimit: Reply.inlineBodyLimit)
            }
            if let content { sendMessage(FoundMessage(uid: uid, content: content), id) }
            return .done
        }
    }

    private func details(
        _ mailbox: MailboxID, _ uids: [UIDRange], _ wish: PreviewWish, _ session: Session
    ) async throws(StoreFailure) -> Reply {
        guard session.open[mailbox] != nil else { throw .staleHandle }
        var rows: [MessageDetail] = []
        var next: UInt32? = 1
        while let start = next, rows.count < WireLimit.detailUIDs {
            let page = try await onAccount(session) { store throws(StoreError) in
                try store.details(mailbox, uids: uids, wish, from: start)
            }
            rows += page.rows.prefix(WireLimit.detailUIDs - rows.count)
            next = page.next
        }
        return .content(.details(rows))
    }

    private func appendGroup(
        _ name: MailboxName, _ messages: [GroupedMessage], _ body: MessageBody,
        _ replaced: ReplacedMessage?, _ session: Session
    ) async throws(StoreFailure) -> Reply {
        if let replaced {
            guard let mode = session.open[replaced.mailbox] else { throw .staleHandle }
            guard mode != .readOnly else { throw .notPermitted }
        }
        var group: [PendingAppend] = []
        let total = messages.reduce(0) { $0 + Int($1.size) }
        switch body {
        case .inline(let octets):
            guard octets.count == total else { throw .badStage }
            var start = 0
            for message in messages {
                let end = start + Int(message.size)
                group.append(message.pending(name, .octets(Array(octets[start..<end]))))
                start = end
            }
        case .staged(let token):
            let sealed = try await seal(try takeStaged(token), for: session.account.address)
            guard sealed.size == total else { throw .badStage }
            if messages.count == 1 {
                group = [messages[0].pending(name, .staged(sealed))]
            } else {
                var start: Int64 = 0
                for message in messages {
                    group.append(
                        message.pending(
                            name, .slice(sealed, offset: start, size: Int(message.size))))
                    start += Int64(message.size)
                }
            }
        }
        let (ready, place) = (group, replaced.map { (mailbox: $0.mailbox, uid: $0.uid) })
        let result = try await onAccount(session) { store throws(StoreError) in
            try store.append(group: ready, replacing: place)
        }
        return .content(
            .appendedGroup(
                uidValidity: result.appended.first?.uidValidity ?? 0,
                uids: result.appended.map(\.uid), highestModSeq: result.highestModSeq))
    }
}

extension GroupedMessage {
    fileprivate func pending(_ name: MailboxName, _ source: MessageSource) -> PendingAppend {
        PendingAppend(mailbox: name, flags: flags, date: date, source: source)
    }
}
