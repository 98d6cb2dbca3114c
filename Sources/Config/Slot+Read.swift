// SPDX-License-Identifier: Apache-2.0
//
// Putting a value of mail.toml or of the environment into its place, or saying why not.

import Bytes
import IDNA

extension Slot {
    /// Checks `value` and puts it into `root`.
    ///
    /// - Throws: why `value` cannot be taken; with `isWarning`, why it was taken only in part.
    func read(_ value: Value, into root: inout Root) throws(ValueError) {
        switch self {
        case .text(let path, let rule): root[keyPath: path] = try value.text(rule)
        case .flag(let path): root[keyPath: path] = try value.flag()
        case .count(let path, let range): root[keyPath: path] = try value.count(range)
        case .optionalCount(let path, let range): root[keyPath: path] = try value.count(range)
        case .size(let path, let range): root[keyPath: path] = try value.size(range)
        case .optionalSize(let path, let range): root[keyPath: path] = try value.size(range)
        case .kibibytes(let path, let range): root[keyPath: path] = try value.size(range) / 1024
        case .duration(let path, let range):
            root[keyPath: path] = .seconds(try value.seconds(range))
        case .address(let path): root[keyPath: path] = try value.address()
        case .blocks(let path): root[keyPath: path] = try value.blocks()
        case .words(let path, let allowed, let later):
            let words = try value.list()
            var unsupported: (word: String, position: Position?)?
            var kept: [String] = []
            for (word, position) in words {
                let lower = word.lowercased()
                if let known = allowed.first(where: { $0.lowercased() == lower }) {
                    if !kept.contains(known) { kept.append(known) }
                } else if later.contains(lower) {
                    unsupported = unsupported ?? (lower, position)
                } else {
                    let meant = suggestion(for: lower, among: allowed + later)
                    throw ValueError(
                        message: "`\(word)` is not one of \(allowed.joined(separator: ", "))",
                        label: meant.map { "did you mean `\($0)`?" } ?? "", position: position)
                }
            }
            root[keyPath: path] = kept
            if let unsupported {
                throw ValueError(
                    message: "`\(unsupported.word)` is not supported in this version yet: ignored",
                    position: unsupported.position, isWarning: true)
            }
        case .minimumTLS(let path): root[keyPath: path] = try value.minimumTLS()
        case .specialUse(let path): try value.specialUse(into: &root[keyPath: path])
        case .fixed(let only):
            if case .string(only) = value { return }
            if case .word(only) = value { return }
            throw ValueError(
                message: "only \(quoted(only)) is supported in this version: ignored",
                isWarning: true)
        case .later:
            throw ValueError(message: "not supported in this version yet: ignored", isWarning: true)
        case .pointless(let why): throw ValueError(message: why, isWarning: true)
        }
    }
}

extension Value {
    fileprivate func string(_ wanted: String = "a string") throws(ValueError) -> String {
        switch self {
        case .string(let text), .word(let text): return text
        case .integer, .number, .boolean:
            throw ValueError(
                message: "must be \(wanted), not \(typeName)", label: "put it in quotes")
        case .array, .table, .other: throw wrong(wanted)
        }
    }

    private func wrong(_ wanted: String) -> ValueError {
        ValueError(message: "must be \(wanted), not \(typeName)")
    }

