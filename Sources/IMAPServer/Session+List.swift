// SPDX-License-Identifier: Apache-2.0
//
// LIST, LSUB, XLIST. RFC 3501 §6.3.8, §6.3.9; RFC 5258 (options), RFC 5819 (STATUS), RFC 6154
// (special uses), RFC 3348 (children).

import Bytes
import Config
import IMAP
import Mail
import StoreClient
import Wire

extension Session {
    func list(_ tag: [UInt8], _ command: ListCommand) async throws(Failure) {
        let store = try requireLogin()
        if command.form == .xlist, !service.settings.xlist { throw .bad("Unknown command") }
        // RFC 3501 §6.3.8: the empty pattern asks for the separator
        if command.patterns == [[]], command.selection.isEmpty {
            writer.write(Array("* \(command.form.rawValue) (\\Noselect) \"/\" \"\"\r\n"))
            writeCompleted(tag, command.form)
            return
        }
        var patterns: [ListPattern] = []
        for pattern in command.patterns {
            guard
                let prepared = ListPattern(command.reference + pattern, isUTF8: writer.isUTF8)
            else { continue }
            patterns.append(prepared)
        }
        let mailboxes = try await asking { () async throws(StoreFailure) in
            try await store.list()
        }
        if command.status.contains(.highestModSeq) { enableCondstore() }
        for row in ListRows(mailboxes).rows(for: command, patterns) {
            write(row, command)
            if !command.status.isEmpty, row.isSelectable {
                try await writeListStatus(row.name, command.status, store)
            }
            try await drainOutput()
        }
        writeCompleted(tag, command.form)
    }

    /// RFC 9051 §6.3.2: SELECT says what LIST would say of the mailbox.
    func writeListed(_ selection: Selection, _ store: MailboxSession) async throws(Failure) {
        let mailboxes = try await asking { () async throws(StoreFailure) in
            try await store.list()
        }
        let command = ListCommand(form: .list, reference: [], patterns: [Array("*")])
        let patterns = [ListPattern(Array("*"))].compactMap { $0 }
        for row in ListRows(mailboxes).rows(for: command, patterns)
        where row.name == selection.name {
            write(row, command)
        }
    }

    private func writeCompleted(_ tag: [UInt8], _ form: ListCommand.Form) {
        writer.write(tag)
        writer.write(Array(" OK \(form.rawValue) completed\r\n"))
    }

    private func writeListStatus(
        _ name: MailboxName, _ items: StatusItems, _ store: MailboxSession
    ) async throws(Failure) {
        do throws(StoreFailure) {
            let status = try await store.status(name)
            let deleted =
                items.contains(.deletedStorage) ? try await store.deletedSize(name) : 0
            let number = items.contains(.mailboxID) ? try await store.number(of: name) : 0
            writeStatus(
                name, status, items, deletedOctets: deleted, mailboxID: number, of: store.account)
        } catch {
            // RFC 5819 §2: a mailbox that went away meanwhile has no STATUS
            guard error == .noSuchMailbox else { throw .store(error) }
        }
    }

    private func write(_ row: ListRow, _ command: ListCommand) {
        writer.write("* ")
        writer.write(Array(command.form.rawValue))
        writer.write(" (")
        let hidesChildren = disabled.contains(.children)
        let attributes =
            hidesChildren ? row.attributes.filter { !$0.hasPrefix("\\Has") } : row.attributes
        for (index, attribute) in attributes.enumerated() {
            if index > 0 { writer.write(" ") }
            writer.write(Array(attribute))
        }
        writer.write(") \"/\" ")
        writer.mailbox(row.name)
        if row.hasSubscribedChild { writer.write(" (\"CHILDINFO\" (\"SUBSCRIBED\"))") }
        writer.write("\r\n")
    }
}
