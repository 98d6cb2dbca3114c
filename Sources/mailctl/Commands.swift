// SPDX-License-Identifier: Apache-2.0
//
// The table of all commands.

enum Commands {
    static let all: [Command] =
        configCommands + domainCommands + domainMoreCommands + accountCommands
        + accountSettingCommands + addressCommands + indexCommands
        + MailboxCommands.all + MessageCommands.all
        + ImportCommands.all + ExportCommands.all
        + backupCommands + AccessCommands.all + LogCommands.all + SearchCommands.all
        + [RollbackCommand.command]
        + suiteCommands
        + otherCommands

    static func isPrefix(_ path: [String]) -> Bool {
        all.contains { $0.path.starts(with: path) }
    }

    /// What may follow `path`.
    static func words(after path: [String]) -> [String] {
        var words: [String] = []
        for command in all where command.path.starts(with: path) && !command.isHidden {
            guard command.path.count > path.count else { continue }
            let word = command.path[path.count]
            if !words.contains(word) { words.append(word) }
        }
        return words
    }

    private static let configCommands: [Command] = [
        Command(
            path: ["config", "check"], arguments: "[FILE]", count: 0...1,
            summary: "Check a configuration, all mistakes at once",
            detail: [
                """
                Reads FILE (default: the file in use), FILE.d/*.toml and the environment, and the \
                certificates that they name. Nothing is changed. Exit code 78 if there is an error.
                """
            ],
            examples: ["mailctl config check", "mailctl config check ./mail.toml --json"],
            run: ConfigCommands.check),
        Command(
            path: ["config", "show"], arguments: "[SECTION]", count: 0...1,
            options: [
                Option(name: "origin", value: nil, doc: "Say where each value comes from."),
                Option(name: "all", value: nil, doc: "Also what is not set anywhere."),
            ],
            summary: "Show the values in force",
            examples: ["mailctl config show --origin smtpd", "mailctl config show --all"],
            run: ConfigCommands.show),
        Command(
            path: ["config", "describe"], arguments: "[KEY | SECTION]", count: 0...1,
            summary: "Explain a key: type, default, environment",
            examples: ["mailctl config describe smtpd.max_message_size"],
            run: ConfigCommands.describe),
        Command(
            path: ["config", "example"],
            summary: "Print a mail.toml with every key and its default",
            run: ConfigCommands.example),
    ]

    private static let domainCommands: [Command] = [
        Command(
            path: ["domain", "add"], arguments: "DOMAIN", count: 1...1,
            summary: "Take mail for a domain", examples: ["mailctl domain add example.org"],
            run: DomainCommands.add),
        Command(
            path: ["domain", "list"], summary: "List domains and how many accounts they have",
            run: DomainCommands.list),
        Command(
            path: ["domain", "remove"], arguments: "DOMAIN", count: 1...1,
            summary: "Take no more mail for a domain",
            detail: [
                "Only a domain without accounts and aliases, and not one that mail.toml names."
            ],
            run: DomainCommands.remove),
    ]

    static let passwordOptions: [Option] = [
        Option(
            name: "password-stdin", value: nil,
            doc: "Read the password from the first line of standard input."),
        Option(
            name: "password-file", value: "FILE", doc: "Read it from the first line of FILE."),
        Option(name: "generate", value: nil, doc: "Make one and print it once."),
        Option(
            name: "hash", value: "HASH",
            doc: "Take a finished hash: '$argon2id$...', crypt(3), or Dovecot's {SCHEME}."),
        Option(
            name: "allow-weak", value: nil,
            doc: "Take also a hash that is easily undone (MD5, DES, unsalted)."),
    ]

