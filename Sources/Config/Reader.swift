// SPDX-License-Identifier: Apache-2.0
//
// Walks the tree of each file along the schema, puts values in their places and gathers everything
// that is wrong. The environment comes after the files (Reader+Environment), then what can only be
// judged together (Reader+Checks).

import Bytes

/// Where a value in force was written.
package enum Origin: Sendable, Equatable {
    case standard
    case file(path: String, line: Int)
    case environment(String)

    package var text: String {
        switch self {
        case .standard: "default"
        case .file(let path, let line): "\(path):\(line)"
        case .environment(let name): "env \(name)"
        }
    }
}

/// What is being read.
enum Source: Sendable {
    case file(SourceFile)
    case environment(String)

    func origin(_ position: Position) -> Origin {
        switch self {
        case .file(let file): .file(path: file.path, line: position.line)
        case .environment(let name): .environment(name)
        }
    }
}

/// A listener as written, and where.
struct WrittenListener: Sendable {
    var draft: ListenerDraft
    var place: Diagnostic
    var hasAddress = false
}

struct Reader {
    /// Diagnostics kept; a file made to be wrong everywhere must not fill the memory.
    static let diagnosticLimit = 200

    var suite = Suite()
    var diagnostics: [Diagnostic] = []
    var droppedErrors = 0
    var origins: [String: Origin] = [:]
    /// By daemon, in the order written.
    var listeners: [String: [WrittenListener]] = [:]
    var source = Source.environment("")
    /// Canonical paths set by the file being read.
    private var assigned: Set<String> = []

    init() {}

    mutating func report(_ diagnostic: Diagnostic) {
        guard diagnostics.count < Self.diagnosticLimit else {
            if diagnostic.severity == .error { droppedErrors += 1 }
            return
        }
        diagnostics.append(diagnostic)
    }

    /// A diagnostic at `position` of the current file, or for the current variable.
    func diagnostic(
        _ severity: Diagnostic.Severity, _ message: String, at position: Position,
        label: String = "", notes: [String] = []
    ) -> Diagnostic {
        switch source {
        case .environment(let name):
            let all = label.isEmpty ? notes : [label] + notes
            return Diagnostic(
                severity: severity, message: message, file: "environment: \(name)", line: nil,
                column: nil, source: nil, notes: all)
        case .file(let file):
            return Diagnostic(
                severity: severity, message: message, file: file.path, line: position.line,
                column: position.column, source: file.line(position.line),
                underline: file.tokenLength(at: position), label: label, notes: notes)
        }
    }

    mutating func read(file path: String, octets: [UInt8]) {
        let file = SourceFile(path: path, octets: octets)
        source = .file(file)
        assigned = []
        let first = diagnostics.count
        let (members, errors) = Self.parse(octets)
        for error in errors {
            let isKey = file.line(error.position.line)?.contains("=") == true
            report(
                diagnostic(
                    .error, "not valid TOML: \(error.message)", at: error.position,
                    notes: isKey ? ["text goes in quotes: key = \"value\""] : []))
        }
        readMembers(members, of: "")
        diagnostics[first...].sort {
            ($0.line ?? 0, $0.column ?? 0) < ($1.line ?? 0, $1.column ?? 0)
        }
    }

    /// A line that is not TOML is left out and the rest tried again, so that one mistake does not
    /// hide the others. If that leads nowhere, only the first mistake is told.
    private static func parse(_ octets: [UInt8]) -> (members: [Node], errors: [SyntaxError]) {
        var rest = octets
        var errors: [SyntaxError] = []
        while errors.count < 10 {
            do throws(SyntaxError) {
                return (try Document(rest).members, errors)
            } catch {
                let isLater = errors.last.map { $0.position < error.position } ?? true
                guard isLater, blank(line: error.position.line, of: &rest) else {
                    return ([], errors.isEmpty ? [error] : [errors[0]])
                }
                errors.append(error)
            }
        }
        return ([], [errors[0]])
    }

    /// - Returns: false if the line is not `key = value`.
    private static func blank(line number: Int, of octets: inout [UInt8]) -> Bool {
        var start = 0
        for _ in 1..<max(1, number) {
            guard let end = octets[start...].firstIndex(of: 0x0A) else { return false }
            start = end + 1
        }
        let end = octets[start...].firstIndex(of: 0x0A) ?? octets.count
        let first = octets[start..<end].first { $0 != 0x20 && $0 != 0x09 }
        guard octets[start..<end].contains(0x3D), let first, first.isASCIILetter else {
            return false
        }
        for index in start..<end { octets[index] = 0x20 }
        return true
    }

    // MARK: Tables

    private mutating func readMembers(_ members: [Node], of section: String) {
        for member in members { readMember(member, of: section, among: members) }
    }

