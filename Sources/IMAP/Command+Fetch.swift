// SPDX-License-Identifier: Apache-2.0
//
// The grammar of FETCH and how its items are called in the answer. RFC 3501 §6.4.5, §9;
// RFC 7162 §3.1.4 for MODSEQ and CHANGEDSINCE.

import Bytes
import MIME
import Mail

extension Cursor {
    mutating func fetch(byUID: Bool) throws(CommandError) -> FetchCommand {
        let set = try SequenceSet(from: &self)
        try space()
        var command = FetchCommand(set: set, attributes: [], changedSince: nil, byUID: byUID)
        if take(0x28) {
            _ = skip(while: { $0 == .space })
            repeat {
                guard command.attributes.count < FetchCommand.attributeLimit else {
                    throw .tooComplex
                }
                let attribute = try fetchAttribute()
                if !command.attributes.contains(attribute) {
                    command.attributes.append(attribute)
                }
                _ = skip(while: { $0 == .space })
            } while !take(0x29)
        } else {
            try fetchMacroOrAttribute(into: &command)
        }
        if skip(while: { $0 == .space }) > 0, take(0x28) {
            try fetchModifiers(into: &command)
        }
        if byUID, !command.attributes.contains(.uid) { command.attributes.insert(.uid, at: 0) }
        return command
    }

    private mutating func fetchModifiers(
        into command: inout FetchCommand
    ) throws(CommandError) {
        repeat {
            _ = skip(while: { $0 == .space })
            switch word() {
            case "CHANGEDSINCE" where command.changedSince == nil:
                try space()
                command.changedSince = try modSeq()
                if !command.attributes.contains(.modSeq) { command.attributes.append(.modSeq) }
            case "VANISHED" where command.byUID && command.changedSince != nil:
                command.tellsVanished = true
            case "PARTIAL" where command.byUID && command.partial == nil:
                try space()
                command.partial = try partialRange()
            default: throw failure
            }
        } while next == .space
        try expect(0x29)
    }

    private mutating func fetchMacroOrAttribute(
        into command: inout FetchCommand
    ) throws(CommandError) {
        let start = offset
        switch word() {
        case "ALL": command.attributes = [.flags, .internalDate, .size, .envelope]
        case "FAST": command.attributes = [.flags, .internalDate, .size]
        case "FULL":
            command.attributes = [
                .flags, .internalDate, .size, .envelope, .structure(extended: false),
            ]
        default:
            rewind(to: start)
            command.attributes = [try fetchAttribute()]
        }
    }

    mutating func fetchAttribute() throws(CommandError) -> FetchAttribute {
        switch word() {
        case "FLAGS": return .flags
        case "UID": return .uid
        case "INTERNALDATE": return .internalDate
        case "RFC822.SIZE": return .size
        case "MODSEQ": return .modSeq
        case "ENVELOPE": return .envelope
        case "EMAILID": return .emailID
        case "THREADID": return .threadID
        case "SAVEDATE": return .saveDate
        case "PREVIEW": return .preview(isLazy: take(" (LAZY)"))
        case "SNIPPET": return try snippet()
        case "BINARY": return .binary(try binary(isPeek: false))
        case "BINARY.PEEK": return .binary(try binary(isPeek: true))
        case "BINARY.SIZE":
            try expect(0x5B)
            let part = try partNumbers()
            try expect(0x5D)
            return .binarySize(part: part)
        case "BODYSTRUCTURE": return .structure(extended: true)
        case "RFC822":
            return .section(SectionFetch(section: Section(), label: .rfc822, isPeek: false))
        case "RFC822.HEADER":
            return .section(
                SectionFetch(section: Section(text: .header), label: .rfc822Header, isPeek: true))
        case "RFC822.TEXT":
            return .section(
                SectionFetch(section: Section(text: .text), label: .rfc822Text, isPeek: false))
        case "BODY":
            return next == 0x5B ? .section(try section(isPeek: false)) : .structure(extended: false)
        case "BODY.PEEK": return .section(try section(isPeek: true))
        default: throw failure
        }
    }

    private mutating func section(isPeek: Bool) throws(CommandError) -> SectionFetch {
        try expect(0x5B)
        let part = try partNumbers()
        let text = next == 0x5D ? Section.Text.whole : try sectionText(inPart: !part.isEmpty)
        try expect(0x5D)
        return SectionFetch(
            section: Section(part: part, text: text), isPeek: isPeek, partial: try partial())
    }

    /// RFC 3516 §4.2: `[1.2]`, without anything but part numbers.
    private mutating func binary(isPeek: Bool) throws(CommandError) -> BinaryFetch {
        try expect(0x5B)
        let part = try partNumbers()
        try expect(0x5D)
        return BinaryFetch(part: part, isPeek: isPeek, partial: try partial())
    }

