// SPDX-License-Identifier: Apache-2.0
//
// Does a message match? First by what the view knows; only where that does not decide, by its text.
// RFC 3501 §6.4.4.

import Bytes
import MIME
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

/// A search program with everything that is the same for all messages worked out once.
package struct PreparedSearch: Sendable {
    private indirect enum Node: Sendable {
        case constant(Bool)
        case and([Node])
        case or(Node, Node)
        case not(Node)
        case flags(Flags)
        case new
        case sequence([UIDRange])
        case uid([UIDRange])
        case larger(UInt32)
        case smaller(UInt32)
        case modSeq(UInt64)
        case internalDay(SearchRange)
        case arrivedAfter(SecondsSince1970)
        case sentDay(SearchRange)
        case header(name: [UInt8], SearchText)
        case body(SearchText)
        case text(SearchText)
    }

    private let root: Node
    /// What must be read where `verdict` is unknown.
    package let need: FetchCommand.Need

    /// - Parameters:
    ///   - messages: in the view: what `*` means.
    ///   - largestUID: 0 if there are none.
    package init(
        _ program: SearchProgram, keywords: [[UInt8]], messages: UInt32, largestUID: UInt32,
        now: SecondsSince1970
    ) {
        func node(_ key: SearchKey) -> Node {
            switch key {
            case .all: .constant(true)
            case .and(let keys): .and(keys.map(node))
            case .or(let left, let right): .or(node(left), node(right))
            case .not(let key): .not(node(key))
            case .flag(let flag): .flags(flag)
            case .keyword(let name):
                Flags.keyword(named: name, in: keywords).map(Node.flags) ?? .constant(false)
            case .new: .new
            case .sequence(let set): .sequence(set.resolved(largest: messages))
            case .uid(let set): .uid(set.resolved(largest: largestUID))
            case .larger(let size): .larger(size)
            case .smaller(let size): .smaller(size)
            case .modSeq(let number): .modSeq(number)
            case .internalDay(let range): .internalDay(range)
            case .sentDay(let range): .sentDay(range)
            case .younger(let seconds): .arrivedAfter(now - seconds)
            case .header(let name, let text): .header(name: name, SearchText(text))
            case .body(let text): .body(SearchText(text))
            case .text(let text): .text(SearchText(text))
            }
        }
        root = node(program.key)
        need = program.key.need
    }

    /// - Parameter number: the message sequence number.
    package func verdict(_ entry: MessageEntry, number: UInt32) -> SearchVerdict {
        Self.verdict(root, entry, number)
    }

    private static func verdict(
        _ node: Node, _ entry: MessageEntry, _ number: UInt32
    ) -> SearchVerdict {
        switch node {
        case .constant(let answer): return SearchVerdict(answer)
        case .flags(let flags): return SearchVerdict(entry.flags.isSuperset(of: flags))
        case .new:
            return SearchVerdict(entry.flags.contains(.recent) && !entry.flags.contains(.seen))
        case .sequence(let set): return SearchVerdict(set.holds(number))
        case .uid(let set): return SearchVerdict(set.holds(entry.uid))
        case .larger(let size): return SearchVerdict(entry.size > size)
        case .smaller(let size): return SearchVerdict(entry.size < size)
        case .modSeq(let least): return SearchVerdict(entry.modSeq >= least)
        case .internalDay(let range):
            return SearchVerdict(range.holds(InternalDate.day(of: entry.internalDate)))
        case .arrivedAfter(let time): return SearchVerdict(entry.internalDate >= time)
        case .sentDay, .header, .body, .text: return .unknown
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

    /// - Parameter octets: the message, or only its header if `need` says so.
    package func matches(_ entry: MessageEntry, number: UInt32, _ octets: [UInt8]) -> Bool {
        var structure: MessageStructure?
        return matches(root, entry, number, octets, &structure)
    }

    private func matches(
        _ node: Node, _ entry: MessageEntry, _ number: UInt32, _ octets: [UInt8],
        _ structure: inout MessageStructure?
    ) -> Bool {
        switch Self.verdict(node, entry, number) {
        case .yes: return true
        case .no: return false
        case .unknown: break
        }
        func parsed() -> MessageStructure {
            if let structure { return structure }
            let made = MessageStructure(octets.span)
            structure = made
            return made
        }
        switch node {
        case .and(let keys):
            for key in keys where !matches(key, entry, number, octets, &structure) {
                return false
            }
            return true
        case .or(let left, let right):
            return matches(left, entry, number, octets, &structure)
                || matches(right, entry, number, octets, &structure)
        case .not(let key): return !matches(key, entry, number, octets, &structure)
        case .sentDay(let range):
            return SearchText.sentDay(ofHeader: octets.span).map(range.holds) ?? false
        case .header(let name, let text): return text.isIn(field: name, ofHeader: octets.span)
        case .body(let text): return text.isInBody(of: octets.span, parsed())
        case .text(let text): return text.isInText(of: octets.span, parsed())
        default: return false  // decided by the view above
        }
    }
}