    private mutating func readMember(_ node: Node, of section: String, among members: [Node]) {
        let written = section.isEmpty ? node.key : "\(section).\(node.key)"
        var path = written
        if let canonical = aliasTarget(of: written) {
            path = canonical
            let name = String(path[path.startIndex...])
            let isSection = Schema.sectionsByPath[path] != nil
            let siblings = path.split(separator: ".").dropLast().joined(separator: ".") == section
            let last = path.split(separator: ".").last.map { String($0) } ?? path
            if siblings, members.contains(where: { $0.key == last }) {
                report(
                    diagnostic(
                        .error, "`\(node.key)` and `\(last)` are the same; only one may be written",
                        at: node.keyPosition, notes: ["keep `\(last)` and remove `\(node.key)`"]))
                return
            }
            let shown = isSection ? "[\(name)]" : "`\(name)`"
            report(
                diagnostic(
                    .warning, "`\(written)` is read as \(shown)", at: node.keyPosition,
                    notes: ["write \(shown) instead"]))
        }
        if let key = Schema.byPath[Schema.generalised(path)] {
            assign(node, to: key, path: path)
        } else if let known = Schema.sectionsByPath[path] {
            readSection(node, known)
        } else {
            reportUnknown(node, in: section)
        }
    }

    private func aliasTarget(of written: String) -> String? {
        if let target = Schema.aliases[written] { return target }
        guard let target = Schema.aliases[Schema.generalised(written)] else { return nil }
        // `smtpd.listeners.*.address` back to the name that was written.
        let name = written.split(separator: ".", omittingEmptySubsequences: false)
        var parts = target.split(separator: ".", omittingEmptySubsequences: false)
        if name.count > 2, parts.count > 2, parts[2] == "*" { parts[2] = name[2] }
        return parts.joined(separator: ".")
    }

    private mutating func readSection(_ node: Node, _ section: Section) {
        if section.isLater {
            report(
                diagnostic(
                    .warning, "[\(section.path)] is not supported in this version yet: ignored",
                    at: node.keyPosition))
            return
        }
        if section.path == "domains" { return readDomains(node) }
        if section.path.hasSuffix(".listeners") {
            return readListeners(node, daemon: String(section.path.dropLast(10)))
        }
        guard case .table(let members) = node.value else {
            report(
                diagnostic(
                    .error, "`\(section.path)` must be a table, not \(node.value.typeName)",
                    at: node.keyPosition, notes: ["write [\(section.path)] on a line of its own"]))
            return
        }
        readMembers(members, of: section.path)
    }

    private mutating func reportUnknown(_ node: Node, in section: String) {
        let known = Schema.members(of: section)
        let isTable: Bool
        if case .table = node.value { isTable = true } else { isTable = false }
        let full = section.isEmpty ? node.key : "\(section).\(node.key)"
        let what = isTable ? "section [\(full)]" : "key `\(node.key)`"
        let place = isTable ? "" : section.isEmpty ? " outside of all sections" : " in [\(section)]"
        var label = ""
        var notes: [String] = []
        if let meant = suggestion(for: node.key, among: known) {
            label = "did you mean `\(meant)`?"
            let path = section.isEmpty ? meant : "\(section).\(meant)"
            if let key = Schema.byPath[path] { notes.append(Self.typeNote(key)) }
        } else if let elsewhere = Schema.keys.first(where: { $0.name == node.key && !isTable }) {
            label = "this is a key of [\(elsewhere.section)]"
            notes.append("see: mailctl config describe \(elsewhere.path)")
        } else {
            notes.append(
                section.isEmpty
                    ? "sections: \(known.joined(separator: " "))"
                    : "see: mailctl config describe \(section)")
        }
        report(
            diagnostic(
                .error, "unknown \(what)\(place)", at: node.keyPosition, label: label, notes: notes)
        )
    }

    static func typeNote(_ key: Key) -> String {
        let standard = key.defaultLiteral.map { ", default \($0)" } ?? ""
        return "type: \(key.typeName)\(standard); see: mailctl config describe \(key.path)"
    }

    // MARK: Keys

    /// Puts a value where `key` says. `path` has the listener's name where `key.path` has `*`.
    mutating func assign(_ node: Node, to key: Key, path: String) {
        if case .file = source, !assigned.insert(path).inserted {
            report(
                diagnostic(
                    .error, "`\(path)` is set twice", at: node.keyPosition,
                    notes: ["once by another name; keep `\(path)`"]))
            return
        }
        do throws(ValueError) {
            switch key.target {
            case .suite(let slot): try slot.read(node.value, into: &suite)
            case .listener(let slot): try assignListener(node, slot, path: path)
            case .domain: return
            }
            origins[path] = source.origin(node.keyPosition)
        } catch {
            if error.isWarning, key.isSupported { origins[path] = source.origin(node.keyPosition) }
            report(error, for: key, path: path, node: node)
        }
    }

