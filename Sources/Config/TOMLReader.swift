// SPDX-License-Identifier: Apache-2.0
//
// One TOML file as a tree of nodes with their positions. TOML 1.0 is parsed by toml++ (CToml); what
// that library cannot take, because it would overflow the stack, is refused here before it sees it.

import CToml

/// Line and column, both counted from 1; columns in code points.
struct Position: Equatable, Sendable, Comparable {
    var line: Int
    var column: Int

    static func < (left: Self, right: Self) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// A key with its value, or an element of an array (without a key).
struct Node: Sendable {
    var key: String
    var keyPosition: Position
    var position: Position
    var value: Value
}

indirect enum Value: Sendable {
    case string(String)
    case integer(Int)
    case number(Double)
    case boolean(Bool)
    case array([Node])
    /// In the order of the file.
    case table([Node])
    case other
    /// Text from the environment: what it means depends on the key.
    case word(String)

    var typeName: String {
        switch self {
        case .string, .word: "a string"
        case .integer: "an integer"
        case .number: "a number with a fraction"
        case .boolean: "a boolean"
        case .array: "an array"
        case .table: "a table"
        case .other: "a date or time"
        }
    }
}

struct SyntaxError: Error, Sendable {
    var message: String
    var position: Position
}

/// A parsed file.
struct Document: Sendable {
    /// Octets of one file.
    static let sizeLimit = 1 << 20
    /// Parts of one dotted key, and levels of tables and arrays in each other.
    static let depthLimit = 16

    let members: [Node]

    init(_ octets: [UInt8]) throws(SyntaxError) {
        try Self.refuseWhatIsNotText(octets)
        try Self.refuseWhatTomlCannotTake(octets)
        members = try Self.parse(octets)
    }

    /// TOML is UTF-8 without control characters, strings and comments included.
    private static func refuseWhatIsNotText(_ octets: [UInt8]) throws(SyntaxError) {
        var position = Position(line: 1, column: 1)
        var decoder = UTF8()
        var input = octets.makeIterator()
        while true {
            switch decoder.decode(&input) {
            case .emptyInput: return
            case .error: throw SyntaxError(message: "not UTF-8", position: position)
            case .scalarValue("\n"):
                position = Position(line: position.line + 1, column: 1)
            case .scalarValue(let scalar):
                let isControl = scalar.value < 0x20 || scalar.value == 0x7F
                guard !isControl || scalar == "\t" || scalar == "\r" else {
                    throw SyntaxError(message: "a control character", position: position)
                }
                position.column += 1
            }
        }
    }

    /// Bounds the number of dots in any key. Dots inside strings and comments do not count; those
    /// of values do, and no valid value has more than one.
    private static func refuseWhatTomlCannotTake(_ octets: [UInt8]) throws(SyntaxError) {
        guard octets.count <= sizeLimit else {
            throw SyntaxError(
                message: "the file is larger than 1 MiB", position: Position(line: 1, column: 1))
        }
        var line = 1
        var lineStart = 0
        var dots = 0
        var index = 0
        while index < octets.count {
            switch octets[index] {
            case 0x0A:
                line += 1
                lineStart = index + 1
                dots = 0
            case 0x23:  // # to the end of the line
                while index + 1 < octets.count, octets[index + 1] != 0x0A { index += 1 }
            case 0x22, 0x27:
                index = endOfString(octets, from: index, line: &line, lineStart: &lineStart)
            case 0x2C, 0x3D, 0x5B, 0x5D, 0x7B, 0x7D:  // , = [ ] { } begin another key or value
                dots = 0
            case 0x2E:
                dots += 1
                guard dots < depthLimit else {
                    throw SyntaxError(
                        message: "a key of more than 16 parts",
                        position: Position(line: line, column: index - lineStart + 1))
                }
            default: break
            }
            index += 1
        }
    }

