// SPDX-License-Identifier: Apache-2.0
//
// One message on its way from the client to the store: in memory while it is short, in a file that
// the store lent out when it is long. Trace fields go in front of it (RFC 5321 §4.4), so that the
// file is complete for any other reader.

import Bytes
import SMTP
import StoreClient
import Telemetry
import Transport
import Wire

/// Takes text in pieces. Never holds more than `MessageBody.inlineLimit` and one read.
final class MessageCollector {
    /// Octets that are written to a staged file at once.
    private static let pieceSize = 64 << 10
    /// Hops of a message that goes in circles (RFC 5321 §6.3: at least 100).
    static let hopLimit = 100

    /// Decoders append here.
    var buffer: [UInt8] = []
    private(set) var scanner = HeaderScanner()
    /// Octets of the message, trace fields not counted.
    private(set) var size = 0
    private(set) var failure: StoreFailure?
    /// Of a submission, when its header is complete.
    private(set) var submission: SubmissionHeader?
    /// A submission whose header does not end: what it hides cannot be taken out.
    private(set) var isHeaderTooLong = false
    private let isSubmission: Bool
    private var scanned = 0
    private var isDiscarding = false
    private var writer: StageWriter?
    private let store: any Backend
    private let workers: Workers
    /// Makes what goes in front, when the header is known.
    private let prefix: (MessageCollector) -> [UInt8]

    /// - Parameter isSubmission: the header is read, and Bcc taken out of it.
    init(
        store: any Backend, workers: Workers, expecting count: Int, isSubmission: Bool,
        prefix: @escaping (MessageCollector) -> [UInt8]
    ) {
        self.isSubmission = isSubmission
        self.store = store
        self.workers = workers
        self.prefix = prefix
        buffer.reserveCapacity(min(count, MessageBody.inlineLimit))
    }

    /// Call after each append to `buffer`: looks at the header and sends on what is too much.
    func advance() async {
        size += buffer.count - scanned
        if isDiscarding {
            drop()
            return
        }
        if !scanner.isComplete {
            scanner.scan(buffer.span.extracting(scanned..<buffer.count))
        }
        scanned = buffer.count
        if isSubmission { readHeader() }
        let threshold = writer == nil ? MessageBody.inlineLimit - 16_384 : Self.pieceSize
        guard buffer.count >= threshold else { return }
        if isSubmission, submission == nil {
            isHeaderTooLong = true
            discard()
            return
        }
        do throws(StoreFailure) {
            try await spill()
        } catch {
            failure = error
            discard()
        }
    }

    /// Takes the header of a submission out of the buffer and puts it back without Bcc.
    private func readHeader() {
        guard submission == nil, scanner.isComplete else { return }
        let header = SubmissionHeader(Array(buffer[..<scanner.length]))
        if header.kept.count < scanner.length {
            buffer.replaceSubrange(..<scanner.length, with: header.kept)
            scanned = buffer.count
        }
        submission = header
    }

    /// All pieces are there.
    func finishHeader() {
        scanner.finish()
        if isSubmission, !isDiscarding { readHeader() }
    }

    /// Nothing more is kept: the message will not be stored.
    func discard() {
        isDiscarding = true
        drop()
        abandon()
    }

    /// Gives a staged file back. Harmless when there is none.
    func abandon() {
        guard let writer else { return }
        store.unstage(writer.finish())
        self.writer = nil
    }

    /// The body as the store wants it. Call once, behind `finishHeader`.
    func finish() async throws(StoreFailure) -> MessageBody {
        if let failure { throw failure }
        guard writer != nil else {
            let front = prefix(self)
            if front.count + buffer.count <= MessageBody.inlineLimit {
                return .inline(front + buffer)
            }
            try await spill()
            return try await finish()
        }
        if !buffer.isEmpty { try await spill() }
        guard let writer else { throw .unavailable }
        self.writer = nil
        return .staged(writer.finish())
    }

    private func spill() async throws(StoreFailure) {
        if writer == nil {
            writer = StageWriter(try await store.stage(), workers: workers)
            try await writer?.write(prefix(self))
        }
        let piece = buffer
        buffer = []
        buffer.reserveCapacity(2 * Self.pieceSize)
        scanned = 0
        try await writer?.write(piece)
    }

    private func drop() {
        buffer.removeAll(keepingCapacity: false)
        scanned = 0
    }
}
