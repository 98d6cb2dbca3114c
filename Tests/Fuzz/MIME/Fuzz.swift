// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry: a message with all that FETCH and SEARCH do to it. It must not trap, and what
// comes out must fit together.

import Bytes
import IMAP
import MIME
import Mail

private let needles = [SearchText(Array("na\u{EF}ve".utf8)), SearchText(Array("zz".utf8))]

private let sections = [
    Section(text: .header), Section(text: .text), Section(part: [1]), Section(part: [1, 1]),
    Section(part: [2], text: .mime), Section(part: [1], text: .header),
    Section(part: [1, 2], text: .headerFieldsNot([Array("subject".utf8)])),
    Section(text: .headerFields([Array("from".utf8), Array("to".utf8)])),
]

/// libFuzzer calls this with every input that it makes up.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let message = Array(UnsafeBufferPointer(start: pointer, count: count))
    let structure = MessageStructure(message.span)
    checkStructure(structure, message)
    checkHeader(message)
    checkSynopsis(message)
    checkRecoder(message)

    var output: [UInt8] = []
    for form in [BodyStructure.Form.body, .bodyStructure] {
        BodyStructure.append(structure, of: message.span, form: form, to: &output)
        checkList(output)
        output.removeAll()
    }
    Envelope.append(header: message.span, to: &output)
    checkList(output)

    for section in sections {
        let partial = Section.Partial(start: 3, count: 5)
        let content = section.resolve(in: message.span, structure: structure)
        precondition(content == section.resolve(in: message.span))
        if case .range(let range) = content { precondition(range.upperBound <= count) }
        _ = content.cut(to: partial)
    }
    for needle in needles {
        let isInBody = needle.isInBody(of: message.span, structure)
        precondition(!isInBody || needle.isInText(of: message.span, structure))
        _ = needle.isIn(field: Array("subject".utf8), ofHeader: message.span)
    }
    for part in [[], [1], [1, 2], [2]] as [[UInt32]] { checkBinary(message, structure, part) }
    let preview = MessagePreview.text(of: message.span)
    precondition(preview.count <= 4 * MessagePreview.characterLimit)
    checkTerms(message, structure)
    checkHTML(message)
    _ = SearchText.sentDay(ofHeader: message.span)
    _ = InternalDate.parse(message.span)
    return 0
}

/// What is announced is what comes, and a cut is a part of it.
private func checkBinary(_ message: [UInt8], _ structure: MessageStructure, _ part: [UInt32]) {
    guard case .content(let content) = BinaryContent.find(part, in: message.span, structure) else {
        return
    }
    func all(_ partial: Section.Partial?) -> [UInt8] {
        var output: [UInt8] = []
        var reader = content.reader(partial)
        while reader.next(message.span, into: &output) {}
        return output
    }
    let whole = all(nil)
    let measured = content.measure(message.span, nil)
    precondition(measured.count == whole.count && measured.hasNUL == whole.contains(0))
    let partial = Section.Partial(start: 2, count: 7)
    precondition(all(partial) == Array(whole[partial.clamp(0..<whole.count)]))
}

/// BINARYMIME becomes lines, the same ones however the message was cut, or there is a fault.
private func checkRecoder(_ message: [UInt8]) {
    let cut = Int(message.first ?? 0) % (message.count + 1)
    var whole = BinaryRecoder()
    var parts = BinaryRecoder()
    var output: [UInt8] = []
    var outputInParts: [UInt8] = []
    whole.recode(message.span, into: &output)
    whole.finish(into: &output)
    parts.recode(message.span.extracting(0..<cut), into: &outputInParts)
    parts.recode(message.span.extracting(cut..<message.count), into: &outputInParts)
    parts.finish(into: &outputInParts)
    precondition((whole.fault == nil) == (parts.fault == nil))
    guard whole.fault == nil else { return }
    precondition(output == outputInParts)
    precondition(output.count <= 2 * message.count + 1_000)
    var before: UInt8 = 0
    for octet in output {
        precondition(octet != 0 && (before == 0x0D) == (octet == 0x0A))
        before = octet
    }
    precondition(before != 0x0D)
}

nonisolated(unsafe) private var terms = SearchTerms()  // safe: libFuzzer has one thread

/// What the exact search finds, the index must know of.
private func checkTerms(_ message: [UInt8], _ structure: MessageStructure) {
    guard terms.take(message.span) else { return }
    let keys = Set(terms.keys)
    precondition(keys.count == terms.keys.count)
    // Needles out of the message itself, so that some are found.
    for start in stride(from: 0, to: message.count, by: max(1, message.count / 8)) {
        let text = SearchText(Array(message[start..<min(start + 5, message.count)]))
        let octets = text.needle.octets
        guard octets.count >= 3, !octets.contains(0) else { continue }
        func isKnown(_ zone: SearchTerms.Zone) -> Bool {
            (0...(octets.count - 3)).allSatisfy { place in
                let key =
                    UInt32(octets[place]) << 16 | UInt32(octets[place + 1]) << 8
                    | UInt32(octets[place + 2])
                return keys.contains(zone.rawValue << 24 | key)
            }
        }
        if text.isInBody(of: message.span, structure) { precondition(isKnown(.body)) }
        if text.isInText(of: message.span, structure) {
            precondition(isKnown(.body) || isKnown(.header))
        }
        let isInSubject = text.isIn(field: Array("subject".utf8), ofHeader: message.span)
        let column = terms.columns[SearchTerms.Column.subject.rawValue]
        if message.count < SearchTerms.headerLimit {
            precondition(
                isInSubject == (text.needle.firstIndex(in: column.span, from: 0) != nil))
        }
    }
}

