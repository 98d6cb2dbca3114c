// SPDX-License-Identifier: Apache-2.0
//
// One mistake in a configuration, and how it is shown: where, the line, a caret, what to do.

/// An error or a warning.
package struct Diagnostic: Sendable, Equatable {
    package enum Severity: String, Sendable {
        case error
        case warning
    }

    package var severity: Severity
    package var message: String
    /// A path, or `environment`.
    package var file: String
    /// From 1; nil where there is no line to show.
    package var line: Int?
    package var column: Int?
    /// The line itself, to be shown, and how much of it to underline.
    package var source: String?
    package var underline: Int = 1
    /// Beside the caret: `did you mean ...?`
    package var label: String = ""
    /// What to do about it; each a line of its own.
    package var notes: [String] = []

    package init(
        severity: Severity, message: String, file: String, line: Int? = nil, column: Int? = nil,
        source: String? = nil, underline: Int = 1, label: String = "", notes: [String] = []
    ) {
        self.severity = severity
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.source = source
        self.underline = underline
        self.label = label
        self.notes = notes
    }

    /// The form of INTERFACES.md: message, place, line with caret, notes. Ends without a line end.
    package var text: String {
        var lines = ["\(severity.rawValue): \(message)"]
        guard let line else {
            lines.append("  --> \(file)")
            lines += notes.map { "   = \($0)" }
            return lines.map(printable).joined(separator: "\n")
        }
        let number = String(line)
        let gutter = String(repeating: " ", count: number.utf8.count)
        lines.append("\(gutter)--> \(file):\(line):\(column ?? 1)")
        if let source {
            let marks = String(repeating: "^", count: max(1, underline))
            let indent = String(repeating: " ", count: max(0, (column ?? 1) - 1))
            lines.append("\(gutter) |")
            lines.append("\(number) | \(source)")
            lines.append("\(gutter) | \(indent)\(marks)\(label.isEmpty ? "" : " " + label)")
        } else if !label.isEmpty {
            lines.append("\(gutter) = \(label)")
        }
        lines += notes.map { "\(gutter) = \($0)" }
        return lines.map(printable).joined(separator: "\n")
    }

    /// Keys and values are quoted as they were written: they must not steer a terminal.
    private func printable(_ line: String) -> String {
        guard line.unicodeScalars.contains(where: isControl) else { return line }
        var shown = ""
        for scalar in line.unicodeScalars {
            shown.unicodeScalars.append(isControl(scalar) ? "?" : scalar)
        }
        return shown
    }
}

/// C0, DEL and C1.
private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
}

/// The lines of one file, for diagnostics.
struct SourceFile: Sendable {
    let path: String
    private let lines: [String]

    init(path: String, octets: [UInt8]) {
        self.path = path
        // What cannot be printed on one line is replaced, so that a file cannot steer a terminal.
        lines = octets.split(separator: 0x0A, omittingEmptySubsequences: false).map { line in
            var shown = ""
            for scalar in String(decoding: line, as: UTF8.self).unicodeScalars.prefix(400) {
                if isControl(scalar) && scalar.value != 0x0D {
                    shown.unicodeScalars.append(" ")
                } else if !isControl(scalar) {
                    shown.unicodeScalars.append(scalar)
                }
            }
            return shown
        }
    }

    func line(_ number: Int) -> String? {
        number >= 1 && number <= lines.count ? lines[number - 1] : nil
    }

    /// How many code points the token at `position` has: a bare word, a string, or one.
    func tokenLength(at position: Position) -> Int {
        guard let line = line(position.line) else { return 1 }
        let rest = Array(line.unicodeScalars.dropFirst(position.column - 1))
        guard let first = rest.first else { return 1 }
        if first == "\"" || first == "'" {
            var index = 1
            while index < rest.count, rest[index] != first {
                index += rest[index] == "\\" && first == "\"" ? 2 : 1
            }
            return min(rest.count, index + 1)
        }
        if first == "[" || first == "{" {
            let closing: Unicode.Scalar = first == "[" ? "]" : "}"
            return (rest.lastIndex(of: closing) ?? 0) + 1
        }
        let end = rest.firstIndex { " \t=,]}#.".unicodeScalars.contains($0) } ?? rest.count
        return max(1, end)
    }
}

/// Finds what somebody who wrote `word` may have meant.
package func suggestion(for word: String, among candidates: some Sequence<String>) -> String? {
    let limit = max(1, min(3, word.utf8.count / 3))
    var best: (distance: Int, word: String)?
    for candidate in candidates {
        let distance = editDistance(Array(word.utf8), Array(candidate.utf8), limit: limit)
        if distance <= limit, distance < best?.distance ?? Int.max { best = (distance, candidate) }
    }
    return best?.word
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment); more
/// than `limit` may come back as any larger number.
package func editDistance(_ left: [UInt8], _ right: [UInt8], limit: Int) -> Int {
    guard abs(left.count - right.count) <= limit, left.count <= 256 else { return limit + 1 }
    var before: [Int] = []
    var previous = Array(0...right.count)
    for row in 0..<left.count {
        var current = [row + 1]
        current.reserveCapacity(right.count + 1)
        for column in 0..<right.count {
            let same = left[row] == right[column]
            var cost = min(previous[column] + (same ? 0 : 1), previous[column + 1] + 1)
            cost = min(cost, current[column] + 1)
            if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                cost = min(cost, before[column - 1] + 1)
            }
            current.append(cost)
        }
        before = previous
        previous = current
    }
    return previous[right.count]
}
