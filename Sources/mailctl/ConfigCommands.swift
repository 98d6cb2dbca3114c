// SPDX-License-Identifier: Apache-2.0
//
// `mailctl config`: check, show, describe, example.

import Config

enum ConfigCommands {
    static func check(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = invocation.arguments.first ?? ConfigFiles.path(invocation)
        var result = try ConfigFiles.load(path)
        if let suite = result.suite {
            let problems = CertificateCheck.problems(suite)
            result.diagnostics += problems
            result.errorCount += problems.filter { $0.severity == .error }.count
            result.warningCount += problems.filter { $0.severity == .warning }.count
        }
        if invocation.json {
            for diagnostic in result.diagnostics { Terminal.out(json(diagnostic).text) }
        } else {
            for diagnostic in result.diagnostics { Terminal.error(colored(diagnostic, invocation)) }
            if result.errorCount > 0 {
                Terminal.error(result.summary)
            } else {
                invocation.say("\(path): \(result.summary)")
            }
        }
        return result.errorCount == 0 ? .ok : .configuration
    }

    private static func colored(_ diagnostic: Diagnostic, _ invocation: Invocation) -> String {
        let text = diagnostic.text + "\n"
        guard Terminal.hasColor(2, invocation.color) else { return text }
        let word = diagnostic.severity.rawValue
        let color = diagnostic.severity == .error ? "31" : "33"
        return "\u{1B}[1;\(color)m\(word)\u{1B}[0m" + text.dropFirst(word.count)
    }

    private static func json(_ diagnostic: Diagnostic) -> JSON {
        var members: [(name: String, value: JSON)] = [
            ("severity", .string(diagnostic.severity.rawValue)),
            ("message", .string(diagnostic.message)), ("file", .string(diagnostic.file)),
        ]
        if let line = diagnostic.line { members.append(("line", .integer(line))) }
        if let column = diagnostic.column { members.append(("column", .integer(column))) }
        if !diagnostic.label.isEmpty { members.append(("label", .string(diagnostic.label))) }
        members.append(("notes", .array(diagnostic.notes.map { .string($0) })))
        return .object(members)
    }

    static func show(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = ConfigFiles.path(invocation)
        let result = try ConfigFiles.load(path)
        guard let suite = result.suite else {
            Terminal.error(result.report)
            return .configuration
        }
        let section = invocation.arguments.first
        let values = suite.values(origins: result.origins).filter { value in
            section.map { value.path == $0 || value.path.hasPrefix($0 + ".") } ?? true
        }
        if let section, values.isEmpty {
            throw Failure(
                .usage, "there is no section or key \(section)",
                hints: ["see: mailctl config describe"])
        }
        let isAll = invocation.has("all") || section != nil
        var rows: [[String]] = []
        for value in values where isAll || value.origin != .standard {
            if invocation.json {
                Terminal.out(
                    JSON.object([
                        ("key", .string(value.path)), ("value", .string(value.literal)),
                        ("origin", .string(value.origin.text)),
                    ]).text)
            } else if invocation.has("origin") {
                rows.append([value.path, value.literal, value.origin.text])
            } else {
                rows.append([value.path, "= " + value.literal])
            }
        }
        if !rows.isEmpty { Terminal.out(Terminal.table(rows)) }
        return .ok
    }

    static func describe(_ invocation: Invocation) throws(Failure) -> ExitCode {
        guard let name = invocation.arguments.first else {
            Terminal.out(Reference.sectionList)
            return .ok
        }
        guard let text = Reference.describe(name) else {
            let meant = suggestion(for: name, among: Reference.names)
            throw Failure(
                .usage, "there is no key or section \(name)",
                hints: [meant.map { "did you mean \($0)?" } ?? "see: mailctl config describe"])
        }
        Terminal.out(text)
        return .ok
    }

    static func example(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var text = Reference.example
        if text.hasSuffix("\n") { text.removeLast() }
        Terminal.out(text)
        return .ok
    }
}