    /// The index of the last octet of the string that begins at `start`.
    private static func endOfString(
        _ octets: [UInt8], from start: Int, line: inout Int, lineStart: inout Int
    ) -> Int {
        let quote = octets[start]
        let escapes = quote == 0x22
        func isQuote(_ index: Int) -> Bool { index < octets.count && octets[index] == quote }
        let isLong = isQuote(start + 1) && isQuote(start + 2)
        if !isLong && isQuote(start + 1) { return start + 1 }
        var index = start + (isLong ? 3 : 1)
        while index < octets.count {
            let octet = octets[index]
            if octet == 0x0A {
                guard isLong else { return index - 1 }  // unterminated: toml++ will say so
                line += 1
                lineStart = index + 1
            } else if escapes && octet == 0x5C {
                // The octet behind a backslash ends nothing; a line end there still counts.
                if index + 1 < octets.count, octets[index + 1] != 0x0A { index += 1 }
            } else if octet == quote {
                if !isLong { return index }
                if isQuote(index + 1) && isQuote(index + 2) {
                    index += 2
                    // Up to two quotes may stand directly before the closing three.
                    while isQuote(index + 1) { index += 1 }
                    return index
                }
            }
            index += 1
        }
        return octets.count - 1
    }

    private static func parse(_ octets: [UInt8]) throws(SyntaxError) -> [Node] {
        let document = unsafe octets.withUnsafeBufferPointer { buffer in
            unsafe buffer.withMemoryRebound(to: CChar.self) { characters in
                unsafe martlet_toml_parse(characters.baseAddress, characters.count)
            }
        }
        defer { unsafe martlet_toml_free(document) }
        var line: UInt32 = 0
        var column: UInt32 = 0
        if let message = unsafe martlet_toml_error(document, &line, &column) {
            throw SyntaxError(
                message: unsafe String(cString: message),
                position: Position(line: max(1, Int(line)), column: max(1, Int(column))))
        }
        // Children come behind their parent, so a walk from the back finds every child complete.
        var members: [Int32: [Node]] = [:]
        var index = unsafe martlet_toml_count(document)
        while index > 0 {
            index -= 1
            let raw = unsafe martlet_toml_node_at(document, index)
            let held = members.removeValue(forKey: Int32(index)) ?? []
            let node = unsafe makeNode(raw, members: held)
            unsafe members[raw.parent, default: []].append(node)
        }
        return (members[-1] ?? []).sorted { $0.keyPosition < $1.keyPosition }
    }

    /// - Parameter members: what a table or array holds, in any order.
    private static func makeNode(_ raw: martlet_toml_node, members: [Node]) -> Node {
        let value: Value
        switch unsafe UInt32(raw.type) {
        case MARTLET_TOML_TABLE.rawValue:
            value = .table(members.sorted { $0.keyPosition < $1.keyPosition })
        case MARTLET_TOML_ARRAY.rawValue:
            value = .array(members.sorted { $0.position < $1.position })
        case MARTLET_TOML_STRING.rawValue:
            value = unsafe .string(text(raw.text, raw.text_count))
        case MARTLET_TOML_INTEGER.rawValue: value = unsafe .integer(Int(raw.integer))
        case MARTLET_TOML_FLOAT.rawValue: value = unsafe .number(raw.number)
        case MARTLET_TOML_BOOLEAN.rawValue: value = unsafe .boolean(raw.integer != 0)
        default: value = .other
        }
        return unsafe Node(
            key: text(raw.key, raw.key_count),
            keyPosition: Position(line: Int(raw.key_line), column: Int(raw.key_column)),
            position: Position(line: Int(raw.line), column: Int(raw.column)), value: value)
    }

    private static func text(_ start: UnsafePointer<CChar>?, _ count: Int) -> String {
        guard let start = unsafe start else { return "" }
        let buffer = unsafe UnsafeBufferPointer(start: start, count: count)
        return unsafe String(decoding: buffer.lazy.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
