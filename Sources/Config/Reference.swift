// SPDX-License-Identifier: Apache-2.0
//
// What the schema says, for people: mail.toml.example, docs/config.md, mail.toml(5), and
// `mailctl config describe`. Tests compare the files with this.

package enum Reference {
    /// Every key and section that can be described.
    package static var names: [String] {
        Schema.keys.map(\.path) + Schema.sections.map(\.path)
    }

    /// Sections that hold a supported key, in the order of the schema, with their keys.
    private static var sections: [(section: Section, keys: [Key])] {
        Schema.sections.compactMap { section in
            let keys = Schema.keys.filter { $0.section == section.path && $0.isSupported }
            return keys.isEmpty ? nil : (section, keys)
        }
    }

    package static var sectionList: String {
        var text = "Sections of mail.toml:\n"
        for (section, keys) in sections {
            text += "\n[\(section.path)]  \(section.doc)\n"
            text += "    " + keys.map(\.name).joined(separator: " ") + "\n"
        }
        return text + "\nmailctl config describe KEY says more."
    }

    /// Nil if there is no such key or section. A listener's name may stand for `*`.
    package static func describe(_ name: String) -> String? {
        let asked = Schema.aliases[name] ?? Schema.aliases[Schema.generalised(name)] ?? name
        if let key = Schema.byPath[asked] ?? Schema.byPath[Schema.generalised(asked)] {
            return describe(key)
        }
        guard
            let section = Schema.sectionsByPath[asked]
                ?? Schema.sectionsByPath[Schema.generalised(asked)]
        else { return nil }
        var text = "[\(section.path)]\n  \(section.doc)"
        if section.isLater { text += "\n  Not supported in this version yet: ignored." }
        for alias in section.aliases { text += "\n  Also read as [\(alias)]." }
        for key in Schema.keys where key.section == section.path && key.isSupported {
            text += "\n\n" + describe(key)
        }
        for other in Schema.sections where other.path.hasPrefix(section.path + ".") {
            text += "\n\n[\(other.path)]\n  \(other.doc)"
        }
        return text
    }

    private static func describe(_ key: Key) -> String {
        var lines = ["\(key.path)", "  \(key.doc)", "  type:        \(key.typeName)"]
        if let literal = key.defaultLiteral { lines.append("  default:     \(literal)") }
        if key.isSupported, let variable = key.variable {
            let names = [variable] + key.variables
            lines.append("  environment: \(names.joined(separator: ", "))")
        } else if !key.variables.isEmpty {
            lines.append("  environment: \(key.variables.joined(separator: ", "))")
        }
        if !key.aliases.isEmpty {
            lines.append("  read too as: \(key.aliases.joined(separator: ", "))")
        }
        lines.append("  since:       \(key.since)")
        return lines.joined(separator: "\n")
    }

    // MARK: mail.toml.example

    package static var example: String {
        var text = """
            # mail.toml: one file for the whole suite. Made by mailctl config example.
            #
            # Every line shows the default, except hostname and the domain at the end, which are
            # all that a working file needs; a line behind # is what would be in force without it.
            # Check with  mailctl config check,  see what is in force with  mailctl config show.
            # Durations: 90 (seconds), "90s", "5m", "1h30m", "7d".
            # Sizes: 26214400 (octets), "25 MB" (10^6), "25 MiB" (2^20).

            """
        for (section, keys) in sections where !section.path.contains("*") {
            text += "\n# \(section.doc)\n"
            if section.path == "domains" {
                text += "[[domains]]\nname = \"example.com\"\n"
                continue
            }
            text += "[\(section.path)]\n"
            for key in keys { text += exampleLine(key) }
            if Schema.daemons.contains(section.path) { text += exampleListeners(section.path) }
        }
        return text
    }

    private static func exampleLine(_ key: Key) -> String {
        let literal = key.example ?? key.defaultLiteral ?? "\"\""
        var text = ""
        for line in wrapped(key.doc, 96) { text += "# \(line)\n" }
        if key.path == "server.hostname" { return text + "# hostname = \"mail.example.com\"\n" }
        if key.path == "msgstored.maildir_root" { return text + "# \(key.name) = \(literal)\n" }
        return text + (key.isOptional ? "# " : "") + "\(key.name) = \(literal)\n"
    }

    private static func exampleListeners(_ daemon: String) -> String {
        let section = Schema.sectionsByPath["\(daemon).listeners"]
        var text = "\n# \(section?.doc ?? "")\n"
        let settings: [ListenerSettings]
        switch daemon {
        case "smtpd": settings = Schema.defaults.smtpd.listeners
        case "imapd": settings = Schema.defaults.imapd.listeners
        default: settings = Schema.defaults.pop3d.listeners
        }
        for key in Schema.keys where key.section == "\(daemon).listeners.*" && key.isSupported {
            for (index, line) in wrapped("\(key.name): \(key.doc)", 94).enumerated() {
                text += index == 0 ? "#  \(line)\n" : "#    \(line)\n"
            }
        }
        for listener in settings {
            text += "[\(daemon).listeners.\(listener.name)]\n"
            text += "address = \(quoted(AddressNotation.format(listener.address)))\n"
            text += "mode = \(quoted(listener.mode))\n"
        }
        return text
    }

    private static func wrapped(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.unicodeScalars.count + 1 + word.unicodeScalars.count > width {
                lines.append(line)
                line = String(word)
            } else {
                line += line.isEmpty ? String(word) : " \(word)"
            }
        }
        return line.isEmpty ? lines : lines + [line]
    }

    // MARK: docs/config.md

    package static var markdown: String {
        var text = """
            # mail.toml

            Made from the schema in `Sources/Config/Schema*.swift`; do not edit. The same is in
            mail.toml(5), and `mailctl config describe KEY` prints one entry.

            The file is `/etc/martlet/mail.toml`; then `/etc/martlet/mail.toml.d/*.toml` are read
            in the order of their names, and what comes later wins. Last come variables of the
            environment: `MAIL_<SECTION>__<KEY>`, tables joined by two underscores; lists are
            separated by commas; with `_FILE` behind the name the value is read from that file.
            A working file is four lines:

            ```toml
            [smtpd]
            hostname = "mail.example.com"

            [[domains]]
            name = "example.com"
            ```

            Durations are `90` (seconds), `"90s"`, `"5m"`, `"1h30m"`, `"7d"`. Sizes are octets
            (`26214400`), `"25 MB"` (10^6) or `"25 MiB"` (2^20). Addresses are `":25"`,
            `"192.0.2.1:25"`, `"[2001:db8::1]:25"`.

            """
        for (section, keys) in sections {
            let title = section.path == "domains" ? "[[domains]]" : "[\(section.path)]"
            text += "\n## \(title)\n\n\(section.doc)"
            for alias in section.aliases { text += " Also read as `[\(alias)]`, with a warning." }
            text += "\n\n| key | type | default | |\n|---|---|---|---|\n"
            for key in keys {
                let standard = key.defaultLiteral.map { "`\($0)`" } ?? ""
                let cells = [
                    "`\(key.name)`", markdownCell(key.typeName), markdownCell(standard),
                    markdownCell(key.doc),
                ]
                text += "| \(cells.joined(separator: " | ")) |\n"
            }
        }
        return text + markdownAliases + markdownLater
    }

    private static func markdownCell(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }

    private static var markdownAliases: String {
        var text = """

            ## Other spellings

            Keys of the programs that came before. They are read, with a warning that names the key
            to write.

            | written | means |
            |---|---|

            """
        for (alias, path) in Schema.aliases.sorted(by: { $0.key < $1.key }) {
            text += "| `\(alias)` | `\(path)` |\n"
        }
        text += "\n| variable | means |\n|---|---|\n"
        var variables = Schema.variables.filter { Schema.byPath[$0.value]?.isSupported ?? false }
        variables["ENVIRONMENT=development"] = "server.dev_mode = true"
        variables["DAPTIN_DISABLE_SMTP=true"] = "smtpd.enabled = false"
        variables["MAIL_DOMAIN"] = "name of the first [[domains]]"
        for (name, path) in variables.sorted(by: { $0.key < $1.key }) {
            text += "| `\(name)` | `\(path)` |\n"
        }
        return text
    }

    private static var markdownLater: String {
        let names = Schema.keys.filter { !$0.isSupported }.map { "`\($0.path)`" }
        return """

            ## Recognised, without effect in this version

            These keys are accepted with a warning, so that one file serves several versions.

            \(wrapped(names.sorted().joined(separator: " "), 98).joined(separator: "\n"))

            """
    }
}
