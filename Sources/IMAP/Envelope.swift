// SPDX-License-Identifier: Apache-2.0
//
// The ENVELOPE data item, made from a message header. RFC 9051 §7.5.2, RFC 3501 §7.4.2. Encoded
// words stay as they are; 8-bit octets, which headers should not have, travel in literals.

import Bytes
import MIME

package enum Envelope {
    /// Appends the parenthesized ENVELOPE list of `header` to `output`.
    ///
    /// - Parameter header: a message header; anything after its empty line is not looked at.
    package static func append(header: Span<UInt8>, to output: inout [UInt8]) {
        append(header, 0..<header.count, to: &output)
    }

    /// The same for a header at `range` of a message.
    package static func append(
        _ message: Span<UInt8>, _ range: Range<Int>, to output: inout [UInt8]
    ) {
        let fields = Fields(message, range)
        output.append(0x28)
        output.append(unstructured: fields.date, of: message)
        output.append(.space)
        output.append(unstructured: fields.subject, of: message)
        output.append(.space)

        var list = AddressList()
        let from = output.count
        fields.append(.from, of: message, using: &list, to: &output)
        let fromList = from..<output.count
        for field in [KnownField.sender, .replyTo] {
            output.append(.space)
            if !fields.append(field, of: message, using: &list, to: &output) {
                // Absent or empty: the same as From.
                output.removeLast(3)
                // octet by octet: a slice would share the buffer and append then copy all of it
                for index in fromList { output.append(output[index]) }
            }
        }
        for field in [KnownField.to, .cc, .bcc] {
            output.append(.space)
            fields.append(field, of: message, using: &list, to: &output)
        }
        output.append(.space)
        output.append(unstructured: fields.inReplyTo, of: message)
        output.append(.space)
        output.append(unstructured: fields.messageID, of: message)
        output.append(0x29)
    }
}

/// The fields that ENVELOPE is made of.
private struct Fields {
    /// Of repeated fields the first counts.
    var date: Range<Int>?
    var subject: Range<Int>?
    var inReplyTo: Range<Int>?
    var messageID: Range<Int>?
    /// Repeated address fields add up.
    var addresses: [(field: KnownField, body: Range<Int>)] = []

    init(_ message: Span<UInt8>, _ range: Range<Int>) {
        addresses.reserveCapacity(6)
        var reader = HeaderReader(range)
        while let field = reader.next(message) {
            guard let known = KnownField(message, field.name) else { continue }
            switch known {
            case .date: date = date ?? field.body
            case .subject: subject = subject ?? field.body
            case .inReplyTo: inReplyTo = inReplyTo ?? field.body
            case .messageID: messageID = messageID ?? field.body
            case .from, .sender, .replyTo, .to, .cc, .bcc: addresses.append((known, field.body))
            default: break
            }
        }
    }

    /// Appends the address list of a field, or NIL.
    ///
    /// - Returns: false for NIL.
    @discardableResult
    func append(
        _ field: KnownField, of message: Span<UInt8>, using list: inout AddressList,
        to output: inout [UInt8]
    ) -> Bool {
        list.removeAll()
        for (known, body) in addresses where known == field { list.append(message, body) }
        if list.addresses.isEmpty {
            output.append("NIL")
            return false
        }
        output.append(0x28)
        for address in list.addresses {
            output.append(0x28)
            output.append(string: address.name, of: list.storage.span)
            output.append(.space)
            output.append(string: address.route, of: list.storage.span)
            output.append(.space)
            // Mailbox and host are NIL in groups only, so a missing one is an empty string.
            output.append(string: address.local, of: list.storage.span)
            output.append(.space)
            output.append(string: address.domain, of: list.storage.span)
            output.append(0x29)
        }
        output.append(0x29)
        return true
    }
}

extension [UInt8] {
    /// Appends a field body as `nstring`: without blanks at its ends, unfolded, NIL without field.
    mutating func append(unstructured body: Range<Int>?, of message: Span<UInt8>) {
        append(string: body.map { FieldBody.trimmed(message, $0) }, of: message)
    }

    /// Appends the octets at `range` as `nstring` without CR, LF and NUL: quoted if they are ASCII,
    /// else as a literal. NIL without a range.
    mutating func append(string range: Range<Int>?, of text: Span<UInt8>) {
        guard let range else {
            append("NIL")
            return
        }
        var needsLiteral = false
        var dropped = 0
        var escaped = 0
        for index in range {
            let octet = text[index]
            if octet >= 0x80 {
                needsLiteral = true
            } else if octet == .cr || octet == .lf || octet == 0 {
                dropped += 1
            } else if octet == 0x22 || octet == 0x5C {
                escaped += 1
            }
        }
        if needsLiteral {
            append(0x7B)
            appendDecimal(UInt(range.count - dropped))
            append("}\r\n")
            escaped = 0
        } else {
            append(0x22)
        }
        if dropped + escaped == 0 {
            append(copying: text.extracting(range))
        } else {
            append(addingCapacity: range.count - dropped + escaped) { output in
                for index in range {
                    let octet = text[index]
                    if octet == .cr || octet == .lf || octet == 0 { continue }
                    if escaped > 0, octet == 0x22 || octet == 0x5C { output.append(0x5C) }
                    output.append(octet)
                }
            }
        }
        if !needsLiteral { append(0x22) }
    }

    /// Appends a whole string likewise.
    mutating func append(string octets: [UInt8]) {
        append(string: 0..<octets.count, of: octets.span)
    }
}
