// SPDX-License-Identifier: Apache-2.0
//
// The parameters of MAIL and RCPT. RFC 5321 §4.1.2; RFC 1870 (SIZE); RFC 6152 and RFC 3030 (BODY);
// RFC 6531 (SMTPUTF8); RFC 3461 (RET, ENVID, NOTIFY, ORCPT); RFC 4954 (AUTH); RFC 8689 (REQUIRETLS);
// RFC 2852 (BY); RFC 6710 (MT-PRIORITY). Whether one may be used now is ServerMachine's business.

import Bytes
import Mail

/// The parameters of MAIL.
package struct MailParameters: Equatable, Sendable {
    /// Declared octets, `Int.max` for more than that; nil if undeclared (RFC 1870 §6).
    package var size: Int?
    package var terms = EnvelopeTerms()
    /// The sender was spelled with something else than ASCII.
    package var hasInternationalPath = false

    package init(size: Int? = nil, isEightBit: Bool = false, isInternational: Bool = false) {
        self.size = size
        if isEightBit { terms.body = .eightBit }
        terms.isInternational = isInternational
    }

    /// SMTPUTF8 was given.
    package var isInternational: Bool { terms.isInternational }

    /// Each at most once.
    init(_ cursor: inout Cursor) throws(CommandError) {
        var seen: Set<String> = []
        while let (keyword, value) = try cursor.parameter() {
            guard seen.insert(keyword).inserted else { throw .badParameter }
            switch keyword {
            case "SIZE":
                guard let value, (1...20).contains(value.count),
                    value.allSatisfy(\.isASCIIDigit)
                else { throw .badParameter }
                size = Self.clamped(value)
            case "BODY": try setBody(value)
            case "SMTPUTF8":
                guard value == nil else { throw .badParameter }
                terms.isInternational = true
            case "REQUIRETLS":
                guard value == nil else { throw .badParameter }
                terms.requiresTLS = true
            case "AUTH":
                // RFC 4954 §5: an identity that we do not trust is treated as `<>`.
                guard let value, !value.isEmpty, Xtext.decoded(value) != nil,
                    value.allSatisfy(\.isASCIIVisible)
                else { throw .badParameter }
            case "RET": try setReturn(value)
            case "ENVID":
                guard let value, (1...EnvelopeTerms.envelopeIDLimit).contains(value.count),
                    let id = Xtext.decoded(value), id.allSatisfy({ (0x20...0x7E).contains($0) })
                else { throw .badParameter }
                terms.envelopeID = id
            case "BY": terms.deliverBy = try Self.deliverBy(value)
            case "MT-PRIORITY": terms.priority = try Self.priority(value)
            default: throw .unknownParameter
            }
        }
    }

    private mutating func setBody(_ value: [UInt8]?) throws(CommandError) {
        switch word(value) {
        case "7BIT": terms.body = .sevenBit
        case "8BITMIME": terms.body = .eightBit
        case "BINARYMIME": terms.body = .binary
        default: throw .badParameter
        }
    }

    private mutating func setReturn(_ value: [UInt8]?) throws(CommandError) {
        switch word(value) {
        case "FULL": terms.ret = .full
        case "HDRS": terms.ret = .headers
        default: throw .badParameter
        }
    }

    /// `[+/-]1*9DIGIT ";" ("N" / "R") ["T"]`; with R it must lie in the future (RFC 2852 §4).
    private static func deliverBy(_ value: [UInt8]?) throws(CommandError) -> DeliverBy {
        guard let value else { throw .badParameter }
        let parts = value.split(separator: 0x3B, maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw .badParameter }
        let isNegative = parts[0].first == 0x2D
        let digits = isNegative || parts[0].first == 0x2B ? parts[0].dropFirst() : parts[0]
        guard (1...9).contains(digits.count), digits.allSatisfy(\.isASCIIDigit) else {
            throw .badParameter
        }
        let number = digits.reduce(Int32(0)) { $0 * 10 + Int32($1 - 0x30) }
        let mode: DeliverBy.Mode
        switch parts[1].first?.asciiUppercased {
        case 0x4E: mode = .notify
        case 0x52: mode = .return
        default: throw .badParameter
        }
        let trace = parts[1].dropFirst()
        guard trace.isEmpty || trace.count == 1 && trace.first?.asciiUppercased == 0x54,
            mode == .notify || !isNegative && number > 0
        else { throw .badParameter }
        return DeliverBy(
            seconds: isNegative ? -number : number, mode: mode, isTraced: !trace.isEmpty)
    }

    /// `0`, or one digit with or without a minus sign (RFC 6710 §8).
    private static func priority(_ value: [UInt8]?) throws(CommandError) -> Int8 {
        guard let value else { throw .badParameter }
        let isNegative = value.first == 0x2D
        let digits = isNegative ? value.dropFirst() : value[...]
        guard digits.count == 1, let digit = digits.first, digit.isASCIIDigit,
            !isNegative || digit != 0x30
        else { throw .badParameter }
        let number = Int8(digit - 0x30)
        return isNegative ? -number : number
    }

    private static func clamped(_ digits: [UInt8]) -> Int {
        digits.reduce(0) { sum, digit in
            let (tenfold, overflow) = sum.multipliedReportingOverflow(by: 10)
            let (next, carried) = tenfold.addingReportingOverflow(Int(digit - 0x30))
            return overflow || carried ? .max : next
        }
    }
}

