// SPDX-License-Identifier: Apache-2.0
//
// What an IMAP server says to a client: lines and literals put together and taken apart, with a
// limit on everything. RFC 3501 §7 and §9; RFC 9051 §7; RFC 3516 (literal8).

import Bytes
import Mail

/// Why what a server sent cannot be used. The connection is of no more use.
package enum ResponseError: Error, Equatable, Sendable {
    case malformed
    case tooLong
    case tooDeep
    case tooMany
}

/// A value of a response.
package indirect enum ResponseValue: Equatable, Sendable {
    /// As it was written, `BODY[...]` and `\Seen` included.
    case atom([UInt8])
    /// A quoted string or a literal.
    case text([UInt8])
    /// A long literal that the reader kept elsewhere.
    case spilled(Int)
    case list([ResponseValue])
    case nothing

    package var octets: [UInt8]? {
        switch self {
        case .atom(let octets), .text(let octets): octets
        default: nil
        }
    }

    package var number: UInt64? {
        guard case .atom(let digits) = self, (1...19).contains(digits.count),
            digits.allSatisfy(\.isASCIIDigit)
        else { return nil }
        return digits.reduce(0) { $0 * 10 + UInt64($1 - 0x30) }
    }

    package var elements: [ResponseValue]? {
        if case .list(let values) = self { values } else { nil }
    }
}

/// OK, NO, BAD, BYE or PREAUTH, with its code in brackets.
package struct ResponseCondition: Equatable, Sendable {
    /// In capitals.
    package var status: String
    /// `UIDVALIDITY 12`, without the brackets; empty if there is none.
    package var code: [UInt8]
    package var text: [UInt8]

    /// The number of a code `NAME number`.
    package func number(of name: String) -> UInt64? {
        let words = code.split(separator: .space)
        guard words.count == 2, Array(words[0]).equalsIgnoringASCIICase(Array(name)) else {
            return nil
        }
        return ResponseValue.atom(Array(words[1])).number
    }
}

package enum ServerResponse: Equatable, Sendable {
    case tagged([UInt8], ResponseCondition)
    case untagged(ResponseCondition)
    /// The server waits for more of a command.
    case proceed([UInt8])
    /// `* 12 FETCH (...)`: the number, the name in capitals, and what follows.
    case data(number: UInt64?, name: String, values: [ResponseValue])
}

/// Puts lines and literals together until they are one response.
package struct ResponseAssembler {
    package struct Limits: Sendable {
        /// Octets of one line, and of all text of one response.
        package var line = 1 << 20
        package var response = 4 << 20
        /// Octets of one literal, wherever it is kept.
        package var literal = 1 << 31
        /// Values in one response, and lists inside lists.
        package var values = 100_000
        package var depth = 24

        package init() {}
    }

    package enum Step: Equatable, Sendable {
        /// The next octets are a literal of this size.
        case literal(Int)
        case response(ServerResponse)
    }

    private enum Piece {
        case text([UInt8])
        case value(ResponseValue)
    }

    private let limits: Limits
    private var pieces: [Piece] = []
    private var total = 0

    package init(limits: Limits = Limits()) { self.limits = limits }

    /// - Parameter line: without its CRLF.
    package mutating func take(line: [UInt8]) throws(ResponseError) -> Step {
        try count(line.count)
        guard line.count <= limits.line else { throw .tooLong }
        if !(pieces.isEmpty && Self.isCondition(line)), let (size, text) = Self.literal(line) {
            guard size <= limits.literal else { throw .tooLong }
            pieces.append(.text(text))
            return .literal(size)
        }
        pieces.append(.text(line))
        defer {
            pieces = []
            total = 0
        }
        return .response(try parse())
    }

    /// The literal that `take(line:)` asked for: in memory, or `.spilled`.
    package mutating func take(literal: ResponseValue) throws(ResponseError) {
        if case .text(let octets) = literal { try count(octets.count) }
        guard pieces.count < limits.values else { throw .tooMany }
        pieces.append(.value(literal))
    }

    private mutating func count(_ octets: Int) throws(ResponseError) {
        total += octets
        guard total <= limits.response else { throw .tooLong }
    }

    /// `... {123}` at the end of a line, `{123+}` and `~{123}` too.
    private static func literal(_ line: [UInt8]) -> (size: Int, text: [UInt8])? {
        guard line.last == 0x7D, let open = line.lastIndex(of: 0x7B) else { return nil }
        var digits = line[(open + 1)...].dropLast()
        if digits.last == 0x2B { digits = digits.dropLast() }
        guard (1...18).contains(digits.count), digits.allSatisfy(\.isASCIIDigit) else { return nil }
        var text = line[..<open]
        if text.last == 0x7E { text = text.dropLast() }
        return (digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }, Array(text))
    }

    /// Text for people may look like anything.
    private static func isCondition(_ line: [UInt8]) -> Bool {
        if line.first == 0x2B { return true }
        let words = line.prefix(300).split(separator: .space, maxSplits: 2)
        guard words.count >= 2 else { return false }
        return statuses.contains(
            String(decoding: words[1].map(\.asciiUppercased), as: UTF8.self))
    }

    private static let statuses: Set<String> = ["OK", "NO", "BAD", "BYE", "PREAUTH"]

    // MARK: - Grammar

    private func parse() throws(ResponseError) -> ServerResponse {
        var reader = ValueReader(pieces: pieces.map(Self.flat), limits: limits)
        let first = reader.word()
        if first.first == 0x2B { return .proceed(Array(reader.restOfLine())) }
        guard !first.isEmpty else { throw .malformed }
        var number: UInt64?
        var name = reader.word()
        if first == [0x2A], let found = ResponseValue.atom(name).number {
            number = found
            name = reader.word()
        }
        let upper = String(decoding: name.map(\.asciiUppercased), as: UTF8.self)
        if number == nil, Self.statuses.contains(upper) {
            let condition = try Self.condition(upper, reader.restOfLine())
            return first == [0x2A] ? .untagged(condition) : .tagged(first, condition)
        }
        guard first == [0x2A], !name.isEmpty else { throw .malformed }
        return .data(number: number, name: upper, values: try reader.values())
    }

    private static func flat(_ piece: Piece) -> ValueReader.Piece {
        switch piece {
        case .text(let octets): .text(octets)
        case .value(let value): .value(value)
        }
    }

    private static func condition(
        _ status: String, _ rest: [UInt8]
    ) throws(ResponseError) -> ResponseCondition {
        var text = rest
        var code: [UInt8] = []
        if rest.first == 0x5B {
            guard let end = rest.firstIndex(of: 0x5D) else { throw .malformed }
            code = Array(rest[1..<end])
            text = Array(rest[(end + 1)...].drop { $0 == .space })
        }
        return ResponseCondition(status: status, code: code, text: text)
    }
}

