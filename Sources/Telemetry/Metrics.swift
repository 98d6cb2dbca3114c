// SPDX-License-Identifier: Apache-2.0
//
// Counters, gauges and histograms of this process. Text form: Exposition.swift. Every loop asks
// for its instruments by name and gets the same ones.

import Synchronization

/// All instruments of the process.
package final class Metrics: Sendable {
    package static let shared = Metrics()

    /// Label sets that one instrument keeps apart; what comes later is counted as `other`, so that
    /// a peer who chooses label values cannot fill memory.
    static let seriesLimit = 512

    private let instruments = Mutex<[String: any Instrument]>([:])

    package init() {}

    /// The counter called `name`, made on first use. By convention the name ends in `_total`.
    package func counter(_ name: String, help: String, labels: [String] = []) -> Counter {
        register(name, help) { Counter(help: help, labels: labels) }
    }

    /// A counter of which the label `chosen` is a peer's choice.
    package func counter(
        _ name: String, help: String, labels: [String], chosen: String
    ) -> BusiestCounter {
        register(name, help) { BusiestCounter(help: help, labels: labels, chosen: chosen) }
    }

    /// The gauge called `name`, made on first use.
    package func gauge(_ name: String, help: String, labels: [String] = []) -> Gauge {
        register(name, help) { Gauge(help: help, labels: labels) }
    }

    /// The histogram called `name`, made on first use.
    ///
    /// - Parameter buckets: upper bounds in ascending order; `+Inf` is added.
    package func histogram(
        _ name: String, help: String, labels: [String] = [], buckets: [Double]
    ) -> Histogram {
        register(name, help) { Histogram(help: help, labels: labels, buckets: buckets) }
    }

    /// A value that is read whenever somebody asks for the metrics.
    @discardableResult
    package func sampled(
        _ name: String, help: String, isCounter: Bool = false,
        _ read: @escaping @Sendable () -> Double
    ) -> Sampled {
        register(name, help) { Sampled(help: help, isCounter: isCounter, read: read) }
    }

    private func register<Kind: Instrument>(
        _ name: String, _ help: String, _ make: () -> Kind
    ) -> Kind {
        instruments.withLock { known in
            if let found = known[name] {
                guard let same = found as? Kind else {
                    preconditionFailure("metric \(name) has two kinds")
                }
                return same
            }
            let made = make()
            known[name] = made
            return made
        }
    }

    /// All of them in Prometheus text format 0.0.4, by name.
    package func exposition() -> [UInt8] {
        let all = instruments.withLock { $0 }
        var text = Exposition()
        for name in all.keys.sorted() {
            guard let instrument = all[name] else { continue }
            text.begin(name, help: instrument.help, type: instrument.type)
            instrument.write(name, to: &text)
        }
        return text.octets
    }
}

/// What the registry needs of an instrument.
protocol Instrument: AnyObject, Sendable {
    var help: String { get }
    /// Prometheus' word for it.
    var type: String { get }
    func write(_ name: String, to text: inout Exposition)
}

/// The key under which the values of one label set are kept.
private func series<Value>(_ values: [String], labels: [String], in table: [[String]: Value])
    -> [String]
{
    precondition(values.count == labels.count, "label values do not match the labels")
    if table[values] != nil || table.count < Metrics.seriesLimit { return values }
    return [String](repeating: "other", count: labels.count)
}

/// A number that only grows.
package final class Counter: Instrument {
    let help: String
    let type = "counter"
    private let labels: [String]
    private let total = Atomic<UInt64>(0)
    private let table = Mutex<[[String]: UInt64]>([:])

    init(help: String, labels: [String]) {
        self.help = help
        self.labels = labels
    }

    package func increment(by amount: UInt64 = 1, _ labelValues: [String] = []) {
        guard !labels.isEmpty else {
            total.wrappingAdd(amount, ordering: .relaxed)
            return
        }
        table.withLock { table in
            table[series(labelValues, labels: labels, in: table), default: 0] &+= amount
        }
    }

    /// The present value, for tests and status lines.
    package func value(_ labelValues: [String] = []) -> UInt64 {
        labels.isEmpty
            ? total.load(ordering: .relaxed) : table.withLock { $0[labelValues] ?? 0 }
    }

    func write(_ name: String, to text: inout Exposition) {
        guard !labels.isEmpty else {
            text.sample(name, value: String(total.load(ordering: .relaxed)))
            return
        }
        let all = table.withLock { $0 }
        for key in all.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            text.sample(name, labels: labels, values: key, value: String(all[key] ?? 0))
        }
    }
}

