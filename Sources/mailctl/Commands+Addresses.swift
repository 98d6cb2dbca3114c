// SPDX-License-Identifier: Apache-2.0
//
// The commands about addresses, rights and quota.

extension Commands {
    static let addressCommands: [Command] =
        aliasCommands + senderCommands + quotaCommands

    private static let aliasCommands: [Command] = [
        Command(
            path: ["alias", "add"], arguments: "ADDRESS DEST...", count: 2...1_001,
            options: [
                Option(name: "replace", value: nil, doc: "These destinations and no others."),
                Option(name: "force", value: nil, doc: "Destinations need not exist yet."),
            ],
            summary: "Send mail for an address somewhere else",
            detail: [
                """
                DEST is an account or an alias of this server; more can be added later. ADDRESS \
                may be @DOMAIN: whatever is nobody there. An alias may have the name of an account; \
                it keeps a copy if it is one of the destinations. A loop is refused.
                """
            ],
            examples: [
                "mailctl alias add info@example.org alice@example.org bob@example.org",
                "mailctl alias add alice@example.org alice@example.org archive@example.org",
                "mailctl alias add @example.org alice@example.org",
            ],
            run: AliasCommands.add),
        Command(
            path: ["alias", "list"], arguments: "[DOMAIN]", count: 0...1, summary: "List aliases",
            run: AliasCommands.list),
        Command(
            path: ["alias", "remove"], arguments: "ADDRESS [DEST...]", count: 1...1_001,
            summary: "Remove an alias, or some of its destinations", run: AliasCommands.remove),
        Command(
            path: ["alias", "check"], arguments: "ADDRESS", count: 1...1,
            summary: "Show where mail for an address ends",
            detail: ["Exit code 1 if it would be refused."],
            examples: ["mailctl alias check postmaster@example.org"], run: AliasCommands.check),
        Command(
            path: ["alias", "import"], arguments: "FILE", count: 1...1,
            options: [
                Option(
                    name: "domain", value: "DOMAIN",
                    doc: "Of names without one; default: the domain, if there is only one."),
                Option(name: "add", value: nil, doc: "Keep the destinations that are there."),
                Option(name: "dry-run", value: nil, doc: "Only read the file."),
            ],
            summary: "Read aliases of Postfix or Sendmail",
            detail: [
                """
                FILE is in the form of aliases(5), `name: dest, dest`, or of Postfix's virtual(5), \
                `address dest, dest`. Lines that cannot be taken (programs, files, lists, \
                destinations on other servers, loops) are named and left out; exit code 1 then.
                """
            ],
            examples: [
                "mailctl alias import /etc/aliases --domain example.org",
                "mailctl alias import /etc/postfix/virtual",
            ],
            run: AliasCommands.importFile),
    ]

    private static let senderCommands: [Command] = [
        Command(
            path: ["sender", "add"], arguments: "ACCOUNT SENDER...", count: 2...1_001,
            summary: "Allow an account to send as another address",
            detail: [
                """
                An account may always send as itself, with any subaddress, and as every address \
                whose mail it gets. SENDER may be @DOMAIN: all of it.
                """
            ],
            examples: ["mailctl sender add alice@example.org boss@example.org @example.net"],
            run: AliasCommands.senderAdd),
        Command(
            path: ["sender", "list"], arguments: "ACCOUNT", count: 1...1,
            summary: "List as whom an account may send", run: AliasCommands.senderList),
        Command(
            path: ["sender", "remove"], arguments: "ACCOUNT SENDER...", count: 2...1_001,
            summary: "Take such a right away", run: AliasCommands.senderRemove),
    ]

    private static let quotaCommands: [Command] = [
        Command(
            path: ["quota", "show"], arguments: "[ADDRESS | DOMAIN]", count: 0...1,
            summary: "Show what accounts keep and may keep", run: QuotaCommands.show),
        Command(
            path: ["quota", "set"], arguments: "ADDRESS | DOMAIN [SIZE]", count: 1...2,
            options: [
                Option(name: "messages", value: "COUNT", doc: "How many messages.")
            ],
            summary: "Set the quota of an account, or of all accounts of a domain",
            detail: [
                """
                SIZE and COUNT: a number (2G, 500 MB), none, or default: what the domain says, and \
                behind it msgstored.quota in mail.toml.
                """
            ],
            examples: [
                "mailctl quota set alice@example.org 2G --messages 100000",
                "mailctl quota set example.org 500M",
                "mailctl quota set alice@example.org default",
            ],
            run: QuotaCommands.set),
        Command(
            path: ["quota", "recount"], arguments: "[ADDRESS]", count: 0...1,
            summary: "Count messages again, of one account or all", run: QuotaCommands.recount),
    ]