    fileprivate func text(_ rule: TextRule) throws(ValueError) -> String {
        let text = try string()
        // NUL would end a path early; controls would reach logs and banners.
        guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            throw ValueError(message: "must not contain control characters")
        }
        switch rule {
        case .any: break
        case .hostName:
            // In any script; kept as A-labels, as everything that compares domains has them.
            let name = DomainName.ascii(Array(text.utf8)).map {
                String(decoding: $0, as: UTF8.self)
            }
            guard let name, name.isEmpty || isHostName(name) else {
                throw ValueError(
                    message: "`\(text)` is not a host name",
                    label: "letters, digits, `-` and `.` only")
            }
            return name
        case .absolutePath, .optionalPath:
            if case .optionalPath = rule, text.isEmpty { break }
            guard text.hasPrefix("/") else {
                throw ValueError(message: "must be an absolute path", label: "begin it with `/`")
            }
            guard text.utf8.count < 4096 else { throw ValueError(message: "the path is too long") }
        case .urlPath:
            guard text.hasPrefix("/"), text.utf8.count <= 200,
                text.utf8.allSatisfy({ $0.isASCIIVisible && $0 != 0x3F && $0 != 0x23 })
            else {
                throw ValueError(
                    message: "must be the path of a URL", label: "for example \"/metrics\"")
            }
        case .separators:
            let allowed = Array("+-=_.#%!~".utf8)
            guard text.utf8.allSatisfy(allowed.contains), Set(text.utf8).count == text.utf8.count
            else {
                throw ValueError(message: "may hold only characters of `+-=_.#%!~`, each once")
            }
        case .choice(let words):
            guard words.contains(text) else {
                let meant = suggestion(for: text.lowercased(), among: words)
                throw ValueError(
                    message: "`\(text)` is not one of \(words.joined(separator: ", "))",
                    label: meant.map { "did you mean \(quoted($0))?" } ?? "")
            }
        }
        return text
    }

    fileprivate func flag() throws(ValueError) -> Bool {
        switch self {
        case .boolean(let flag): return flag
        case .word(let text):
            switch text.lowercased() {
            case "true", "yes", "on", "1": return true
            case "false", "no", "off", "0": return false
            default: throw ValueError(message: "must be true or false, not `\(text)`")
            }
        case .string(let text) where ["true", "false"].contains(text.lowercased()):
            throw ValueError(
                message: "must be true or false, not a string", label: "without quotes")
        default: throw wrong("true or false")
        }
    }

    private func within(
        _ number: Int, _ range: ClosedRange<Int>, _ show: (Int) -> String
    ) throws(ValueError) -> Int {
        guard range.contains(number) else {
            throw ValueError(
                message: number < range.lowerBound
                    ? "must be at least \(show(range.lowerBound))"
                    : "must be at most \(show(range.upperBound))")
        }
        return number
    }

    fileprivate func count(_ range: ClosedRange<Int>) throws(ValueError) -> Int {
        switch self {
        case .integer(let number): return try within(number, range) { String($0) }
        case .word(let text):
            guard let number = Int(text) else {
                throw ValueError(message: "must be an integer, not `\(text)`")
            }
            return try within(number, range) { String($0) }
        case .string(let text) where Int(text) != nil:
            throw ValueError(message: "must be an integer, not a string", label: "without quotes")
        default: throw wrong("an integer")
        }
    }

    fileprivate func size(_ range: ClosedRange<Int>) throws(ValueError) -> Int {
        if case .integer(let number) = self {
            return try within(number, range, SizeNotation.format)
        }
        guard case .string(let text) = self else {
            if case .word(let text) = self, let size = SizeNotation.parse(text) {
                return try within(size, range, SizeNotation.format)
            }
            throw wrong("a size such as \"25 MiB\" or 26214400")
        }
        guard let size = SizeNotation.parse(text) else {
            throw ValueError(
                message: "`\(text)` is not a size",
                label: "write 26214400, \"25 MB\" (10^6) or \"25 MiB\" (2^20)")
        }
        return try within(size, range, SizeNotation.format)
    }

    fileprivate func seconds(_ range: ClosedRange<Int>) throws(ValueError) -> Int {
        if case .integer(let number) = self {
            return try within(number, range, DurationNotation.format)
        }
        let text = try string("a duration such as \"5m\" or 300 (seconds)")
        guard let seconds = DurationNotation.parse(text) else {
            throw ValueError(
                message: "`\(text)` is not a duration",
                label: "write 90 (seconds), \"90s\", \"5m\", \"1h30m\" or \"7d\"")
        }
        return try within(seconds, range, DurationNotation.format)
    }

    fileprivate func address() throws(ValueError) -> ListenAddress {
        if case .integer(let port) = self, (1...65535).contains(port) {
            throw ValueError(
                message: "must be an address, not an integer", label: "did you mean \":\(port)\"?")
        }
        let text = try string("an address such as \":25\" or \"127.0.0.1:25\"")
        if let address = AddressNotation.parse(text) { return address }
        var label = "write \":25\", \"192.0.2.1:25\", \"[2001:db8::1]:25\" or \"unix:/path\""
        if let port = Int(text), (1...65535).contains(port) {
            label = "did you mean \":\(port)\"?"
        } else if IPText.isIPv4(text) || IPText.isIPv6(text) {
            label = "the port is missing"
        }
        throw ValueError(message: "`\(text)` is not an address to listen on", label: label)
    }

    /// The strings of an array, or one string alone.
    fileprivate func list() throws(ValueError) -> [(text: String, position: Position?)] {
        switch self {
        case .string(let text): return [(text, nil)]
        case .word(let text):
            return text.split(separator: ",").map { (trimmed(String($0)), nil) }
                .filter { !$0.text.isEmpty }
        case .array(let nodes):
            var texts: [(String, Position?)] = []
            for node in nodes {
                guard case .string(let text) = node.value else {
                    throw ValueError(
                        message: "must be a list of strings, but this is \(node.value.typeName)",
                        position: node.position)
                }
                texts.append((text, node.position))
            }
            return texts
        default: throw wrong("a list of strings")
        }
    }

    fileprivate func blocks() throws(ValueError) -> [String] {
        var blocks: [String] = []
        for (text, position) in try list() {
            guard IPText.isBlock(text) else {
                throw ValueError(
                    message: "`\(text)` is neither an address nor a CIDR block",
                    label: "for example \"192.0.2.0/24\"", position: position)
            }
            blocks.append(text)
        }
        return blocks
    }

    fileprivate func minimumTLS() throws(ValueError) -> TLSMinimum {
        let text = try string("\"TLS1.2\" or \"TLS1.3\"")
        switch text.uppercased() {
        case "TLS1.2", "1.2", "TLSV1.2": return .tls12
        case "TLS1.3", "1.3", "TLSV1.3": return .tls13
        case "TLS1.0", "TLS1.1", "1.0", "1.1", "SSL3":
            throw ValueError(
                message: "`\(text)` is not secure and not supported", label: "use \"TLS1.2\"")
        default:
            throw ValueError(
                message: "`\(text)` is not a version of TLS", label: "\"TLS1.2\" or \"TLS1.3\"")
        }
    }

    fileprivate func specialUse(into names: inout SpecialUseNames) throws(ValueError) {
        guard case .table(let nodes) = self else {
            throw wrong("a table such as { Sent = \"\\\\Sent\" }")
        }
        for node in nodes {
            let use: String = try node.value.string()
            let bare = use.hasPrefix("\\") ? String(use.dropFirst()) : use
            guard
                let known = SpecialUseNames.uses.first(
                    where: { $0.use.lowercased() == bare.lowercased() })
            else {
                throw ValueError(
                    message: "`\(use)` is not a special use of RFC 6154 that can be set",
                    label: "one of \\Drafts, \\Sent, \\Junk, \\Trash, \\Archive",
                    position: node.position)
            }
            guard !node.key.isEmpty, node.key.utf8.count <= 200, !node.key.utf8.contains(0x2F),
                node.key.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
            else {
                throw ValueError(
                    message: "`\(node.key)` is not a mailbox name", position: node.keyPosition)
            }
            names[keyPath: known.path] = node.key
        }
    }
}

/// Without blanks at both ends.
func trimmed(_ text: String) -> String {
    let scalars = text.unicodeScalars
    let blank: (Unicode.Scalar) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" }
    guard let first = scalars.firstIndex(where: { !blank($0) }),
        let last = scalars.lastIndex(where: { !blank($0) })
    else { return "" }
    return String(scalars[first...last])
}
