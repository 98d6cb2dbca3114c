// SPDX-License-Identifier: Apache-2.0
//
// FETCH of what lists show, from what the store keeps beside the messages: no file is opened.
// RFC 9051 §6.4.5, §7.5.2. What is not kept of a message is answered from the message itself.

import Bytes
import IMAP
import MIME
import Mail
import StoreClient
import Telemetry
import Transport
import Wire

extension Session {
    /// - Parameter uids: rising.
    /// - Returns: how many messages were sent.
    func sendSummaries(
        _ command: FetchCommand, _ pieces: SummaryPieces, _ uids: [UInt32], _ fresh: Set<UInt32>,
        _ details: [UInt32: MessageDetail], _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> Int {
        let answers = SummaryAnswers(command, tellsModSeq: condstore)
        let stream = store.summaries(selection.view.id, uids: uids, pieces)
        var unanswered: [UInt32] = []
        var sent = 0
        var next = 0
        var place = 0
        while let rows = try await nextRows(stream) {
            var reader = SummaryReader(pieces)
            while let row = reader.next(rows.span) {
                while next < uids.count, uids[next] < row.uid {
                    unanswered.append(uids[next])
                    next += 1
                }
                guard next < uids.count, uids[next] == row.uid else { continue }
                next += 1
                guard let index = selection.view.index(of: row.uid, near: place) else { continue }
                place = index + 1
                let isWritten =
                    row.has(pieces)
                    && answers.write(
                        row, of: rows.span, at: index, in: selection.view,
                        isFresh: fresh.contains(row.uid), details[row.uid], to: &writer)
                if isWritten { sent += 1 } else { unanswered.append(row.uid) }
                if writer.count > Self.outputLimit { try await drainOutput() }
            }
            guard !reader.isBroken else { throw .store(.unavailable) }
            try await drainOutput()
        }
        fetchedCount += sent
        service.metrics.messagesFetched.increment(by: UInt64(sent))
        unanswered += uids[next...]
        guard !unanswered.isEmpty else { return sent }
        return sent + (try await sendText(command, unanswered, fresh, details, store, selection))
    }

    func nextRows(_ stream: SummaryStream) async throws(Failure) -> [UInt8]? {
        do throws(StoreFailure) {
            return try await stream.next()
        } catch {
            throw .store(error)
        }
    }
}

/// Writes the FETCH responses of one command.
private struct SummaryAnswers {
    private let attributes: [FetchAttribute]
    /// With the flags that this very command has changed.
    private let freshAttributes: [FetchAttribute]
    /// The name of each item, with the space behind it.
    private let labels: [[UInt8]]
    /// For items that are HEADER.FIELDS.
    private let selections: [FieldSelection?]

    init(_ command: FetchCommand, tellsModSeq: Bool) {
        attributes = command.attributes
        let news: [FetchAttribute] = tellsModSeq ? [.flags, .modSeq] : [.flags]
        freshAttributes = attributes + news.filter { !command.attributes.contains($0) }
        selections = attributes.map { attribute in
            guard case .section(let fetch) = attribute else { return nil }
            return FieldSelection(fetch)
        }
        labels = attributes.map { attribute in
            switch attribute {
            case .envelope: return Array("ENVELOPE ")
            case .structure(let extended): return Array(extended ? "BODYSTRUCTURE " : "BODY ")
            case .section(let fetch):
                var label: [UInt8] = []
                fetch.appendLabel(to: &label)
                label.append(.space)
                return label
            default: return []
            }
        }
    }

    /// - Returns: false if the row is not what it should be; then nothing was written.
    func write(
        _ row: SummaryRow, of rows: Span<UInt8>, at index: Int, in view: borrowing ClientView,
        isFresh: Bool, _ detail: MessageDetail?, to writer: inout ResponseWriter
    ) -> Bool {
        let start = writer.count
        let entry = view.entries[index]
        writer.startFetch(number: UInt32(index) + 1)
        for (place, attribute) in (isFresh ? freshAttributes : attributes).enumerated() {
            if place > 0 { writer.write(" ") }
            if writer.item(attribute, of: entry, keywords: view.keywords) { continue }
            if writer.detail(attribute, detail, of: entry) { continue }
            writer.write(labels[place])
            let isWhole: Bool
            switch attribute {
            case .envelope:
                isWhole = writer.with {
                    Envelope.append(packed: rows.extracting(row.envelope), to: &$0)
                }
            case .structure(let extended):
                isWhole = writer.with {
                    BodyStructure.append(
                        packed: rows.extracting(row.structure),
                        form: extended ? .bodyStructure : .body, to: &$0)
                }
            case .section(let fetch):
                isWhole = true
                let fields = rows.extracting(row.fields)
                if let selection = selections[place] {
                    writer.with { selection.appendLiteral(fields, to: &$0) }
                } else {
                    write(fetch, of: fields, to: &writer)
                }
            default: isWhole = false
            }
            guard isWhole else {
                writer.rollBack(to: start)
                return false
            }
        }
        writer.write(")\r\n")
        return true
    }

    private func write(
        _ fetch: SectionFetch, of fields: Span<UInt8>, to writer: inout ResponseWriter
    ) {
        var content = fetch.section.resolve(in: fields)
        if let partial = fetch.partial { content = content.cut(to: partial) }
        guard case .composed(let text) = content else { return }
        writer.literalHeader(text.count)
        writer.write(text)
    }
}

extension ClientView {
    /// As `index(of:)`, quick if it is the one at `place`.
    fileprivate func index(of uid: UInt32, near place: Int) -> Int? {
        if place < entries.count, entries[place].uid == uid { return place }
        return index(of: uid)
    }
}
