// SPDX-License-Identifier: Apache-2.0
//
// ESEARCH: one search in several mailboxes. RFC 7377 §2, with its mailbox filters (RFC 5465 §6.1).

import Bytes
import Mail

package struct MultiSearchCommand: Equatable, Sendable {
    /// Which mailboxes are meant. Names are as the client wrote them.
    package enum Source: Equatable, Sendable {
        case selected
        case inboxes
        case personal
        case subscribed
        case subtree([[UInt8]])
        case subtreeOne([[UInt8]])
        case mailboxes([[UInt8]])
    }

    /// Mailboxes that are named in one command, and mailboxes that one command searches.
    package static let nameLimit = 256
    package static let mailboxLimit = 1_000

    package var sources: [Source]
    /// Always with `returns`.
    package var program: SearchProgram

    /// Nothing but the selected mailbox is searched.
    package var isOfSelected: Bool { sources.allSatisfy { $0 == .selected } }
}

extension Cursor {
    /// Behind the word ESEARCH.
    mutating func multiSearch() throws(CommandError) -> MultiSearchCommand {
        let before = offset
        try space()
        var sources: [MultiSearchCommand.Source] = [.selected]
        if word() == "IN" {
            try space()
            sources = try searchSources()
        } else {
            rewind(to: before)
        }
        var program = try SearchProgram(from: &self)
        program.returns = program.returns ?? SearchReturn(.all)
        let command = MultiSearchCommand(sources: sources, program: program)
        if !command.isOfSelected {
            // RFC 7377 §2.1: these have no meaning in several mailboxes
            let returns = program.returns ?? SearchReturn()
            guard !program.isOfOneMailbox, returns.isDisjoint(with: [.save, .update]) else {
                throw failure
            }
        }
        return command
    }

    private mutating func searchSources() throws(CommandError) -> [MultiSearchCommand.Source] {
        try expect(0x28)
        var sources: [MultiSearchCommand.Source] = []
        var names = 0
        repeat {
            _ = skip(while: { $0 == .space })
            guard sources.count < 32 else { throw .tooComplex }
            switch word() {
            case "SELECTED": sources.append(.selected)
            case "INBOXES": sources.append(.inboxes)
            case "PERSONAL": sources.append(.personal)
            case "SUBSCRIBED": sources.append(.subscribed)
            case "SUBTREE": sources.append(.subtree(try mailboxes(&names)))
            case "SUBTREE-ONE": sources.append(.subtreeOne(try mailboxes(&names)))
            case "MAILBOXES": sources.append(.mailboxes(try mailboxes(&names)))
            default: throw failure
            }
        } while next == .space
        try expect(0x29)
        return sources
    }

    /// One mailbox, or several in parentheses.
    private mutating func mailboxes(_ count: inout Int) throws(CommandError) -> [[UInt8]] {
        try space()
        var names: [[UInt8]] = []
        let isList = take(0x28)
        repeat {
            _ = skip(while: { $0 == .space })
            count += 1
            guard count <= MultiSearchCommand.nameLimit else { throw .tooComplex }
            names.append(try astring())
        } while isList && next == .space
        if isList { try expect(0x29) }
        return names
    }

    /// Behind CANCELUPDATE: the tags of searches. RFC 5267 §4.3.2.
    mutating func cancelledTags() throws(CommandError) -> [[UInt8]] {
        var tags: [[UInt8]] = []
        repeat {
            try space()
            guard tags.count < 256 else { throw .tooComplex }
            tags.append(try string())
        } while !isAtEnd
        return tags
    }
}