    mutating func report(_ error: ValueError, for key: Key, path: String, node: Node) {
        let section = path.split(separator: ".").dropLast().joined(separator: ".")
        let subject = "`\(key.name)` in [\(section)]"
        let joint = error.message.hasPrefix("must ") || error.message.hasPrefix("may ") ? " " : ": "
        report(
            diagnostic(
                error.isWarning ? .warning : .error, subject + joint + error.message,
                at: error.position ?? node.position, label: error.label,
                notes: error.isWarning ? [] : [Self.typeNote(key)]))
    }

    // MARK: Listeners and domains

    private mutating func assignListener(
        _ node: Node, _ slot: Slot<ListenerDraft>, path: String
    ) throws(ValueError) {
        let parts = path.split(separator: ".", omittingEmptySubsequences: false).map { String($0) }
        let index = indexOfListener(daemon: parts[0], name: parts[2], at: node.keyPosition)
        guard var written = listeners[parts[0]]?[index] else { return }
        try slot.read(node.value, into: &written.draft)
        if parts[3] == "address" { written.hasAddress = true }
        listeners[parts[0]]?[index] = written
    }

    /// The listener of that name; made now if there is none.
    private mutating func indexOfListener(
        daemon: String, name: String, at position: Position
    ) -> Int {
        if let index = listeners[daemon]?.firstIndex(where: { $0.draft.name == name }) {
            return index
        }
        var draft = ListenerDraft()
        draft.name = name
        let place = diagnostic(.error, "", at: position)
        listeners[daemon, default: []].append(WrittenListener(draft: draft, place: place))
        return (listeners[daemon]?.count ?? 1) - 1
    }

    private mutating func readListeners(_ node: Node, daemon: String) {
        var tables: [(name: String, node: Node)] = []
        switch node.value {
        case .table(let members): tables = members.map { ($0.key, $0) }
        case .array(let elements):
            for (index, element) in elements.enumerated() {
                tables.append((Self.name(ofElement: element, index), element))
            }
        default:
            report(
                diagnostic(
                    .error, "`\(daemon).listeners` must be a table", at: node.keyPosition,
                    notes: ["write [\(daemon).listeners.NAME] with address and mode"]))
        }
        for (name, table) in tables {
            guard case .table(var members) = table.value else {
                report(
                    diagnostic(
                        .error, "`\(name)` in [\(daemon).listeners] must be a table",
                        at: table.keyPosition,
                        notes: ["write [\(daemon).listeners.\(name)] with address and mode"]))
                continue
            }
            guard isBareKey(name), name.utf8.count <= 64 else {
                report(
                    diagnostic(
                        .error, "a listener's name is made of letters, digits, `-` and `_`",
                        at: table.keyPosition))
                continue
            }
            _ = indexOfListener(daemon: daemon, name: name, at: table.keyPosition)
            if case .array = node.value { members.removeAll { $0.key == "name" } }
            readMembers(members, of: "\(daemon).listeners.\(name)")
        }
    }

    /// `[[smtpd.listeners]]`: its `name`, or its mode, or a number.
    private static func name(ofElement element: Node, _ index: Int) -> String {
        guard case .table(let members) = element.value else { return "\(index + 1)" }
        for wanted in ["name", "mode"] {
            if let member = members.first(where: { $0.key == wanted }),
                case .string(let text) = member.value, isBareKey(text)
            {
                return wanted == "mode" && index > 0 ? "\(text)-\(index + 1)" : text
            }
        }
        return "listener-\(index + 1)"
    }

    private mutating func readDomains(_ node: Node) {
        guard case .array(let elements) = node.value else {
            report(
                diagnostic(
                    .error, "`domains` must be an array of tables", at: node.keyPosition,
                    notes: ["write [[domains]] and, below it, name = \"example.com\""]))
            return
        }
        for element in elements {
            guard case .table(let members) = element.value else {
                report(
                    diagnostic(
                        .error, "`domains` must be an array of tables", at: element.position,
                        notes: ["write [[domains]] and, below it, name = \"example.com\""]))
                continue
            }
            readDomain(element, members)
        }
    }

    private mutating func readDomain(_ element: Node, _ members: [Node]) {
        var draft = DomainDraft()
        var isWrong = false
        var place = element
        for member in members {
            guard let key = Schema.byPath["domains.\(member.key)"],
                case .domain(let slot) = key.target
            else {
                reportUnknown(member, in: "domains")
                isWrong = true
                continue
            }
            do throws(ValueError) {
                try slot.read(member.value, into: &draft)
                if member.key == "name" { place = member }
            } catch {
                report(error, for: key, path: key.path, node: member)
                isWrong = isWrong || !error.isWarning
            }
        }
        if draft.name.isEmpty {
            if !isWrong {
                report(
                    diagnostic(
                        .error, "[[domains]] needs a name", at: element.keyPosition,
                        notes: ["write name = \"example.com\" below it"]))
            }
        } else if suite.domains.contains(draft.name) {
            report(
                diagnostic(
                    .warning, "the domain \(draft.name) is written twice", at: place.position))
        } else {
            suite.domains.append(draft.name)
            origins["domains.\(draft.name)"] = source.origin(place.position)
        }
    }
}
