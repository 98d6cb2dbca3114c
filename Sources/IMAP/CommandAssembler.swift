// SPDX-License-Identifier: Apache-2.0
//
// From lines and literals to whole commands. RFC 3501 §4.3, §7.5; RFC 7888 (LITERAL+).
//
// A command is kept as it came, literals with their headers in place, so that one parser run over
// it is enough. The messages of an APPEND are never kept: `AppendReader` tells the session how to read them.

import Bytes

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
        /// An APPEND or REPLACE was read up to the end of the line that has its mailbox's name.
        case message(AppendCommand)
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
        guard let literal = Self.literal(atEndOf: octets) else {
            return append().map(Step.message) ?? .command
        }
        guard let count = literal.count else {
            return .refused(.tooBig, Literal(count: .max, isSynchronizing: literal.waits))
        }
        let announced = Literal(count: count, isSynchronizing: literal.waits)
        do {
            if let append = try AppendCommand(prefix: octets) {
                guard count <= limits.message else { return .refused(.tooBig, announced) }
                return .message(append)
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

    /// One without a literal on its first line. What is wrong with others their parser says.
    private func append() -> AppendCommand? {
        guard limits.message > 0 else { return nil }
        do {
            return try AppendCommand(prefix: octets)
        } catch {
            return nil
        }
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
