// SPDX-License-Identifier: Apache-2.0
//
// APPEND and REPLACE, whose messages are never kept: the start of the command, and the reader that
// says what its next octets are. RFC 3501 §6.3.11, with MULTIAPPEND (RFC 3502), CATENATE (RFC 4469),
// BINARY (RFC 3516), UTF8 (RFC 6855) and REPLACE (RFC 8508).

import Bytes
import Mail

/// An APPEND or REPLACE up to the name of its mailbox.
package struct AppendCommand: Equatable, Sendable {
    /// The message that a REPLACE is about.
    package struct Replaced: Equatable, Sendable {
        /// 0: `*`.
        package var number: UInt32
        package var byUID: Bool
    }

    package var tag: [UInt8]
    /// As the client wrote it, in modified UTF-7.
    package var mailbox: [UInt8]
    package var replaced: Replaced?
    /// What is behind the name on its line: for `AppendReader`.
    package var rest: [UInt8]

    package var name: String { replaced == nil ? "APPEND" : "REPLACE" }

    /// Nil if `prefix`, which may end in the header of a literal, is another command, or if that
    /// literal is the mailbox name.
    package init?(prefix: [UInt8]) throws(CommandError) {
        var cursor = Cursor(prefix.span)
        let tag = cursor.take(while: \.isTagOctet)
        guard cursor.take(.space) else { return nil }
        let byUID = cursor.take("UID ")
        if byUID || cursor.next == 0x52 || cursor.next == 0x72 {
            guard cursor.take("REPLACE ") else { return nil }
            _ = cursor.skip(while: { $0 == .space })
            let number = cursor.take(0x2A) ? 0 : try cursor.number32()
            replaced = Replaced(number: number, byUID: byUID)
            try cursor.space()
        } else {
            guard cursor.take("APPEND ") else { return nil }
        }
        guard !tag.isEmpty, tag.count <= TaggedCommand.tagLimit else { throw .badTag }
        _ = cursor.skip(while: { $0 == .space })
        if cursor.next == 0x7B, cursor.isLastLiteralHeader { return nil }
        self.tag = tag
        mailbox = try cursor.astring()
        rest = cursor.takeRest()
    }
}

