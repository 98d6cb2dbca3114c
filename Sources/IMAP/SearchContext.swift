// SPDX-License-Identifier: Apache-2.0
//
// A search whose result the client follows: what it knows of it, and what it is told when that
// changes. RFC 5267 §4.3.

import Bytes
import Mail

/// One SEARCH or SORT with RETURN (UPDATE).
package struct SearchContext: Sendable {
    /// In one session at a time.
    package static let limit = 8

    package let tag: [UInt8]
    package let program: SearchProgram
    /// Nil: a SEARCH, whose result is in the order of the mailbox.
    package let order: [SortCriterion]?
    package let byUID: Bool
    /// UIDs, as the client has them.
    package private(set) var known: [UInt32]

    package init(
        tag: [UInt8], _ program: SearchProgram, order: [SortCriterion]?, byUID: Bool,
        known: [UInt32]
    ) {
        self.tag = tag
        self.program = program
        self.order = order
        self.byUID = byUID
        self.known = known
    }

    /// Takes the messages out of the result for which `isGone` is true, and tells it.
    ///
    /// - Parameter number: of a UID, as the client counts now.
    package mutating func remove(
        where isGone: (UInt32) -> Bool, number: (UInt32) -> UInt32?,
        to writer: inout ResponseWriter
    ) {
        var items: [(position: Int, uid: UInt32)] = []
        var kept: [UInt32] = []
        for (place, uid) in known.enumerated() {
            if isGone(uid) { items.append((place + 1, uid)) } else { kept.append(uid) }
        }
        guard !items.isEmpty else { return }
        // From the last, so that no position changes before it is told
        tell("REMOVEFROM", order == nil ? items : items.reversed(), number, to: &writer)
        known = kept
    }

    /// Takes a new result, all in its order, and tells what has changed.
    package mutating func update(
        _ found: [UInt32], number: (UInt32) -> UInt32?, to writer: inout ResponseWriter
    ) {
        let new = Set(found)
        remove(where: { !new.contains($0) }, number: number, to: &writer)
        guard found.count > known.count else { return }
        let old = Set(known)
        var items: [(position: Int, uid: UInt32)] = []
        for (place, uid) in found.enumerated() where !old.contains(uid) {
            items.append((place + 1, uid))
        }
        tell("ADDTO", items, number, to: &writer)
        known = found
    }

    /// `* ESEARCH (TAG "x") UID ADDTO (position set position set)`. Position 0: in the order of the
    /// mailbox.
    private func tell(
        _ item: StaticString, _ items: [(position: Int, uid: UInt32)],
        _ number: (UInt32) -> UInt32?, to writer: inout ResponseWriter
    ) {
        let told = items.compactMap { item -> (position: Int, number: UInt32)? in
            (byUID ? item.uid : number(item.uid)).map { (item.position, $0) }
        }
        guard !told.isEmpty else { return }
        writer.write("* ESEARCH (TAG ")
        writer.string(tag)
        writer.write(byUID ? ") UID " : ") ")
        writer.write(item)
        writer.write(" (")
        if order == nil {
            writer.write("0 ")
            writer.with { SequenceSet.append(inOrder: told.map(\.number), to: &$0) }
        } else {
            for (place, item) in told.enumerated() {
                if place > 0 { writer.write(" ") }
                writer.write(UInt32(item.position))
                writer.write(" ")
                writer.write(item.number)
            }
        }
        writer.write(")\r\n")
    }
}

extension SearchProgram {
    /// True if what it finds can be followed: what is asked means the same whenever it is asked.
    package var canBeFollowed: Bool { Self.canBeFollowed(key) }

    /// The parser has bounded how deep they are nested.
    private static func canBeFollowed(_ key: SearchKey) -> Bool {
        switch key {
        case .and(let keys): keys.allSatisfy(canBeFollowed)
        case .or(let left, let right): canBeFollowed(left) && canBeFollowed(right)
        case .not(let key): canBeFollowed(key)
        // Numbers move, `$` and `*` change, and time passes
        case .sequence, .younger: false
        case .uid(let set): !set.isSaved && !set.hasStar
        default: true
        }
    }

    /// True for keys that mean something in the selected mailbox only: numbers, UIDs and `$`.
    package var isOfOneMailbox: Bool { Self.isOfOneMailbox(key) }

    private static func isOfOneMailbox(_ key: SearchKey) -> Bool {
        switch key {
        case .and(let keys): keys.contains(where: isOfOneMailbox)
        case .or(let left, let right): isOfOneMailbox(left) || isOfOneMailbox(right)
        case .not(let key): isOfOneMailbox(key)
        case .sequence, .uid: true
        default: false
        }
    }
}
