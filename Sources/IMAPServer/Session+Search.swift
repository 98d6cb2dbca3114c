// SPDX-License-Identifier: Apache-2.0
//
// SEARCH: by the view first; only messages that it cannot decide are read, and their text is
// looked through on workers. RFC 3501 §6.4.4, §7.2.5; RFC 7162 §3.1.5.

import Bytes
import Glibc
import IMAP
import Mail
import StoreClient
import Transport
import Wire

extension Session {
    /// Text that goes to a worker at a time.
    private static let searchBatch = 1 << 20

    func search(
        _ tag: [UInt8], _ program: SearchProgram, byUID: Bool
    ) async throws(Failure) {
        _ = try requireSelection()
        if program.mentionsModSeq { enableCondstore() }
        // Also a UID SEARCH may have numbers in it, which must not move before they are resolved
        try await synchronize(expunges: false)
        let (store, selection) = try requireSelection()
        let search = PreparedSearch(
            program, keywords: selection.view.keywords, messages: selection.view.messages,
            largestUID: selection.view.largestUID,
            now: Int64(service.context.wallMilliseconds() / 1_000))
        var found: [Int] = []
        var open: [UInt32] = []
        for (index, entry) in selection.view.entries.enumerated() {
            switch search.verdict(entry, number: UInt32(index) + 1) {
            case .yes: found.append(index)
            case .unknown: open.append(entry.uid)
            case .no: break
            }
        }
        if !open.isEmpty {
            found += try await searchText(search, open, store, selection)
            found.sort()
        }
        var highest: UInt64 = 0
        writer.write("* SEARCH")
        for index in found {
            let entry = selection.view.entries[index]
            highest = max(highest, entry.modSeq)
            writer.write(" ")
            writer.write(byUID ? entry.uid : UInt32(index) + 1)
        }
        if program.mentionsModSeq, !found.isEmpty {
            writer.write(" (MODSEQ ")
            writer.write(highest)
            writer.write(")")
        }
        writer.write("\r\n")
        if byUID { tell(selection, expunges: true) }
        writer.line(tag, "OK SEARCH completed")
    }

    /// - Returns: indexes of messages whose text matches.
    private func searchText(
        _ search: PreparedSearch, _ uids: [UInt32], _ store: MailboxSession,
        _ selection: Selection
    ) async throws(Failure) -> [Int] {
        var found: [Int] = []
        var start = 0
        while start < uids.count {
            let part = Array(uids[start..<min(start + WireLimit.readUIDs, uids.count)])
            start += part.count
            let reader = store.read(
                selection.view.id, uids: part, part: search.need == .header ? .header : .whole)
            var batch = SearchBatch()
            do throws(Failure) {
                while let message = try await next(reader) {
                    guard let index = selection.view.index(of: message.uid) else { continue }
                    batch.add(message, index: index, entry: selection.view.entries[index])
                    if batch.octets >= Self.searchBatch || batch.candidates.count >= 64 {
                        found += try await matches(search, batch.take())
                    }
                }
            } catch {
                batch.discard()
                throw error
            }
            found += try await matches(search, batch.take())
        }
        return found
    }

    private func matches(
        _ search: PreparedSearch, _ candidates: [SearchBatch.Candidate]
    ) async throws(Failure) -> [Int] {
        guard !candidates.isEmpty else { return [] }
        let found = await service.context.workers.run { () -> [Int]? in
            var found: [Int] = []
            var isComplete = true
            for candidate in candidates {
                switch candidate.matches(search) {
                case .some(true): found.append(candidate.index)
                case .some(false): break
                case .none: isComplete = false
                }
            }
            return isComplete ? found : nil
        }
        // An answer that leaves out what could not be read would be a wrong one
        guard let found else { throw .store(.unavailable) }
        return found
    }
}

/// Messages on their way to a worker. Descriptors in it are closed by the worker.
private struct SearchBatch {
    struct Candidate: Sendable {
        enum Text: Sendable {
            case octets([UInt8])
            case file(Int32, count: Int)
        }

        let index: Int
        let entry: MessageEntry
        let text: Text

        /// Nil if the file could not be read.
        func matches(_ search: PreparedSearch) -> Bool? {
            switch text {
            case .octets(let octets):
                return search.matches(entry, number: UInt32(index) + 1, octets)
            case .file(let descriptor, let count):
                let octets = readFile(descriptor, count: count)
                _ = Glibc.close(descriptor)
                guard let octets else { return nil }
                return search.matches(entry, number: UInt32(index) + 1, octets)
            }
        }
    }

    private(set) var candidates: [Candidate] = []
    private(set) var octets = 0

    /// Hands the candidates over and starts again.
    mutating func take() -> [Candidate] {
        defer { self = SearchBatch() }
        return candidates
    }

    /// Closes what was not handed over.
    mutating func discard() {
        for candidate in take() {
            if case .file(let descriptor, _) = candidate.text { _ = Glibc.close(descriptor) }
        }
    }

    mutating func add(_ message: consuming StoredMessage, index: Int, entry: MessageEntry) {
        let count = Int(message.size)
        octets += count
        switch message.takeBody() {
        case .inline(let text):
            candidates.append(Candidate(index: index, entry: entry, text: .octets(text)))
        case .file(let file):
            candidates.append(
                Candidate(index: index, entry: entry, text: .file(file.release(), count: count)))
        }
    }
}
