// SPDX-License-Identifier: Apache-2.0
//
// SORT and THREAD as values, and their grammar. RFC 5256 §5; RFC 5957 (DISPLAYFROM, DISPLAYTO);
// RFC 5267 §3 (SORT RETURN).

import Bytes
import Mail

package enum SortKey: String, CaseIterable, Sendable {
    case arrival = "ARRIVAL"
    case cc = "CC"
    case date = "DATE"
    case from = "FROM"
    case size = "SIZE"
    case subject = "SUBJECT"
    case to = "TO"
    case displayFrom = "DISPLAYFROM"
    case displayTo = "DISPLAYTO"
}

package struct SortCriterion: Equatable, Sendable {
    package var key: SortKey
    package var isReverse: Bool

    package init(_ key: SortKey, isReverse: Bool = false) {
        self.key = key
        self.isReverse = isReverse
    }

    /// More than the view is needed.
    package var needsHeader: Bool { key != .arrival && key != .size }
}

package struct SortCommand: Equatable, Sendable {
    /// Keys in one command.
    package static let keyLimit = 32

    package var order: [SortCriterion]
    /// With `returns` if the client wrote RETURN.
    package var program: SearchProgram
    package var byUID: Bool
}

package enum ThreadAlgorithm: String, CaseIterable, Sendable {
    case orderedSubject = "ORDEREDSUBJECT"
    case references = "REFERENCES"
    /// Those of REFERENCES without a look at subjects; threads by their newest arrival
    /// (draft-ietf-morg-inthread).
    case refs = "REFS"
}

package struct ThreadCommand: Equatable, Sendable {
    package var algorithm: ThreadAlgorithm
    package var program: SearchProgram
    package var byUID: Bool
}

extension Cursor {
    /// Behind the word SORT.
    mutating func sort(byUID: Bool) throws(CommandError) -> SortCommand {
        try space()
        var returns: SearchReturn?
        if take("RETURN") {
            try space()
            returns = try searchReturn()
            try space()
        }
        try expect(0x28)
        var order: [SortCriterion] = []
        repeat {
            _ = skip(while: { $0 == .space })
            guard order.count < SortCommand.keyLimit else { throw .tooComplex }
            var name = word()
            let isReverse = name == "REVERSE"
            if isReverse {
                try space()
                name = word()
            }
            guard let key = SortKey(rawValue: name) else { throw failure }
            order.append(SortCriterion(key, isReverse: isReverse))
        } while next == .space
        try expect(0x29)
        let program = try SearchProgram(from: &self, returning: returns)
        return SortCommand(order: order, program: program, byUID: byUID)
    }

    /// Behind the word THREAD.
    mutating func thread(byUID: Bool) throws(CommandError) -> ThreadCommand {
        try space()
        guard let algorithm = ThreadAlgorithm(rawValue: word()) else { throw failure }
        let program = try SearchProgram(from: &self, returning: nil)
        return ThreadCommand(algorithm: algorithm, program: program, byUID: byUID)
    }
}
