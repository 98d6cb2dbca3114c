// SPDX-License-Identifier: Apache-2.0
//
// Where the value of a key goes and what it must look like: one case for each notation. Reading
// checks, writing shows the value in force; both use the same slot, so they cannot disagree.

import Bytes

/// What a piece of text must be.
enum TextRule: Sendable {
    case any
    case hostName
    case absolutePath
    /// A path, or nothing.
    case optionalPath
    /// `/metrics`: begins with a slash, printable, without `?`, `#` and spaces.
    case urlPath
    /// Punctuation, each character once.
    case separators
    case choice([String])
}

/// The place of one value.
enum Slot<Root: Sendable>: Sendable {
    typealias Path<T> = WritableKeyPath<Root, T> & Sendable

    case text(any Path<String>, TextRule)
    case flag(any Path<Bool>)
    case count(any Path<Int>, ClosedRange<Int>)
    case optionalCount(any Path<Int?>, ClosedRange<Int>)
    /// Octets.
    case size(any Path<Int>, ClosedRange<Int>)
    case optionalSize(any Path<Int?>, ClosedRange<Int>)
    /// A size that is kept in KiB.
    case kibibytes(any Path<Int>, ClosedRange<Int>)
    /// The range is in seconds.
    case duration(any Path<Duration>, ClosedRange<Int>)
    case address(any Path<ListenAddress>)
    case blocks(any Path<[String]>)
    /// Words of `allowed`; those of `later` are dropped with a warning.
    case words(any Path<[String]>, allowed: [String], later: [String])
    case minimumTLS(any Path<TLSMinimum>)
    case specialUse(any Path<SpecialUseNames>)
    /// Nothing but this value is supported yet; others are ignored with a warning.
    case fixed(String)
    /// Recognised; ignored with a warning.
    case later
    /// Recognised; has no meaning here. The text says why.
    case pointless(String)

    var typeName: String {
        switch self {
        case .text(_, .choice(let words)): words.map(quoted).joined(separator: " | ")
        case .text(_, .hostName): "host name"
        case .text(_, .absolutePath), .text(_, .optionalPath): "path"
        case .text: "string"
        case .flag: "true | false"
        case .count(_, let range), .optionalCount(_, let range):
            "integer, \(range.lowerBound) to \(range.upperBound)"
        case .size, .optionalSize, .kibibytes: "size"
        case .duration: "duration"
        case .address: "address"
        case .blocks: "list of addresses or CIDR blocks"
        case .words(_, let allowed, _): "list of \(allowed.map(quoted).joined(separator: ", "))"
        case .minimumTLS: "\"TLS1.2\" | \"TLS1.3\""
        case .specialUse: "table"
        case .fixed(let only): quoted(only)
        case .later: "not supported in this version yet"
        case .pointless: "ignored"
        }
    }

    /// The value of `root` as mail.toml writes it; nil for keys that hold none.
    func literal(in root: Root) -> String? {
        switch self {
        case .text(let path, _): return quoted(root[keyPath: path])
        case .flag(let path): return String(root[keyPath: path])
        case .count(let path, _): return String(root[keyPath: path])
        case .optionalCount(let path, _): return root[keyPath: path].map { String($0) }
        case .size(let path, _): return SizeNotation.format(root[keyPath: path])
        case .optionalSize(let path, _): return root[keyPath: path].map(SizeNotation.format)
        case .kibibytes(let path, _): return SizeNotation.format(root[keyPath: path] * 1024)
        case .duration(let path, _):
            return DurationNotation.format(Int(root[keyPath: path].components.seconds))
        case .address(let path): return quoted(AddressNotation.format(root[keyPath: path]))
        case .blocks(let path), .words(let path, _, _):
            return "[\(root[keyPath: path].map(quoted).joined(separator: ", "))]"
        case .minimumTLS(let path): return quoted(root[keyPath: path].rawValue)
        case .specialUse(let path):
            let names = root[keyPath: path].pairs
                .map {
                    "\(isBareKey($0.name) ? $0.name : quoted($0.name)) = \(quoted("\\\($0.use)"))"
                }
            return "{ \(names.joined(separator: ", ")) }"
        case .fixed(let only): return quoted(only)
        case .later, .pointless: return nil
        }
    }
}

func isBareKey(_ text: String) -> Bool {
    !text.isEmpty
        && text.utf8.allSatisfy {
            $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x5F || $0 == 0x2D
        }
}

extension SpecialUseNames {
    /// RFC 6154 §2, without the backslash.
    static let uses:
        [(use: String, path: any WritableKeyPath<SpecialUseNames, String> & Sendable)] = [
            ("Drafts", \.drafts), ("Sent", \.sent), ("Junk", \.junk), ("Trash", \.trash),
            ("Archive", \.archive),
        ]

    var pairs: [(name: String, use: String)] {
        Self.uses.map { (self[keyPath: $0.path], $0.use) }
    }
}

/// A value that a key cannot take.
struct ValueError: Error {
    var message: String
    var label = ""
    /// The element of an array that is wrong, if it is one.
    var position: Position?
    var isWarning = false
}
