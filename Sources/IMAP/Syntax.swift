// SPDX-License-Identifier: Apache-2.0
//
// The words of the IMAP grammar: atoms, strings, literals, numbers. RFC 3501 §9. Reads what real
// clients send (several spaces, any case, 8-bit octets in strings), never what is ambiguous.

import Bytes

/// Why a command cannot be carried out as it was written. RFC 3501 §7.1.3.
package enum CommandError: Error, Hashable, Sendable {
    /// Not a command: no tag, or one with forbidden octets.
    case badTag
    case unknownCommand
    /// Something else was expected at this octet of the command.
    case syntax(at: Int)
    /// Parentheses, keys or sets beyond what is allowed.
    case tooComplex
    /// A date that does not exist.
    case badDate
    /// A flag that the client may not set (`\Recent`) or that no one knows.
    case badFlag
}

extension UInt8 {
    /// ATOM-CHAR, and octets over 0x7F, which some clients send in mailbox names.
    var isAtomOctet: Bool {
        switch self {
        case 0x00...0x20, 0x7F, 0x28, 0x29, 0x7B, 0x25, 0x2A, 0x22, 0x5C, 0x5D: false
        default: true
        }
    }

    /// ASTRING-CHAR.
    var isAStringOctet: Bool { isAtomOctet || self == 0x5D }

    /// list-char.
    var isListOctet: Bool { isAStringOctet || self == 0x25 || self == 0x2A }

    /// What may be in a tag; `+` is forbidden by the RFC but only a lone one is ambiguous.
    var isTagOctet: Bool { isAStringOctet && self < 0x80 }
}

extension Cursor {
    var failure: CommandError { .syntax(at: offset) }

    /// Consumes one or more spaces.
    mutating func space() throws(CommandError) {
        guard skip(while: { $0 == .space }) > 0 else { throw failure }
    }

    mutating func expect(_ octet: UInt8) throws(CommandError) {
        guard take(octet) else { throw failure }
    }

    /// The end of the command; spaces in front of it are forgiven.
    mutating func end() throws(CommandError) {
        _ = skip(while: { $0 == .space })
        guard isAtEnd else { throw failure }
    }

    /// Consumes a word of the protocol in capitals: at most 15 letters, digits, `.`, `-`, `_`, `=`.
    mutating func word() -> String {
        var word = ""
        while word.utf8.count < 15, let octet = next,
            octet.isASCIILetter || octet.isASCIIDigit || octet == 0x2E || octet == 0x2D
                || octet == 0x3D || octet == 0x5F
        {
            word.unicodeScalars.append(Unicode.Scalar(octet.asciiUppercased))
            advance(by: 1)
        }
        return word
    }

    mutating func atom() throws(CommandError) -> [UInt8] {
        let octets = take(while: \.isAtomOctet)
        guard !octets.isEmpty else { throw failure }
        return octets
    }

    mutating func quoted() throws(CommandError) -> [UInt8] {
        try expect(0x22)
        var octets: [UInt8] = []
        while true {
            octets += take(while: { $0 != 0x22 && $0 != 0x5C && $0 != .cr && $0 != .lf && $0 != 0 })
            guard let octet = takeOctet() else { throw failure }
            if octet == 0x22 { return octets }
            guard octet == 0x5C, let escaped = takeOctet(), escaped == 0x22 || escaped == 0x5C
            else { throw failure }
            octets.append(escaped)
        }
    }

    /// A literal with its header, as `CommandAssembler` puts it into the command. No NUL inside.
    mutating func literal() throws(CommandError) -> [UInt8] {
        try expect(0x7B)
        guard let count = number(limit: UInt64(Int32.max)) else { throw failure }
        _ = take(0x2B)
        try expect(0x7D)
        guard take("\r\n"), let octets = take(count: Int(count)), !octets.contains(0) else {
            throw failure
        }
        return octets
    }

    mutating func string() throws(CommandError) -> [UInt8] {
        next == 0x7B ? try literal() : try quoted()
    }

    mutating func astring() throws(CommandError) -> [UInt8] {
        if next == 0x22 || next == 0x7B { return try string() }
        let octets = take(while: \.isAStringOctet)
        guard !octets.isEmpty else { throw failure }
        return octets
    }

    /// string or list-char run: what LIST takes as a pattern.
    mutating func listMailbox() throws(CommandError) -> [UInt8] {
        if next == 0x22 || next == 0x7B { return try string() }
        let octets = take(while: \.isListOctet)
        guard !octets.isEmpty else { throw failure }
        return octets
    }

    mutating func number32() throws(CommandError) -> UInt32 {
        guard let number = number(limit: UInt64(UInt32.max)) else { throw failure }
        return UInt32(number)
    }

    /// mod-sequence-value. RFC 7162 §7: 63 bits.
    mutating func modSeq() throws(CommandError) -> UInt64 {
        guard let number = number(limit: UInt64(Int64.max)) else { throw failure }
        return number
    }

    /// A flag as STORE and APPEND take it, added to `flags`.
    mutating func flag(into flags: inout FlagList) throws(CommandError) {
        if take(0x5C) {
            let name = take(while: \.isAtomOctet).asciiLowercased
            try flags.insert(system: name)
        } else {
            try flags.insert(keyword: try atom())
        }
    }

    /// `(` flags `)`, or flags without parentheses up to the end.
    mutating func flagList(parenthesesRequired: Bool) throws(CommandError) -> FlagList {
        var flags = FlagList()
        if take(0x28) {
            _ = skip(while: { $0 == .space })
            if take(0x29) { return flags }
            while true {
                try flag(into: &flags)
                if take(0x29) { return flags }
                try space()
                if take(0x29) { return flags }
            }
        }
        if parenthesesRequired { throw failure }
        while true {
            try flag(into: &flags)
            guard !isAtEnd else { return flags }
            try space()
            guard !isAtEnd else { return flags }
        }
    }
}
