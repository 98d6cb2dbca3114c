// SPDX-License-Identifier: Apache-2.0
//
// COMPRESS DEFLATE (RFC 4978), and telling a client that waits that its command goes on
// (INPROGRESS, RFC 9585).

import Bytes
import IMAP
import Transport

extension Session {
    func compress(_ tag: [UInt8], _ algorithm: [UInt8]) async throws(Failure) {
        _ = try requireLogin()
        guard algorithm.asciiLowercased == Array("deflate".utf8) else {
            throw .no("[CANNOT] Only DEFLATE is possible")
        }
        guard !connection.isCompressed else { throw .no("[COMPRESSIONACTIVE] It is on already") }
        // §3: the client waits for the answer; what came would be neither the one nor the other
        guard connection.buffered == 0 else { throw .bad("Nothing may follow COMPRESS") }
        writer.line(tag, "OK DEFLATE active")
        emit()
        do throws(ConnectionError) {
            try await connection.flush(within: Self.patience)
            try connection.startCompression()
        } catch {
            throw .connection(error)
        }
    }

    /// After so long without an answer the client is told that it will come.
    private static let progressInterval = Duration.seconds(10)

    /// Runs something long that writes lines, and no literals.
    func telling<Value>(
        _ tag: [UInt8], _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        guard isOffered(.inProgress) else { return try await body() }
        emit()
        let connection = connection
        let reminder = Reminder(of: connection, every: Self.progressInterval) { [self] in
            guard endsLine else { return }
            connection.write("* OK [INPROGRESS (\"")
            connection.write(tag.filter { $0 != 0x22 && $0 != 0x5C })
            connection.write("\" NIL NIL)] Still at it\r\n")
            connection.flushSoon()
        }
        defer { reminder.cancel() }
        return try await body()
    }
}
