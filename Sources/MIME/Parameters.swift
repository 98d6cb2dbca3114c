// SPDX-License-Identifier: Apache-2.0
//
// Content-Type, Content-Disposition and their parameters. RFC 2045 §5.1, RFC 2183, and RFC 2231 for
// values in pieces and in other charsets.

import Bytes

/// A token or `type/subtype`, and where its parameters are.
package struct ParameterizedField: Equatable, Sendable {
    /// The token before the first semicolon; for a media type, the type.
    package var value: Range<Int>
    /// Nil unless there was a slash.
    package var subtype: Range<Int>?
    /// From the first semicolon to the end of the field.
    package var parameters: Range<Int>

    /// - Returns: nil if there is no token.
    package init?(_ message: Span<UInt8>, _ body: Range<Int>) {
        var position = body.lowerBound
        let end = body.upperBound
        guard let value = Self.token(message, &position, end) else { return nil }
        self.value = value
        _ = StructuredText.skipBlanksAndComments(message, &position, end)
        if position < end, message[position] == 0x2F {
            position += 1
            subtype = Self.token(message, &position, end)
        }
        while position < end, message[position] != 0x3B {
            if message[position] == 0x28 {
                _ = StructuredText.skipBlanksAndComments(message, &position, end)
            } else {
                position += 1
            }
        }
        parameters = position..<end
    }

    /// A media type with both halves.
    package static func mediaType(
        _ message: Span<UInt8>, _ body: Range<Int>?
    ) -> ParameterizedField? {
        guard let body, let field = ParameterizedField(message, body), field.subtype != nil else {
            return nil
        }
        return field
    }

    private static func token(
        _ text: Span<UInt8>, _ position: inout Int, _ end: Int
    ) -> Range<Int>? {
        _ = StructuredText.skipBlanksAndComments(text, &position, end)
        let start = position
        while position < end {
            let octet = text[position]
            if StructuredText.isBlank(octet) || octet >= 0x7F { break }
            switch octet {
            case 0x22, 0x28, 0x29, 0x2C, 0x2F, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x40, 0x5B, 0x5C,
                0x5D:
                return position == start ? nil : start..<position
            default: position += 1
            }
        }
        return position == start ? nil : start..<position
    }
}

/// One parameter, its pieces put together.
package struct Parameter: Equatable, Sendable {
    /// As written, without RFC 2231's asterisks.
    package var name: [UInt8]
    /// Without quotes; if extended, still `charset'language'text` with percent signs.
    package var value: [UInt8]
    package var isExtended: Bool

    /// The parameters at `range`, in order; see `Limits`.
    package static func all(_ message: Span<UInt8>, _ range: Range<Int>) -> [Parameter] {
        var reader = ParameterReader(position: range.lowerBound, end: range.upperBound)
        var parameters: [Parameter] = []
        var hasPieces = false
        while parameters.count < ParameterReader.countLimit, let next = reader.next(message) {
            hasPieces = hasPieces || next.name.contains(0x2A)
            parameters.append(next)
        }
        return hasPieces ? ParameterPiece.join(parameters) : parameters
    }

    /// The value of parameter `name` (no capitals) as UTF-8; the extended form wins (RFC 6266 §4.3
    /// says what RFC 2231 leaves open).
    package static func text(
        _ name: StaticString, _ message: Span<UInt8>, _ range: Range<Int>
    ) -> [UInt8]? {
        var found: Parameter?
        for parameter in all(message, range)
        where FieldBody.isWord(parameter.name.span, 0..<parameter.name.count, name) {
            if found == nil || (parameter.isExtended && found?.isExtended == false) {
                found = parameter
            }
        }
        return found?.text
    }

    /// The value as UTF-8.
    package var text: [UInt8] {
        guard isExtended else { return value }
        let quote = value.firstIndex(of: 0x27)
        let second = quote.flatMap { value[($0 + 1)...].firstIndex(of: 0x27) }
        guard let quote, let second else { return Self.percentDecoded(value[...]) }
        let octets = Self.percentDecoded(value[(second + 1)...])
        return Charset(value.span, 0..<quote).utf8(from: octets)
    }

    private static func percentDecoded(_ octets: ArraySlice<UInt8>) -> [UInt8] {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(octets.count)
        var index = octets.startIndex
        while index < octets.endIndex {
            if octets[index] == 0x25, index + 2 < octets.endIndex,
                let high = octets[index + 1].hexadecimalValue,
                let low = octets[index + 2].hexadecimalValue
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(octets[index])
                index += 1
            }
        }
        return decoded
    }
}

