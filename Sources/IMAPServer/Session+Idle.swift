// SPDX-License-Identifier: Apache-2.0
//
// IDLE: waits for mail and for DONE at the same time. RFC 2177.

import Bytes
import Config
import IMAP
import StoreClient
import Telemetry
import Transport

extension Session {
    func idle(_ tag: [UInt8]) async throws(Failure) {
        _ = try requireLogin()
        if case .selected = state { try await synchronize(expunges: true) }
        writer.write("+ idling\r\n")
        service.metrics.idle.add(1)
        defer { service.metrics.idle.add(-1) }
        while try await idleTurn() {}
        writer.line(tag, "OK IDLE terminated")
    }

    /// Waits once. False: the client said DONE.
    private func idleTurn() async throws(Failure) -> Bool {
        emit()
        do throws(ConnectionError) {
            try await connection.flush(within: Self.patience)
        } catch {
            throw .connection(error)
        }
        if writer.octets.capacity > 1_024 { _ = writer.take() }
        switch await connection.wait(within: service.settings.idleTimeout) {
        case .input: return try await !isDone()
        case .woken:
            if case .selected(let store, let selection) = state {
                try await update(store, selection)
                tell(selection, expunges: true)
                try await updateContexts()
            }
            try await tellNotifications()
            return true
        case .timedOut: throw .over(.timedOut)
        case .closed: throw .over(.closed)
        case .draining: throw .over(.draining)
        }
    }

    /// Reads one line. What follows DONE in the same packet stays for the next command.
    private func isDone() async throws(Failure) -> Bool {
        try await reading { () async throws(End) in
            switch try await readLine(limit: 1_024) {
            case .line: break
            case .tooLong, .bareLineFeed: throw .tooLong
            case .closed: throw .closed
            case .draining: throw .draining
            }
            let line = connection.withLine { [UInt8](copying: $0) }
            if line.equalsIgnoringASCIICase(Array("DONE")) { return true }
            // Another IDLE inside IDLE was seen: refused under its own tag, and IDLE goes on
            writer.write(TaggedCommand.tag(of: line) ?? Array("*"))
            writer.write(" BAD Only DONE is possible now\r\n")
            try countBad()
            return false
        }
    }
}
