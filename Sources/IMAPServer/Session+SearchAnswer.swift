// SPDX-License-Identifier: Apache-2.0
//
// How SEARCH and SORT answer: the old way, or as ESEARCH with what RETURN asked for. RFC 3501
// §7.2.5; RFC 4731; RFC 5182; RFC 5267 §3; RFC 7162 §3.1.5; RFC 9394 §3.1.

import Bytes
import IMAP
import Mail
import StoreClient
import Transport

extension Session {
    /// Numbers that are written between two looks at whether the client reads.
    private static let stride = 2_048

    /// - Parameters:
    ///   - found: indexes of the view in the order of the answer.
    ///   - label: of an answer without RETURN.
    func answer(
        _ tag: [UInt8], _ found: [Int], _ program: SearchProgram, _ label: StaticString,
        byUID: Bool, _ selection: Selection
    ) async throws(Failure) {
        let numbers = found.map { index in
            byUID ? selection.view.entries[index].uid : UInt32(index) + 1
        }
        guard let returns = program.returns else {
            writer.write("* ")
            writer.write(label)
            try await write(list: numbers)
            if program.mentionsModSeq, !found.isEmpty {
                writer.write(" (MODSEQ ")
                writer.write(highest(found[...], selection))
                writer.write(")")
            }
            writer.write("\r\n")
            return
        }
        if returns.contains(.save) { save(found, returns, selection) }
        guard !returns.isOnlySave else { return }
        writer.write("* ESEARCH (TAG ")
        writer.string(tag)
        writer.write(byUID ? ") UID" : ")")
        try await write(returns, numbers)
        writeModSeq(found, program, selection)
        writer.write("\r\n")
    }

    /// RFC 4731 §3.2.
    func writeModSeq(_ found: [Int], _ program: SearchProgram, _ selection: Selection) {
        guard program.mentionsModSeq, !found.isEmpty, let returns = program.returns else { return }
        writer.write(" MODSEQ ")
        writer.write(highest(told(found, returns), selection))
    }

    /// The data items that `returns` asks for, each with a space in front.
    func write(_ returns: SearchReturn, _ numbers: [UInt32]) async throws(Failure) {
        if let first = numbers.first, let last = numbers.last {
            if returns.contains(.min) {
                writer.write(" MIN ")
                writer.write(first)
            }
            if returns.contains(.max) {
                writer.write(" MAX ")
                writer.write(last)
            }
            if returns.contains(.all) {
                writer.write(" ALL ")
                try await write(set: numbers)
            }
        }
        if let partial = returns.partial {
            writer.write(" PARTIAL (")
            writer.with { partial.append(to: &$0) }
            writer.write(" ")
            let places = partial.places(of: numbers.count)
            if places.isEmpty {
                writer.write("NIL")
            } else {
                try await write(set: Array(numbers[places]))
            }
            writer.write(")")
        }
        if returns.contains(.count) {
            writer.write(" COUNT ")
            writer.write(UInt32(numbers.count))
        }
    }

    private func write(list numbers: [UInt32]) async throws(Failure) {
        for (place, number) in numbers.enumerated() {
            writer.write(" ")
            writer.write(number)
            if place % Self.stride == 0 { try await drainOutput() }
        }
    }

    /// In the order given, runs of rising ones as ranges.
    private func write(set numbers: [UInt32]) async throws(Failure) {
        let ranges = UIDRange.ranges(of: numbers)
        var start = 0
        while start < ranges.count {
            if start > 0 { writer.write(",") }
            let end = min(start + Self.stride, ranges.count)
            writer.with { SequenceSet.append(Array(ranges[start..<end]), to: &$0) }
            start = end
            try await drainOutput()
        }
    }

    /// RFC 5182 §2.1.
    func save(_ found: [Int], _ returns: SearchReturn, _ selection: Selection) {
        var kept = found
        if !returns.savesAll {
            kept = []
            if returns.contains(.min) { kept += found.prefix(1) }
            if returns.contains(.max), found.count > kept.count { kept += found.suffix(1) }
        }
        let uids = kept.map { selection.view.entries[$0].uid }.sorted()
        selection.view.saved = UIDRange.ranges(of: uids)
    }

    /// Those that the answer names; all, if it does not only name some (RFC 4731 §3.2).
    private func told(_ found: [Int], _ returns: SearchReturn) -> ArraySlice<Int> {
        guard returns.isDisjoint(with: [.all, .count]) else { return found[...] }
        if let partial = returns.partial { return found[partial.places(of: found.count)] }
        switch (returns.contains(.min), returns.contains(.max)) {
        case (true, false): return found.prefix(1)
        case (false, true): return found.suffix(1)
        case (true, true): return (found.prefix(1) + found.suffix(1))[...]
        case (false, false): return found[...]
        }
    }

    private func highest(_ indexes: ArraySlice<Int>, _ selection: Selection) -> UInt64 {
        indexes.reduce(0) { max($0, selection.view.entries[$1].modSeq) }
    }
}
