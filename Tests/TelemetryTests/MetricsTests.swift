// SPDX-License-Identifier: Apache-2.0
//
// The Prometheus exposition, compared octet by octet.

import Testing

@testable import Telemetry

struct MetricsTests {
    private func exposition(_ metrics: Metrics) -> String {
        String(decoding: metrics.exposition(), as: UTF8.self)
    }

    @Test func `counters, gauges and histograms have the text form 0_0_4`() {
        let metrics = Metrics()
        let received = metrics.counter("a_total", help: "Back\\slash\nline.")
        received.increment()
        received.increment(by: 41)
        metrics.gauge("b", help: "B.", labels: ["listener"]).set(1.5, ["imap \"s\\\n"])
        let times = metrics.histogram(
            "c_seconds", help: "C.", labels: ["op"], buckets: [0.1, 1])
        for value in [0.05, 0.1, 0.5, 7] { times.observe(value, ["get"]) }
        metrics.sampled("d", help: "D.") { 3 }
        #expect(
            exposition(metrics) == """
                # HELP a_total Back\\\\slash\\nline.
                # TYPE a_total counter
                a_total 42
                # HELP b B.
                # TYPE b gauge
                b{listener="imap \\"s\\\\\\n"} 1.5
                # HELP c_seconds C.
                # TYPE c_seconds histogram
                c_seconds_bucket{op="get",le="0.1"} 2
                c_seconds_bucket{op="get",le="1"} 3
                c_seconds_bucket{op="get",le="+Inf"} 4
                c_seconds_sum{op="get"} 7.65
                c_seconds_count{op="get"} 4
                # HELP d D.
                # TYPE d gauge
                d 3

                """)
    }

    @Test func `asking twice for a name gives the same instrument`() {
        let metrics = Metrics()
        metrics.counter("x_total", help: "X.", labels: ["a"]).increment(["1"])
        metrics.counter("x_total", help: "X.", labels: ["a"]).increment(by: 2, ["1"])
        #expect(metrics.counter("x_total", help: "X.", labels: ["a"]).value(["1"]) == 3)
    }

    @Test func `label values beyond the limit are counted as other`() {
        let metrics = Metrics()
        let counter = metrics.counter("x_total", help: "X.", labels: ["ip"])
        for number in 0..<2000 { counter.increment(["ip\(number)"]) }
        counter.increment(["ip3"])
        #expect(counter.value(["ip3"]) == 2)
        #expect(counter.value(["other"]) == UInt64(2000 - Metrics.seriesLimit))
        #expect(exposition(metrics).split(separator: "\n").count == Metrics.seriesLimit + 3)
    }

    @Test func `gauges add from several places`() {
        let gauge = Metrics().gauge("x", help: "X.", labels: ["l"])
        gauge.add(2, ["a"])
        gauge.add(-1, ["a"])
        #expect(gauge.value(["a"]) == 1)
    }
}

struct BusiestCounterTests {
    @Test func `a peer's values have at most 512 series, and the sum over all stays true`() {
        let metrics = Metrics()
        let counter = metrics.counter(
            "x_total", help: "X.", labels: ["listener", "ip"], chosen: "ip")
        for number in 0..<50_000 { counter.increment(["smtp", "ip\(number)"]) }
        let lines = String(decoding: metrics.exposition(), as: UTF8.self)
            .split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.count == Metrics.seriesLimit + 1)
        #expect(lines.contains { $0.hasPrefix("x_total{listener=\"smtp\",ip=\"other\"} ") })
        let sum = lines.compactMap { $0.split(separator: " ").last.flatMap { UInt64($0) } }
            .reduce(0, +)
        #expect(sum == 50_000)
    }

    @Test func `who comes often gets a series late, who comes once does not push out anybody`() {
        let metrics = Metrics()
        let counter = metrics.counter("x_total", help: "X.", labels: ["ip"], chosen: "ip")
        for number in 0..<Metrics.seriesLimit { counter.increment(["first\(number)"]) }
        for number in 0..<2_000 {
            counter.increment(["once\(number)"])
            counter.increment(["busy"])
        }
        #expect(counter.value(["busy"]) > 1_900)
        #expect(counter.value(["once7"]) == 0)
        let kept = (0..<Metrics.seriesLimit).filter { counter.value(["first\($0)"]) == 1 }
        #expect(kept.count == Metrics.seriesLimit - 1)
    }
}
