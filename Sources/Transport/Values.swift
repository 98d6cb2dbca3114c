// SPDX-License-Identifier: Apache-2.0
//
// What crosses the border of Transport: errors, results of waits, descriptors, addresses, time.

import CLinux
import Glibc
import Network

/// Why a connection cannot go on.
package enum ConnectionError: Error, Equatable, Sendable {
    /// The peer closed, or `close()` was called.
    case closed
    case timedOut
    /// The daemon ended it: the time for draining is over.
    case killed
    /// errno of the failed system call.
    case system(Int32)
    /// OpenSSL's reason.
    case tls(String)
}

extension ConnectionError: CustomStringConvertible {
    /// For logs.
    package var description: String {
        switch self {
        case .closed: "closed"
        case .timedOut: "timed out"
        case .killed: "killed"
        case .system(let number): unsafe String(cString: strerror(number))
        case .tls(let reason): "TLS: \(reason)"
        }
    }
}

/// An open file or socket; closed when the value goes.
package struct Descriptor: ~Copyable, Sendable {
    package let rawValue: Int32

    /// Takes over `rawValue`.
    package init(_ rawValue: Int32) { self.rawValue = rawValue }

    /// Gives the number away without closing it.
    package consuming func release() -> Int32 {
        let number = rawValue
        discard self
        return number
    }

    deinit { _ = Glibc.close(rawValue) }  // nothing can be done about a failing close
}

/// Who is at the other end.
package struct PeerAddress: Sendable, Equatable {
    /// `203.0.113.5`, `::1`, or `unix`. An IPv4-mapped IPv6 address is written as IPv4.
    package var text: String
    package var port: UInt16
    package var isLoopback: Bool

    package init(text: String, port: UInt16, isLoopback: Bool) {
        self.text = text
        self.port = port
        self.isLoopback = isLoopback
    }

    package init(_ address: IPAddress, port: UInt16) {
        self.init(text: address.text, port: port, isLoopback: address.isLoopback)
    }

    /// Nil for a Unix socket.
    package var address: IPAddress? { IPAddress(text) }

    package static let unix = PeerAddress(text: "unix", port: 0, isLoopback: true)
}

/// What ends a line.
package enum LineEnd: Sendable {
    /// Only CRLF (SMTP, RFC 5321 §2.3.8).
    case crlf
    /// A bare LF, too (IMAP, POP3).
    case crlfOrLF
}

package enum LineResult: Equatable, Sendable {
    /// Look at it with `withLine`.
    case line
    /// Longer than the limit; it was discarded up to its end.
    case tooLong
    /// Only with `.crlf`: an LF without CR before it; everything up to it was discarded.
    case bareLineFeed
    /// The peer sends no more.
    case closed
    /// The daemon is stopping and no input is pending: say goodbye.
    case draining
}

package enum WaitResult: Equatable, Sendable {
    case input, woken, timedOut, closed, draining
}

/// A point in time that only moves forward: CLOCK_MONOTONIC.
package struct MonotonicInstant: Sendable, Hashable, InstantProtocol {
    package let nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static var now: MonotonicInstant {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicInstant(
            nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    package func advanced(by duration: Duration) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: nanoseconds.addingClamped(duration))
    }

    package func duration(to other: MonotonicInstant) -> Duration {
        .nanoseconds(Int64(bitPattern: other.nanoseconds &- nanoseconds))
    }

    package static func < (left: MonotonicInstant, right: MonotonicInstant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    package static func - (left: MonotonicInstant, right: MonotonicInstant) -> Duration {
        right.duration(to: left)
    }

    package static func + (left: MonotonicInstant, right: Duration) -> MonotonicInstant {
        left.advanced(by: right)
    }
}

extension UInt64 {
    /// Nanoseconds plus a duration, without overflow: a very long time is `.max`, for ever; a
    /// negative one (a deadline that has passed) is none.
    func addingClamped(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        if seconds < 0 || attoseconds < 0 { return self }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return .max }
        let (sum, carried) = whole.addingReportingOverflow(UInt64(attoseconds / 1_000_000_000))
        if carried { return .max }
        let (result, tooFar) = addingReportingOverflow(sum)
        return tooFar ? .max : result
    }
}
