// SPDX-License-Identifier: Apache-2.0
//
// Names on disk: mailboxes as Maildir++ folders in modified UTF-7 (RFC 3501 §5.1.3), domains and
// users as percent-encoded directories. Both can be read back, and neither can leave its directory.

import Bytes
import Mail

/// `Parent/Child` is the directory `.Parent.Child`; INBOX is the Maildir itself.
enum FolderName {
    /// Room is left below NAME_MAX (255).
    private static let octetLimit = 240
    private static let dot: UInt8 = 0x2E
    private static let alphabet =
        [UInt8]("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,")

    /// The directory of a mailbox; empty for INBOX; nil if it would be too long for a file name.
    static func directory(of name: MailboxName) -> PathOctets? {
        if name.isInbox { return [] }
        var directory: PathOctets = []
        for level in name.octets.split(separator: MailboxName.separator) {
            directory.append(dot)
            directory += encode(Array(level))
        }
        return directory.count <= octetLimit ? directory : nil
    }

    /// The mailbox of a directory `.A.B`; nil if no mailbox can have it.
    static func mailbox(of directory: PathOctets) -> MailboxName? {
        guard directory.count > 1, directory.first == dot else { return nil }
        var name: [UInt8] = []
        for level in directory.dropFirst().split(separator: dot, omittingEmptySubsequences: false) {
            if !name.isEmpty { name.append(MailboxName.separator) }
            // Folders of programs that write plain UTF-8 are taken as they are.
            let octets = decode(Array(level)) ?? Array(level)
            guard !octets.isEmpty, !octets.contains(MailboxName.separator) else { return nil }
            name += octets
        }
        guard let mailbox = MailboxName(name), !mailbox.isInbox else { return nil }
        return mailbox
    }

    /// One level in modified UTF-7. `.` separates levels on disk, so it is encoded as well.
    static func encode(_ level: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        var bits: UInt32 = 0
        var count: UInt32 = 0
        var isShifted = false
        func closeShift() {
            guard isShifted else { return }
            if count > 0 { text.append(alphabet[Int((bits << (6 - count)) & 63)]) }
            text.append(0x2D)
            (bits, count, isShifted) = (0, 0, false)
        }
        for unit in String(decoding: level, as: UTF8.self).utf16 {
            if unit >= 0x20, unit < 0x7F, unit != 0x2E {
                closeShift()
                text.append(UInt8(unit))
                if unit == 0x26 { text.append(0x2D) }
                continue
            }
            if !isShifted {
                text.append(0x26)
                isShifted = true
            }
            bits = bits << 16 | UInt32(unit)
            count += 16
            while count >= 6 {
                count -= 6
                text.append(alphabet[Int((bits >> count) & 63)])
            }
            bits &= (1 << count) - 1
        }
        closeShift()
        return text
    }

    /// Back to UTF-8; nil for anything that is not modified UTF-7.
    static func decode(_ text: [UInt8]) -> [UInt8]? {
        var units: [UInt16] = []
        var index = 0
        while index < text.count {
            let octet = text[index]
            index += 1
            guard octet >= 0x20, octet < 0x7F else { return nil }
            guard octet == 0x26 else {
                units.append(UInt16(octet))
                continue
            }
            guard let end = text[index...].firstIndex(of: 0x2D) else { return nil }
            if end == index {
                units.append(0x26)
            } else {
                var bits: UInt32 = 0
                var count: UInt32 = 0
                for digit in text[index..<end] {
                    guard let value = alphabet.firstIndex(of: digit) else { return nil }
                    bits = bits << 6 | UInt32(value)
                    count += 6
                    if count >= 16 {
                        count -= 16
                        units.append(UInt16(truncatingIfNeeded: bits >> count))
                        bits &= (1 << count) - 1
                    }
                }
                guard count < 6, bits == 0 else { return nil }
            }
            index = end + 1
        }
        guard let decoded = String(validating: units, as: UTF16.self) else { return nil }
        return [UInt8](decoded)
    }
}

/// A domain or user as the name of a directory.
enum AccountPath {
    /// `A-Z a-z 0-9 . _ + = @ -` stay, but for a dot in front; all else becomes `%XX`. Nil when
    /// empty or too long for a file name.
    static func component(_ name: [UInt8]) -> PathOctets? {
        let digits = [UInt8]("0123456789ABCDEF")
        var component: PathOctets = []
        for (index, octet) in name.enumerated() {
            let isPlain =
                octet.isASCIILetter || octet.isASCIIDigit || octet == 0x5F || octet == 0x2B
                || octet == 0x3D || octet == 0x40 || octet == 0x2D || (octet == 0x2E && index > 0)
            if isPlain {
                component.append(octet)
            } else {
                component += [0x25, digits[Int(octet >> 4)], digits[Int(octet & 15)]]
            }
        }
        return component.isEmpty || component.count > 255 ? nil : component
    }
}