/// Reads the values of one response from its pieces.
private struct ValueReader {
    enum Piece {
        case text([UInt8])
        case value(ResponseValue)
    }

    private let pieces: [Piece]
    private let limits: ResponseAssembler.Limits
    private var piece = 0
    private var index = 0
    private var count = 0

    init(pieces: [Piece], limits: ResponseAssembler.Limits) {
        self.pieces = pieces
        self.limits = limits
    }

    private var text: [UInt8] {
        guard piece < pieces.count, case .text(let octets) = pieces[piece] else { return [] }
        return octets
    }

    private var next: UInt8? {
        guard piece < pieces.count, case .text(let octets) = pieces[piece], index < octets.count
        else { return nil }
        return octets[index]
    }

    /// Up to the next blank, which is passed over.
    mutating func word() -> [UInt8] {
        let octets = text
        let end = octets[index...].firstIndex(of: .space) ?? octets.count
        defer { index = min(end + 1, octets.count) }
        return Array(octets[index..<end])
    }

    mutating func restOfLine() -> [UInt8] {
        let octets = text
        defer { index = octets.count }
        return Array(octets[index...])
    }

    /// Everything that is left.
    mutating func values() throws(ResponseError) -> [ResponseValue] {
        let values = try list(depth: 0, isClosed: false)
        guard isAtEnd else { throw .malformed }
        return values
    }

    private var isAtEnd: Bool { piece >= pieces.count }

    /// Leaves pieces that are used up.
    private mutating func settle() {
        while piece < pieces.count, case .text(let octets) = pieces[piece], index >= octets.count {
            piece += 1
            index = 0
        }
    }

    private mutating func list(
        depth: Int, isClosed: Bool
    ) throws(ResponseError) -> [ResponseValue] {
        guard depth <= limits.depth else { throw .tooDeep }
        var values: [ResponseValue] = []
        while true {
            settle()
            if isAtEnd {
                guard !isClosed else { throw .malformed }
                return values
            }
            if case .value(let value) = pieces[piece] {
                piece += 1
                index = 0
                try add(value, &values)
                continue
            }
            switch next {
            case .some(.space): index += 1
            case 0x28:
                index += 1
                try add(.list(try list(depth: depth + 1, isClosed: true)), &values)
            case 0x29:
                guard isClosed else { throw .malformed }
                index += 1
                return values
            case 0x22:
                index += 1
                try add(.text(try quoted()), &values)
            default: try add(try atom(), &values)
            }
        }
    }

    private mutating func add(
        _ value: ResponseValue, _ values: inout [ResponseValue]
    ) throws(ResponseError) {
        count += 1
        guard count <= limits.values else { throw .tooMany }
        values.append(value)
    }

    private mutating func quoted() throws(ResponseError) -> [UInt8] {
        let octets = text
        var result: [UInt8] = []
        while index < octets.count {
            let octet = octets[index]
            index += 1
            if octet == 0x22 { return result }
            if octet == 0x5C {
                guard index < octets.count else { throw .malformed }
                result.append(octets[index])
                index += 1
            } else {
                result.append(octet)
            }
        }
        throw .malformed
    }

    /// Up to a blank or parenthesis that is not inside brackets.
    private mutating func atom() throws(ResponseError) -> ResponseValue {
        let octets = text
        let start = index
        var isInBrackets = false
        scan: while index < octets.count {
            switch octets[index] {
            case 0x5B: isInBrackets = true
            case 0x5D: isInBrackets = false
            case .space, 0x28, 0x29, 0x22:
                if !isInBrackets { break scan }
            default: break
            }
            index += 1
        }
        guard index > start, !isInBrackets else { throw .malformed }
        let atom = Array(octets[start..<index])
        return atom.equalsIgnoringASCIICase(Array("NIL")) ? .nothing : .atom(atom)
    }
}
