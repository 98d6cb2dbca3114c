// SPDX-License-Identifier: Apache-2.0
//
// The public face of Transport; bodies follow.

import Mail

package final class Connection {
    package var peer: PeerAddress { fatalError() }
    package var localPort: UInt16 { fatalError() }
    package var listener: String { fatalError() }
    package var isTLS: Bool { fatalError() }
    package var tlsDescription: String? { fatalError() }
    package var isDraining: Bool { fatalError() }
    init() {}
    package func readLine(limit: Int, end: LineEnd, within: Duration) async throws(ConnectionError) -> LineResult { fatalError() }
    package func withLine<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R { fatalError() }
    package func fill(within: Duration) async throws(ConnectionError) -> Bool { fatalError() }
    package var buffered: Int { fatalError() }
    package func withInput<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R { fatalError() }
    package func consume(_ count: Int) { fatalError() }
    package func readExactly(_ count: Int, within: Duration) async throws(ConnectionError) -> [UInt8] { fatalError() }
    package func wait(within: Duration) async -> WaitResult { fatalError() }
    package func wake() { fatalError() }
    package func takeDescriptor() -> Descriptor? { fatalError() }
    package func write(_ octets: [UInt8]) { fatalError() }
    package func write(_ text: StaticString) { fatalError() }
    package func write(copying: Span<UInt8>) { fatalError() }
    package func write(_ octets: [UInt8], attaching: consuming Descriptor) { fatalError() }
    package var pendingOutput: Int { fatalError() }
    package func flush(within: Duration) async throws(ConnectionError) { fatalError() }
    package func flushSoon() { fatalError() }
    package func sendFile(_ file: borrowing Descriptor, offset: Int, count: Int, within: Duration) async throws(ConnectionError) { fatalError() }
    package func startTLS(_ context: TLSContext, within: Duration) async throws(ConnectionError) { fatalError() }
    package var hasReadAhead: Bool { fatalError() }
    package func close() { fatalError() }
}

package enum TLSVersion: Sendable { case tls12, tls13 }

package struct TLSContextError: Error, Sendable, Equatable, CustomStringConvertible {
    package let file: String
    package let reason: String
    package var description: String { "\(file): \(reason)" }
}

package final class TLSContext: Sendable {
    init() {}
    /// - Parameters:
    ///   - ciphers: OpenSSL's notation for TLS 1.2; empty: the built-in list.
    ///   - session: the daemon's name; TLS sessions of one daemon are not resumed by another.
    package static func server(
        certificate: String, key: String, minimum: TLSVersion = .tls12, ciphers: String = "",
        session: String
    ) throws(TLSContextError) -> TLSContext { fatalError() }
}

package final class LoopContext {
    init() {}
    package var now: MonotonicInstant { .now }
    package func wallMilliseconds() -> UInt64 { fatalError() }
    package func connect(unix path: String) async throws(ConnectionError) -> Connection { fatalError() }
    package func sleep(_ duration: Duration) async { fatalError() }
    package func spawn(_ body: @escaping () async -> Void) { fatalError() }
    package func nextTraceID() -> TraceID { fatalError() }
    package var workers: Workers { fatalError() }
    package var isDraining: Bool { fatalError() }
}

package final class Workers: Sendable {
    package init(count: Int, name: String) {}
    package func run<R: Sendable>(lane: Int? = nil, _ body: @escaping @Sendable () -> R) async -> R { fatalError() }
}