    static let accountSettingCommands: [Command] = [
        Command(
            path: ["account", "list"], arguments: "[DOMAIN]", count: 0...1,
            options: [
                Option(
                    name: "exact", value: nil,
                    doc: "Count accounts that were never counted; this opens each.")
            ],
            summary: "List accounts", examples: ["mailctl account list --json"],
            run: AccountSettings.list),
        Command(
            path: ["account", "show"], arguments: "ADDRESS", count: 1...1,
            summary: "Show one account", run: AccountSettings.show),
        Command(
            path: ["account", "set"], arguments: "ADDRESS KEY=VALUE...", count: 2...16,
            summary: "Change an account",
            detail: [
                """
                Keys: quota (a size, none, default), messages (a number, none, default), state \
                (active, login-disabled, disabled), senders (a list with commas: as whom it may \
                send).
                """
            ],
            examples: ["mailctl account set alice@example.org quota=2G senders=@example.net"],
            run: AccountSettings.set),
        Command(
            path: ["account", "disable"], arguments: "ADDRESS", count: 1...1,
            options: [
                Option(name: "login", value: nil, doc: "Only logins: mail is still taken.")
            ],
            summary: "Let nobody log in, and refuse mail", run: AccountSettings.disable),
        Command(
            path: ["account", "enable"], arguments: "ADDRESS", count: 1...1,
            summary: "Make an account usable again", run: AccountSettings.enable),
        Command(
            path: ["account", "rename"], arguments: "ADDRESS NEW", count: 2...2,
            options: [
                Option(name: "keep-alias", value: nil, doc: "Mail for the old address still comes.")
            ],
            summary: "Give an account another address",
            detail: ["Mail, rights and quota go along; aliases follow. Sessions end."],
            run: AccountSettings.rename),
    ]

    static let domainMoreCommands: [Command] = [
        Command(
            path: ["domain", "show"], arguments: "DOMAIN", count: 1...1, summary: "Show one domain",
            run: DomainCommands.show),
        Command(
            path: ["domain", "alias"], arguments: "DOMAIN [OTHER]", count: 1...2,
            options: [Option(name: "remove", value: nil, doc: "It stands for itself again.")],
            summary: "Make a domain stand for another one",
            detail: [
                "NAME@DOMAIN is NAME@OTHER for every name, for mail and logins. DOMAIN is added."
            ],
            examples: ["mailctl domain alias example.net example.org"],
            run: DomainCommands.alias),
        Command(
            path: ["domain", "rename"], arguments: "DOMAIN NEW", count: 2...2,
            options: [
                Option(
                    name: "keep-alias", value: nil,
                    doc: "DOMAIN stands for NEW from then on: mail for old addresses still comes.")
            ],
            summary: "Give a domain another name, with all that is in it",
            detail: [
                """
                Accounts with their mail, passwords, aliases, rights, quota and settings go along. \
                NEW must not have accounts, aliases or mail; it is added if need be. Sessions of \
                these accounts end, and mail for them is refused for now (4xx) for the moment that \
                it takes. UIDs stay, so mail programs download nothing again once they use the new \
                address.
                """
            ],
            examples: ["mailctl domain rename example.org example.net --keep-alias"],
            run: DomainCommands.rename),
        Command(
            path: ["domain", "catch-all"], arguments: "DOMAIN [DEST...]", count: 1...1_001,
            options: [Option(name: "remove", value: nil, doc: "Refuse mail for nobody again.")],
            summary: "Say where mail for nobody goes",
            examples: ["mailctl domain catch-all example.org alice@example.org"],
            run: DomainCommands.catchAll),
    ]
}
