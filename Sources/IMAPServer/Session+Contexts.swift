// SPDX-License-Identifier: Apache-2.0
//
// Searches that go on: a session tells what comes into their results and what leaves them, when it
// tells what has changed in the mailbox. RFC 5267 §4.

import Bytes
import IMAP
import Mail
import StoreClient
import Telemetry
import Wire

extension Session {
    /// Follows the result of a command with RETURN (UPDATE), or says why not (RFC 5267 §4.3.1).
    ///
    /// - Parameter found: indexes of the view in the order of the result.
    func follow(
        _ tag: [UInt8], _ found: [Int], _ program: SearchProgram, _ order: [SortCriterion]?,
        byUID: Bool, _ selection: Selection
    ) {
        guard program.returns?.contains(.update) ?? false else { return }
        selection.contexts.removeAll { $0.tag == tag }
        guard program.canBeFollowed else {
            return refuseUpdates(tag, "Not with message numbers, * or times that pass")
        }
        guard selection.contexts.count < SearchContext.limit else {
            return refuseUpdates(tag, "Too many searches are followed")
        }
        let known = found.map { selection.view.entries[$0].uid }
        selection.contexts.append(
            SearchContext(tag: tag, program, order: order, byUID: byUID, known: known))
        if selection.contexts.count == 1 {
            selection.contextsModSeq = selection.view.highestModSeq
        }
    }

    private func refuseUpdates(_ tag: [UInt8], _ why: StaticString) {
        writer.write("* NO [NOUPDATE ")
        writer.string(tag)
        writer.write("] ")
        writer.write(why)
        writer.write("\r\n")
    }

    /// RFC 5267 §4.3.2.
    func cancelUpdates(_ tag: [UInt8], of tags: [[UInt8]]) throws(Failure) {
        let (_, selection) = try requireSelection()
        selection.contexts.removeAll { tags.contains($0.tag) }
        writer.line(tag, "OK No further updates")
    }

    /// What is gone leaves the results before its EXPUNGE is told: its number means it still.
    func tellRemoved(_ selection: Selection) {
        guard !selection.contexts.isEmpty, selection.view.hasUntoldExpunges else { return }
        let view = selection.view
        for place in selection.contexts.indices {
            selection.contexts[place].remove(
                where: { view.isVanished($0) },
                number: { view.index(of: $0).map { UInt32($0) + 1 } }, to: &writer)
        }
    }

    /// Searches again if the mailbox has changed since, and tells the differences.
    func updateContexts() async throws(Failure) {
        guard case .selected(let store, let selection) = state, !selection.contexts.isEmpty,
            selection.contextsModSeq != selection.view.highestModSeq
        else { return }
        selection.contextsModSeq = selection.view.highestModSeq
        for place in selection.contexts.indices {
            let context = selection.contexts[place]
            do throws(Failure) {
                var found = try await matching(context.program, store, selection)
                if let order = context.order {
                    found = try await sort(found, order, store, selection)
                }
                let view = selection.view
                selection.contexts[place].update(
                    found.map { view.entries[$0].uid },
                    number: { view.index(of: $0).map { UInt32($0) + 1 } }, to: &writer)
            } catch .store(let reason) where reason != .staleHandle {
                // The next change tells what this one could not
                Log.warn(
                    "followed search failed",
                    [LogField("session", id.description), LogField("reason", "\(reason)")])
                selection.contextsModSeq = 0
            }
        }
    }
}
