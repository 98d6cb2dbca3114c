// SPDX-License-Identifier: Apache-2.0
//
// Help and mailctl(1), made from the table of commands.

import Config

enum HelpCommands {
    static let version = "0.1.0"

    static func version(_ invocation: Invocation) -> ExitCode {
        Terminal.out(
            invocation.json
                ? JSON.object([("version", .string(version))]).text : "mailctl \(version)")
        return .ok
    }

    static func help(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let path = invocation.arguments
        if let command = Commands.all.first(where: { $0.path == path }) {
            Terminal.out(help(of: command))
            return .ok
        }
        guard path.isEmpty || Commands.isPrefix(path) else {
            let words = Commands.words(after: [])
            let meant = suggestion(for: path[0], among: words)
            throw Failure(
                .usage, "there is no command `\(path.joined(separator: " "))`",
                hints: [
                    meant.map { "did you mean \($0)?" } ?? "one of: \(words.joined(separator: " "))"
                ])
        }
        let rows = Commands.all.filter { $0.path.starts(with: path) && !$0.isHidden }.map {
            ["  " + ($0.path + [$0.arguments]).joined(separator: " "), $0.summary]
        }
        let options = CommandLineParser.globalOptions.map { ["  " + spelled($0), $0.doc] }
        Terminal.out(
            """
            usage: mailctl \(path.isEmpty ? "COMMAND" : path.joined(separator: " ") + " ...") \
            [OPTION...]

            \(Terminal.table(rows))

            \(Terminal.table(options))

            mailctl help COMMAND says more; mailctl config describe KEY explains mail.toml.
            """)
        return .ok
    }

    private static func spelled(_ option: Option) -> String {
        "--\(option.name)" + (option.value.map { " \($0)" } ?? "")
    }

    private static func help(of command: Command) -> String {
        let usage = (["mailctl"] + command.path + [command.arguments]).filter { !$0.isEmpty }
        var text = "usage: \(usage.joined(separator: " ")) [OPTION...]\n\n\(command.summary).\n"
        for paragraph in command.detail { text += "\n\(wrapped(paragraph))\n" }
        let options = command.options.map { ["  " + spelled($0), $0.doc] }
        if !options.isEmpty { text += "\n\(Terminal.table(options))\n" }
        if !command.examples.isEmpty {
            text += "\n" + command.examples.map { "  \($0)" }.joined(separator: "\n") + "\n"
        }
        text.removeLast()
        return text
    }

    private static func wrapped(_ text: String) -> String {
        var lines: [String] = [""]
        for word in text.split(separator: " ") {
            let last = lines.count - 1
            if lines[last].isEmpty {
                lines[last] = String(word)
            } else if lines[last].unicodeScalars.count + word.unicodeScalars.count < 80 {
                lines[last] += " \(word)"
            } else {
                lines.append(String(word))
            }
        }
        return lines.joined(separator: "\n")
    }

    // MARK: Manual

    static func manual(_ invocation: Invocation) throws(Failure) -> ExitCode {
        switch invocation.arguments.first ?? "mailctl" {
        case "mailctl": Terminal.out(page)
        case "mail.toml", "config.md":
            var text = Reference.manual
            if invocation.arguments.first == "config.md" { text = Reference.markdown }
            if text.hasSuffix("\n") { text.removeLast() }
            Terminal.out(text)
        case let other:
            throw Failure(
                .usage, "there is no page \(other) in here", hints: ["mailctl or mail.toml"])
        }
        return .ok
    }

    private static func item(_ option: Option) -> String {
        ".It Fl -\(Reference.escaped(option.name))" + (option.value.map { " Ar \($0)" } ?? "")
            + "\n\(Reference.escaped(option.doc))\n"
    }

    private static var page: String {
        var text = """
            .\\" SPDX-License-Identifier: Apache-2.0
            .\\" Made by mailctl man.
            .Dd November 21, 2026
            .Dt MAILCTL 1
            .Os
            .Sh NAME
            .Nm mailctl
            .Nd manage the Martlet mail suite
            .Sh SYNOPSIS
            .Nm
            .Ar command
            .Op Ar argument ...
            .Op Ar option ...
            .Sh DESCRIPTION
            .Nm
            checks the configuration, manages domains and accounts, and looks after the daemons.
            Options that every command takes:
            .Bl -tag -width Ds

            """
        for option in CommandLineParser.globalOptions { text += item(option) }
        text += ".El\n.Sh COMMANDS\n.Bl -tag -width Ds\n"
        for command in Commands.all where !command.isHidden {
            let words = command.path.map { "Cm \(Reference.escaped($0))" }.joined(separator: " ")
            let arguments =
                command.arguments.isEmpty ? "" : " Ar \(Reference.escaped(command.arguments))"
            text += ".It \(words)\(arguments)\n\(Reference.escaped(command.summary)).\n"
            for paragraph in command.detail { text += ".Pp\n\(sentences(paragraph))\n" }
            if !command.options.isEmpty {
                text += ".Bl -tag -width Ds\n"
                for option in command.options { text += item(option) }
                text += ".El\n"
            }
        }
        text += """
            .El
            .Sh ENVIRONMENT
            .Bl -tag -width Ds
            .It Ev MARTLET_CONFIG
            The configuration, unless
            .Fl -config
            says another.
            .It Ev MAIL_<SECTION>__<KEY>
            Overrides a key of the configuration, see
            .Xr mail.toml 5 .
            .It Ev NO_COLOR
            No colours.
            .El
            .Sh FILES
            .Bl -tag -width Ds
            .It Pa /etc/martlet/mail.toml
            The configuration.
            .It Pa /run/martlet/control.sock
            The door of
            .Xr msgstored 8
            that
            .Nm
            uses.
            .El
            .Sh EXIT STATUS
            0 if all is well, 1 if something was checked or tried and is not;
            else a code of sysexits: 64 wrong usage, 65 bad data, 66 no such file, 67 no such
            account, 68 no such domain, 69 daemon not reachable, 70 internal error,
            73 cannot create, 74 input or output, 75 try again, 76 protocol, 77 permission,
            78 configuration.
            .Sh EXAMPLES
            .Bd -literal -offset indent

            """
        for command in Commands.all {
            for example in command.examples { text += Reference.escaped(example) + "\n" }
        }
        text += """
            .Ed
            .Sh SEE ALSO
            .Xr mail.toml 5 ,
            .Xr imapd 8 ,
            .Xr msgstored 8 ,
            .Xr pop3d 8 ,
            .Xr smtpd 8
            """
        return text
    }

    /// One sentence per line, as mdoc(7) wants.
    private static func sentences(_ text: String) -> String {
        var result = Reference.escaped(text)
        for end in [". ", ": "] where end == ". " {
            result = result.split(separator: end, omittingEmptySubsequences: false)
                .joined(separator: ".\n")
        }
        return result
    }
}