    /// ` (FUZZY)`, ` (LAZY=FUZZY)` or nothing.
    private mutating func snippet() throws(CommandError) -> FetchAttribute {
        if take(" (FUZZY)") { return .snippet(isLazy: false) }
        return .snippet(isLazy: take(" (LAZY=FUZZY)"))
    }

    /// `1.2.` or `1.2`; a dot at the end is for a word behind it.
    mutating func partNumbers() throws(CommandError) -> [UInt32] {
        var part: [UInt32] = []
        while let octet = next, octet.isASCIIDigit {
            guard part.count < 64 else { throw .tooComplex }
            let number = try number32()
            guard number > 0 else { throw failure }
            part.append(number)
            guard take(0x2E) else { break }
            guard next != 0x5D else { throw failure }
        }
        return part
    }

    mutating func sectionText(inPart: Bool) throws(CommandError) -> Section.Text {
        if take("HEADER.FIELDS.NOT") { return .headerFieldsNot(try fieldNames()) }
        if take("HEADER.FIELDS") { return .headerFields(try fieldNames()) }
        if take("HEADER") { return .header }
        if take("TEXT") { return .text }
        if inPart, take("MIME") { return .mime }
        throw failure
    }

    private mutating func fieldNames() throws(CommandError) -> [[UInt8]] {
        try space()
        try expect(0x28)
        _ = skip(while: { $0 == .space })
        var names: [[UInt8]] = []
        repeat {
            guard names.count < 256 else { throw .tooComplex }
            names.append(try astring())
            _ = skip(while: { $0 == .space })
        } while !take(0x29)
        return names
    }

    private mutating func partial() throws(CommandError) -> Section.Partial? {
        guard take(0x3C) else { return nil }
        guard let start = number(limit: UInt64(UInt32.max)) else { throw failure }
        try expect(0x2E)
        guard let count = number(limit: UInt64(UInt32.max)), count > 0 else { throw failure }
        try expect(0x3E)
        return Section.Partial(start: start, count: count)
    }
}

extension SectionFetch {
    /// Appends the name of the item as the answer has it: `BODY[TEXT]<0>`, `RFC822.HEADER`.
    package func appendLabel(to octets: inout [UInt8]) {
        switch label {
        case .rfc822: octets.append("RFC822")
        case .rfc822Header: octets.append("RFC822.HEADER")
        case .rfc822Text: octets.append("RFC822.TEXT")
        case .body:
            octets.append("BODY")
            section.append(to: &octets)
            if let partial {
                octets.append(0x3C)
                octets.appendDecimal(partial.start)
                octets.append(0x3E)
            }
        }
    }
}

extension FetchCommand {
    /// What must be read to answer.
    package enum Need: Comparable, Sendable {
        /// The view is enough.
        case nothing
        /// What the store knows beside the octets.
        case details
        case header
        case message
    }

    package var need: Need {
        attributes.map(\.need).max() ?? .nothing
    }

    /// What the store keeps of messages for lists, as far as this command needs it; nil if a
    /// message itself must be looked at.
    package var summaryPieces: SummaryPieces? {
        var pieces: SummaryPieces = []
        for attribute in attributes {
            switch attribute {
            case .flags, .internalDate, .size, .uid, .modSeq, .emailID, .threadID, .preview,
                .saveDate, .snippet:
                break
            case .binary, .binarySize: return nil
            case .envelope: pieces.insert(.envelope)
            case .structure: pieces.insert(.structure)
            case .section(let fetch):
                guard fetch.section.part.isEmpty,
                    case .headerFields(let names) = fetch.section.text,
                    names.allSatisfy({ ListFields.holds($0) })
                else { return nil }
                pieces.insert(.fields)
            }
        }
        return pieces.isEmpty ? nil : pieces
    }

    /// True if an item sets `\Seen`.
    package var setsSeen: Bool {
        attributes.contains {
            switch $0 {
            case .section(let section): !section.isPeek
            case .binary(let binary): !binary.isPeek
            default: false
            }
        }
    }

    /// What must be asked of the store beside the octets; nil: nothing.
    package var previewWish: PreviewWish? {
        var wish: PreviewWish?
        for attribute in attributes {
            switch attribute {
            case .preview(let isLazy), .snippet(let isLazy):
                let wanted: PreviewWish = isLazy ? .kept : .made
                if wanted.rawValue >= wish?.rawValue ?? 0 { wish = wanted }
            case .emailID, .saveDate: wish = wish ?? PreviewWish.none
            default: break
            }
        }
        return wish
    }
}

extension FetchAttribute {
    package var need: FetchCommand.Need {
        switch self {
        case .flags, .internalDate, .size, .uid, .modSeq: .nothing
        case .emailID, .threadID, .preview, .saveDate, .snippet: .details
        case .binary, .binarySize: .message
        case .envelope: .header
        case .structure: .message
        case .section(let fetch): fetch.section.needsOnlyHeader ? .header : .message
        }
    }
}
