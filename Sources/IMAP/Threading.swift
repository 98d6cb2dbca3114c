// SPDX-License-Identifier: Apache-2.0
//
// THREAD: puts messages together that belong together. RFC 5256 §3 (ORDEREDSUBJECT, REFERENCES) and
// draft-ietf-morg-inthread §4 (REFS). Some words for each message and for each id that is named
// anywhere; no recursion, and no chain of ids that makes it slow.

import Bytes
import MIME
import Mail

package struct ThreadBuilder: KeyCollector {
    /// No message, no node, no text.
    private static let none: Int32 = -1

    private let algorithm: ThreadAlgorithm
    /// What the answer calls the messages, by their place.
    private let numbers: [UInt32]
    private var sent: [SecondsSince1970]
    private var arrived: [SecondsSince1970]
    private var subjectOf: [Int32]
    private var isReply: [Bool]
    private var nodeOf: [Int32]
    private var subjects = TextTable()
    private var ids = TextTable()

    // By node: a message id that was named, a message without one, or a dummy.
    private var messageOf: [Int32] = []
    private var parent: [Int32] = []
    private var hasChildren: [Bool] = []
    /// The node of an id.
    private var idNodes: [Int32] = []
    /// How far may be walked looking for loops in all; beyond it links are not made.
    private var stepsLeft: Int

    /// - Parameter numbers: of the messages, in the order of the mailbox.
    package init(_ algorithm: ThreadAlgorithm, numbers: [UInt32]) {
        self.algorithm = algorithm
        self.numbers = numbers
        let count = numbers.count
        sent = [SecondsSince1970](repeating: 0, count: count)
        arrived = sent
        subjectOf = [Int32](repeating: Self.none, count: count)
        isReply = [Bool](repeating: false, count: count)
        nodeOf = [Int32](repeating: Self.none, count: count)
        stepsLeft = 1 << 22 + 64 * count
    }

    package mutating func add(
        _ place: Int, _ entry: MessageEntry, _ keys: ListKeyRow, _ octets: Span<UInt8>
    ) {
        sent[place] = keys.sent ?? entry.internalDate
        arrived[place] = entry.internalDate
        if algorithm != .refs, algorithm == .orderedSubject || !keys.baseSubject.isEmpty {
            subjectOf[place] = subjects.number(of: octets.extracting(keys.baseSubject))
            isReply[place] = keys.isReplyOrForward
        }
        guard algorithm != .orderedSubject else { return }
        // §3, step 1.A: references are linked with each other, oldest first
        var last = Self.none
        for reference in keys.references(octets) {
            let node = self.node(of: octets.extracting(reference))
            if last != Self.none, parent[Int(node)] == Self.none, mayLink(node, under: last) {
                link(node, under: last)
            }
            last = node
        }
        // Who has no id, or the id of another message, stands for itself
        var node = Self.none
        if !keys.messageID.isEmpty {
            node = self.node(of: octets.extracting(keys.messageID))
            if messageOf[Int(node)] != Self.none { node = Self.none }
        }
        if node == Self.none { node = newNode() }
        messageOf[Int(node)] = Int32(place)
        nodeOf[place] = node
        // Step 1.B: the last reference is the parent, whatever others said
        parent[Int(node)] = Self.none
        if last != Self.none, mayLink(node, under: last) { link(node, under: last) }
    }

    private mutating func newNode() -> Int32 {
        messageOf.append(Self.none)
        parent.append(Self.none)
        hasChildren.append(false)
        return Int32(parent.count - 1)
    }

    private mutating func node(of id: Span<UInt8>) -> Int32 {
        let number = Int(ids.number(of: id))
        if number == idNodes.count { idNodes.append(newNode()) }
        return idNodes[number]
    }

    private mutating func link(_ child: Int32, under node: Int32) {
        parent[Int(child)] = node
        hasChildren[Int(node)] = true
    }

    /// False if that made a loop.
    private mutating func mayLink(_ child: Int32, under node: Int32) -> Bool {
        guard child != node else { return false }
        // Above `node` can be only what has children
        guard hasChildren[Int(child)] else { return true }
        var above = node
        while above != Self.none {
            guard above != child, stepsLeft > 0 else { return false }
            stepsLeft -= 1
            above = parent[Int(above)]
        }
        return true
    }

    // MARK: - Trees

    /// The messages put together.
    package consuming func finish() -> ThreadForest {
        var byDate = Array(0..<numbers.count)
        byDate.sort { (sent[$0], $0) < (sent[$1], $1) }
        if algorithm == .orderedSubject { return subjectForest(byDate) }
        prune()
        if algorithm == .references { mergeSubjects(byDate) }
        return forest(byDate)
    }

    /// RFC 5256 §3, ORDEREDSUBJECT: the first of a subject is the parent of the others.
    private func subjectForest(_ byDate: [Int]) -> ThreadForest {
        var forest = ThreadForest(numbers: numbers, dummies: 0)
        var first = [Int32](repeating: Self.none, count: subjects.count)
        for place in byDate {
            let subject = Int(subjectOf[place])
            if first[subject] == Self.none {
                first[subject] = Int32(place)
                forest.addRoot(place)
            } else {
                forest.add(place, under: Int(first[subject]))
            }
        }
        return forest
    }

    /// Steps 2 and 3: takes out nodes without a message. Their children move up; only a root with
    /// several children stays as a dummy.
    private mutating func prune() {
        // The nearest node above with a message, or else the topmost one.
        var lifted = [Int32](repeating: Self.none, count: parent.count)
        var path: [Int32] = []
        for start in 0..<parent.count where lifted[start] == Self.none {
            var node = Int32(start)
            path.removeAll(keepingCapacity: true)
            while true {
                if lifted[Int(node)] != Self.none {
                    node = lifted[Int(node)]
                    break
                }
                if messageOf[Int(node)] != Self.none || parent[Int(node)] == Self.none { break }
                path.append(node)
                node = parent[Int(node)]
            }
            lifted[start] = node
            for passed in path { lifted[Int(passed)] = node }
        }
        var children = [Int32](repeating: 0, count: parent.count)
        for node in nodeOf where parent[Int(node)] != Self.none {
            parent[Int(node)] = lifted[Int(parent[Int(node)])]
            children[Int(parent[Int(node)])] += 1
        }
        for node in nodeOf where parent[Int(node)] != Self.none {
            let above = Int(parent[Int(node)])
            if messageOf[above] == Self.none, children[above] == 1 {
                parent[Int(node)] = Self.none
            }
        }
    }

    /// Step 5: threads of one subject are put together.
    private mutating func mergeSubjects(_ byDate: [Int]) {
        let roots = self.roots(byDate)
        var members = DummyMembers(count: parent.count)
        for place in byDate {
            let above = parent[Int(nodeOf[place])]
            if above != Self.none, messageOf[Int(above)] == Self.none {
                members.append(Int32(place), to: above)
            }
        }
        /// By subject: a root.
        var table = [Int32](repeating: Self.none, count: subjects.count)
        func speaker(_ root: Int32) -> Int {
            let own = messageOf[Int(root)]
            return Int(own == Self.none ? members.first(of: root) : own)
        }
        func isDummy(_ root: Int32) -> Bool { messageOf[Int(root)] == Self.none }
        func answers(_ root: Int32) -> Bool { !isDummy(root) && isReply[speaker(root)] }
        for root in roots {
            let subject = subjectOf[speaker(root)]
            guard subject != Self.none else { continue }
            let known = table[Int(subject)]
            if known == Self.none
                || !isDummy(known) && (isDummy(root) || answers(known) && !answers(root))
            {
                table[Int(subject)] = root
            }
        }
        for root in roots {
            let subject = subjectOf[speaker(root)]
            guard subject != Self.none else { continue }
            let known = table[Int(subject)]
            guard known != root else { continue }
            if isDummy(known), isDummy(root) {
                var place = members.first(of: root)
                while place != Self.none {
                    let next = members.next(after: place)
                    parent[Int(nodeOf[Int(place)])] = known
                    members.append(place, to: known)
                    place = next
                }
            } else if isDummy(known) || answers(root) && !answers(known) {
                parent[Int(root)] = known
                if isDummy(known) { members.append(messageOf[Int(root)], to: known) }
            } else {
                members.grow()
                let dummy = newNode()
                parent[Int(known)] = dummy
                parent[Int(root)] = dummy
                members.append(messageOf[Int(known)], to: dummy)
                members.append(messageOf[Int(root)], to: dummy)
                table[Int(subject)] = dummy
            }
        }
    }

    /// Step 4: roots by date; a dummy counts as its first child.
    private func roots(_ byDate: [Int]) -> [Int32] {
        var roots: [Int32] = []
        var isListed = [Bool](repeating: false, count: parent.count)
        for place in byDate {
            let node = nodeOf[place]
            let above = parent[Int(node)]
            if above == Self.none {
                roots.append(node)
            } else if messageOf[Int(above)] == Self.none, !isListed[Int(above)] {
                isListed[Int(above)] = true
                roots.append(above)
            }
        }
        return roots
    }

    /// Step 6. Messages come by date, so every list of children is in its order at once.
    private func forest(_ byDate: [Int]) -> ThreadForest {
        let roots = self.roots(byDate)
        var forest = ThreadForest(numbers: numbers, dummies: roots.count)
        var name = [Int](repeating: 0, count: parent.count)
        for place in 0..<numbers.count { name[Int(nodeOf[place])] = place }
        var nextDummy = numbers.count
        for root in roots where messageOf[Int(root)] == Self.none {
            name[Int(root)] = nextDummy
            nextDummy += 1
        }
        for place in byDate {
            let above = parent[Int(nodeOf[place])]
            if above != Self.none { forest.add(place, under: name[Int(above)]) }
        }
        var order = roots.map { name[Int($0)] }
        if algorithm == .refs {
            // A thread is as old as what came last to it
            let newest = forest.newest(of: order) { arrived[$0] }
            let sorted = order.indices.sorted { (newest[$0], $0) < (newest[$1], $1) }
            order = sorted.map { order[$0] }
        }
        for root in order { forest.addRoot(root) }
        return forest
    }
}