/// Goes through what follows the mailbox of an APPEND, line by line.
package struct AppendReader {
    package enum Step: Equatable, Sendable {
        /// A message begins.
        case begin(NamedFlags, SecondsSince1970?)
        /// It goes on with the octets that come next; behind them `add(line:)` must be called.
        /// `isBinary`: they came as literal8.
        case literal(CommandAssembler.Literal, isBinary: Bool)
        /// It goes on with what this URL means. RFC 4469 §3.
        case url([UInt8])
        /// So many octets that come next are a URL; then `add(url:)` and `add(line:)`.
        case urlLiteral(CommandAssembler.Literal)
        /// The message is over.
        case end
        /// So is the command.
        case done
    }

    private enum State {
        /// Behind the mailbox or a message.
        case message
        /// Behind flags and date.
        case data
        /// In CATENATE, and something was in front.
        case parts(Bool)
        /// Behind the literal of `UTF8 (`.
        case utf8
        case over
    }

    /// Parts of one CATENATE.
    package static let partLimit = 10_000

    /// RFC 6855 §4: the client has turned UTF8=ACCEPT on.
    private let allowsUTF8: Bool
    private let disabled: DisabledCapabilities
    /// What was read last. A literal at its end was not taken unless `next` said so.
    package private(set) var line: [UInt8]
    private var offset = 0
    private var state = State.message
    private var messages = 0
    private var parts = 0
    private var urls: [[UInt8]] = []

    package init(
        _ line: [UInt8], allowsUTF8: Bool, disabled: DisabledCapabilities = .init()
    ) {
        self.line = line
        self.disabled = disabled
        self.allowsUTF8 = allowsUTF8
    }

    /// What follows the last literal.
    package mutating func add(line: [UInt8]) {
        self.line = line
        offset = 0
    }

    package mutating func add(url: [UInt8]) { urls.append(url) }

    package mutating func next() throws(CommandError) -> Step {
        if let url = urls.popLast() { return .url(url) }
        let line = line
        var cursor = Cursor(line.span)
        cursor.advance(by: offset)
        defer { offset = cursor.offset }
        switch state {
        case .message: return try begin(&cursor)
        case .data: return try data(&cursor)
        case .parts(let hasOne): return try part(&cursor, hasOne)
        case .utf8:
            try cursor.expect(0x29)
            return end()
        case .over:
            // Straight behind its literal
            return end()
        }
    }

    private mutating func end() -> Step {
        state = .message
        messages += 1
        return .end
    }

    private mutating func begin(_ cursor: inout Cursor) throws(CommandError) -> Step {
        let spaces = cursor.skip(while: { $0 == .space })
        if cursor.isAtEnd, messages > 0 { return .done }
        guard spaces > 0, !cursor.isAtEnd, messages == 0 || !disabled.contains(.multiAppend) else {
            throw cursor.failure
        }
        var flags = NamedFlags()
        if cursor.next == 0x28 {
            flags = try cursor.flagList(parenthesesRequired: true).flags
            try cursor.space()
        }
        var date: SecondsSince1970?
        if cursor.next == 0x22 {
            let text = try cursor.quoted()
            guard let parsed = InternalDate.parse(text.span) else { throw .badDate }
            date = parsed
            try cursor.space()
        }
        state = .data
        return .begin(flags, date)
    }

    private mutating func data(_ cursor: inout Cursor) throws(CommandError) -> Step {
        if !disabled.contains(.catenate), cursor.take("CATENATE") {
            try cursor.space()
            try cursor.expect(0x28)
            state = .parts(false)
            parts = 0
            return try part(&cursor, false)
        }
        if cursor.take("UTF8") {
            guard allowsUTF8 else { throw cursor.failure }
            try cursor.space()
            try cursor.expect(0x28)
            guard cursor.next == 0x7E else { throw cursor.failure }
            state = .utf8
            return try literal(&cursor)
        }
        state = .over
        return try literal(&cursor)
    }

    private mutating func part(
        _ cursor: inout Cursor, _ hasOne: Bool
    ) throws(CommandError) -> Step {
        if hasOne {
            if cursor.take(0x29) { return end() }
            try cursor.space()
        }
        parts += 1
        guard parts <= Self.partLimit else { throw .tooComplex }
        state = .parts(true)
        if cursor.take("URL") {
            try cursor.space()
            if cursor.next == 0x7B, cursor.isLastLiteralHeader {
                guard case .literal(let literal, _) = try literal(&cursor) else {
                    throw cursor.failure
                }
                return .urlLiteral(literal)
            }
            return .url(try cursor.astring())
        }
        guard cursor.take("TEXT") else { throw cursor.failure }
        try cursor.space()
        return try literal(&cursor)
    }

    /// `{n}`, `{n+}`, or either with `~` in front, at the end of the line.
    private func literal(_ cursor: inout Cursor) throws(CommandError) -> Step {
        let isBinary = (allowsUTF8 || !disabled.contains(.binary)) && cursor.take(0x7E)
        guard cursor.isLastLiteralHeader,
            let found = CommandAssembler.literal(atEndOf: line)
        else { throw cursor.failure }
        // The number is checked against the limits by who reads it
        let literal = CommandAssembler.Literal(
            count: found.count ?? .max, isSynchronizing: found.waits)
        _ = cursor.takeRest()
        return .literal(literal, isBinary: isBinary)
    }
}

extension Cursor {
    /// True if nothing but `{n}` or `{n+}` is left.
    fileprivate var isLastLiteralHeader: Bool {
        guard next == 0x7B, remaining > 2 else { return false }
        for distance in 1..<(remaining - 1) {
            guard let octet = peek(distance), octet.isASCIIDigit || octet == 0x2B else {
                return false
            }
        }
        return peek(remaining - 1) == 0x7D
    }
}
