// SPDX-License-Identifier: Apache-2.0
//
// Search keys about what the store knows of messages beside their octets: SAVEDBEFORE, SAVEDON and
// SAVEDSINCE (RFC 8514 §4.3), EMAILID (RFC 8474 §6). They become the UIDs that they mean, so that
// nobody else needs to know of them.

import Mail

extension SearchProgram {
    /// `resolved` is needed before it is prepared.
    package var needsDetails: Bool { Self.needsDetails(key) }

    private static func needsDetails(_ key: SearchKey) -> Bool {
        switch key {
        case .savedDay, .emailID: true
        case .and(let keys): keys.contains(where: needsDetails)
        case .or(let left, let right): needsDetails(left) || needsDetails(right)
        case .not(let key): needsDetails(key)
        default: false
        }
    }

    /// - Parameter details: of all messages in the view, by rising UID.
    package func resolved(_ details: [MessageDetail]) -> SearchProgram {
        var program = self
        program.key = Self.resolved(key, details)
        return program
    }

    private static func resolved(_ key: SearchKey, _ details: [MessageDetail]) -> SearchKey {
        switch key {
        case .savedDay(let days):
            return uids(details) { days.holds(InternalDate.day(of: $0.saved)) }
        case .emailID(let id):
            guard id.first == 0x4D else { return .not(.all) }
            let wanted = Array(id.dropFirst())
            return uids(details) { $0.emailID == wanted }
        case .and(let keys): return .and(keys.map { resolved($0, details) })
        case .or(let left, let right):
            return .or(resolved(left, details), resolved(right, details))
        case .not(let key): return .not(resolved(key, details))
        default: return key
        }
    }

    private static func uids(
        _ details: [MessageDetail], _ isWanted: (MessageDetail) -> Bool
    ) -> SearchKey {
        let found = details.filter(isWanted).map(\.uid)
        return found.isEmpty ? .not(.all) : .uid(SequenceSet(UIDRange.ranges(of: found)))
    }
}
