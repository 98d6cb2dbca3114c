// SPDX-License-Identifier: Apache-2.0
//
// Does a message match? First by what the view knows; where that does not decide, what is left to
// ask about its text. RFC 3501 §6.4.4.

import Bytes
import Mail

/// An answer, as far as it is known.
package enum SearchVerdict: Sendable, Equatable {
    case no
    case yes
    /// Only the octets of the message can tell.
    case unknown

    fileprivate init(_ answer: Bool) { self = answer ? .yes : .no }

    fileprivate var inverted: SearchVerdict {
        switch self {
        case .no: .yes
        case .yes: .no
        case .unknown: .unknown
        }
    }
}

/// What the view answers to every key that it can answer, for one message. Messages with the same
/// answers have the same question left.
package struct ViewAnswers: Hashable, Sendable {
    private var first: UInt64 = 0
    private var rest: [UInt64] = []

    fileprivate init(count: Int) {
        if count > 64 { rest = [UInt64](repeating: 0, count: (count - 1) / 64) }
    }

    fileprivate subscript(number: Int) -> Bool {
        get {
            let word = number < 64 ? first : rest[number / 64 - 1]
            return word >> UInt64(number % 64) & 1 != 0
        }
        set {
            let bit: UInt64 = newValue ? 1 << UInt64(number % 64) : 0
            if number < 64 { first |= bit } else { rest[number / 64 - 1] |= bit }
        }
    }
}

/// A search program with everything that is the same for all messages worked out once.
package struct PreparedSearch: Sendable {
    private indirect enum Node: Sendable {
        case and([Node])
        case or(Node, Node)
        case not(Node)
        /// Number of a `Fact`.
        case fact(Int)
        case text(TextQuery)
    }

    /// A key that the view answers.
    private enum Fact: Sendable {
        case constant(Bool)
        case flags(Flags)
        case new
        case sequence([UIDRange])
        case uid([UIDRange])
        case larger(UInt32)
        case smaller(UInt32)
        case modSeq(UInt64)
        case internalDay(DayRange)
        case arrivedAfter(SecondsSince1970)

        func holds(_ entry: MessageEntry, _ number: UInt32) -> Bool {
            switch self {
            case .constant(let answer): answer
            case .flags(let flags): entry.flags.isSuperset(of: flags)
            case .new: entry.flags.contains(.recent) && !entry.flags.contains(.seen)
            case .sequence(let set): set.holds(number)
            case .uid(let set): set.holds(entry.uid)
            case .larger(let size): entry.size > size
            case .smaller(let size): entry.size < size
            case .modSeq(let least): entry.modSeq >= least
            case .internalDay(let days): days.holds(InternalDate.day(of: entry.internalDate))
            case .arrivedAfter(let time): entry.internalDate >= time
            }
        }
    }

    private let root: Node
    private let facts: [Fact]

    /// - Parameters:
    ///   - messages: in the view: what `*` means.
    ///   - largestUID: 0 if there are none.
    ///   - saved: UIDs: what `$` means.
    package init(
        _ program: SearchProgram, keywords: [[UInt8]], messages: UInt32, largestUID: UInt32,
        now: SecondsSince1970, saved: [UIDRange] = []
    ) {
        var facts: [Fact] = []
        func fact(_ fact: Fact) -> Node {
            facts.append(fact)
            return .fact(facts.count - 1)
        }
        func node(_ key: SearchKey) -> Node {
            switch key {
            case .all: fact(.constant(true))
            case .and(let keys): .and(keys.map(node))
            case .or(let left, let right): .or(node(left), node(right))
            case .not(let key): .not(node(key))
            case .flag(let flag): fact(.flags(flag))
            case .keyword(let name):
                fact(Flags.keyword(named: name, in: keywords).map(Fact.flags) ?? .constant(false))
            case .new: fact(.new)
            case .sequence(let set) where set.isSaved, .uid(let set) where set.isSaved:
                fact(.uid(saved))
            case .sequence(let set): fact(.sequence(set.resolved(largest: messages)))
            case .uid(let set): fact(.uid(set.resolved(largest: largestUID)))
            case .larger(let size): fact(.larger(size))
            case .smaller(let size): fact(.smaller(size))
            case .modSeq(let number): fact(.modSeq(number))
            case .internalDay(let range): fact(.internalDay(range))
            case .savedDay, .emailID: fact(.constant(false))  // `resolved` has made UIDs of them
            case .younger(let seconds): fact(.arrivedAfter(now - seconds))
            case .sentDay(let range): .text(.sent(range))
            case .header(let name, let text): .text(.header(name: name, text))
            case .body(let text): .text(.body(text))
            case .text(let text): .text(.text(text))
            }
        }
        root = node(program.key)
        self.facts = facts
    }

    /// - Parameter number: the message sequence number.
    package func verdict(_ entry: MessageEntry, number: UInt32) -> SearchVerdict {
        verdict(root, entry, number)
    }

    private func verdict(
        _ node: Node, _ entry: MessageEntry, _ number: UInt32
    ) -> SearchVerdict {
        switch node {
        case .fact(let fact): return SearchVerdict(facts[fact].holds(entry, number))
        case .text: return .unknown
        case .not(let key): return verdict(key, entry, number).inverted
        case .and(let keys):
            var answer = SearchVerdict.yes
            for key in keys {
                switch verdict(key, entry, number) {
                case .no: return .no
                case .unknown: answer = .unknown
                case .yes: break
                }
            }
            return answer
        case .or(let left, let right):
            let first = verdict(left, entry, number)
            if first == .yes { return .yes }
            let second = verdict(right, entry, number)
            if second == .yes { return .yes }
            return first == .no && second == .no ? .no : .unknown
        }
    }

    /// For a message whose verdict is unknown.
    package func answers(_ entry: MessageEntry, number: UInt32) -> ViewAnswers {
        var answers = ViewAnswers(count: facts.count)
        for (index, fact) in facts.enumerated() where fact.holds(entry, number) {
            answers[index] = true
        }
        return answers
    }

    /// What is left to ask about the text of messages with these answers.
    package func question(_ answers: ViewAnswers) -> TextQuery {
        func left(_ node: Node) -> TextQuery {
            switch node {
            case .fact(let fact): return answers[fact] ? .all([]) : .any([])
            case .text(let query): return query
            case .not(let key):
                switch left(key) {
                case .all([]): return .any([])
                case .any([]): return .all([])
                case let query: return .not(query)
                }
            case .and(let keys):
                var open: [TextQuery] = []
                for key in keys {
                    switch left(key) {
                    case .all([]): break
                    case .any([]): return .any([])
                    case let query: open.append(query)
                    }
                }
                return open.count == 1 ? open[0] : .all(open)
            case .or(let first, let second):
                var open: [TextQuery] = []
                for key in [first, second] {
                    switch left(key) {
                    case .any([]): break
                    case .all([]): return .all([])
                    case let query: open.append(query)
                    }
                }
                return open.count == 1 ? open[0] : .any(open)
            }
        }
        return left(root)
    }
}
