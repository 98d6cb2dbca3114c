// SPDX-License-Identifier: Apache-2.0
//
// The patterns of LIST and LSUB: `*` matches anything, `%` anything up to the next `/`.
// RFC 3501 §6.3.8. Matching is linear in name times pattern, whatever the pattern.

import Bytes
import Mail

/// One pattern, over UTF-8 names.
package struct ListPattern: Equatable, Sendable {
    /// Octets kept of a pattern; a longer one cannot match a name (names have at most 1,000).
    package static let lengthLimit = 2_000

    private enum Step: Equatable {
        case octet(UInt8)
        case any
        case level
    }

    private let steps: [Step]

    /// Nil if it is too long.
    ///
    /// - Parameters:
    ///   - pattern: reference and pattern joined, in modified UTF-7 or UTF-8.
    ///   - isUTF8: it is UTF-8 (RFC 6855 §3).
    package init?(_ pattern: [UInt8], isUTF8: Bool = false) {
        guard pattern.count <= Self.lengthLimit else { return nil }
        var steps: [Step] = []
        for octet in (isUTF8 ? nil : ModifiedUTF7.decode(pattern)) ?? pattern {
            let last = steps.last
            switch octet {
            case 0x2A:
                // `*` swallows a wildcard beside it, so runs of them cost nothing
                if last == .level { steps.removeLast() }
                if steps.last != .any { steps.append(.any) }
            case 0x25:
                if last != .any && last != .level { steps.append(.level) }
            default: steps.append(.octet(octet))
            }
        }
        self.steps = steps
    }

    /// True for `*` alone: everything matches.
    package var matchesAll: Bool { steps == [.any] }

    package func matches(_ name: MailboxName) -> Bool {
        let octets = name.octets
        // INBOX is the one name without case, also as the parent of others (§5.1)
        let inbox = MailboxName.inbox.octets
        let caseless =
            octets.starts(with: inbox)
                && (octets.count == inbox.count || octets[inbox.count] == MailboxName.separator)
            ? inbox.count : 0
        var active = [Bool](repeating: false, count: steps.count + 1)
        active[0] = true
        skipWildcards(&active)
        for (index, octet) in octets.enumerated() {
            var next = [Bool](repeating: false, count: steps.count + 1)
            var isAlive = false
            for position in steps.indices where active[position] {
                switch steps[position] {
                case .octet(let wanted):
                    guard
                        wanted == octet
                            || index < caseless && wanted.asciiUppercased == octet.asciiUppercased
                    else { continue }
                    next[position + 1] = true
                case .any: next[position] = true
                case .level:
                    guard octet != MailboxName.separator else { continue }
                    next[position] = true
                }
                isAlive = true
            }
            guard isAlive else { return false }
            skipWildcards(&next)
            active = next
        }
        return active[steps.count]
    }

    /// A wildcard also matches nothing.
    private func skipWildcards(_ active: inout [Bool]) {
        for position in steps.indices where active[position] {
            switch steps[position] {
            case .octet: break
            case .any, .level: active[position + 1] = true
            }
        }
    }
}