/// The parameters of RCPT.
package struct RecipientParameters: Equatable, Sendable {
    package var terms: RecipientTerms
    /// The recipient was spelled with something else than ASCII.
    package var hasInternationalPath = false

    package init(_ terms: RecipientTerms = RecipientTerms()) { self.terms = terms }

    init(_ cursor: inout Cursor) throws(CommandError) {
        terms = RecipientTerms()
        var seen: Set<String> = []
        while let (keyword, value) = try cursor.parameter() {
            guard seen.insert(keyword).inserted else { throw .badParameter }
            switch keyword {
            case "NOTIFY": terms.notify = try Self.notify(value)
            case "ORCPT": terms.original = try Self.original(value)
            default: throw .unknownParameter
            }
        }
    }

    /// `NEVER`, alone, or a list of the others (RFC 3461 §4.1).
    private static func notify(_ value: [UInt8]?) throws(CommandError) -> NotifyConditions {
        guard let value, value.count <= 40 else { throw .badParameter }
        var conditions: NotifyConditions = []
        let parts = value.split(separator: 0x2C, omittingEmptySubsequences: false)
        for part in parts {
            switch word(Array(part)) {
            case "NEVER":
                guard parts.count == 1 else { throw .badParameter }
            case "SUCCESS": conditions.insert(.success)
            case "FAILURE": conditions.insert(.failure)
            case "DELAY": conditions.insert(.delay)
            default: throw .badParameter
            }
        }
        return conditions
    }

    /// `addr-type ";" xtext` (RFC 3461 §4.2; UTF-8 by RFC 6533 §3).
    private static func original(_ value: [UInt8]?) throws(CommandError) -> OriginalRecipient {
        guard let value, value.count <= OriginalRecipient.addressLimit,
            let semicolon = value.firstIndex(of: 0x3B)
        else { throw .badParameter }
        let type = Array(value[..<semicolon])
        guard (1...OriginalRecipient.typeLimit).contains(type.count),
            type.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D }),
            let address = Xtext.decoded(Array(value[(semicolon + 1)...])), !address.isEmpty,
            address.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }),
            String(validating: address, as: UTF8.self) != nil
        else { throw .badParameter }
        return OriginalRecipient(type: type, address: address)
    }
}

/// A short value in capitals; empty if there is none.
private func word(_ value: [UInt8]?) -> String {
    guard let value, value.count <= 15 else { return "" }
    return String(decoding: value.map(\.asciiUppercased), as: UTF8.self)
}

extension Cursor {
    /// `SP esmtp-keyword [ "=" esmtp-value ]`; nil at the end of the line.
    fileprivate mutating func parameter() throws(CommandError) -> (String, [UInt8]?)? {
        guard skip(while: { $0 == .space }) > 0, !isAtEnd else { return nil }
        let word = take { $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x2D }
        guard (1...15).contains(word.count) else { throw .unknownParameter }
        let keyword = String(decoding: word.map(\.asciiUppercased), as: UTF8.self)
        let value = take(0x3D) ? take { $0 > 0x20 && $0 != 0x3D } : nil
        guard isAtEnd || next == .space else { throw .badParameter }
        return (keyword, value)
    }
}

// MARK: - Writing

extension EnvelopeTerms {
    /// As parameters of MAIL, those that are not plain.
    package var parameters: [[UInt8]] {
        var all: [[UInt8]] = []
        if let ret { all.append(Array(ret == .full ? "RET=FULL" : "RET=HDRS")) }
        if let envelopeID { all.append(Array("ENVID=") + Xtext.encoded(envelopeID)) }
        switch body {
        case .sevenBit: break
        case .eightBit: all.append(Array("BODY=8BITMIME"))
        case .binary: all.append(Array("BODY=BINARYMIME"))
        }
        if isInternational { all.append(Array("SMTPUTF8")) }
        if requiresTLS { all.append(Array("REQUIRETLS")) }
        if let priority { all.append(Array("MT-PRIORITY=\(priority)")) }
        if let deliverBy {
            let mode = deliverBy.mode == .notify ? "N" : "R"
            all.append(Array("BY=\(deliverBy.seconds);\(mode)\(deliverBy.isTraced ? "T" : "")"))
        }
        return all
    }
}

extension RecipientTerms {
    /// As parameters of RCPT.
    package var parameters: [[UInt8]] {
        var all: [[UInt8]] = []
        if let notify { all.append(Array("NOTIFY=") + notify.words) }
        if let original {
            all.append(Array("ORCPT=") + original.type + [0x3B] + Xtext.encoded(original.address))
        }
        return all
    }
}

extension NotifyConditions {
    fileprivate var words: [UInt8] {
        var words: [[UInt8]] = []
        if contains(.success) { words.append(Array("SUCCESS")) }
        if contains(.failure) { words.append(Array("FAILURE")) }
        if contains(.delay) { words.append(Array("DELAY")) }
        return isEmpty ? Array("NEVER") : Array(words.joined(separator: [0x2C]))
    }
}