    private static let accountCommands: [Command] = [
        Command(
            path: ["account", "add"], arguments: "ADDRESS", count: 1...1, options: passwordOptions,
            summary: "Add an account",
            detail: ["Asks for the password twice, unless an option says where it comes from."],
            examples: [
                "mailctl account add alice@example.org",
                "mailctl account add bob@example.org --generate",
            ],
            run: AccountCommands.add),
        Command(
            path: ["account", "password"], arguments: "ADDRESS", count: 1...1,
            options: passwordOptions + [
                Option(
                    name: "cram-md5", value: nil,
                    doc: "Keep also what CRAM-MD5 needs, for old devices; it is easily undone.")
            ],
            summary: "Set the password of an account",
            run: AccountCommands.password),
        Command(
            path: ["account", "remove"], arguments: "ADDRESS", count: 1...1,
            options: [
                Option(name: "keep-mail", value: nil, doc: "Leave its Maildir where it is.")
            ],
            summary: "Remove an account and its mail",
            detail: ["Asks before; without a terminal --yes is needed."],
            run: AccountCommands.remove),
    ]

    private static let suiteCommands: [Command] = [
        Command(
            path: ["status"], summary: "Show whether every daemon answers",
            detail: ["Exit code 1 if one of those that are enabled does not."],
            run: StatusCommand.run),
        Command(
            path: ["reload"], summary: "Make all daemons read the configuration again",
            detail: [
                """
                Checks the files first; if they are wrong nothing is sent. Then every running \
                daemon is told, and each has answered when mailctl ends. Exit code 1 if one \
                refused: it keeps what it had.
                """
            ],
            run: ReloadCommand.run),
        Command(
            path: ["tls", "self-signed"],
            options: [
                Option(name: "hostname", value: "NAME", doc: "Default: the one in mail.toml."),
                Option(
                    name: "out-dir", value: "DIR",
                    doc: "Where fullchain.pem and privkey.pem go; default: that of cert_file."),
            ],
            summary: "Make a certificate that programs must be told to trust",
            detail: [
                """
                ECDSA P-256, ten years. For tests and first steps: other servers take it, \
                mail programs warn. Existing files are replaced only with --yes.
                """
            ],
            run: TLSCommands.selfSigned),
        Command(
            path: ["dev"],
            options: [
                Option(
                    name: "dir", value: "DIR",
                    doc: "Keep everything here; default: a new directory, removed at the end."),
                Option(
                    name: "ports", value: "OFFSET",
                    doc: "Added to every standard port; default 1000."),
                Option(
                    name: "accounts-file", value: "FILE",
                    doc: "More accounts: lines of an address, a blank and a password."),
            ],
            summary: "Run the whole suite here, without root, on loopback",
            detail: [
                """
                Domain example.test, accounts alice@example.test and bob@example.test with \
                generated passwords, a self-signed certificate, ports 1025, 1587, 1465 (SMTP), \
                1143, 1993 (IMAP), 1110, 1995 (POP3), metrics at 10100 to 10103. The same \
                programs, durability and password hashes as in production. A daemon that dies is \
                started again; its ports stay open. Ctrl-C stops.
                """,
                """
                With --json one line is printed when everything answers: ports, accounts, \
                directory, pids. With --config FILE that file is read on top of the generated \
                mail.toml.
                """,
            ],
            examples: ["mailctl dev", "mailctl dev --dir ./mail --ports 3000 --json"],
            run: DevCommand.run),
        Command(
            path: ["dev-child"], arguments: "PARENT PROGRAM ARGUMENT...", count: 2...16,
            summary: "Used by mailctl dev", isHidden: true, run: DevCommand.child),
    ]

    private static let otherCommands: [Command] = [
        Command(path: ["version"], summary: "Print the version", run: HelpCommands.version),
        Command(
            path: ["help"], arguments: "[COMMAND...]", count: 0...4, summary: "Print help",
            run: HelpCommands.help),
        Command(
            path: ["man"], arguments: "[mailctl | mail.toml]", count: 0...1,
            summary: "Print a manual page (mdoc)",
            examples: ["mailctl man | man -l -"], run: HelpCommands.manual),
    ]
}
