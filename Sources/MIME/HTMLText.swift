// SPDX-License-Identifier: Apache-2.0
//
// What a reader sees of HTML, from octets that come in pieces: tags, comments, scripts and styles
// taken out, character references replaced, blanks run together. HTML Living Standard §13.2.5, as
// far as a search needs it. Every input means something; memory does not grow with it.

import Bytes

/// Takes the text out of HTML in UTF-8 or any other ASCII-compatible charset.
package struct HTMLText: Sendable {
    private enum State: Equatable {
        case text
        /// Behind `<`.
        case open
        /// Inside a tag, with the quote that is open in it (0: none).
        case tag(quote: UInt8)
        /// Inside `<!...>` or `<?...>`.
        case declaration
        /// Inside a comment, with the dashes seen last (2 is enough).
        case comment(dashes: Int)
        /// In what is never shown, until its end tag.
        case hidden
        /// In `hidden`, behind `<`, `</` and so many letters of the name.
        case hiddenEnd(Int)
        case reference
    }

    /// Octets of a tag's or reference's name that are looked at.
    private static let nameLimit = 12

    private var state = State.text
    /// The tag's or reference's name so far, tags in lower case.
    private var name: [UInt8] = []
    private var isEndTag = false
    private var nameIsOver = false
    /// The element whose content is hidden.
    private var hiddenName: [UInt8] = []
    /// True if the last thing written was a blank, or nothing was written.
    private var isBlank = true

    package init() {}

    package mutating func append(_ octets: [UInt8], to output: inout [UInt8]) {
        append(octets.span, to: &output)
    }

    package mutating func append(_ octets: Span<UInt8>, to output: inout [UInt8]) {
        var index = 0
        while index < octets.count {
            let octet = octets[index]
            switch state {
            case .text:
                let end = Self.plainEnd(octets, index)
                if end > index {
                    output.append(copying: octets.extracting(index..<end))
                    isBlank = octets[end - 1] == .space
                    index = end
                    continue
                }
                index += 1
                take(octet, &output)
            case .open:
                // Not consumed: `opened` says what the octet belongs to.
                opened(octet, &output)
            case .tag(let quote):
                index += 1
                inTag(octet, quote, &output)
            case .declaration:
                index += 1
                declaration(octet)
            case .comment(let dashes):
                index += 1
                if octet == 0x3E, dashes >= 2 {
                    state = .text
                } else {
                    state = .comment(dashes: octet == 0x2D ? min(2, dashes + 1) : 0)
                }
            case .hidden:
                index = octets.first(0x3C, in: index..<octets.count)
                if index < octets.count {
                    index += 1
                    state = .hiddenEnd(0)
                }
            case .hiddenEnd(let matched):
                index += hidden(octet, matched)
            case .reference:
                index += reference(octet, &output)
            }
        }
    }

    /// Ends the text: writes what was begun and is no reference.
    package mutating func finish(into output: inout [UInt8]) {
        switch state {
        case .reference: endReference(semicolon: false, &output)
        case .open: output.append(0x3C)
        default: break
        }
        state = .text
    }

    private static func plainEnd(_ octets: Span<UInt8>, _ start: Int) -> Int {
        var index = start
        var afterSpace = false
        while index < octets.count {
            let octet = octets[index]
            if octet > 0x3E {
                afterSpace = false
            } else if octet == 0x3C || octet == 0x26 || octet < 0x20 {
                return index
            } else if octet == .space {
                // One blank between words is as plain as they are.
                if afterSpace || index == start { return index }
                afterSpace = true
            } else {
                afterSpace = false
            }
            index += 1
        }
        return index
    }

    private mutating func take(_ octet: UInt8, _ output: inout [UInt8]) {
        switch octet {
        case 0x3C: state = .open
        case 0x26:
            state = .reference
            name.removeAll(keepingCapacity: true)
        default: blank(&output)
        }
    }

    private mutating func blank(_ output: inout [UInt8]) {
        if !isBlank { output.append(.space) }
        isBlank = true
    }

    // MARK: - Tags

    private mutating func opened(_ octet: UInt8, _ output: inout [UInt8]) {
        name.removeAll(keepingCapacity: true)
        nameIsOver = false
        isEndTag = octet == 0x2F
        if octet == 0x21 || octet == 0x3F {
            state = .declaration
        } else if octet.isASCIILetter || isEndTag {
            state = .tag(quote: 0)
        } else {
            output.append(0x3C)
            isBlank = false
            state = .text
        }
    }

    private mutating func inTag(_ octet: UInt8, _ quote: UInt8, _ output: inout [UInt8]) {
        if quote != 0 {
            if octet == quote { state = .tag(quote: 0) }
            return
        }
        switch octet {
        case 0x3E: endTag(&output)
        case 0x22, 0x27:
            // Quotes count only where an attribute may be.
            if nameIsOver, !isEndTag { state = .tag(quote: octet) }
        case 0x2F where name.isEmpty && !nameIsOver: break
        default:
            if octet.isASCIILetter || octet.isASCIIDigit, !nameIsOver {
                if name.count < Self.nameLimit { name.append(octet.asciiLowercased) }
            } else {
                nameIsOver = true
            }
        }
    }

    private mutating func endTag(_ output: inout [UInt8]) {
        state = .text
        let word = String(decoding: name, as: UTF8.self)
        if !Self.inline.contains(word) { blank(&output) }
        if !isEndTag, word == "script" || word == "style" {
            hiddenName = name
            state = .hidden
        }
    }

    /// Elements inside a line: what is before and after them is one word.
    private static let inline: Set<String> = [
        "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em",
        "font", "i", "ins", "kbd", "label", "mark", "o", "q", "s", "samp", "small", "span",
        "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
    ]

    private mutating func declaration(_ octet: UInt8) {
        if octet == 0x3E {
            state = .text
        } else if !nameIsOver {
            // `!`, and two dashes right behind it: a comment.
            if name.isEmpty {
                name.append(octet)
            } else if octet == 0x2D, name[0] == 0x21 {
                name.append(octet)
                if name.count == 3 { state = .comment(dashes: 2) }
            } else {
                nameIsOver = true
            }
        }
    }

    /// - Returns: how many octets were used up.
    private mutating func hidden(_ octet: UInt8, _ matched: Int) -> Int {
        if matched == 0 {
            guard octet == 0x2F else {
                state = .hidden
                return 0
            }
            state = .hiddenEnd(1)
            return 1
        }
        if matched - 1 == hiddenName.count {
            name.removeAll(keepingCapacity: true)
            nameIsOver = true
            isEndTag = true
            state = octet.isASCIILetter ? .hidden : .tag(quote: 0)
            return 0
        }
        guard octet.asciiLowercased == hiddenName[matched - 1] else {
            state = .hidden
            return 0
        }
        state = .hiddenEnd(matched + 1)
        return 1
    }

    // MARK: - Character references

    /// - Returns: how many octets were used up.
    private mutating func reference(_ octet: UInt8, _ output: inout [UInt8]) -> Int {
        if octet == 0x3B {
            endReference(semicolon: true, &output)
            return 1
        }
        let isPart =
            octet.isASCIILetter || octet.isASCIIDigit || (octet == 0x23 && name.isEmpty)
        guard isPart, name.count < Self.nameLimit else {
            endReference(semicolon: false, &output)
            return 0
        }
        name.append(octet)
        return 1
    }

    private mutating func endReference(semicolon: Bool, _ output: inout [UInt8]) {
        state = .text
        if let scalar = scalar {
            if scalar == 0xA0 || scalar <= 0x20 {
                blank(&output)
            } else {
                output.append(scalar: scalar)
                isBlank = false
            }
            return
        }
        output.append(0x26)
        output.append(contentsOf: name)
        if semicolon { output.append(0x3B) }
        isBlank = false
    }

    /// What the reference in `name` stands for; nil if it is none.
    private var scalar: UInt32? {
        guard name.first == 0x23 else { return HTMLReference.named(name) }
        let isHexadecimal = name.count > 1 && name[1].asciiLowercased == 0x78
        let digits = name.dropFirst(isHexadecimal ? 2 : 1)
        guard !digits.isEmpty else { return nil }
        var value: UInt32 = 0
        for digit in digits {
            guard let number = digit.hexadecimalValue, isHexadecimal || number < 10 else {
                return nil
            }
            value = min(0x11_0000, value * (isHexadecimal ? 16 : 10) + UInt32(number))
        }
        if value >= 0x80, value < 0xA0 { value = UInt32(Charset.windows1252[Int(value) - 0x80]) }
        return value == 0 || Unicode.Scalar(value) == nil ? 0xFFFD : value
    }
}

