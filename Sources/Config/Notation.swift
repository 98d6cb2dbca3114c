// SPDX-License-Identifier: Apache-2.0
//
// How sizes, durations, addresses and names are written in mail.toml, both ways. RFC 1123 §2.1
// (host names), RFC 4291 §2.2 (IPv6 text), RFC 4632 §3.1 (CIDR blocks).

import Bytes

/// Sizes in octets: 26214400, "25 MB" (10^6), "25 MiB" (2^20).
package enum SizeNotation {
    private static let units: [(name: String, octets: Int)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
        ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000),
        ("B", 1),
    ]

    package static func parse(_ text: String) -> Int? {
        let octets = Array(text.utf8)
        let digits = octets.prefix { $0.isASCIIDigit }
        guard !digits.isEmpty, digits.count <= 18,
            let number = Int(String(decoding: digits, as: UTF8.self))
        else { return nil }
        let unit = octets[digits.count...].drop { $0 == 0x20 }.map(\.asciiUppercased)
        if unit.isEmpty { return number }
        for known in units where known.name.utf8.map(\.asciiUppercased) == unit {
            let (product, overflow) = number.multipliedReportingOverflow(by: known.octets)
            return overflow ? nil : product
        }
        return nil
    }

    static func format(_ octets: Int) -> String {
        for unit in units where octets >= unit.octets && octets % unit.octets == 0 {
            return unit.octets == 1 ? String(octets) : "\"\(octets / unit.octets) \(unit.name)\""
        }
        return String(octets)
    }
}

/// Durations: 90 (seconds), "90s", "5m", "1h30m", "7d", "2w".
package enum DurationNotation {
    private static let units: [(letter: UInt8, seconds: Int)] = [
        (0x77, 604_800), (0x64, 86_400), (0x68, 3_600), (0x6D, 60), (0x73, 1),
    ]

    /// In seconds.
    package static func parse(_ text: String) -> Int? {
        let octets = Array(text.utf8)
        var total = 0
        var index = 0
        var smallest = Int.max
        while index < octets.count {
            var number = 0
            let start = index
            while index < octets.count, octets[index].isASCIIDigit {
                guard index - start < 9 else { return nil }
                number = number * 10 + Int(octets[index] - 0x30)
                index += 1
            }
            guard index > start else { return nil }
            if index == octets.count { return start == 0 ? number : nil }  // "90" is seconds
            guard let unit = units.first(where: { $0.letter == octets[index] }),
                unit.seconds < smallest  // 1h30m, not 30m1h
            else { return nil }
            smallest = unit.seconds
            total += number * unit.seconds
            index += 1
        }
        return octets.isEmpty ? nil : total
    }

    static func format(_ seconds: Int) -> String {
        guard seconds > 0 else { return "0" }
        var rest = seconds
        var text = ""
        for unit in units.dropFirst() where rest >= unit.seconds {
            text += "\(rest / unit.seconds)\(String(decoding: [unit.letter], as: UTF8.self))"
            rest %= unit.seconds
        }
        return "\"\(text)\""
    }
}

/// `:25`, `127.0.0.1:25`, `[::1]:25`, `localhost:25`, `unix:/path`.
enum AddressNotation {
    static func parse(_ text: String) -> ListenAddress? {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            // sun_path has 108 octets with its end.
            guard path.hasPrefix("/"), path.utf8.count < 108, !path.utf8.contains(0) else {
                return nil
            }
            return .unix(path: path)
        }
        guard let colon = text.utf8.lastIndex(of: 0x3A) else { return nil }
        let digits = text.utf8[text.utf8.index(after: colon)...]
        guard !digits.isEmpty, digits.count <= 5, digits.allSatisfy(\.isASCIIDigit),
            let port = UInt16(String(decoding: digits, as: UTF8.self)), port > 0
        else { return nil }
        let host = String(decoding: text.utf8[..<colon], as: UTF8.self)
        switch host {
        case "", "*", "[::]": return .tcp(host: "", port: port)
        case "localhost": return .tcp(host: "127.0.0.1", port: port)
        default: break
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = String(host.dropFirst().dropLast())
            return IPText.isIPv6(inner) ? .tcp(host: inner, port: port) : nil
        }
        return IPText.isIPv4(host) ? .tcp(host: host, port: port) : nil
    }

    static func format(_ address: ListenAddress) -> String {
        switch address {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port):
            host.utf8.contains(0x3A) ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}

/// Whether text is an address, without converting it.
enum IPText {
    static func isIPv4(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: 0x2E, omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                (1...3).contains(part.count) && part.allSatisfy(\.isASCIIDigit)
                    && (part.count == 1 || part.first != 0x30)
                    && UInt8(String(decoding: part, as: UTF8.self)) != nil
            }
    }

    static func isIPv6(_ text: String) -> Bool {
        guard text.utf8.count <= 45 else { return false }
        var groups = Array(text.utf8).split(separator: 0x3A, omittingEmptySubsequences: false)
        guard groups.count >= 3 else { return false }
        var wanted = 8
        if let last = groups.last, last.contains(0x2E) {
            guard isIPv4(String(decoding: last, as: UTF8.self)) else { return false }
            groups.removeLast()
            wanted = 6
            if groups.last?.isEmpty == true { groups.append([]) }
        }
        // "::" shows as one empty group inside, two at an end.
        if groups.first?.isEmpty == true {
            guard groups.count > 1, groups[1].isEmpty else { return false }
            groups.removeFirst()
        }
        if groups.last?.isEmpty == true {
            guard groups.count > 1, groups[groups.count - 2].isEmpty else { return false }
            groups.removeLast()
        }
        let gaps = groups.filter(\.isEmpty).count
        guard gaps <= 1 else { return false }
        let written = groups.filter { !$0.isEmpty }
        guard written.allSatisfy({ $0.count <= 4 && $0.allSatisfy(isHex) }) else { return false }
        return gaps == 1 ? written.count < wanted : written.count == wanted
    }

    /// An address, or one with `/bits`.
    static func isBlock(_ text: String) -> Bool {
        let parts = text.utf8.split(
            separator: 0x2F, maxSplits: 1, omittingEmptySubsequences: false)
        let address = String(decoding: parts[0], as: UTF8.self)
        let most = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1
        guard most > 0 else { return false }
        guard parts.count == 2 else { return true }
        guard (1...3).contains(parts[1].count), parts[1].allSatisfy(\.isASCIIDigit),
            let bits = Int(String(decoding: parts[1], as: UTF8.self))
        else { return false }
        return bits <= most
    }

    private static func isHex(_ octet: UInt8) -> Bool {
        octet.isASCIIDigit || (0x41...0x46).contains(octet.asciiUppercased)
    }
}

/// RFC 1123 §2.1 host names: letters, digits and hyphens; 63 octets a label, 253 in all.
func isHostName(_ text: String) -> Bool {
    let labels = text.utf8.split(separator: 0x2E, omittingEmptySubsequences: false)
    return text.utf8.count <= 253
        && labels.allSatisfy { label in
            (1...63).contains(label.count) && label.first != 0x2D && label.last != 0x2D
                && label.allSatisfy { $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D }
        }
}

/// A TOML basic string.
func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        default:
            if scalar.value < 0x20 || scalar.value == 0x7F {
                let hex = String(scalar.value, radix: 16, uppercase: true)
                result += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
    return result + "\""
}
