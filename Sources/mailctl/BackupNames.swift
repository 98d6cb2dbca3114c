// SPDX-License-Identifier: Apache-2.0
//
// Names in a backup: those of the store, as docs/store.md has them. A generation can be read with
// ls, tar and sha256sum.

import Bytes
import Mail

/// What a message file's name says.
struct MessageName {
    /// The part that no other message has.
    var unique: [UInt8]
    var fileSize: Int64?
    var wireSize: Int64?
    var uid: UInt32?
    /// Behind `:2,`.
    var letters: [UInt8] = []

    init(_ name: [UInt8]) {
        let colon = name.firstIndex(of: 0x3A) ?? name.endIndex
        let fields = name[..<colon].split(separator: 0x2C, omittingEmptySubsequences: false)
        unique = fields.first.map { Array($0) } ?? []
        for field in fields.dropFirst() where field.count > 2 {
            let text = String(decoding: field.dropFirst(2), as: UTF8.self)
            switch String(decoding: field.prefix(2), as: UTF8.self) {
            case "S=": fileSize = Int64(text)
            case "W=": wireSize = Int64(text)
            case "U=": uid = UInt32(text)
            default: break
            }
        }
        if name[colon...].starts(with: Array(":2,".utf8)) {
            letters = Array(name[colon...].dropFirst(3))
        }
    }

    /// System flags and keywords by name.
    func flags(_ keywords: [[UInt8]]) -> NamedFlags {
        let system: [(UInt8, Flags)] = [
            (0x44, .draft), (0x46, .flagged), (0x52, .answered), (0x53, .seen), (0x54, .deleted),
        ]
        var flags = NamedFlags()
        for letter in letters {
            if let known = system.first(where: { $0.0 == letter }) {
                flags.system.insert(known.1)
            } else if letter >= 0x61, letter <= 0x7A, Int(letter - 0x61) < keywords.count {
                flags.keywords.append(keywords[Int(letter - 0x61)])
            }
        }
        return flags
    }
}

enum BackupName {
    static let incomplete = Array("incomplete".utf8)
    static let manifest = Array("MANIFEST.json".utf8)
    static let sums = Array("SHA256SUMS".utf8)
    static let partialSums = Array("SHA256SUMS.partial".utf8)
    static let mail = Array("mail".utf8)
    static let maildir = Array("Maildir".utf8)
    static let cur = Array("cur".utf8)
    static let new = Array("new".utf8)
    static let tmp = Array("tmp".utf8)
    static let folderState = Array("martlet-folder".utf8)
    static let accountState = Array("martlet-account".utf8)
    static let keywords = Array("dovecot-keywords".utf8)
    static let subscriptions = Array("subscriptions".utf8)
    static let folderMark = Array("maildirfolder".utf8)
    static let directory = Array("directory.sqlite".utf8)
    static let directoryText = Array("directory.sql".utf8)

    /// A domain or user as the name of a directory, as the store has it.
    static func component(_ name: [UInt8]) throws(Failure) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        var component: [UInt8] = []
        for (index, octet) in name.enumerated() {
            let isPlain =
                octet.isASCIILetter || octet.isASCIIDigit
                || Array("_+=@-".utf8).contains(octet) || (octet == 0x2E && index > 0)
            component +=
                isPlain ? [octet] : [0x25, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
        guard !component.isEmpty, component.count <= 255 else {
            throw Failure(.badData, "that address cannot be a directory")
        }
        return component
    }

    static func components(_ address: EmailAddress) throws(Failure) -> [[UInt8]] {
        [try component(address.domain), try component(address.local.asciiLowercased)]
    }

    /// The names of a folder's keywords by letter.
    static func keywordTable(_ octets: [UInt8]) -> [[UInt8]] {
        var names: [[UInt8]] = []
        for line in octets.split(separator: 0x0A) {
            guard let space = line.firstIndex(of: 0x20),
                let number = Int(String(decoding: line[..<space], as: UTF8.self)),
                (0..<26).contains(number)
            else { continue }
            while names.count <= number { names.append(Array("keyword-\(names.count)".utf8)) }
            names[number] = Array(line[(space + 1)...])
        }
        return names
    }
}

/// Lines of `SHA256SUMS`, as sha256sum(1) writes and checks them.
struct Sums {
    /// Digests by path.
    var entries: [[UInt8]: String] = [:]

    init() {}

    /// Lines that are not whole are left out: they come from an interrupted run.
    init(_ octets: [UInt8]) {
        var lines = octets.split(separator: 0x0A, omittingEmptySubsequences: false)
        // What is behind the last line end was cut off.
        if !lines.isEmpty { lines.removeLast() }
        for line in lines {
            var line = line
            let isEscaped = line.first == 0x5C
            if isEscaped { line = line.dropFirst() }
            guard line.count > 66, line[line.startIndex + 64] == 0x20 else { continue }
            let digest = String(decoding: line.prefix(64), as: UTF8.self)
            let path = Array(line.dropFirst(66))
            entries[isEscaped ? Self.unescaped(path) : path] = digest
        }
    }

    static func line(_ path: [UInt8], _ digest: String) -> [UInt8] {
        let needsEscape = path.contains(0x0A) || path.contains(0x5C)
        var line: [UInt8] = needsEscape ? [0x5C] : []
        line += Array(digest.utf8) + [0x20, 0x20]
        for octet in path {
            switch octet {
            case 0x0A: line += [0x5C, 0x6E]
            case 0x5C: line += [0x5C, 0x5C]
            default: line.append(octet)
            }
        }
        return line + [0x0A]
    }

    private static func unescaped(_ path: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var isEscape = false
        for octet in path {
            if isEscape {
                result.append(octet == 0x6E ? 0x0A : octet)
                isEscape = false
            } else if octet == 0x5C {
                isEscape = true
            } else {
                result.append(octet)
            }
        }
        return result
    }

    /// By path.
    var octets: [UInt8] {
        var octets: [UInt8] = []
        for (path, digest) in entries.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            octets += Self.line(path, digest)
        }
        return octets
    }
}
