// SPDX-License-Identifier: Apache-2.0
//
// Which mailboxes LIST, LSUB and XLIST name, and with which attributes. RFC 3501 §6.3.8, §6.3.9;
// RFC 5258; RFC 6154; RFC 3348.

import Bytes
import Mail

/// One answer line.
package struct ListRow: Equatable {
    package var name: MailboxName
    package var attributes: [String]
    package var isSelectable: Bool
    /// RFC 5258 §4: only because of RECURSIVEMATCH.
    package var hasSubscribedChild = false
}

/// Finds the rows of one command among an account's mailboxes.
package struct ListRows {
    private let mailboxes: [MailboxInfo]
    /// Names that have another name below them.
    private var parents: Set<MailboxName> = []

    package init(_ mailboxes: [MailboxInfo]) {
        // INBOX first, the others by name
        self.mailboxes = mailboxes.sorted {
            $0.name.isInbox != $1.name.isInbox ? $0.name.isInbox : $0.name < $1.name
        }
        for mailbox in mailboxes where mailbox.isSelectable {
            var parent = mailbox.name.parent
            while let name = parent, parents.insert(name).inserted { parent = name.parent }
        }
    }

    package func rows(for command: ListCommand, _ patterns: [ListPattern]) -> [ListRow] {
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
        var attributes: [String] = []
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
                    rows.append(
                        ListRow(name: name, attributes: ["\\Noselect"], isSelectable: false))
                    break
                }
                parent = name.parent
            }
        }
        return rows
    }

    private static func attribute(
        _ use: SpecialUse, _ form: ListCommand.Form
    ) -> String? {
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
