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
            guard let prepared = ListPattern(command.reference + pattern) else { continue }
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

    private func writeCompleted(_ tag: [UInt8], _ form: ListCommand.Form) {
        writer.write(tag)
        writer.write(Array(" OK \(form.rawValue) completed\r\n"))
    }

    private func writeListStatus(
        _ name: MailboxName, _ items: StatusItems, _ store: MailboxSession
    ) async throws(Failure) {
        do throws(StoreFailure) {
            let status = try await store.status(name)
            writeStatus(name, status, items, of: store.account)
        } catch {
            // RFC 5819 §2: a mailbox that went away meanwhile has no STATUS
            guard error == .noSuchMailbox else { throw .store(error) }
        }
    }

    private func write(_ row: ListRow, _ command: ListCommand) {
        writer.write("* ")
        writer.write(Array(command.form.rawValue))
        writer.write(" (")
        for (index, attribute) in row.attributes.enumerated() {
            if index > 0 { writer.write(" ") }
            writer.write(attribute)
        }
        writer.write(") \"/\" ")
        writer.mailbox(row.name)
        if row.hasSubscribedChild { writer.write(" (\"CHILDINFO\" (\"SUBSCRIBED\"))") }
        writer.write("\r\n")
    }
}

/// One answer line.
struct ListRow {
    var name: MailboxName
    var attributes: [StaticString]
    var isSelectable: Bool
    /// RFC 5258 §4: only because of RECURSIVEMATCH.
    var hasSubscribedChild = false
}

/// Finds the rows of one command among an account's mailboxes.
struct ListRows {
    private let mailboxes: [MailboxInfo]
    /// Names that have another name below them.
    private var parents: Set<MailboxName> = []

    init(_ mailboxes: [MailboxInfo]) {
        // INBOX first, the others by name
        self.mailboxes = mailboxes.sorted {
            $0.name.isInbox != $1.name.isInbox ? $0.name.isInbox : $0.name < $1.name
        }
        for mailbox in mailboxes where mailbox.isSelectable {
            var parent = mailbox.name.parent
            while let name = parent, parents.insert(name).inserted { parent = name.parent }
        }
    }

    func rows(for command: ListCommand, _ patterns: [ListPattern]) -> [ListRow] {
        func matches(_ name: MailboxName) -> Bool { patterns.contains { $0.matches(name) } }
        if command.form == .lsub { return subscriptions(matches) }
        var rows: [ListRow] = []
        let onlySubscribed = command.selection.contains(.subscribed)
        let recursive = command.selection.contains(.recursiveMatch)
        for mailbox in mailboxes where matches(mailbox.name) {
            let exists = mailbox.isSelectable || parents.contains(mailbox.name)
            let child = recursive && hasSubscribedChild(mailbox.name, matches)
            if onlySubscribed {
                guard mailbox.isSubscribed || child else { continue }
            } else {
                guard exists else { continue }
            }
            if command.selection.contains(.specialUse), mailbox.specialUse == .none { continue }
            rows.append(row(mailbox, command, exists: exists, hasSubscribedChild: child))
        }
        return rows
    }

    private func row(
        _ mailbox: MailboxInfo, _ command: ListCommand, exists: Bool, hasSubscribedChild: Bool
    ) -> ListRow {
        var attributes: [StaticString] = []
        if !mailbox.isSelectable {
            attributes.append(command.selection.isEmpty ? "\\Noselect" : "\\NonExistent")
        }
        attributes.append(parents.contains(mailbox.name) ? "\\HasChildren" : "\\HasNoChildren")
        let asksSubscribed = command.selection.union(command.returns).contains(.subscribed)
        if asksSubscribed, mailbox.isSubscribed { attributes.append("\\Subscribed") }
        if command.form == .xlist, mailbox.name.isInbox { attributes.append("\\Inbox") }
        if let use = Self.attribute(mailbox.specialUse, command.form) { attributes.append(use) }
        return ListRow(
            name: mailbox.name, attributes: attributes, isSelectable: mailbox.isSelectable,
            hasSubscribedChild: hasSubscribedChild)
    }

    /// RFC 5258 §3.5: a subscribed name below, that the patterns do not match themselves.
    private func hasSubscribedChild(
        _ name: MailboxName, _ matches: (MailboxName) -> Bool
    ) -> Bool {
        mailboxes.contains { $0.isSubscribed && $0.name.isBelow(name) && !matches($0.name) }
    }

    /// RFC 3501 §6.3.9: with `%`, a name that is only the parent of subscribed ones is `\Noselect`.
    private func subscriptions(_ matches: (MailboxName) -> Bool) -> [ListRow] {
        var rows: [ListRow] = []
        var named: Set<MailboxName> = []
        for mailbox in mailboxes where mailbox.isSubscribed {
            if matches(mailbox.name) {
                named.insert(mailbox.name)
                rows.append(
                    ListRow(
                        name: mailbox.name,
                        attributes: [
                            parents.contains(mailbox.name) ? "\\HasChildren" : "\\HasNoChildren"
                        ], isSelectable: true))
            }
        }
        for mailbox in mailboxes where mailbox.isSubscribed && !named.contains(mailbox.name) {
            var parent = mailbox.name.parent
            while let name = parent {
                if matches(name), named.insert(name).inserted {
                    rows.append(ListRow(name: name, attributes: ["\\Noselect"], isSelectable: false))
                    break
                }
                parent = name.parent
            }
        }
        return rows
    }

    private static func attribute(
        _ use: SpecialUse, _ form: ListCommand.Form
    ) -> StaticString? {
        switch use {
        case .none: nil
        case .drafts: "\\Drafts"
        case .sent: "\\Sent"
        case .junk: form == .xlist ? "\\Spam" : "\\Junk"
        case .trash: "\\Trash"
        case .archive: form == .xlist ? "\\AllMail" : "\\Archive"
        }
    }
}
