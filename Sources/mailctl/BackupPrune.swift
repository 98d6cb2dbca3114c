// SPDX-License-Identifier: Apache-2.0
//
// `mailctl backup prune`: which generations stay. Each owns its files (hard links), so any can go
// without harm to the others.

import Bytes
import Mail

enum BackupPrune {
    /// `7,4w,12m`: the newest 7, and the last of each of 4 weeks and of 12 months.
    struct Rule {
        var newest = 0
        /// Seconds of a period, and how many of them.
        var periods: [(seconds: Int64, count: Int)] = []

        init(_ text: String) throws(Failure) {
            for part in text.split(separator: ",") {
                let unit = part.last.flatMap { $0.isNumber ? nil : $0 }
                guard let count = Int(unit == nil ? part : part.dropLast()), count >= 0 else {
                    throw Self.failure(text)
                }
                switch unit {
                case nil: newest = count
                case "d": periods.append((86_400, count))
                case "w": periods.append((7 * 86_400, count))
                case "m": periods.append((30 * 86_400, count))
                case "y": periods.append((365 * 86_400, count))
                default: throw Self.failure(text)
                }
            }
            guard newest > 0 || periods.contains(where: { $0.count > 0 }) else {
                throw Self.failure(text)
            }
        }

        private static func failure(_ text: String) -> Failure {
            Failure(
                .usage, "`\(text)` does not say what to keep",
                hints: ["for example: --keep 7,4w,12m  (the newest 7, one a week, one a month)"])
        }

        /// Of completion times, oldest first, which stay. The newest always does.
        func kept(_ times: [Int64]) -> Set<Int> {
            var kept = Set(times.indices.suffix(max(1, newest)))
            for (seconds, count) in periods {
                var periods: Set<Int64> = []
                for index in times.indices.reversed() {
                    guard periods.count < count else { break }
                    if periods.insert(times[index] / seconds).inserted { kept.insert(index) }
                }
            }
            return kept
        }
    }

    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        guard let text = invocation.value("keep") else {
            throw Failure(
                .usage, "what shall stay?", hints: ["for example: --keep 7,4w,12m"])
        }
        let rule = try Rule(text)
        let repository = try BackupRepository(opening: invocation.arguments[0])
        try repository.lock()
        // Those that an interrupted run had begun to remove.
        for name in try repository.root.names() where name.starts(with: Array(".removing-".utf8)) {
            try repository.root.removeTree(name)
        }
        let generations = try repository.complete()
        var scopes: [String?: [Generation]] = [:]
        for generation in generations {
            scopes[generation.manifest?.scope, default: []].append(generation)
        }
        var removed: [String] = []
        for members in scopes.values {
            let kept = rule.kept(members.map { $0.manifest?.completed ?? 0 })
            for (index, generation) in members.enumerated() where !kept.contains(index) {
                removed.append(generation.name)
            }
        }
        removed.sort()
        if !invocation.has("dry-run") {
            var progress = Progress("pruning", "generations", of: removed.count, invocation)
            for name in removed {
                // Out of sight in one step: half a generation never looks like a whole one.
                let hidden = Array(".removing-\(name)".utf8)
                try repository.root.rename(Array(name.utf8), to: hidden, in: repository.root)
                try repository.root.synchronize()
                try repository.root.removeTree(hidden)
                progress.advance()
            }
            progress.finish()
        }
        for name in removed {
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("generation", .string(name)),
                        ("removed", .boolean(!invocation.has("dry-run"))),
                    ]).text)
            } else {
                invocation.say(
                    invocation.has("dry-run") ? "would remove \(name)" : "removed \(name)")
            }
        }
        invocation.json ? () : invocation.say("\(generations.count - removed.count) stay.")
        return .ok
    }
}
