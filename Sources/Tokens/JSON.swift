// SPDX-License-Identifier: Apache-2.0
//
// JSON as strangers send it: RFC 8259, with limits on size, depth and number of values, no name
// twice in an object (RFC 7519 §4), UTF-8 only.

import Bytes

package enum JSONError: Error, Equatable, Sendable {
    case tooLarge, tooDeep, notUTF8, malformed, duplicateName
}

package indirect enum JSON: Equatable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string([UInt8])
    case array([JSON])
    case object([[UInt8]: JSON])

    /// Octets of a document.
    package static let limit = 262_144

    package init(_ octets: [UInt8]) throws(JSONError) {
        guard octets.count <= Self.limit else { throw .tooLarge }
        guard String(validating: octets, as: UTF8.self) != nil else { throw .notUTF8 }
        var parser = JSONParser(octets)
        self = try parser.document()
    }

    package subscript(_ name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members[Array(name)]
    }

    package var text: [UInt8]? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    package var elements: [JSON]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    package var number: Double? {
        guard case .number(let number) = self else { return nil }
        return number
    }

    package var isTrue: Bool { self == .bool(true) }
}

private struct JSONParser {
    private static let depthLimit = 16
    private static let valueLimit = 16_384
    private static let digitLimit = 32

    private let octets: [UInt8]
    private var position = 0
    private var values = 0

    init(_ octets: [UInt8]) { self.octets = octets }

    mutating func document() throws(JSONError) -> JSON {
        let value = try value(depth: 0)
        skipSpace()
        guard position == octets.count else { throw .malformed }
        return value
    }

    private var next: UInt8? { position < octets.count ? octets[position] : nil }

    private mutating func skipSpace() {
        while let octet = next, [0x20, 0x09, 0x0A, 0x0D].contains(octet) { position += 1 }
    }

    private mutating func take(_ octet: UInt8) -> Bool {
        guard next == octet else { return false }
        position += 1
        return true
    }

    private mutating func take(literal text: String) -> Bool {
        let wanted = Array(text)
        guard octets[position...].starts(with: wanted) else { return false }
        position += wanted.count
        return true
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSON {
        values += 1
        guard values <= Self.valueLimit else { throw .tooLarge }
        guard depth < Self.depthLimit else { throw .tooDeep }
        skipSpace()
        switch next {
        case 0x7B: return try object(depth)
        case 0x5B: return try array(depth)
        case 0x22: return .string(try string())
        case 0x74 where take(literal: "true"): return .bool(true)
        case 0x66 where take(literal: "false"): return .bool(false)
        case 0x6E where take(literal: "null"): return .null
        default: return .number(try number())
        }
    }

    private mutating func object(_ depth: Int) throws(JSONError) -> JSON {
        position += 1
        var members: [[UInt8]: JSON] = [:]
        skipSpace()
        if take(0x7D) { return .object(members) }
        while true {
            skipSpace()
            guard next == 0x22 else { throw .malformed }
            let name = try string()
            skipSpace()
            guard take(0x3A) else { throw .malformed }
            let value = try value(depth: depth + 1)
            guard members.updateValue(value, forKey: name) == nil else { throw .duplicateName }
            skipSpace()
            if take(0x7D) { return .object(members) }
            guard take(0x2C) else { throw .malformed }
        }
    }

    private mutating func array(_ depth: Int) throws(JSONError) -> JSON {
        position += 1
        var elements: [JSON] = []
        skipSpace()
        if take(0x5D) { return .array(elements) }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take(0x5D) { return .array(elements) }
            guard take(0x2C) else { throw .malformed }
        }
    }

    private mutating func string() throws(JSONError) -> [UInt8] {
        position += 1
        var text: [UInt8] = []
        while let octet = next {
            position += 1
            switch octet {
            case 0x22: return text
            case 0x5C: try escape(&text)
            case ..<0x20: throw .malformed
            default: text.append(octet)
            }
        }
        throw .malformed
    }

    private mutating func escape(_ text: inout [UInt8]) throws(JSONError) {
        guard let octet = next else { throw .malformed }
        position += 1
        switch octet {
        case 0x22, 0x5C, 0x2F: text.append(octet)
        case 0x62: text.append(0x08)
        case 0x66: text.append(0x0C)
        case 0x6E: text.append(0x0A)
        case 0x72: text.append(0x0D)
        case 0x74: text.append(0x09)
        case 0x75:
            var code = try unit()
            if (0xD800..<0xDC00).contains(code) {
                guard take(0x5C), take(0x75) else { throw .malformed }
                let low = try unit()
                guard (0xDC00..<0xE000).contains(low) else { throw .malformed }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            // A low surrogate alone is no scalar.
            guard let scalar = Unicode.Scalar(code) else { throw .malformed }
            text.append(contentsOf: Array(String(Character(scalar))))
        default: throw .malformed
        }
    }

    private mutating func unit() throws(JSONError) -> UInt32 {
        guard position + 4 <= octets.count else { throw .malformed }
        let digits = octets[position..<position + 4]
        position += 4
        guard digits.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit }),
            let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw .malformed }
        return code
    }

    private mutating func digits() throws(JSONError) {
        let start = position
        while let octet = next, octet.isASCIIDigit { position += 1 }
        guard position > start else { throw .malformed }
    }

    private mutating func number() throws(JSONError) -> Double {
        let start = position
        _ = take(0x2D)
        let first = position
        try digits()
        if octets[first] == 0x30, position > first + 1 { throw .malformed }
        if take(0x2E) { try digits() }
        if take(0x65) || take(0x45) {
            if !take(0x2B) { _ = take(0x2D) }
            try digits()
        }
        guard position - start <= Self.digitLimit,
            let number = Double(String(decoding: octets[start..<position], as: UTF8.self)),
            number.isFinite
        else { throw .malformed }
        return number
    }
}
