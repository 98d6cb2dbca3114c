// SPDX-License-Identifier: Apache-2.0
//
// NOTIFY: mailboxes that are not selected tell what happens in them, and the selected one does so
// without being asked. RFC 5465. The store says that something has changed; what it was is found by
// comparing with what the client was told last. What other programs do in a Maildir that nobody has
// selected is seen when somebody selects it.

import Bytes
import Config
import Daemon
import IMAP
import Mail
import StoreClient
import Transport
import Wire

/// What one client wants to hear of, and what it has heard.
final class Notifications {
    struct Mailbox {
        var name: MailboxName
        /// Nil: nothing about its messages is wanted.
        var status: MailboxStatus?
    }

    /// Mailboxes with message events; more are NOTIFICATIONOVERFLOW (RFC 5465 §5.8).
    static let limit = 1_000

    let groups: [NotifyCommand.Group]
    let named: [(filter: MailboxFilter, events: NotifyCommand.Events)]
    /// What is wanted of the selected mailbox.
    let selected: NotifyCommand.Group?
    var mailboxes: [MailboxID: Mailbox] = [:]
    var list: [MailboxName: MailboxInfo] = [:]
    var changed: Set<MailboxID> = []
    var listHasChanged = false

    init(_ groups: [NotifyCommand.Group], _ named: [(MailboxFilter, NotifyCommand.Events)]) {
        self.groups = groups
        self.named = named.map { (filter: $0.0, events: $0.1) }
        selected = groups.first {
            if case .selected = $0.filter { true } else { false }
        }
    }

    var hasNews: Bool { listHasChanged || !changed.isEmpty }

    /// RFC 5465 §6: the first group that has the mailbox decides.
    func events(of mailbox: MailboxInfo) -> NotifyCommand.Events {
        named.first { $0.filter.has(mailbox) }?.events ?? []
    }
}

/// A filter with names that were understood.
enum MailboxFilter {
    case inboxes
    case personal
    case subscribed
    case subtree([MailboxName])
    case mailboxes([MailboxName])

    func has(_ mailbox: MailboxInfo) -> Bool {
        switch self {
        case .inboxes: mailbox.name.isInbox
        case .personal: true
        case .subscribed: mailbox.isSubscribed
        case .subtree(let names):
            names.contains { $0 == mailbox.name || mailbox.name.isBelow($0) }
        case .mailboxes(let names): names.contains(mailbox.name)
        }
    }
}

extension Session {
    func notify(_ tag: [UInt8], _ command: NotifyCommand) async throws(Failure) {
        let store = try requireLogin()
        guard !command.hasUnknownEvents else {
            throw .no(
                "[BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)] "
                    + "Event is not supported")
        }
        guard !command.groups.isEmpty else {
            endNotifications()
            writer.line(tag, "OK NOTIFY completed")
            return
        }
        let notifications = Notifications(command.groups, try filters(command.groups))
        let connection = connection
        try await asking { () async throws(StoreFailure) in
            try await store.watchAll { mailbox in
                if mailbox.rawValue == 0 {
                    notifications.listHasChanged = true
                } else {
                    notifications.changed.insert(mailbox)
                }
                connection.wake()
            }
        }
        do throws(Failure) {
            try await begin(notifications, store, writesStatus: command.wantsStatus)
        } catch {
            endNotifications()
            throw error
        }
        self.notifications = notifications
        writer.line(tag, "OK NOTIFY completed")
    }

    func endNotifications() {
        notifications = nil
        store?.unwatchAll()
    }

    private func filters(
        _ groups: [NotifyCommand.Group]
    ) throws(Failure) -> [(MailboxFilter, NotifyCommand.Events)] {
        var filters: [(MailboxFilter, NotifyCommand.Events)] = []
        for group in groups {
            switch group.filter {
            case .selected: continue
            case .inboxes: filters.append((.inboxes, group.events))
            case .personal: filters.append((.personal, group.events))
            case .subscribed: filters.append((.subscribed, group.events))
            case .subtree(let wires):
                filters.append((.subtree(try names(wires)), group.events))
            case .mailboxes(let wires):
                filters.append((.mailboxes(try names(wires)), group.events))
            }
        }
        return filters
    }

    private func names(_ wires: [[UInt8]]) throws(Failure) -> [MailboxName] {
        var names: [MailboxName] = []
        for wire in wires { names.append(try mailboxName(wire)) }
        return names
    }

