// SPDX-License-Identifier: Apache-2.0
//
// From lines and literals to whole commands. RFC 3501 §4.3, §7.5; RFC 7888 (LITERAL+).
//
// A command is kept as it came, literals with their headers in place, so that one parser run over
// it is enough. The message of an APPEND is never kept: it is announced and read by the session.

import Bytes
import Mail

/// Collects one command at a time, within limits.
package struct CommandAssembler: Sendable {
    /// What may be kept of one command.
    package struct Limits: Sendable {
        /// Octets of a command with its literals, without the message of an APPEND.
        package var command: Int
        /// Octets of one literal.
        package var literal: Int
        /// Octets of the message of an APPEND; 0 where APPEND is not possible.
        package var message: Int

        package init(command: Int, literal: Int, message: Int) {
            self.command = command
            self.literal = literal
            self.message = message
        }

        /// Strangers get room for a name and a password, and no more.
        package static let beforeLogin = Limits(command: 16 << 10, literal: 4 << 10, message: 0)
    }

    /// A literal that was announced at the end of a line.
    package struct Literal: Equatable, Sendable {
        package var count: Int
        /// The client waits for `+` before it sends.
        package var isSynchronizing: Bool

        package init(count: Int, isSynchronizing: Bool) {
            self.count = count
            self.isSynchronizing = isSynchronizing
        }
    }

    /// What must happen next.
    package enum Step: Equatable, Sendable {
        /// `octets` holds a whole command.
        case command
        /// Read so many octets and hand them to `add`.
        case literal(Literal)
        /// Everything of an APPEND but its message, which comes next, was read.
        case message(AppendCommand, Literal)
        /// Refuse the command. The literal, if the client sends it unasked, and the rest of the
        /// command behind it are to be skipped.
        case refused(Refusal, Literal)
    }

    package enum Refusal: Equatable, Sendable {
        /// RFC 7889 TOOBIG, RFC 9051 LIMIT.
        case tooBig
        case wrong(CommandError)
    }

    package var limits: Limits
    package private(set) var octets: [UInt8] = []

    package init(limits: Limits) { self.limits = limits }

    /// Forgets the command. A large buffer is given back.
    package mutating func reset() {
        if octets.capacity > 4096 {
            octets = []
        } else {
            octets.removeAll(keepingCapacity: true)
        }
    }

    /// Takes a line without its line end.
    package mutating func add(line: Span<UInt8>) -> Step {
        octets.append(copying: line)
        guard let literal = Self.literal(atEndOf: octets) else { return .command }
        guard let count = literal.count else {
            return .refused(.tooBig, Literal(count: .max, isSynchronizing: literal.waits))
        }
        let announced = Literal(count: count, isSynchronizing: literal.waits)
        do {
            if let append = try AppendCommand(prefix: octets) {
                guard count <= limits.message else { return .refused(.tooBig, announced) }
                return .message(append, announced)
            }
        } catch {
            return .refused(.wrong(error), announced)
        }
        guard count <= limits.literal, octets.count + count <= limits.command else {
            return .refused(.tooBig, announced)
        }
        octets.append(.cr)
        octets.append(.lf)
        return .literal(announced)
    }

    /// Takes the octets of a literal; its line goes on with the next `add(line:)`.
    package mutating func add(literal: [UInt8]) { octets.append(contentsOf: literal) }

    /// `{n}` or `{n+}` at the end of a line. `count` is nil if the number is absurd.
    package static func literal(atEndOf line: [UInt8]) -> (count: Int?, waits: Bool)? {
        guard line.last == 0x7D else { return nil }
        var end = line.count - 1
        var waits = true
        if end > 0, line[end - 1] == 0x2B {
            end -= 1
            waits = false
        }
        var start = end
        while start > 0, line[start - 1].isASCIIDigit { start -= 1 }
        guard start < end, start > 0, line[start - 1] == 0x7B else { return nil }
        var count = 0
        for digit in line[start..<end] {
            guard count <= Int(Int32.max) else { return (nil, waits) }
            count = count * 10 + Int(digit - 0x30)
        }
        return count <= Int(Int32.max) ? (count, waits) : (nil, waits)
    }
}

/// An APPEND up to the header of its message. RFC 3501 §6.3.11.
package struct AppendCommand: Equatable, Sendable {
    package var tag: [UInt8]
    /// As the client wrote it, in modified UTF-7.
    package var mailbox: [UInt8]
    package var flags: NamedFlags
    package var date: SecondsSince1970?

    /// Nil if `prefix`, which ends in the header of a literal, is another command, or if that
    /// literal is the mailbox name.
    package init?(prefix: [UInt8]) throws(CommandError) {
        var cursor = Cursor(prefix.span)
        let tag = cursor.take(while: \.isTagOctet)
        guard cursor.take(.space), cursor.take("APPEND"), cursor.take(.space) else { return nil }
        guard !tag.isEmpty else { throw .badTag }
        _ = cursor.skip(while: { $0 == .space })
        if cursor.next == 0x7B, cursor.isLastLiteralHeader { return nil }
        self.tag = tag
        mailbox = try cursor.astring()
        try cursor.space()
        flags = NamedFlags()
        if cursor.next == 0x28 {
            flags = try cursor.flagList(parenthesesRequired: true).flags
            try cursor.space()
        }
        if cursor.next == 0x22 {
            let text = try cursor.quoted()
            guard let parsed = InternalDate.parse(text.span) else { throw .badDate }
            date = parsed
            try cursor.space()
        }
        guard cursor.isLastLiteralHeader else { throw cursor.failure }
    }
}

extension Cursor {
    /// True if nothing but `{n}` or `{n+}` is left.
    fileprivate var isLastLiteralHeader: Bool {
        guard next == 0x7B else { return false }
        for distance in 1..<max(1, remaining - 1) {
            guard let octet = peek(distance), octet.isASCIIDigit || octet == 0x2B else {
                return false
            }
        }
        return peek(remaining - 1) == 0x7D
    }
}
