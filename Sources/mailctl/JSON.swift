// SPDX-License-Identifier: Apache-2.0
//
// JSON as far as mailctl needs it: --json output, dev.json, and what /health answers. RFC 8259.

/// A JSON value. Objects keep the order of their members.
indirect enum JSON: Equatable {
    case null
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([(name: String, value: JSON)])

    static func == (left: JSON, right: JSON) -> Bool { left.text == right.text }

    subscript(name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    var stringValue: String? {
        if case .string(let text) = self { text } else { nil }
    }

    var integerValue: Int? {
        if case .integer(let number) = self { number } else { nil }
    }

    /// On one line.
    var text: String {
        switch self {
        case .null: return "null"
        case .boolean(let flag): return flag ? "true" : "false"
        case .integer(let number): return String(number)
        case .number(let number): return number.isFinite ? "\(number)" : "null"
        case .string(let text): return Self.quoted(text)
        case .array(let elements):
            return "[" + elements.map(\.text).joined(separator: ",") + "]"
        case .object(let members):
            return "{"
                + members.map { Self.quoted($0.name) + ":" + $0.value.text }.joined(separator: ",")
                + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let hex = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }

    /// - Returns: nil if `octets` are not one JSON value, or nest more than 32 deep.
    init?(_ octets: [UInt8]) {
        var parser = Parser(octets: octets)
        guard let value = parser.value(depth: 0) else { return nil }
        parser.skipBlanks()
        guard parser.index == octets.count else { return nil }
        self = value
    }

    private struct Parser {
        let octets: [UInt8]
        var index = 0

        var next: UInt8? { index < octets.count ? octets[index] : nil }

        mutating func skipBlanks() {
            while let octet = next, [0x20, 0x09, 0x0A, 0x0D].contains(octet) { index += 1 }
        }

        private mutating func take(_ octet: UInt8) -> Bool {
            skipBlanks()
            guard next == octet else { return false }
            index += 1
            return true
        }

        private mutating func take(word: String) -> Bool {
            let wanted = Array(word.utf8)
            guard octets[index...].starts(with: wanted) else { return false }
            index += wanted.count
            return true
        }

        mutating func value(depth: Int) -> JSON? {
            guard depth < 32 else { return nil }
            skipBlanks()
            switch next {
            case UInt8(ascii: "{"): return object(depth: depth)
            case UInt8(ascii: "["):
                index += 1
                var elements: [JSON] = []
                if take(UInt8(ascii: "]")) { return .array([]) }
                repeat {
                    guard let element = value(depth: depth + 1) else { return nil }
                    elements.append(element)
                } while take(UInt8(ascii: ","))
                return take(UInt8(ascii: "]")) ? .array(elements) : nil
            case UInt8(ascii: "\""): return string().map { .string($0) }
            case UInt8(ascii: "t"): return take(word: "true") ? .boolean(true) : nil
            case UInt8(ascii: "f"): return take(word: "false") ? .boolean(false) : nil
            case UInt8(ascii: "n"): return take(word: "null") ? .null : nil
            default: return number()
            }
        }

        private mutating func object(depth: Int) -> JSON? {
            index += 1
            var members: [(name: String, value: JSON)] = []
            if take(UInt8(ascii: "}")) { return .object([]) }
            repeat {
                skipBlanks()
                guard next == UInt8(ascii: "\""), let name = string(), take(UInt8(ascii: ":")),
                    let value = value(depth: depth + 1)
                else { return nil }
                members.append((name, value))
            } while take(UInt8(ascii: ","))
            return take(UInt8(ascii: "}")) ? .object(members) : nil
        }

        private mutating func number() -> JSON? {
            let start = index
            while let octet = next, (0x30...0x39).contains(octet) || "+-.eE".utf8.contains(octet) {
                index += 1
            }
            let text = String(decoding: octets[start..<index], as: UTF8.self)
            if let integer = Int(text) { return .integer(integer) }
            return Double(text).map { .number($0) }
        }

        private mutating func string() -> String? {
            index += 1
            var result: [UInt8] = []
            while let octet = next {
                index += 1
                switch octet {
                case UInt8(ascii: "\""): return String(decoding: result, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escape = next else { return nil }
                    index += 1
                    guard let scalar = unescaped(escape) else { return nil }
                    result += Array(String(scalar).utf8)
                default: result.append(octet)
                }
            }
            return nil
        }

        private mutating func unescaped(_ escape: UInt8) -> Unicode.Scalar? {
            switch escape {
            case UInt8(ascii: "n"): return "\n"
            case UInt8(ascii: "t"): return "\t"
            case UInt8(ascii: "r"): return "\r"
            case UInt8(ascii: "b"): return "\u{8}"
            case UInt8(ascii: "f"): return "\u{c}"
            case UInt8(ascii: "u"):
                guard index + 4 <= octets.count,
                    let code = UInt32(
                        String(decoding: octets[index..<(index + 4)], as: UTF8.self), radix: 16)
                else { return nil }
                index += 4
                return Unicode.Scalar(code) ?? "\u{FFFD}"
            default: return Unicode.Scalar(escape)
            }
        }
    }
}
