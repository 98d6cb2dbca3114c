// SPDX-License-Identifier: Apache-2.0
//
// Counts by a value that peers choose, an address mostly: the busiest keep a series of their own,
// the rest is one number. In fixed memory, and in such a way that passers-by do not push out those
// who come often: a newcomer must be seen clearly more often than the one whose place it takes.

import Synchronization

/// The busiest values, with an estimate of how busy the others are (a count-min sketch).
struct BusiestValues: Sendable {
    private struct Place: Sendable {
        /// What its series shows.
        var count: UInt64 = 0
        /// What it is compared by; halved now and then.
        var weight: UInt32
    }

    private static let rows = 4
    private static let columns = 1 << 11
    /// Sightings after which all weights are halved: who was busy last week makes room.
    private static let halfLife = 1 << 16

    private let limit: Int
    private var places: [[String]: Place] = [:]
    private var sketch = [UInt32](repeating: 0, count: rows * columns)
    private var sightings = 0
    /// A newcomer that weighs less cannot take a place: saves looking for the lightest.
    private var threshold: UInt32 = 0

    init(limit: Int) { self.limit = limit }

    /// Whether `key` has a series of its own from now on, which is then counted up.
    /// - Returns: who lost its place to it, with the count that its series had.
    mutating func count(_ key: [String], by amount: UInt64) -> (
        isKept: Bool, evicted: (key: [String], count: UInt64)?
    ) {
        age()
        if let index = places.index(forKey: key) {
            places.values[index].count &+= amount
            places.values[index].weight &+= 1
            return (true, nil)
        }
        if places.count < limit {
            places[key] = Place(count: amount, weight: 1)
            return (true, nil)
        }
        let weight = see(key)
        guard weight > threshold,
            let lightest = places.min(by: { $0.value.weight < $1.value.weight })
        else { return (false, nil) }
        // Twice as busy, and not just a few: series that come and go cost the reader memory.
        threshold = max(16, lightest.value.weight * 2)
        guard weight > threshold else { return (false, nil) }
        places[lightest.key] = nil
        places[key] = Place(count: amount, weight: weight)
        return (true, (lightest.key, lightest.value.count))
    }

    func value(_ key: [String]) -> UInt64 { places[key]?.count ?? 0 }

    var all: [[String]: UInt64] { places.mapValues(\.count) }

    private mutating func age() {
        sightings += 1
        guard sightings >= Self.halfLife else { return }
        sightings = 0
        threshold = 0
        for index in sketch.indices { sketch[index] /= 2 }
        for index in places.values.indices { places.values[index].weight /= 2 }
    }

    /// - Returns: how often `key` was seen, or more.
    private mutating func see(_ key: [String]) -> UInt32 {
        var least = UInt32.max
        for row in 0..<Self.rows {
            var hasher = Hasher()
            hasher.combine(row)
            hasher.combine(key)
            let column = Int(UInt(bitPattern: hasher.finalize()) % UInt(Self.columns))
            let index = row * Self.columns + column
            sketch[index] &+= 1
            least = min(least, sketch[index])
        }
        return least
    }
}

/// A counter of which one label is a peer's choice: only its busiest values have series.
package final class BusiestCounter: Instrument {
    private struct State: Sendable {
        var busiest: BusiestValues
        /// The rest, by the other labels.
        var others: [[String]: UInt64] = [:]
    }

    let help: String
    let type = "counter"
    private let labels: [String]
    private let chosen: Int
    private let state: Mutex<State>

    init(help: String, labels: [String], chosen: String) {
        guard let index = labels.firstIndex(of: chosen) else {
            preconditionFailure("\(chosen) is not one of the labels")
        }
        self.help = help
        self.labels = labels
        self.chosen = index
        state = Mutex(State(busiest: BusiestValues(limit: Metrics.seriesLimit)))
    }

    package func increment(by amount: UInt64 = 1, _ labelValues: [String]) {
        precondition(labelValues.count == labels.count, "label values do not match the labels")
        state.withLock { state in
            let (isKept, evicted) = state.busiest.count(labelValues, by: amount)
            // What had a series is not lost: the sum over all series only grows.
            if let evicted { state.others[other(evicted.key), default: 0] &+= evicted.count }
            if !isKept { state.others[other(labelValues), default: 0] &+= amount }
        }
    }

    /// The present value, for tests.
    package func value(_ labelValues: [String]) -> UInt64 {
        state.withLock { $0.others[labelValues] ?? $0.busiest.value(labelValues) }
    }

    private func other(_ values: [String]) -> [String] {
        var values = values
        values[chosen] = "other"
        return values
    }

    func write(_ name: String, to text: inout Exposition) {
        let all = state.withLock { state in
            state.busiest.all.merging(state.others) { first, _ in first }
        }
        for key in all.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            text.sample(name, labels: labels, values: key, value: String(all[key] ?? 0))
        }
    }
}