/// A number that goes up and down.
package final class Gauge: Instrument {
    let help: String
    let type = "gauge"
    private let labels: [String]
    private let table = Mutex<[[String]: Double]>([:])

    init(help: String, labels: [String]) {
        self.help = help
        self.labels = labels
    }

    package func set(_ value: Double, _ labelValues: [String] = []) {
        table.withLock { table in
            table[series(labelValues, labels: labels, in: table)] = value
        }
    }

    package func add(_ amount: Double, _ labelValues: [String] = []) {
        table.withLock { table in
            table[series(labelValues, labels: labels, in: table), default: 0] += amount
        }
    }

    /// The present value, for tests and status lines.
    package func value(_ labelValues: [String] = []) -> Double {
        table.withLock { $0[labelValues] ?? 0 }
    }

    func write(_ name: String, to text: inout Exposition) {
        let all = table.withLock { $0 }
        if labels.isEmpty {
            text.sample(name, value: Exposition.number(all[[]] ?? 0))
            return
        }
        for key in all.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            text.sample(name, labels: labels, values: key, value: Exposition.number(all[key] ?? 0))
        }
    }
}

/// A distribution over fixed buckets.
package final class Histogram: Instrument {
    private struct Cell: Sendable {
        var counts: [UInt64]
        var sum = 0.0
    }

    let help: String
    let type = "histogram"
    private let labels: [String]
    private let buckets: [Double]
    private let table = Mutex<[[String]: Cell]>([:])

    init(help: String, labels: [String], buckets: [Double]) {
        self.help = help
        self.labels = labels
        self.buckets = buckets
    }

    package func observe(_ value: Double, _ labelValues: [String] = []) {
        let bucket = buckets.firstIndex { value <= $0 } ?? buckets.count
        table.withLock { table in
            let key = series(labelValues, labels: labels, in: table)
            var cell = table[key] ?? Cell(counts: [UInt64](repeating: 0, count: buckets.count + 1))
            table[key] = nil  // so that the array inside is not copied
            cell.counts[bucket] &+= 1
            cell.sum += value
            table[key] = cell
        }
    }

    func write(_ name: String, to text: inout Exposition) {
        var all = table.withLock { $0 }
        if labels.isEmpty, all.isEmpty {
            all[[]] = Cell(counts: [UInt64](repeating: 0, count: buckets.count + 1))
        }
        for key in all.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard let cell = all[key] else { continue }
            var running: UInt64 = 0
            for (index, count) in cell.counts.enumerated() {
                running += count
                let bound = index < buckets.count ? Exposition.number(buckets[index]) : "+Inf"
                text.sample(
                    name + "_bucket", labels: labels + ["le"], values: key + [bound],
                    value: String(running))
            }
            text.sample(
                name + "_sum", labels: labels, values: key, value: Exposition.number(cell.sum))
            text.sample(name + "_count", labels: labels, values: key, value: String(running))
        }
    }
}

/// A value that somebody else keeps.
package final class Sampled: Instrument {
    let help: String
    let type: String
    private let read: @Sendable () -> Double

    init(help: String, isCounter: Bool, read: @escaping @Sendable () -> Double) {
        self.help = help
        type = isCounter ? "counter" : "gauge"
        self.read = read
    }

    func write(_ name: String, to text: inout Exposition) {
        text.sample(name, value: Exposition.number(read()))
    }
}
