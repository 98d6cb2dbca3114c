// SPDX-License-Identifier: Apache-2.0
//
// What goes into and comes out of the delivery log, and which of its records are carried out.
// docs/store.md, "The delivery log".

/// How the log is kept.
package struct DeliveryLogSettings: Sendable {
    /// Octets of all segments together; 0: no log.
    package var size: Int
    /// The most time that mail lies in the log alone.
    package var interval = Duration.seconds(10)
    /// How long a full log is waited for before a message takes the other path.
    package var patience = Duration.seconds(30)
    /// How long a log is left alone after the disk has lost what was written.
    package var rest = Duration.seconds(2)
    package var observer: @Sendable (LogEvent) -> Void = { _ in }
    /// For tests: the error that a step of this kind meets.
    package var fault: @Sendable (LogStep) -> StoreError? = { _ in nil }

    package init(size: Int = 128 << 20) { self.size = size }

    var segmentSize: Int {
        min(max(size / 8, 2 << 20), 32 << 20) / LogSegment.page * LogSegment.page
    }
    var segmentLimit: Int { max(2, size / segmentSize) }
}

/// What the disk is asked for.
package enum LogStep: Sendable {
    case segment, record, fileSystem
}

/// For measurements, and for tests.
package enum LogEvent: Sendable {
    /// A batch was made durable.
    case written(records: Int, octets: Int, Duration)
    /// Mail was made durable outside the log.
    case checkpoint(Duration)
    case reached(DurableState)
}

/// What became of a record.
package enum LogOutcome: Sendable {
    case written(LogPosition)
    /// Not tried: there is no log, or it is full. The other path is free.
    case unavailable
    /// It is unknown whether the record is durable: a message may appear that nobody was told of.
    case failed(StoreError)
}

/// Which records are carried out.
struct LogTracker {
    /// The first record that is not resolved.
    private(set) var firstOpen: UInt64 = 1
    /// The last one that had a message.
    private(set) var lastMessage: UInt64 = 0
    private var isResolved: [Bool] = []
    private var head = 0

    init() {}

    init(next: UInt64, open: Set<UInt64>) {
        firstOpen = open.min() ?? next
        lastMessage = open.max() ?? 0
        if firstOpen < next { isResolved = (firstOpen..<next).map { !open.contains($0) } }
        advance()
    }

    mutating func begin(_ position: UInt64, isMessage: Bool) {
        isResolved.append(false)
        if isMessage { lastMessage = position } else { resolve(position) }
    }

    mutating func resolve(_ position: UInt64) {
        guard position >= firstOpen, head + Int(position - firstOpen) < isResolved.count
        else { return }
        isResolved[head + Int(position - firstOpen)] = true
        advance()
    }

    private mutating func advance() {
        while head < isResolved.count, isResolved[head] {
            head += 1
            firstOpen += 1
        }
        if head == isResolved.count {
            isResolved.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 4_096 {
            isResolved.removeFirst(head)
            head = 0
        }
    }
}