extension UInt8 {
    /// 0 to 15 for a hexadecimal digit of any case.
    @inline(__always)
    var hexadecimalValue: UInt8? {
        if self &- 0x30 < 10 { return self &- 0x30 }
        let letter = (self | 0x20) &- 0x61
        return letter < 6 ? letter + 10 : nil
    }
}

/// Reads `*(";" attribute "=" value)` as it is written.
private struct ParameterReader {
    /// Parameters of one field.
    static let countLimit = 500
    /// Octets of an attribute; longer ones are passed over.
    static let nameLimit = 256

    var position: Int
    let end: Int

    /// The next parameter with a name; asterisks are still part of it.
    mutating func next(_ text: Span<UInt8>) -> Parameter? {
        while position < end {
            _ = StructuredText.skipBlanksAndComments(text, &position, end)
            let start = position
            while position < end, Self.isAttribute(text[position]) { position += 1 }
            let name = start..<position
            _ = StructuredText.skipBlanksAndComments(text, &position, end)
            guard position < end else { return nil }
            guard text[position] == 0x3D else {
                // a stray word, quote or semicolon: on to the next one
                if text[position] == 0x22 {
                    var ignored: [UInt8] = []
                    StructuredText.takeQuotedString(text, &position, end, into: &ignored)
                } else if position == start || text[position] == 0x3B {
                    position += 1
                }
                continue
            }
            position += 1
            let value = value(text)
            if name.isEmpty || name.count > Self.nameLimit { continue }
            return Parameter(
                name: [UInt8](copying: text.extracting(name)), value: value, isExtended: false)
        }
        return nil
    }

    private static func isAttribute(_ octet: UInt8) -> Bool {
        octet > 0x20 && octet != 0x7F && octet != 0x3D && octet != 0x3B && octet != 0x28
            && octet != 0x22
    }

    /// A quoted string, or everything to the next semicolon: `name=my file.pdf` is common.
    private mutating func value(_ text: Span<UInt8>) -> [UInt8] {
        var value: [UInt8] = []
        _ = StructuredText.skipBlanksAndComments(text, &position, end)
        if position < end, text[position] == 0x22 {
            StructuredText.takeQuotedString(text, &position, end, into: &value)
            return value
        }
        while position < end, text[position] != 0x3B {
            let before = position
            _ = StructuredText.skipBlanksAndComments(text, &position, end)
            guard position < end, text[position] != 0x3B else { break }
            if position > before, !value.isEmpty { value.append(.space) }
            value.append(text[position])
            position += 1
        }
        return value
    }
}

/// A parameter whose name may have asterisks: `name*`, `name*3` or `name*3*`.
private struct ParameterPiece {
    /// Where in the field it stood.
    var place: Int
    /// Octets of the name before the asterisks.
    var length: Int
    /// Nil for a value in one piece.
    var number: Int?
    var isExtended: Bool

    init(_ name: [UInt8], place: Int) {
        self.place = place
        length = name.count
        isExtended = name.last == 0x2A
        if isExtended { length -= 1 }
        // At most three digits: a value has no more than 1,000 pieces.
        var digits = 0
        var value = 0
        var scale = 1
        while digits < length, digits < 3, name[length - 1 - digits].isASCIIDigit {
            value += Int(name[length - 1 - digits] - 0x30) * scale
            scale *= 10
            digits += 1
        }
        if digits > 0, digits < length, name[length - 1 - digits] == 0x2A {
            number = value
            length -= digits + 1
        }
    }