/// Text does not depend on the pieces in which HTML comes, and is UTF-8 if the HTML is.
private func checkHTML(_ message: [UInt8]) {
    let html = Charset.utf8.utf8(from: message)
    var whole: [UInt8] = []
    var reader = HTMLText()
    reader.append(html, to: &whole)
    reader.finish(into: &whole)
    precondition(String(validating: whole, as: UTF8.self) != nil)
    var pieces: [UInt8] = []
    reader = HTMLText()
    for octet in html { reader.append([octet], to: &pieces) }
    reader.finish(into: &pieces)
    precondition(whole == pieces)
}

private func checkStructure(_ structure: MessageStructure, _ message: [UInt8]) {
    var isChild = [Bool](repeating: false, count: structure.parts.count)
    for (number, part) in structure.parts.enumerated() {
        precondition(part.header.upperBound == part.body.lowerBound)
        precondition(part.body.upperBound <= message.count)
        precondition(part.lines == message[part.body].count { $0 == .lf })
        var last = part.body.lowerBound
        var child = part.firstChild
        while let current = child {
            let inner = structure.parts[current]
            precondition(current > number && !isChild[current])
            precondition(inner.header.lowerBound >= last)
            precondition(inner.body.upperBound <= part.body.upperBound)
            isChild[current] = true
            last = inner.body.upperBound
            child = inner.nextSibling
        }
        checkTexts(part, message)
    }
    precondition(isChild.dropFirst().allSatisfy { $0 })
}

/// Texts are valid UTF-8 whatever was in the message.
private func checkTexts(_ part: MessagePart, _ message: [UInt8]) {
    var reader = HeaderReader(part.header)
    while let field = reader.next(message.span) {
        precondition(field.end <= part.header.upperBound)
        var text: [UInt8] = []
        HeaderText.append(message.span, field.body, to: &text)
        precondition(String(validating: text, as: UTF8.self) != nil)
        if let parameters = ParameterizedField(message.span, field.body)?.parameters {
            for parameter in Parameter.all(message.span, parameters) { _ = parameter.text }
        }
        _ = MessageDate(message.span, field.body)
    }
    var transfer = TransferDecoder(part.encoding)
    var decoded: [UInt8] = []
    transfer.decode(message.span.extracting(part.body), into: &decoded)
    transfer.finish(into: &decoded)
    for charset in [Charset.utf8, .unknown, .utf16, .single(5)] {
        let text = charset.utf8(from: decoded)
        precondition(String(validating: text, as: UTF8.self) != nil)
        var folded: [UInt8] = []
        CaseFolding.append(text, to: &folded)
        precondition(String(validating: folded, as: UTF8.self) != nil)
    }
}

private func checkHeader(_ message: [UInt8]) {
    let summary = HeaderSummary(header: message.span)
    for text in [summary.subject, summary.from, summary.to, summary.messageID] {
        precondition(text.count <= HeaderSummary.octetLimit)
        precondition(String(validating: text, as: UTF8.self) != nil)
    }
}

/// What is kept for lists gives the answers of the message itself; octets that nobody packed give
/// none, and no trap.
private func checkSynopsis(_ message: [UInt8]) {
    let synopsis = MessageSynopsis(message.span, isWhole: true)
    var output: [UInt8] = []
    var expected: [UInt8] = []
    if !synopsis.envelope.isEmpty {
        precondition(Envelope.append(packed: synopsis.envelope.span, to: &output))
        Envelope.append(header: message.span, to: &expected)
        precondition(output == expected)
    }
    if let structure = synopsis.structure, !structure.isEmpty {
        precondition(
            BodyStructure.append(packed: structure.span, form: .bodyStructure, to: &output))
        let parsed = MessageStructure(message.span)
        BodyStructure.append(parsed, of: message.span, form: .bodyStructure, to: &expected)
        precondition(output == expected)
    }
    if !synopsis.fields.isEmpty {
        let section = Section(
            text: .headerFields(["from", "to", "subject"].map { Array($0.utf8) }))
        precondition(
            section.resolve(in: synopsis.fields.span) == section.resolve(in: message.span))
    }
    let keys = ListKeys(message.span, 0..<message.count)
    precondition(ListKeys(packed: keys.packed.span) == keys)

    let before = output
    for form in [BodyStructure.Form.body, .bodyStructure] {
        if !BodyStructure.append(packed: message.span, form: form, to: &output) {
            precondition(output == before)
        }
        output = before
    }
    if !Envelope.append(packed: message.span, to: &output) { precondition(output == before) }
    _ = ListKeys(packed: message.span)
    var rows = SummaryReader(.all)
    while let row = rows.next(message.span) { precondition(row.keys.upperBound <= message.count) }
}

/// Exactly one list: quotes closed, literals whole, parentheses balanced.
private func checkList(_ octets: [UInt8]) {
    var depth = 0
    var index = 0
    while index < octets.count {
        switch octets[index] {
        case 0x28: depth += 1
        case 0x29:
            depth -= 1
            precondition(depth > 0 || index == octets.count - 1)
        case 0x22:
            index += 1
            while octets[index] != 0x22 {
                precondition(octets[index] < 0x80 && octets[index] != .cr && octets[index] != .lf)
                index += octets[index] == 0x5C ? 2 : 1
            }
        case 0x7B:
            var length = 0
            index += 1
            while octets[index] != 0x7D {
                length = length * 10 + Int(octets[index] - 0x30)
                index += 1
            }
            precondition(octets[index + 1] == .cr && octets[index + 2] == .lf)
            precondition(!octets[(index + 3)..<(index + 3 + length)].contains(0))
            index += 2 + length
        default: precondition(octets[index] >= 0x20 && octets[index] < 0x7F)
        }
        index += 1
    }
    precondition(depth == 0)
}
