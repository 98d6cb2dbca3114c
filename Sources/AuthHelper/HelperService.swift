// SPDX-License-Identifier: Apache-2.0
//
// A helper of msgstored on one loop: a line with a question, a line with an answer (docs/wire.md,
// "Helpers"). What checks may block for seconds and runs on threads of its own, few at a time.

import Bytes
import Serving
import Settings
import Synchronization
import Telemetry
import Transport
import Wire

/// What a helper knows.
package protocol HelperBackend: AnyObject, Sendable {
    /// Called at the start and at each reload.
    func apply(_ suite: Suite)

    /// Blocks, for a bounded time.
    func answer(_ question: HelperQuestion) -> HelperAnswer
}

/// What all loops share.
private final class Desk: Sendable {
    /// Questions that may wait; more are told to come back.
    private static let waitingLimit = 256
    private static let threads = 8

    let backend: any HelperBackend
    private let workers: Workers
    private let waiting = Atomic<Int>(0)

    init(_ backend: any HelperBackend, name: String) {
        self.backend = backend
        workers = Workers(count: Self.threads, name: name)
    }

    func answer(_ question: HelperQuestion) async -> HelperAnswer {
        let before = waiting.wrappingAdd(1, ordering: .relaxed).oldValue
        defer { waiting.wrappingSubtract(1, ordering: .relaxed) }
        guard before < Self.waitingLimit else {
            return .unavailable(reason: Array("too many questions at once".utf8))
        }
        let backend = backend
        return await workers.run { backend.answer(question) }
    }
}

package final class HelperService: LoopService {
    private static let patience = Duration.seconds(60)

    private let desk: Desk
    package private(set) var activeSessions = 0

    fileprivate init(_ desk: Desk, _ suite: Suite) {
        self.desk = desk
        desk.backend.apply(suite)
    }

    package func reload(_ suite: Suite) { desk.backend.apply(suite) }

    package func serve(_ connection: Connection) async {
        activeSessions += 1
        defer { activeSessions -= 1 }
        do throws(ConnectionError) {
            while true {
                let result = try await connection.readLine(
                    limit: HelperQuestion.lineLimit, end: .crlfOrLF, within: Self.patience)
                guard result == .line else { return }
                let line = connection.withLine { [UInt8](copying: $0) }
                guard let question = HelperQuestion(line: line) else {
                    Log.warn("question not understood")
                    return
                }
                let answer = await desk.answer(question)
                if case .unavailable(let reason) = answer {
                    Log.error("cannot check", [LogField("reason", reason)])
                }
                connection.write(answer.line)
                try await connection.flush(within: Self.patience)
            }
        } catch {
            Log.debug("question lost", [LogField("reason", error.description)])
        }
    }
}

extension Program {
    /// A helper that listens on `<run_dir>/<name>.sock`.
    package static func helper(_ name: String, _ backend: any HelperBackend) -> Program {
        let desk = Desk(backend, name: "check")
        return Program(
            name: name,
            listeners: { suite in
                [
                    ListenerSettings(
                        name: name, address: .unix(path: suite.server.helperPath(name)),
                        mode: "helper")
                ]
            },
            makeService: { _, suite in HelperService(desk, suite) })
    }
}