    /// Puts pieces together. The result stands where the first piece stood; pieces that do not
    /// follow from number 0 on are dropped, as RFC 2231 §3 gives them no meaning.
    static func join(_ parameters: [Parameter]) -> [Parameter] {
        var pieces: [ParameterPiece] = []
        var joined: [(place: Int, parameter: Parameter)] = []
        for place in parameters.indices {
            let piece = ParameterPiece(parameters[place].name, place: place)
            if piece.number != nil {
                pieces.append(piece)
            } else {
                joined.append((place, piece.parameter(parameters, parameters[place].value)))
            }
        }
        // Sorted by name and number, so that equal ones are neighbours: no quadratic search. Most
        // often they come sorted.
        let isSorted = pieces.indices.dropFirst().allSatisfy {
            !isBefore(pieces[$0], pieces[$0 - 1], parameters)
        }
        if !isSorted { pieces.sort { isBefore($0, $1, parameters) } }
        var start = 0
        while start < pieces.count {
            var end = start + 1
            while end < pieces.count, order(pieces[start], pieces[end], parameters) == 0 {
                end += 1
            }
            if let parameter = joinGroup(pieces[start..<end], parameters) {
                let place = pieces[start..<end].reduce(Int.max) { min($0, $1.place) }
                joined.append((place, parameter))
            }
            start = end
        }
        return joined.sorted { $0.place < $1.place }.map(\.parameter)
    }

    /// By name in any case, by number, by place.
    private static func isBefore(
        _ left: ParameterPiece, _ right: ParameterPiece, _ parameters: [Parameter]
    ) -> Bool {
        let names = order(left, right, parameters)
        if names != 0 { return names < 0 }
        if left.number != right.number { return left.number ?? 0 < right.number ?? 0 }
        return left.place < right.place
    }

    /// Negative, 0 or positive, as the names without asterisks compare.
    private static func order(
        _ left: ParameterPiece, _ right: ParameterPiece, _ parameters: [Parameter]
    ) -> Int {
        if left.length != right.length { return left.length - right.length }
        for index in 0..<left.length {
            let first = parameters[left.place].name[index].asciiLowercased
            let second = parameters[right.place].name[index].asciiLowercased
            if first != second { return Int(first) - Int(second) }
        }
        return 0
    }

    /// The pieces of one name, by number.
    private static func joinGroup(
        _ group: ArraySlice<ParameterPiece>, _ parameters: [Parameter]
    ) -> Parameter? {
        let isExtended = group.contains(where: \.isExtended)
        var value: [UInt8] = []
        var expected = 0
        for piece in group {
            if let number = piece.number, number < expected { continue }  // a repeated number
            guard piece.number == expected else { break }
            let text = parameters[piece.place].value
            if isExtended, expected == 0, !piece.isExtended { value.append("''") }
            if isExtended, !piece.isExtended {
                value.appendPercentEncoded(text)
            } else {
                value.append(contentsOf: text)
            }
            expected += 1
        }
        guard expected > 0, var first = group.first else { return nil }
        first.isExtended = isExtended
        return first.parameter(parameters, value)
    }

    /// This name with `value`.
    private func parameter(_ parameters: [Parameter], _ value: [UInt8]) -> Parameter {
        Parameter(
            name: Array(parameters[place].name.prefix(length)), value: value,
            isExtended: isExtended)
    }
}

extension [UInt8] {
    /// A plain piece inside an extended value: its percent signs and odd octets are literal.
    fileprivate mutating func appendPercentEncoded(_ octets: [UInt8]) {
        let digits = Array("0123456789ABCDEF".utf8)
        for octet in octets {
            if octet.isASCIIVisible, octet != 0x25, octet != 0x27, octet != 0x2A {
                append(octet)
            } else {
                append(0x25)
                append(digits[Int(octet >> 4)])
                append(digits[Int(octet & 15)])
            }
        }
    }
}
