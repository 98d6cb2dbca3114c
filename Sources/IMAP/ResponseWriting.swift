// SPDX-License-Identifier: Apache-2.0
//
// Pieces of server responses, appended to octets. RFC 3501 §7, §9. No String on the way: what is
// answered for every message of a large mailbox is written here.

import Bytes
import Mail

/// Appends responses to a buffer that is handed over and emptied by its owner.
package struct ResponseWriter {
    package private(set) var octets: [UInt8] = []
    /// RFC 6855: the client reads UTF-8 in quoted strings and mailbox names.
    package var isUTF8 = false
    /// Flags are the same for most messages in a row, so their text is made once.
    private var lastFlags: (flags: Flags, text: [UInt8])?
    /// So are dates: the quote, the day and the space behind it.
    private var lastDay: (day: Int, text: [UInt8])?

    package init() {}

    package var count: Int { octets.count }

    /// Hands over what was written and starts again.
    package mutating func take() -> [UInt8] {
        defer { octets = [] }
        return octets
    }

    /// Empties the buffer, keeping its memory for the next responses.
    package mutating func removeAll() { octets.removeAll(keepingCapacity: true) }

    /// Takes back what was written behind the first `count` octets.
    package mutating func rollBack(to count: Int) { octets.removeLast(octets.count - count) }

    package mutating func reserve(_ count: Int) { octets.reserveCapacity(count) }

    package mutating func write(_ text: StaticString) { octets.append(literal: text) }

    package mutating func write(_ text: [UInt8]) { octets.append(contentsOf: text) }

    package mutating func write(_ text: ArraySlice<UInt8>) { octets.append(contentsOf: text) }

    package mutating func write(_ number: UInt32) { octets.appendDecimal(number) }

    package mutating func write(_ number: UInt64) { octets.appendDecimal(number) }

    package mutating func with<R>(_ body: (inout [UInt8]) -> R) -> R { body(&octets) }

    /// `TAG OK text` CRLF.
    package mutating func line(_ tag: [UInt8], _ text: StaticString) {
        write(tag)
        octets.append(.space)
        write(text)
        write("\r\n")
    }

    /// `(\Seen foo)`.
    package mutating func write(_ flags: Flags, keywords: [[UInt8]]) {
        if let lastFlags, lastFlags.flags == flags {
            octets.append(contentsOf: lastFlags.text)
            return
        }
        var text: [UInt8] = [0x28]
        flags.appendNames(keywords: keywords, to: &text)
        text.append(0x29)
        octets.append(contentsOf: text)
        lastFlags = (flags, text)
    }

    /// Must be called when the keyword table changes.
    package mutating func keywordsChanged() { lastFlags = nil }

    /// A string, quoted if it can be, else as a literal.
    package mutating func string(_ text: [UInt8]) {
        let quotable =
            text.count <= 1_000
            && text.allSatisfy {
                $0 >= 0x20 && $0 != 0x7F && $0 != 0x22 && $0 != 0x5C && ($0 < 0x80 || isUTF8)
            } && (!isUTF8 || String(validating: text, as: UTF8.self) != nil)
        if quotable {
            octets.append(0x22)
            octets.append(contentsOf: text)
            octets.append(0x22)
        } else {
            literalHeader(text.count)
            octets.append(contentsOf: text)
        }
    }

    /// `{n}` CRLF.
    package mutating func literalHeader(_ count: Int) {
        octets.append(0x7B)
        octets.appendDecimal(UInt64(count))
        write("}\r\n")
    }

    /// A mailbox name as clients read it: modified UTF-7, or UTF-8 for those that asked for it
    /// (RFC 6855 §3); an atom where that is usual.
    package mutating func mailbox(_ name: MailboxName) {
        let encoded = isUTF8 ? name.octets : ModifiedUTF7.encode(name.octets)
        if name.isInbox {
            octets.append(contentsOf: encoded)
            return
        }
        octets.append(0x22)
        for octet in encoded {
            if octet == 0x22 || octet == 0x5C { octets.append(0x5C) }
            octets.append(octet)
        }
        octets.append(0x22)
    }
}

extension ResponseWriter {
    /// Starts `* n FETCH (`.
    package mutating func startFetch(number: UInt32) {
        write("* ")
        octets.appendDecimal(number)
        write(" FETCH (")
    }

    /// One item that the view alone can answer. False if it cannot.
    package mutating func item(
        _ attribute: FetchAttribute, of entry: MessageEntry, keywords: [[UInt8]]
    ) -> Bool {
        guard attribute.need == .nothing else { return false }
        octets.append(attribute.label)
        value(attribute, of: entry, keywords: keywords)
        return true
    }