/// Named character references of HTML 4, with which nearly all mail makes do.
private enum HTMLReference {
    static func named(_ name: [UInt8]) -> UInt32? {
        table[String(decoding: name, as: UTF8.self)]
    }

    private static let table: [String: UInt32] = {
        var table: [String: UInt32] = [
            "amp": 0x26, "lt": 0x3C, "gt": 0x3E, "quot": 0x22, "apos": 0x27, "AMP": 0x26,
            "LT": 0x3C, "GT": 0x3E, "QUOT": 0x22, "OElig": 0x152, "oelig": 0x153,
            "Scaron": 0x160, "scaron": 0x161, "Yuml": 0x178, "fnof": 0x192, "circ": 0x2C6,
            "tilde": 0x2DC, "ensp": 0x20, "emsp": 0x20, "thinsp": 0x20, "zwnj": 0x200C,
            "zwj": 0x200D, "lrm": 0x200E, "rlm": 0x200F, "ndash": 0x2013, "mdash": 0x2014,
            "lsquo": 0x2018, "rsquo": 0x2019, "sbquo": 0x201A, "ldquo": 0x201C, "rdquo": 0x201D,
            "bdquo": 0x201E, "dagger": 0x2020, "Dagger": 0x2021, "bull": 0x2022,
            "hellip": 0x2026, "permil": 0x2030, "prime": 0x2032, "Prime": 0x2033,
            "lsaquo": 0x2039, "rsaquo": 0x203A, "euro": 0x20AC, "trade": 0x2122, "larr": 0x2190,
            "uarr": 0x2191, "rarr": 0x2192, "darr": 0x2193, "harr": 0x2194, "minus": 0x2212,
            "infin": 0x221E, "asymp": 0x2248, "ne": 0x2260, "le": 0x2264, "ge": 0x2265,
            "Alpha": 0x391, "alpha": 0x3B1, "Beta": 0x392, "beta": 0x3B2, "gamma": 0x3B3,
            "Delta": 0x394, "delta": 0x3B4, "epsilon": 0x3B5, "theta": 0x3B8, "lambda": 0x3BB,
            "mu": 0x3BC, "pi": 0x3C0, "Sigma": 0x3A3, "sigma": 0x3C3, "sigmaf": 0x3C2,
            "tau": 0x3C4, "phi": 0x3C6, "Omega": 0x3A9, "omega": 0x3C9,
        ]
        // U+00A0 to U+00FF.
        let latin = """
            nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg \
            plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 \
            iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml \
            Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash \
            Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring \
            aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve \
            oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml
            """
        for (number, name) in latin.split(separator: " ").enumerated() {
            table[String(name)] = 0xA0 + UInt32(number)
        }
        return table
    }()
}