/// The messages under each dummy, as lists through arrays.
private struct DummyMembers {
    private var firsts: [Int32]
    private var lasts: [Int32]
    private var nexts: [Int32: Int32] = [:]

    init(count: Int) {
        firsts = [Int32](repeating: -1, count: count)
        lasts = firsts
    }

    /// There is one node more.
    mutating func grow() {
        firsts.append(-1)
        lasts.append(-1)
    }

    func first(of node: Int32) -> Int32 { firsts[Int(node)] }
    func next(after place: Int32) -> Int32 { nexts[place] ?? -1 }

    mutating func append(_ place: Int32, to node: Int32) {
        nexts[place] = nil
        if lasts[Int(node)] == -1 {
            firsts[Int(node)] = place
        } else {
            nexts[lasts[Int(node)]] = place
        }
        lasts[Int(node)] = place
    }
}

/// Texts with a number each.
private struct TextTable {
    private var octets: [UInt8] = []
    private var ends: [UInt32] = []
    /// Open addressing; the number and one, or 0.
    private var slots = [UInt32](repeating: 0, count: 64)

    var count: Int { ends.count }

    /// The number of a text; a new text gets the next one.
    mutating func number(of text: Span<UInt8>) -> Int32 {
        if 2 * ends.count >= slots.count { grow() }
        var slot = Self.hash(text) & (slots.count - 1)
        while slots[slot] != 0 {
            let number = Int(slots[slot]) - 1
            if isEqual(number, text) { return Int32(number) }
            slot = (slot + 1) & (slots.count - 1)
        }
        octets.append(copying: text)
        ends.append(UInt32(octets.count))
        slots[slot] = UInt32(ends.count)
        return Int32(ends.count - 1)
    }

    private func range(_ number: Int) -> Range<Int> {
        (number == 0 ? 0 : Int(ends[number - 1]))..<Int(ends[number])
    }

    private func isEqual(_ number: Int, _ text: Span<UInt8>) -> Bool {
        let range = range(number)
        guard range.count == text.count else { return false }
        for index in 0..<text.count where octets[range.lowerBound + index] != text[index] {
            return false
        }
        return true
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: 2 * slots.count)
        for number in 0..<ends.count {
            var slot = Self.hash(octets.span.extracting(range(number))) & (slots.count - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = UInt32(number + 1)
        }
    }

    /// Swift's hash, for whoever writes message ids could choose them to collide in another.
    private static func hash(_ text: Span<UInt8>) -> Int {
        var hasher = Hasher()
        var word: UInt64 = UInt64(text.count)
        for index in 0..<text.count {
            word = word << 8 | UInt64(text[index])
            if index & 7 == 7 {
                hasher.combine(word)
                word = 0
            }
        }
        hasher.combine(word)
        return hasher.finalize()
    }
}
