// SPDX-License-Identifier: Apache-2.0
//
// What a command is. One table of these (Commands.swift) feeds the parser, help and mailctl(1).

import Config

/// An option of a command, or one that every command takes.
struct Option: Sendable {
    var name: String
    /// Name of its value in help; nil for a flag.
    var value: String?
    var doc: String
}

/// One thing that mailctl does.
struct Command: Sendable {
    /// `["account", "add"]`.
    var path: [String]
    /// In help: `ADDRESS`, `[FILE]`.
    var arguments = ""
    /// How many arguments it takes.
    var count = 0...0
    var options: [Option] = []
    var summary: String
    /// Paragraphs for help and the manual page.
    var detail: [String] = []
    var examples: [String] = []
    /// Not in help: mailctl calls it itself.
    var isHidden = false
    var run: @Sendable (Invocation) throws(Failure) -> ExitCode
}

/// A parsed command line.
struct Invocation: Sendable {
    var arguments: [String] = []
    /// Option names without dashes; flags have an empty value. The last one wins.
    var options: [String: String] = [:]

    func has(_ name: String) -> Bool { options[name] != nil }
    func value(_ name: String) -> String? { options[name] }

    var json: Bool { has("json") }
    var isQuiet: Bool { has("quiet") }
    var color: String { value("color") ?? "auto" }

    /// What people read; nothing with --quiet.
    func say(_ text: String) {
        if !isQuiet { Terminal.out(text) }
    }
}

enum CommandLineParser {
    static let globalOptions: [Option] = [
        Option(
            name: "config", value: "FILE",
            doc: "The configuration; default: $MARTLET_CONFIG, else /etc/martlet/mail.toml."),
        Option(name: "json", value: nil, doc: "Output for programs: one JSON object per line."),
        Option(name: "quiet", value: nil, doc: "Nothing on standard output unless asked for data."),
        Option(name: "yes", value: nil, doc: "Do not ask before something is destroyed."),
        Option(name: "color", value: "WHEN", doc: "auto, always or never."),
        Option(name: "help", value: nil, doc: "Help about the command."),
        Option(name: "version", value: nil, doc: "The version."),
    ]

    /// Splits a command line into a command and what it was given.
    static func parse(_ words: [String]) throws(Failure) -> (command: Command?, Invocation) {
        var names: [String] = []
        var raw: [(name: String, value: String?)] = []
        var rest: [String] = []
        var index = 0
        // The path of the command comes first; global options may stand before and inside it.
        while index < words.count {
            let word = words[index]
            index += 1
            if word == "--" {
                rest += words[index...]
                break
            }
            if word == "-h" {
                raw.append(("help", nil))
            } else if word.hasPrefix("-"), word.count > 1, !word.hasPrefix("-\\") {
                let bare = String(word.drop { $0 == "-" })
                let parts = bare.split(separator: "=", maxSplits: 1).map { String($0) }
                let name = parts.first ?? ""
                if parts.count == 2 {
                    raw.append((name, parts[1]))
                } else if takesValue(name, names) {
                    guard index < words.count else {
                        throw Failure(.usage, "--\(name) needs a value")
                    }
                    raw.append((name, words[index]))
                    index += 1
                } else {
                    raw.append((name, nil))
                }
            } else if Commands.isPrefix(names + [singular(word)]), rest.isEmpty {
                names.append(singular(word))
            } else {
                rest.append(word)
            }
        }
        var invocation = Invocation()
        invocation.arguments = rest
        for option in raw { invocation.options[option.name] = option.value ?? "" }
        guard let command = Commands.all.first(where: { $0.path == names }) else {
            if raw.contains(where: { $0.name == "help" || $0.name == "version" }) {
                invocation.arguments = names
                return (nil, invocation)
            }
            throw unknownCommand(names, rest)
        }
        try check(command, raw, rest)
        return (command, invocation)
    }

    /// Plural nouns mean the same.
    private static func singular(_ word: String) -> String {
        switch word {
        case "aliases": "alias"
        case "accounts", "domains", "messages", "senders", "quotas": String(word.dropLast())
        default: word
        }
    }

    private static func takesValue(_ name: String, _ path: [String]) -> Bool {
        let command = Commands.all.filter { $0.path == path || path.isEmpty }
        let options = globalOptions + command.flatMap(\.options)
        return options.contains { $0.name == name && $0.value != nil }
    }

    private static func check(
        _ command: Command, _ raw: [(name: String, value: String?)], _ rest: [String]
    ) throws(Failure) {
        let known = globalOptions + command.options
        let name = command.path.joined(separator: " ")
        for (option, value) in raw {
            guard let match = known.first(where: { $0.name == option }) else {
                if option.hasPrefix("password") && value != nil || option == "password" {
                    throw Failure(
                        .usage, "a password is never an argument: others could see it",
                        hints: ["use --password-stdin, --password-file FILE or --generate"])
                }
                let meant = suggestion(for: option, among: known.map(\.name))
                throw Failure(
                    .usage, "unknown option --\(option) for mailctl \(name)",
                    hints: [meant.map { "did you mean --\($0)?" } ?? "see: mailctl help \(name)"])
            }
            if match.value == nil && value != nil {
                throw Failure(.usage, "--\(option) takes no value")
            }
        }
        if raw.contains(where: { $0.name == "help" }) { return }
        guard command.count.contains(rest.count) else {
            let problem = rest.count < command.count.lowerBound ? "too few" : "too many"
            let usage = ["mailctl", name, command.arguments].filter { !$0.isEmpty }
            throw Failure(
                .usage, "\(problem) arguments", hints: ["usage: " + usage.joined(separator: " ")])
        }
    }

    private static func unknownCommand(_ names: [String], _ rest: [String]) -> Failure {
        let before = names.joined(separator: " ")
        guard let word = rest.first else {
            let verbs = Commands.words(after: names)
            if names.isEmpty {
                return Failure(.usage, "what shall be done?", hints: ["see: mailctl help"])
            }
            return Failure(
                .usage, "mailctl \(before): what?",
                hints: ["one of: \(verbs.joined(separator: " "))", "see: mailctl help \(before)"])
        }
        let candidates = Commands.words(after: names)
        let meant = suggestion(for: word, among: candidates)
        let shown = names.isEmpty ? word : "\(before) \(word)"
        let hint = meant.map { name in
            "did you mean `mailctl \((names + [name]).joined(separator: " "))`?"
        }
        return Failure(
            .usage, "unknown command `\(shown)`",
            hints: [hint ?? "one of: \(candidates.joined(separator: " "))"])
    }
}