    /// Learns how everything is that is to be compared with later.
    private func begin(
        _ notifications: Notifications, _ store: MailboxSession, writesStatus: Bool
    ) async throws(Failure) {
        for mailbox in try await mailboxList(store) {
            notifications.list[mailbox.name] = mailbox
            let events = notifications.events(of: mailbox)
            guard mailbox.isSelectable, !events.isEmpty else { continue }
            guard notifications.mailboxes.count < Notifications.limit else {
                throw .no("[NOTIFICATIONOVERFLOW] Too many mailboxes")
            }
            let isSelected = selectedName == mailbox.name
            try await follow(
                mailbox.name, events, notifications, store, writes: writesStatus && !isSelected)
        }
    }

    private func mailboxList(_ store: MailboxSession) async throws(Failure) -> [MailboxInfo] {
        try await asking { () async throws(StoreFailure) in try await store.list() }
    }

    private var selectedName: MailboxName? {
        guard case .selected(_, let selection) = state else { return nil }
        return selection.name
    }

    /// RFC 5465 §4: what STATUS tells of a mailbox from now on.
    private func items(for events: NotifyCommand.Events) -> StatusItems {
        guard !events.isDisjoint(with: .ofMessages) else { return [] }
        var items: StatusItems = [.messages, .uidNext, .uidValidity]
        if events.contains(.flagChange) { items.insert(.unseen) }
        if condstore { items.insert(.highestModSeq) }
        return items
    }

    private func follow(
        _ name: MailboxName, _ events: NotifyCommand.Events, _ notifications: Notifications,
        _ store: MailboxSession, writes: Bool
    ) async throws(Failure) {
        do throws(StoreFailure) {
            let number = try await store.number(of: name)
            let wantsMessages = !events.isDisjoint(with: .ofMessages)
            let status = wantsMessages ? try await store.status(name) : nil
            notifications.mailboxes[MailboxID(rawValue: Int64(bitPattern: number))] =
                Notifications.Mailbox(name: name, status: status)
            if writes, let status {
                writeStatus(
                    name, status, items(for: events), deletedOctets: 0, mailboxID: 0,
                    of: store.account)
            }
        } catch {
            // Gone since it was listed: the list has changed again
            guard error == .noSuchMailbox else { throw .store(error) }
        }
    }

    // MARK: - News

    /// Tells what is new outside the selected mailbox. Not while a command is answered.
    func tellNotifications() async throws(Failure) {
        guard let notifications, let store else { return }
        while notifications.hasNews {
            let listHasChanged = notifications.listHasChanged
            let changed = notifications.changed
            notifications.listHasChanged = false
            notifications.changed = []
            if listHasChanged { try await tellList(notifications, store) }
            guard self.notifications === notifications else { return }
            for id in changed.sorted(by: { $0.rawValue < $1.rawValue }) {
                try await tellMessages(id, notifications, store)
            }
        }
    }

    private func tellMessages(
        _ id: MailboxID, _ notifications: Notifications, _ store: MailboxSession
    ) async throws(Failure) {
        if case .selected(_, let selection) = state, selection.view.id == id { return }
        guard let mailbox = notifications.mailboxes[id], let old = mailbox.status,
            let info = notifications.list[mailbox.name]
        else { return }
        let status: MailboxStatus
        do throws(StoreFailure) {
            status = try await store.status(mailbox.name)
        } catch {
            guard error == .noSuchMailbox else { throw .store(error) }
            return
        }
        notifications.mailboxes[id]?.status = status
        let events = notifications.events(of: info)
        var items: StatusItems = []
        if status.uidNext != old.uidNext || status.messages != old.messages {
            items.formUnion([.messages, .uidNext])
        }
        if events.contains(.flagChange), status.highestModSeq != old.highestModSeq {
            items.formUnion([.uidValidity, .unseen])
        }
        guard !items.isEmpty else { return }
        if condstore { items.formUnion([.highestModSeq, .uidValidity]) }
        writeStatus(
            mailbox.name, status, items, deletedOctets: 0, mailboxID: 0, of: store.account)
    }

