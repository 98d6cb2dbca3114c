// SPDX-License-Identifier: Apache-2.0
//
// Puts messages in order: what is compared is kept in columns, a few words for each message.
// RFC 5256 §2, §3; texts are folded already (`ListKeys`), so octets are compared.

import Bytes
import MIME
import Mail

/// Takes the keys of messages one after the other.
package protocol KeyCollector {
    /// - Parameters:
    ///   - place: of the message among those that are sorted, from 0.
    ///   - octets: what the ranges of `keys` are in.
    mutating func add(
        _ place: Int, _ entry: MessageEntry, _ keys: ListKeyRow, _ octets: Span<UInt8>)
}

package struct SortColumns: KeyCollector {
    private enum Column {
        case numbers([Int64])
        case texts(TextColumn)
    }

    private let order: [SortCriterion]
    private let count: Int
    private var columns: [Column]

    package init(_ order: [SortCriterion], count: Int) {
        self.order = order
        self.count = count
        columns = order.map {
            switch $0.key {
            case .arrival, .date, .size: .numbers([Int64](repeating: 0, count: count))
            default: .texts(TextColumn(count: count))
            }
        }
    }

    /// Something else than the view is needed to put them in order.
    package var needsHeaders: Bool { order.contains(where: \.needsHeader) }

    package mutating func add(
        _ place: Int, _ entry: MessageEntry, _ keys: ListKeyRow, _ octets: Span<UInt8>
    ) {
        for (number, criterion) in order.enumerated() {
            switch criterion.key {
            case .arrival: put(entry.internalDate, place, number)
            // RFC 5256 §2.2: INTERNALDATE if there is no date
            case .date: put(keys.sent ?? entry.internalDate, place, number)
            case .size: put(Int64(entry.size), place, number)
            case .cc: put(octets.extracting(keys.cc), place, number)
            case .from: put(octets.extracting(keys.from), place, number)
            case .subject: put(octets.extracting(keys.baseSubject), place, number)
            case .to: put(octets.extracting(keys.to), place, number)
            case .displayFrom: put(octets.extracting(keys.displayFrom), place, number)
            case .displayTo: put(octets.extracting(keys.displayTo), place, number)
            }
        }
    }

    private mutating func put(_ value: Int64, _ place: Int, _ column: Int) {
        guard case .numbers(var numbers) = columns[column] else { return }
        columns[column] = .numbers([])  // so that nothing is copied
        numbers[place] = value
        columns[column] = .numbers(numbers)
    }

    private mutating func put(_ text: Span<UInt8>, _ place: Int, _ column: Int) {
        guard case .texts(var texts) = columns[column] else { return }
        columns[column] = .numbers([])
        texts.set(place, text)
        columns[column] = .texts(texts)
    }

    /// The places in their order; equal ones stay as they are (RFC 5256 §3).
    package func sorted() -> [Int] {
        guard let first = columns.first else { return Array(0..<count) }
        var rows: [(key: UInt64, place: UInt32)] = []
        rows.reserveCapacity(count)
        let inversion: UInt64 = order[0].isReverse ? .max : 0
        for place in 0..<count {
            let key: UInt64
            switch first {
            case .numbers(let numbers): key = UInt64(bitPattern: numbers[place]) ^ 1 << 63
            case .texts(let texts): key = texts.prefixes[place]
            }
            rows.append((key ^ inversion, UInt32(place)))
        }
        rows.sort { left, right in
            if left.key != right.key { return left.key < right.key }
            return precedes(Int(left.place), Int(right.place))
        }
        return rows.map { Int($0.place) }
    }

    private func precedes(_ left: Int, _ right: Int) -> Bool {
        for (number, column) in columns.enumerated() {
            let (less, greater): (Bool, Bool)
            switch column {
            case .numbers(let numbers):
                (less, greater) = (numbers[left] < numbers[right], numbers[left] > numbers[right])
            case .texts(let texts): (less, greater) = texts.compare(left, right)
            }
            if less { return !order[number].isReverse }
            if greater { return order[number].isReverse }
        }
        return left < right
    }
}

/// Texts of messages in one run of octets, and the first eight of each as a number.
private struct TextColumn {
    private(set) var prefixes: [UInt64]
    private var starts: [UInt32]
    private var counts: [UInt16]
    private var octets: [UInt8] = []

    init(count: Int) {
        prefixes = [UInt64](repeating: 0, count: count)
        starts = [UInt32](repeating: 0, count: count)
        counts = [UInt16](repeating: 0, count: count)
    }

    mutating func set(_ place: Int, _ text: Span<UInt8>) {
        var prefix: UInt64 = 0
        for index in 0..<8 {
            prefix = prefix << 8 | (index < text.count ? UInt64(text[index]) : 0)
        }
        prefixes[place] = prefix
        starts[place] = UInt32(octets.count)
        counts[place] = UInt16(clamping: text.count)
        octets.append(copying: text)
    }

    func compare(_ left: Int, _ right: Int) -> (less: Bool, greater: Bool) {
        if prefixes[left] != prefixes[right] {
            return (prefixes[left] < prefixes[right], prefixes[left] > prefixes[right])
        }
        let (first, second) = (Int(starts[left]), Int(starts[right]))
        let shared = Int(min(counts[left], counts[right]))
        for offset in 0..<shared where octets[first + offset] != octets[second + offset] {
            let isLess = octets[first + offset] < octets[second + offset]
            return (isLess, !isLess)
        }
        return (counts[left] < counts[right], counts[left] > counts[right])
    }
}
