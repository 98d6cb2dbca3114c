// SPDX-License-Identifier: Apache-2.0
//
// Fuzzing the IMAP grammar: whole commands, commands in lines and literals, names and patterns.

import Bytes
import IMAP
import MIME
import Mail

/// One input: lines, each split further by its first octet.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let octets = Array(UnsafeBufferPointer(start: pointer, count: count))
    if let command = try? TaggedCommand(octets) { exercise(command.command) }
    assemble(octets)
    _ = MessageURL(octets)
    if let decoded = ModifiedUTF7.decode(octets) {
        guard ModifiedUTF7.encode(decoded) == octets else { fatalError("two spellings") }
    }
    if let name = MailboxName(wire: octets) {
        let encoded = ModifiedUTF7.encode(name.octets)
        guard MailboxName(wire: encoded) == name else { fatalError("name does not come back") }
        _ = ListPattern(octets)?.matches(name)
    }
    return 0
}

private func exercise(_ command: Command) {
    switch command {
    case .fetch(let fetch):
        _ = fetch.set.resolved(largest: 100)
        for case .section(let section) in fetch.attributes {
            var label: [UInt8] = []
            section.appendLabel(to: &label)
            let message = Array("Subject: x\r\n\r\nbody\r\n")
            _ = section.section.resolve(in: message.span)
        }
    case .search(let program, _): exercise(program)
    case .multiSearch(let command): exercise(command.program)
    case .sort(let command):
        exercise(command.program)
        var columns = SortColumns(command.order, count: 2)
        collect(into: &columns)
        guard columns.sorted().sorted() == [0, 1] else { fatalError("sorted away") }
    case .thread(let command):
        exercise(command.program)
        var builder = ThreadBuilder(command.algorithm, numbers: [1, 2])
        collect(into: &builder)
        var writer = ThreadForest.Writer(builder.finish())
        var octets: [UInt8] = []
        guard !writer.append(to: &octets, limit: 100) else { fatalError("two are long") }
    case .list(let list):
        for pattern in list.patterns {
            _ = ListPattern(list.reference + pattern)?.matches(.inbox)
        }
    default: break
    }
}

private func collect<Collector: KeyCollector>(into collector: inout Collector) {
    for place in 0..<2 {
        let header = Array("Subject: x\r\nReferences: <a> <b>\r\n\r\n")
        let packed = ListKeys(header.span, 0..<header.count).packed
        guard let keys = ListKeyRow(packed.span, 0..<packed.count) else { fatalError("keys") }
        let entry = MessageEntry(
            uid: UInt32(place + 1), size: 9, flags: .seen, modSeq: 3, internalDate: 1_500_000_000)
        collector.add(place, entry, keys, packed.span)
    }
}

private func exercise(_ program: SearchProgram) {
    let search = PreparedSearch(
        program, keywords: [Array("k")], messages: 10, largestUID: 10, now: 1_600_000_000)
    let entry = MessageEntry(
        uid: 5, size: 9, flags: .seen, modSeq: 3, internalDate: 1_500_000_000)
    let verdict = search.verdict(entry, number: 5)
    // What is left to ask of the text must agree with what the view knew by itself.
    let question = search.question(search.answers(entry, number: 5))
    let matches = TextMatcher(question).matches(
        Array("Subject: x\r\n\r\nbody\r\n"))
    if verdict == .yes, !matches { fatalError("the view and the text disagree") }
    if verdict == .no, matches { fatalError("the view and the text disagree") }
}

/// Lines and literals as a session would feed them, within its limits.
private func assemble(_ octets: [UInt8]) {
    let limits = CommandAssembler.Limits(command: 4_096, literal: 256, message: 1_024)
    var assembler = CommandAssembler(limits: limits)
    var rest = octets[...]
    while let end = rest.firstIndex(of: 0x0A) {
        let line = Array(rest[..<end])
        rest = rest[(end + 1)...]
        switch assembler.add(line: line.span) {
        case .command:
            if let command = try? TaggedCommand(assembler.octets) { exercise(command.command) }
            assembler.reset()
        case .literal(let literal):
            guard literal.count <= limits.literal, assembler.octets.count <= limits.command + 2
            else { fatalError("limit passed") }
            guard rest.count >= literal.count else { return }
            assembler.add(literal: Array(rest.prefix(literal.count)))
            rest = rest.dropFirst(literal.count)
        case .message(let append):
            append.read(&rest)
            assembler.reset()
        case .refused: assembler.reset()
        }
    }
}

extension AppendCommand {
    /// Messages as a session would read them.
    fileprivate func read(_ input: inout ArraySlice<UInt8>) {
        var reader = AppendReader(rest, allowsUTF8: true)
        var open = false
        while true {
            guard let step = try? reader.next() else { return }
            switch step {
            case .begin:
                guard !open else { fatalError("a message in a message") }
                open = true
            case .end:
                guard open else { fatalError("an end without a beginning") }
                open = false
            case .url(let url):
                guard open else { fatalError("a part of nothing") }
                _ = MessageURL(url)
            case .literal(let literal, _):
                guard open, skip(literal.count, &input, &reader) != nil else { return }
            case .urlLiteral(let literal):
                guard open, let url = skip(literal.count, &input, &reader) else { return }
                reader.add(url: url)
            case .done:
                guard !open else { fatalError("a message without an end") }
                return
            }
        }
    }

    private func skip(
        _ count: Int, _ input: inout ArraySlice<UInt8>, _ reader: inout AppendReader
    ) -> [UInt8]? {
        guard input.count >= count else { return nil }
        let literal = Array(input.prefix(count))
        input = input.dropFirst(count)
        guard let end = input.firstIndex(of: 0x0A) else { return nil }
        reader.add(line: Array(input[..<end]))
        input = input[(end + 1)...]
        return literal
    }
}
