// SPDX-License-Identifier: Apache-2.0
//
// SEARCH: by the view first; what it cannot decide is asked of the store, which has the messages and
// their index. RFC 3501 §6.4.4; RFC 5182 for what is saved.

import Bytes
import IMAP
import Mail
import StoreClient
import Transport
import Wire

extension Session {
    func search(
        _ tag: [UInt8], _ program: SearchProgram, byUID: Bool
    ) async throws(Failure) {
        if writer.isUTF8, program.namesCharset { throw .bad("No charset with UTF8=ACCEPT") }
        var program = program
        // RFC 9051 §6.4.4: IMAP4rev2 has no other answer
        if isRevision2, program.returns == nil { program.returns = SearchReturn(.all) }
        let (found, _, selection) = try await run(program)
        try await answer(tag, found, program, "SEARCH", byUID: byUID, selection)
        follow(tag, found, program, nil, byUID: byUID, selection)
        if byUID { tell(selection, expunges: true) }
        writer.line(tag, "OK SEARCH completed")
    }

    /// Brings the view up to date and searches it.
    ///
    /// - Returns: indexes of the view, rising.
    func run(
        _ program: SearchProgram
    ) async throws(Failure) -> ([Int], MailboxSession, Selection) {
        let (_, selection) = try requireSelection()
        do throws(Failure) {
            if program.charsetIsUnknown {
                throw .no(Failure.badCharset)
            }
            if program.mentionsModSeq { enableCondstore() }
            // Also a UID SEARCH may have numbers in it, which must not move before they are
            // resolved
            try await synchronize(expunges: false)
            let (store, selection) = try requireSelection()
            let found = try await matching(program, store, selection)
            return (found, store, selection)
        } catch {
            // RFC 5182 §2.1: what could not be carried out leaves nothing saved
            if program.returns?.contains(.save) ?? false { selection.view.saved = [] }
            throw error
        }
    }

    /// - Returns: indexes of the view, rising.
    func matching(
        _ program: SearchProgram, _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> [Int] {
        let program = try await resolvingDetails(program, store, selection)
        let search = PreparedSearch(
            program, keywords: selection.view.keywords, messages: selection.view.messages,
            largestUID: selection.view.largestUID,
            now: Int64(service.context.wallMilliseconds() / 1_000), saved: selection.view.saved)
        var found: [Int] = []
        // Messages of which the view knows the same leave the same question: mostly there is one.
        var open: [ViewAnswers: [Int]] = [:]
        for (index, entry) in selection.view.entries.enumerated() {
            let number = UInt32(index) + 1
            switch search.verdict(entry, number: number) {
            case .yes: found.append(index)
            case .unknown: open[search.answers(entry, number: number), default: []].append(index)
            case .no: break
            }
        }
        if !open.isEmpty {
            for (answers, indexes) in open {
                found += try await ask(search.question(answers), indexes, store, selection)
            }
            found.sort()
        }
        return found
    }

    /// - Returns: those of `indexes` whose text matches.
    private func ask(
        _ question: TextQuery, _ indexes: [Int], _ store: MailboxSession, _ selection: Selection
    ) async throws(Failure) -> [Int] {
        // What lies between two neighbours of the view does not exist, so it may be asked for.
        var ranges: [UIDRange] = []
        var last = -2
        for index in indexes {
            let uid = selection.view.entries[index].uid
            if index == last + 1, let range = ranges.popLast() {
                ranges.append(UIDRange(range.first, uid))
            } else {
                ranges.append(UIDRange(uid, uid))
            }
            last = index
        }
        var found: [Int] = []
        var rest = ranges[...]
        while !rest.isEmpty {
            let some = Array(rest.prefix(WireLimit.ranges))
            rest = rest.dropFirst(some.count)
            let uids = try await asking { () async throws(StoreFailure) in
                try await store.search(selection.view.id, uids: some, question)
            }
            // The mailbox may have changed since: what the view does not have is not told.
            found += uids.compactMap { selection.view.index(of: $0) }
        }
        return found
    }
}