    /// RFC 5465 §5.4, §5.5: LIST with the new name, the old one, or what is subscribed now.
    private func tellList(
        _ notifications: Notifications, _ store: MailboxSession
    ) async throws(Failure) {
        let mailboxes = try await mailboxList(store)
        let old = notifications.list
        notifications.list = Dictionary(
            mailboxes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var renamed: Set<MailboxName> = []
        for mailbox in mailboxes {
            let events = notifications.events(of: mailbox)
            guard !events.isEmpty else { continue }
            let before = old[mailbox.name]
            if before?.isSelectable != true, mailbox.isSelectable {
                let former = try await adopt(mailbox, events, notifications, store)
                if let former { renamed.insert(former) }
                guard self.notifications === notifications else { return }
                if events.contains(.mailboxName) { writeListed(mailbox, oldName: former) }
            } else if let before, before.isSubscribed != mailbox.isSubscribed,
                events.contains(.subscriptionChange)
            {
                writeListed(mailbox, oldName: nil)
            }
        }
        for (name, mailbox) in old.sorted(by: { $0.key < $1.key })
        where mailbox.isSelectable && notifications.list[name]?.isSelectable != true {
            notifications.mailboxes = notifications.mailboxes.filter { $0.value.name != name }
            guard !renamed.contains(name), notifications.events(of: mailbox).contains(.mailboxName)
            else { continue }
            writer.write("* LIST (\\NonExistent) \"/\" ")
            writer.mailbox(name)
            writer.write("\r\n")
        }
    }

    /// Follows a mailbox of a name that is new.
    ///
    /// - Returns: the name that it had.
    private func adopt(
        _ mailbox: MailboxInfo, _ events: NotifyCommand.Events, _ notifications: Notifications,
        _ store: MailboxSession
    ) async throws(Failure) -> MailboxName? {
        guard notifications.mailboxes.count < Notifications.limit else {
            endNotifications()
            writer.write("* OK [NOTIFICATIONOVERFLOW] Too many mailboxes\r\n")
            return nil
        }
        let known = notifications.mailboxes
        try await follow(mailbox.name, events, notifications, store, writes: false)
        let id = notifications.mailboxes.first { $0.value.name == mailbox.name }?.key
        guard let id, let former = known[id]?.name, former != mailbox.name else {
            if let id, let status = notifications.mailboxes[id]?.status, status.messages > 0 {
                writeStatus(
                    mailbox.name, status, items(for: events), deletedOctets: 0, mailboxID: 0,
                    of: store.account)
            }
            return nil
        }
        return former
    }

    private func writeListed(_ mailbox: MailboxInfo, oldName: MailboxName?) {
        writer.write("* LIST (")
        writer.write(mailbox.isSelectable ? "" : "\\NonExistent")
        if mailbox.isSubscribed {
            writer.write(mailbox.isSelectable ? "\\Subscribed" : " \\Subscribed")
        }
        writer.write(") \"/\" ")
        writer.mailbox(mailbox.name)
        if let oldName {
            writer.write(" (\"OLDNAME\" (")
            writer.mailbox(oldName)
            writer.write("))")
        }
        writer.write("\r\n")
    }

    // MARK: - Without a command

    /// Waits for input while NOTIFY is on, and tells what happens meanwhile.
    func waitForCommand() async throws(End) {
        while notifications != nil, connection.buffered == 0 {
            let failure: Failure?
            do throws(Failure) {
                try await tellUnasked()
                failure = nil
            } catch {
                failure = error
            }
            emit()
            switch failure {
            case nil: break
            case .over(let end): throw end
            case .connection(let error): throw End(error)
            case .store, .no, .bad:
                // It cannot be said what has happened (RFC 5465 §5.8)
                endNotifications()
                writer.write("* OK [NOTIFICATIONOVERFLOW] Cannot tell any more\r\n")
                emit()
                return
            }
            do throws(ConnectionError) {
                try await connection.flush(within: Self.patience)
            } catch {
                throw End(error)
            }
            switch await connection.wait(within: service.settings.idleTimeout) {
            case .woken: continue
            case .input: return
            case .timedOut: throw .timedOut
            case .closed: throw .closed
            case .draining: throw .draining
            }
        }
    }

    private func tellUnasked() async throws(Failure) {
        if case .selected(let store, let selection) = state, selection.signal.isRaised,
            let wanted = notifications?.selected
        {
            try await tellSelected(wanted, store, selection)
        }
        try await tellNotifications()
    }

    /// RFC 5465 §5.1 to §5.3, of the selected mailbox.
    private func tellSelected(
        _ wanted: NotifyCommand.Group, _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) {
        let next = selection.view.uidNext
        try await update(store, selection)
        guard !wanted.events.isEmpty else { return }
        let expunges = wanted.filter == .selected(isDelayed: false)
        selection.view.tell(
            .init(
                expunges: expunges, isReadOnly: selection.isReadOnly,
                flags: wanted.events.contains(.flagChange)), to: &writer)
        guard !wanted.attributes.isEmpty, selection.view.uidNext > next else { return }
        let set = SequenceSet([UIDRange(next, selection.view.uidNext - 1)])
        guard let ranges = selection.view.indexes(set, byUID: true), !ranges.isEmpty else { return }
        var attributes = wanted.attributes
        if !attributes.contains(.uid) { attributes.insert(.uid, at: 0) }
        _ = try await respond(
            FetchCommand(set: set, attributes: attributes, changedSince: nil, byUID: true), ranges,
            store, selection)
    }
}
