// SPDX-License-Identifier: Apache-2.0
//
// Names of message files. maildir(5), Maildir++ and Dovecot's fields:
// `<sec>.M<usec>P<pid>Q<n>.<host>,S=<size>[,W=<size with CRLF>][,E=<email id>],U=<uid>:2,<flags>`.

import Bytes
import Mail

/// A message file's name, taken apart. Fields of other programs are kept.
struct FileName: Equatable {
    private static let comma: UInt8 = 0x2C
    private static let colon: UInt8 = 0x3A
    /// NAME_MAX.
    private static let octetLimit = 255
    private static let letters: [(letter: UInt8, flag: Flags)] = [
        (0x44, .draft), (0x46, .flagged), (0x52, .answered), (0x53, .seen), (0x54, .deleted),
    ]

    /// What makes the name like no other: up to the first `,` or `:`.
    private(set) var unique: PathOctets
    /// Fields between the unique part and the colon that are not S, W or U, each with its comma.
    private var otherFields: PathOctets = []
    /// S=: octets of the file.
    var fileSize: Int64?
    /// W=: octets with CRLF line ends.
    var wireSize: Int64?
    /// E=: what a copy has from the message that it is a copy of (RFC 8474 EMAILID).
    private(set) var originID: [UInt8]?
    var uid: UInt32?
    /// Letters behind `:2,` that mean nothing here (`P`), kept when flags change.
    private var otherLetters: PathOctets = []
    /// System flags, and keyword letters as keyword bits.
    var flags: Flags = []

    init(unique: PathOctets, fileSize: Int64, uid: UInt32, flags: Flags) {
        self.unique = unique
        self.fileSize = fileSize
        self.uid = uid
        self.flags = flags
    }

    init(_ name: PathOctets) {
        let colon = name.firstIndex(of: Self.colon) ?? name.endIndex
        let fields = name[..<colon].split(separator: Self.comma, omittingEmptySubsequences: false)
        unique = fields.first.map { Array($0) } ?? []
        for field in fields.dropFirst() {
            switch (field.first, field.dropFirst().first) {
            case (0x53, 0x3D): fileSize = Self.number(field.dropFirst(2), limit: 1 << 40)
            case (0x57, 0x3D): wireSize = Self.number(field.dropFirst(2), limit: 1 << 40)
            case (0x45, 0x3D) where Self.isEmailID(field.dropFirst(2)):
                originID = Array(field.dropFirst(2))
            case (0x55, 0x3D):
                uid = Self.number(field.dropFirst(2), limit: Int64(UInt32.max - 1)).flatMap {
                    $0 > 0 ? UInt32($0) : nil
                }
            default: otherFields += [Self.comma] + field
            }
        }
        guard name[colon...].starts(with: [Self.colon, 0x32, Self.comma]) else { return }
        for letter in name[colon...].dropFirst(3) {
            if let known = Self.letters.first(where: { $0.letter == letter }) {
                flags.insert(known.flag)
            } else if letter >= 0x61, letter <= 0x7A {
                flags.insert(.keyword(Int(letter - 0x61)))
            } else if letter.isASCIILetter, !otherLetters.contains(letter) {
                otherLetters.append(letter)
            }
        }
    }

    /// The whole name, letters in ASCII order. Nil if it would be too long for a file name.
    var octets: PathOctets? {
        var name = unique
        if let fileSize { name.append(",S=\(fileSize)") }
        if let wireSize { name.append(",W=\(wireSize)") }
        if let originID {
            name.append(",E=")
            name += originID
        }
        name += otherFields
        if let uid { name.append(",U=\(uid)") }
        name.append(":2,")
        var letters = otherLetters
        for (letter, flag) in Self.letters where flags.contains(flag) { letters.append(letter) }
        for number in 0..<Flags.keywordLimit where flags.contains(.keyword(number)) {
            letters.append(0x61 + UInt8(number))
        }
        name += letters.sorted()
        return name.count <= Self.octetLimit ? name : nil
    }

    /// The same message under a new unique part, without fields of other programs.
    func renamed(_ unique: UniqueName) -> FileName {
        var copy = self
        copy.unique = unique.octets
        copy.otherFields = []
        copy.originID = nil
        return copy
    }

    /// A copy of the message under a new unique part: it keeps the EMAILID.
    func copied(_ unique: UniqueName) -> FileName {
        var copy = renamed(unique)
        copy.originID = originID ?? Self.emailID(unique: self.unique)
        return copy
    }

    private static func isEmailID(_ text: ArraySlice<UInt8>) -> Bool {
        text.count == MessageDetail.emailIDCount
            && text.allSatisfy { $0.isASCIIDigit || (0x61...0x66).contains($0) }
    }

    /// True if the file has LF line ends, and is to be read with CRLF.
    var needsCRLF: Bool {
        guard let wireSize, let fileSize else { return false }
        return wireSize != fileSize
    }

    /// True if the form is that of this store: its sizes need no second look.
    var isOurs: Bool {
        guard fileSize != nil, uid != nil, wireSize == nil, otherFields.isEmpty else {
            return false
        }
        // <sec>.M<usec>P<pid>Q<n>.<host>
        let parts = unique.split(separator: 0x2E, maxSplits: 2)
        return parts.count == 3 && parts[1].first == 0x4D && parts[1].contains(0x50)
            && parts[1].contains(0x51)
    }

    /// A hash of the unique part with a key of this process.
    static func uniqueHash(of name: PathOctets) -> Int {
        name[..<(name.firstIndex { $0 == comma || $0 == colon } ?? name.endIndex)].hash
    }

    /// Only the part before the first `,` or `:`, without taking the rest apart.
    static func unique(of name: PathOctets) -> PathOctets {
        Array(name.prefix { $0 != comma && $0 != colon })
    }

    private static func number(_ digits: ArraySlice<UInt8>, limit: Int64) -> Int64? {
        guard !digits.isEmpty, digits.count <= 13 else { return nil }
        var value: Int64 = 0
        for digit in digits {
            guard digit.isASCIIDigit else { return nil }
            value = value * 10 + Int64(digit - 0x30)
        }
        return value <= limit ? value : nil
    }
}

extension ArraySlice<UInt8> {
    /// 64 bits with a key of this process.
    var hash: Int {
        var hasher = Hasher()
        unsafe withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
        return hasher.finalize()
    }
}

extension PathOctets {
    /// 64 bits with a key of this process.
    var hash: Int { self[...].hash }
}

extension UniqueName {
    /// The host as Maildir has it: no `/`, `:` or `,`, nothing unprintable.
    static func host(_ name: String) -> [UInt8] {
        let plain = name.utf8.prefix(60).map { octet -> UInt8 in
            octet.isASCIIVisible && octet != 0x2F && octet != 0x3A && octet != 0x2C ? octet : 0x5F
        }
        return plain.isEmpty ? [UInt8]("localhost") : Array(plain)
    }
}
