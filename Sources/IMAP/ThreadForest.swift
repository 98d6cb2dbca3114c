// SPDX-License-Identifier: Apache-2.0
//
// Threads as trees, and how the THREAD response writes them. RFC 5256 §4, §5. Trees may be as deep
// as a mailbox is large, so nothing here calls itself.

import Bytes

package struct ThreadForest: Sendable {
    private static let none: Int32 = -1

    private let numbers: [UInt32]
    private var firstChild: [Int32]
    private var lastChild: [Int32]
    private var nextSibling: [Int32]
    private var roots: [Int32] = []

    /// Nodes are the places of `numbers`; behind them come dummies.
    init(numbers: [UInt32], dummies: Int) {
        self.numbers = numbers
        firstChild = [Int32](repeating: Self.none, count: numbers.count + dummies)
        lastChild = firstChild
        nextSibling = firstChild
    }

    mutating func addRoot(_ node: Int) { roots.append(Int32(node)) }

    mutating func add(_ node: Int, under above: Int) {
        if lastChild[above] == Self.none {
            firstChild[above] = Int32(node)
        } else {
            nextSibling[Int(lastChild[above])] = Int32(node)
        }
        lastChild[above] = Int32(node)
    }

    package var threadCount: Int { roots.count }

    /// The greatest value of a message in each of these trees.
    func newest(of trees: [Int], _ value: (Int) -> Int64) -> [Int64] {
        var stack: [Int32] = []
        return trees.map { tree in
            var greatest = Int64.min
            stack.append(Int32(tree))
            while let node = stack.popLast() {
                if Int(node) < numbers.count { greatest = max(greatest, value(Int(node))) }
                var child = firstChild[Int(node)]
                while child != Self.none {
                    stack.append(child)
                    child = nextSibling[Int(child)]
                }
            }
            return greatest
        }
    }

    /// Writes one piece after the other, so that a long answer need not be in memory.
    package struct Writer: Sendable {
        private enum Step: Sendable {
            case thread(Int32)
            case close
        }

        private let forest: ThreadForest
        private var nextRoot = 0
        private var stack: [Step] = []

        package init(_ forest: ThreadForest) { self.forest = forest }

        /// Appends threads until there are about `limit` octets.
        ///
        /// - Returns: false if all is written.
        package mutating func append(to octets: inout [UInt8], limit: Int) -> Bool {
            while octets.count < limit {
                guard let step = stack.popLast() else {
                    guard nextRoot < forest.roots.count else { return false }
                    stack.append(.thread(forest.roots[nextRoot]))
                    nextRoot += 1
                    continue
                }
                switch step {
                case .close: octets.append(0x29)
                case .thread(let node): open(node, &octets, limit)
                }
            }
            return true
        }

        /// `(` and the messages up to the first with several children, which are left for later.
        private mutating func open(_ node: Int32, _ octets: inout [UInt8], _ limit: Int) {
            octets.append(0x28)
            stack.append(.close)
            var node = node
            var isFirst = true
            while true {
                if Int(node) < forest.numbers.count {
                    if !isFirst { octets.append(.space) }
                    isFirst = false
                    octets.appendDecimal(forest.numbers[Int(node)])
                }
                let child = forest.firstChild[Int(node)]
                guard child != ThreadForest.none else { return }
                if forest.nextSibling[Int(child)] != ThreadForest.none {
                    if !isFirst { octets.append(.space) }
                    var children: [Step] = []
                    var next = child
                    while next != ThreadForest.none {
                        children.append(.thread(next))
                        next = forest.nextSibling[Int(next)]
                    }
                    stack.append(contentsOf: children.reversed())
                    return
                }
                node = child
            }
        }
    }
}
