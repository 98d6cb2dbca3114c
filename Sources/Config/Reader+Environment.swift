// SPDX-License-Identifier: Apache-2.0
//
// MAIL_<SECTION>__<KEY> and the names that other programs used; `..._FILE` reads the value from a
// file. A name that begins with MAIL_ and means nothing is an error: it was meant for us.

import IDNA

extension Reader {
    /// Values longer than this are refused; nothing in mail.toml needs more.
    static let variableLimit = 64 << 10

    mutating func read(
        environment: [String: String], readFile: (_ path: String) -> [UInt8]?
    ) {
        // Other programs' names first: where both are set, ours win.
        for name in environment.keys.sorted() where !name.hasPrefix("MAIL_") {
            if let value = environment[name] { read(variable: name, value, readFile) }
        }
        for name in environment.keys.sorted() where name.hasPrefix("MAIL_") {
            if let value = environment[name] { read(variable: name, value, readFile) }
        }
    }

    private mutating func read(
        variable name: String, _ value: String, _ readFile: (_ path: String) -> [UInt8]?
    ) {
        source = .environment(name)
        if apply(variable: name, value) { return }
        if name.hasSuffix("_FILE"), let path = Self.path(ofVariable: String(name.dropLast(5))) {
            guard let octets = readFile(value), octets.count <= Self.variableLimit else {
                reportError("\(name) names a file that cannot be read: \(value)")
                return
            }
            assign(text: trimmed(String(decoding: octets, as: UTF8.self)), path: path)
        } else if name.hasPrefix("MAIL_") {
            let names = Schema.keys.filter(\.isSupported).compactMap(\.variable)
            let meant = suggestion(for: name, among: names + Schema.variables.keys.sorted())
            reportError(
                "unknown variable \(name)",
                meant.map { "did you mean \($0)?" }
                    ?? "the form is MAIL_<SECTION>__<KEY>; see: mailctl config describe")
        }
    }

    private mutating func reportError(_ message: String, _ note: String? = nil) {
        report(
            diagnostic(
                .error, message, at: Position(line: 1, column: 1), notes: note.map { [$0] } ?? []))
    }

    /// - Returns: false if the name means nothing (yet: it may end in _FILE).
    private mutating func apply(variable name: String, _ value: String) -> Bool {
        switch name {
        case "ENVIRONMENT":
            if value.lowercased() == "development" { assign(text: "true", path: "server.dev_mode") }
            return true
        case "DAPTIN_DISABLE_SMTP":
            if value.lowercased() == "true" { assign(text: "false", path: "smtpd.enabled") }
            return true
        case "MAIL_DOMAIN":
            assignDomains(value)
            return true
        default:
            guard let path = Self.path(ofVariable: name) else { return false }
            assign(text: value, path: path)
            return true
        }
    }

    /// The key that a variable sets.
    private static func path(ofVariable name: String) -> String? {
        if let path = Schema.variables[name] { return path }
        guard name.hasPrefix("MAIL_") else { return nil }
        let rest = Array(name.utf8.dropFirst(5))
        var parts: [String] = []
        var part: [UInt8] = []
        var index = 0
        while index < rest.count {
            if rest[index] == 0x5F, index + 1 < rest.count, rest[index + 1] == 0x5F {
                parts.append(String(decoding: part, as: UTF8.self).lowercased())
                part = []
                index += 2
            } else {
                part.append(rest[index])
                index += 1
            }
        }
        parts.append(String(decoding: part, as: UTF8.self).lowercased())
        guard parts.count > 1 else { return nil }
        var path = parts.joined(separator: ".")
        if let section = Schema.aliases[parts[0]], Schema.sectionsByPath[section] != nil {
            path = ([section] + parts.dropFirst()).joined(separator: ".")
        }
        path = Schema.aliases[path] ?? path
        let known = Schema.byPath[Schema.generalised(path)]
        if case .domain = known?.target { return nil }
        return known == nil ? nil : path
    }

    private mutating func assign(text: String, path: String) {
        guard let key = Schema.byPath[Schema.generalised(path)] else { return }
        let here = Position(line: 1, column: 1)
        guard text.utf8.count <= Self.variableLimit else {
            return reportError("the value is longer than 64 KiB")
        }
        assign(
            Node(key: key.name, keyPosition: here, position: here, value: .word(text)), to: key,
            path: path)
    }

    private mutating func assignDomains(_ value: String) {
        var names: [String] = []
        for part in value.split(separator: ",") {
            let given = trimmed(String(part))
            let name = DomainName.ascii(Array(given.utf8)).map {
                String(decoding: $0, as: UTF8.self)
            }
            guard let name, isHostName(name) else {
                return reportError("`\(given)` is not a domain name")
            }
            if !names.contains(name) { names.append(name) }
            if case .environment(let variable) = source {
                origins["domains.\(name)"] = .environment(variable)
            }
        }
        suite.domains = names + suite.domains.filter { !names.contains($0) }
    }
}
