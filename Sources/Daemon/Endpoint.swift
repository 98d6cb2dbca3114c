// SPDX-License-Identifier: Apache-2.0
//
// The HTTP endpoint for metrics and health. RFC 9112, as little of it as GET needs: one request per
// connection, no body, at most 4 KiB of header, ten seconds.

import Bytes
import Config
import Glibc
import Telemetry
import Transport

extension Supervisor {
    private static let patience = Duration.seconds(10)
    private static let headerLimit = 4096
    private static let clientLimit = 32

    /// What a request line asks for.
    enum Request: Equatable {
        case get(path: [UInt8])
        case otherMethod, malformed
    }

    /// Answers one request.
    package func answer(_ connection: Connection) async {
        guard metricsClients < Self.clientLimit else { return }
        metricsClients += 1
        defer { metricsClients -= 1 }
        do throws(ConnectionError) {
            guard let request = try await readRequest(connection) else { return }
            await respond(connection, to: request)
            try await connection.flush(within: Self.patience)
        } catch {
            Log.debug(
                "metrics client lost",
                [LogField("rip", connection.peer.text), LogField("reason", error.description)])
        }
    }

    /// Reads up to the empty line; nil: nothing came.
    private func readRequest(_ connection: Connection) async throws(ConnectionError) -> Request? {
        var left = Self.headerLimit
        var request: Request?
        let deadline = context.now + Self.patience
        while left > 0 {
            let result = try await connection.readLine(
                limit: left, end: .crlfOrLF, within: deadline - context.now)
            guard result == .line else { return result == .closed ? nil : .malformed }
            let count = connection.withLine { $0.count }
            left -= count + 2
            if request == nil {
                request = connection.withLine { Self.parse($0) }
            } else if count == 0 {
                return request
            }
        }
        return .malformed
    }

    /// `GET path HTTP/1.x` (RFC 9112 §3).
    static func parse(_ line: Span<UInt8>) -> Request {
        var cursor = Cursor(line)
        let method = cursor.take { $0 != 0x20 }
        guard cursor.take(0x20) else { return .malformed }
        let path = cursor.take { $0.isASCIIVisible && $0 != 0x3F }
        _ = cursor.skip { $0.isASCIIVisible }  // a query, which nothing here looks at
        guard path.first == 0x2F, cursor.take(" HTTP/1."), cursor.remaining == 1 else {
            return .malformed
        }
        return method == [0x47, 0x45, 0x54] ? .get(path: path) : .otherMethod
    }

    private func respond(_ connection: Connection, to request: Request) async {
        let text = "text/plain; charset=utf-8"
        guard case .get(let path) = request else {
            let isMethod = request == .otherMethod
            put(
                connection, isMethod ? "405 Method Not Allowed" : "400 Bad Request", text,
                [UInt8]("only GET\n".utf8), more: isMethod ? "Allow: GET\r\n" : "")
            return
        }
        switch String(decoding: path, as: UTF8.self) {
        case suite.metrics(name)?.path ?? "/metrics":
            put(
                connection, "200 OK", "text/plain; version=0.0.4; charset=utf-8",
                Metrics.shared.exposition())
        case "/health", "/healthz":
            let sessions = await sessions()
            let reachesStore = await context.state?.service.reachesStore()
            let store = reachesStore.map { $0 ? "\"store\":\"up\"," : "\"store\":\"down\"," }
            let status = isStopping ? "draining" : reachesStore == false ? "degraded" : "ok"
            let uptime = (context.now - started).components.seconds
            let body =
                "{\"status\":\"\(status)\",\(store ?? "")\"generation\":\(generation),"
                + "\"failed_reloads\":\(failedReloads),"
                + "\"version\":\"\(Martlet.version)\",\"sessions\":\(sessions),"
                + "\"uptime\":\(uptime),\"pid\":\(getpid())}\n"
            put(
                connection, isStopping ? "503 Service Unavailable" : "200 OK", "application/json",
                [UInt8](body.utf8))
        default:
            put(connection, "404 Not Found", text, [UInt8]("not found\n".utf8))
        }
    }

    private func sessions() async -> Int {
        await unsafe withUnsafeContinuation { (continuation: UnsafeContinuation<Int, Never>) in
            countSessions { unsafe continuation.resume(returning: $0) }
        }
    }

    private func put(
        _ connection: Connection, _ status: String, _ type: String, _ body: [UInt8],
        more: String = ""
    ) {
        connection.write(
            [UInt8](
                """
                HTTP/1.1 \(status)\r
                Content-Type: \(type)\r
                Content-Length: \(body.count)\r
                Cache-Control: no-store\r
                \(more)Connection: close\r
                \r\n
                """.utf8))
        connection.write(body)
    }
}