    private mutating func value(
        _ attribute: FetchAttribute, of entry: MessageEntry, keywords: [[UInt8]]
    ) {
        switch attribute {
        case .flags: write(entry.flags, keywords: keywords)
        case .uid: octets.appendDecimal(entry.uid)
        case .size: octets.appendDecimal(entry.size)
        case .internalDate: date(entry.internalDate)
        case .modSeq:
            octets.append(0x28)
            octets.appendDecimal(entry.modSeq)
            octets.append(0x29)
        default: break
        }
    }

    /// `"17-Jul-1996 09:44:25 +0000"`.
    mutating func date(_ seconds: SecondsSince1970) {
        guard (0..<253_402_300_800).contains(seconds) else {
            InternalDate.append(seconds, to: &octets)
            return
        }
        let (day, time) = Int(seconds).quotientAndRemainder(dividingBy: 86_400)
        if lastDay?.day != day {
            var text: [UInt8] = []
            InternalDate.append(SecondsSince1970(day * 86_400), to: &text)
            lastDay = (day, Array(text.prefix(13)))
        }
        if let lastDay { octets.append(contentsOf: lastDay.text) }
        twoDigits(time / 3_600)
        octets.append(0x3A)
        twoDigits(time / 60 % 60)
        octets.append(0x3A)
        twoDigits(time % 60)
        write(" +0000\"")
    }

    private mutating func twoDigits(_ number: Int) {
        octets.append(0x30 + UInt8(truncatingIfNeeded: number / 10))
        octets.append(0x30 + UInt8(truncatingIfNeeded: number % 10))
    }

    /// FETCH responses for `range` of a view, as far as it alone can answer: one tight loop, for
    /// this is what clients ask of every message of a mailbox.
    package mutating func fetch(
        _ command: FetchCommand, _ range: Range<Int>, of view: borrowing ClientView
    ) {
        let labels = command.attributes.enumerated().map { index, attribute in
            Array((index == 0 ? " FETCH (" : " ") + attribute.label)
        }
        let keywords = view.keywords
        for index in range {
            let entry = view.entries[index]
            if let since = command.changedSince, entry.modSeq <= since { continue }
            octets.append(0x2A)
            octets.append(.space)
            octets.appendDecimal(UInt32(index) + 1)
            for (place, attribute) in command.attributes.enumerated() {
                octets.append(contentsOf: labels[place])
                value(attribute, of: entry, keywords: keywords)
            }
            octets.append(0x29)
            octets.append(.cr)
            octets.append(.lf)
        }
    }

    /// `* n FETCH (UID u FLAGS (...) MODSEQ (m))`: flags changed by someone.
    package mutating func flagUpdate(
        number: UInt32, _ entry: MessageEntry, keywords: [[UInt8]], withUID: Bool, withFlags: Bool,
        withModSeq: Bool
    ) {
        startFetch(number: number)
        if withUID {
            write("UID ")
            octets.appendDecimal(entry.uid)
            if withFlags || withModSeq { octets.append(.space) }
        }
        if withFlags {
            write("FLAGS ")
            write(entry.flags, keywords: keywords)
            if withModSeq { octets.append(.space) }
        }
        if withModSeq {
            write("MODSEQ (")
            octets.appendDecimal(entry.modSeq)
            octets.append(0x29)
        }
        write(")\r\n")
    }

    /// `* FLAGS (...)` and `* OK [PERMANENTFLAGS (...)]`, without `\Recent`.
    package mutating func flagTable(keywords: [[UInt8]], isReadOnly: Bool) {
        var all = Flags.system
        for number in keywords.indices where number < Flags.keywordLimit {
            all.insert(.keyword(number))
        }
        write("* FLAGS ")
        write(all, keywords: keywords)
        write("\r\n* OK [PERMANENTFLAGS (")
        if !isReadOnly {
            all.appendNames(keywords: keywords, to: &octets)
            if keywords.count < Flags.keywordLimit { write(" \\*") }
        }
        write(")] Flags permitted\r\n")
    }
}

extension FetchAttribute {
    /// The name of the item and a space; empty for those that the view cannot answer.
    fileprivate var label: String {
        switch self {
        case .flags: "FLAGS "
        case .uid: "UID "
        case .size: "RFC822.SIZE "
        case .internalDate: "INTERNALDATE "
        case .modSeq: "MODSEQ "
        default: ""
        }
    }
}
