// SPDX-License-Identifier: Apache-2.0
//
// NOTIFY: what a client wants to hear of which mailboxes. RFC 5465 §5, §6, §8.

import Bytes
import Mail

package struct NotifyCommand: Equatable, Sendable {
    /// Which mailboxes. RFC 5465 §6.
    package enum Filter: Equatable, Sendable {
        /// The selected one; delayed: expunges wait as if there were no NOTIFY.
        case selected(isDelayed: Bool)
        case inboxes
        case personal
        case subscribed
        /// Names as the client wrote them.
        case subtree([[UInt8]])
        case mailboxes([[UInt8]])
    }

    /// What about them. RFC 5465 §5.
    package struct Events: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        package static let messageNew = Events(rawValue: 1)
        package static let messageExpunge = Events(rawValue: 2)
        package static let flagChange = Events(rawValue: 4)
        package static let mailboxName = Events(rawValue: 8)
        package static let subscriptionChange = Events(rawValue: 16)
        package static let ofMessages: Events = [.messageNew, .messageExpunge, .flagChange]
    }

    package struct Group: Equatable, Sendable {
        package var filter: Filter
        package var events: Events
        /// Of new messages in the selected mailbox.
        package var attributes: [FetchAttribute] = []
    }

    /// Groups, and names in one group.
    package static let groupLimit = 32
    package static let nameLimit = 1_000

    /// The client wants STATUS of everything now.
    package var wantsStatus = false
    /// None: NOTIFY NONE.
    package var groups: [Group] = []
    /// There was an event that the server does not have.
    package var hasUnknownEvents = false
}

extension Cursor {
    mutating func notify() throws(CommandError) -> NotifyCommand {
        var command = NotifyCommand()
        try space()
        switch word() {
        case "NONE": return command
        case "SET": break
        default: throw failure
        }
        try space()
        if next != 0x28 {
            guard word() == "STATUS" else { throw failure }
            command.wantsStatus = true
            try space()
        }
        repeat {
            guard command.groups.count < NotifyCommand.groupLimit else { throw .tooComplex }
            let group = try notifyGroup(&command)
            if case .selected = group.filter {
                let isTwice = command.groups.contains {
                    if case .selected = $0.filter { true } else { false }
                }
                guard !isTwice else { throw failure }
            }
            command.groups.append(group)
        } while skip(while: { $0 == .space }) > 0 && !isAtEnd
        return command
    }

    private mutating func notifyGroup(
        _ command: inout NotifyCommand
    ) throws(CommandError) -> NotifyCommand.Group {
        try expect(0x28)
        var group = NotifyCommand.Group(filter: try notifyFilter(), events: [])
        var ofSelected = false
        if case .selected = group.filter { ofSelected = true }
        try space()
        if take("NONE") {
            try expect(0x29)
            return group
        }
        try expect(0x28)
        repeat {
            _ = skip(while: { $0 == .space })
            switch String(decoding: try atom().map(\.asciiUppercased), as: UTF8.self) {
            case "MESSAGENEW":
                group.events.insert(.messageNew)
                let end = offset
                if ofSelected, skip(while: { $0 == .space }) > 0 {
                    if take(0x28) {
                        group.attributes = try notifyAttributes()
                    } else {
                        rewind(to: end)
                    }
                }
            case "MESSAGEEXPUNGE": group.events.insert(.messageExpunge)
            case "FLAGCHANGE": group.events.insert(.flagChange)
            case "MAILBOXNAME": group.events.insert(.mailboxName)
            case "SUBSCRIPTIONCHANGE": group.events.insert(.subscriptionChange)
            default: command.hasUnknownEvents = true
            }
        } while skip(while: { $0 == .space }) > 0 && next != 0x29
        try expect(0x29)
        try expect(0x29)
        // RFC 5465 §5: new messages and expunges come together, flags only with both; names are
        // nothing that the selected mailbox has
        let messages = group.events.intersection(.ofMessages)
        guard messages.isEmpty || messages.isSuperset(of: [.messageNew, .messageExpunge]),
            !ofSelected || group.events == messages
        else { throw failure }
        return group
    }

    /// Behind the parenthesis.
    private mutating func notifyAttributes() throws(CommandError) -> [FetchAttribute] {
        var attributes: [FetchAttribute] = []
        repeat {
            _ = skip(while: { $0 == .space })
            guard attributes.count < FetchCommand.attributeLimit else { throw .tooComplex }
            let attribute = try fetchAttribute()
            if !attributes.contains(attribute) { attributes.append(attribute) }
        } while next == .space
        try expect(0x29)
        return attributes
    }

    private mutating func notifyFilter() throws(CommandError) -> NotifyCommand.Filter {
        switch String(decoding: try atom().map(\.asciiUppercased), as: UTF8.self) {
        case "SELECTED": return .selected(isDelayed: false)
        case "SELECTED-DELAYED": return .selected(isDelayed: true)
        case "INBOXES": return .inboxes
        case "PERSONAL": return .personal
        case "SUBSCRIBED": return .subscribed
        case "SUBTREE": return .subtree(try notifyNames())
        case "MAILBOXES": return .mailboxes(try notifyNames())
        default: throw failure
        }
    }

    private mutating func notifyNames() throws(CommandError) -> [[UInt8]] {
        try space()
        guard take(0x28) else { return [try astring()] }
        var names: [[UInt8]] = []
        repeat {
            _ = skip(while: { $0 == .space })
            guard names.count < NotifyCommand.nameLimit else { throw .tooComplex }
            names.append(try astring())
        } while next == .space
        try expect(0x29)
        return names
    }
}
