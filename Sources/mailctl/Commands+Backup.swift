// SPDX-License-Identifier: Apache-2.0
//
// The table of `mailctl backup` and `mailctl undelete`.

extension Commands {
    static let backupCommands: [Command] = [
        Command(
            path: ["backup", "create"], arguments: "DEST", count: 1...1,
            options: [
                Option(name: "account", value: "ADDRESS", doc: "This account only."),
                Option(
                    name: "full", value: nil,
                    doc: "Copy everything; no hard links to earlier generations."),
            ],
            summary: "Back up all mail and accounts while msgstored runs",
            detail: [
                """
                Makes a directory in DEST with the Maildirs as they are at one moment, each account \
                for itself, and a copy of the directory of accounts. What an earlier generation in \
                DEST has becomes a hard link. A generation is complete when its MANIFEST.json is \
                there; an interrupted one stays as DEST/incomplete and is continued.
                """
            ],
            examples: ["mailctl backup create /srv/backup"], run: BackupCommands.create),
        Command(
            path: ["backup", "list"], arguments: "DEST", count: 1...1,
            summary: "List the generations in DEST", run: BackupCommands.list),
        Command(
            path: ["backup", "verify"], arguments: "DEST [GENERATION]", count: 1...2,
            summary: "Check a generation, octet by octet",
            detail: [
                """
                The newest, or GENERATION. Compares every file with its SHA-256 and checks that the \
                store could take it back. Exit code 1 if something is wrong.
                """
            ],
            run: BackupVerifier.run),
        Command(
            path: ["backup", "prune"], arguments: "DEST", count: 1...1,
            options: [
                Option(
                    name: "keep", value: "RULE",
                    doc: "For example 7,4w,12m: the newest 7, one a week, one a month."),
                Option(name: "dry-run", value: nil, doc: "Only say what would go."),
            ],
            summary: "Remove old generations",
            detail: ["The newest one always stays, and so does every file that another one has."],
            examples: ["mailctl backup prune /srv/backup --keep 7,4w,12m"], run: BackupPrune.run),
        Command(
            path: ["backup", "restore"], arguments: "DEST", count: 1...1,
            options: [
                Option(
                    name: "at", value: "TIME",
                    doc: "The newest generation not after TIME (UTC), or its name."),
                Option(name: "account", value: "ADDRESS", doc: "This account only."),
                Option(
                    name: "mailbox", value: "NAME",
                    doc: "Messages of this mailbox, added to what is there."),
                Option(
                    name: "message", value: "SEL",
                    doc: "Messages: id=MESSAGE-ID, uid=N, from=TEXT or subject=TEXT."),
                Option(name: "to", value: "ADDRESS", doc: "Into another account."),
            ],
            summary: "Bring back everything, an account, a mailbox or messages",
            detail: [
                """
                Everything or an account takes the place of what is there now, with the same UIDs; \
                what was there is kept for the retention time (mailctl undelete --account). A \
                mailbox or messages are added to what is there; what is there already is left out.
                """,
                "msgstored must run. Everything or an account needs root, or msgstored's user.",
            ],
            examples: [
                "mailctl backup restore /srv/backup --yes",
                "mailctl backup restore /srv/backup --account alice@example.org --at 2026-02-28",
                "mailctl backup restore /srv/backup --account alice@example.org --mailbox Work",
            ],
            run: BackupRestore.run),
        Command(
            path: ["undelete"], arguments: "ADDRESS", count: 1...1,
            options: [
                Option(name: "mailbox", value: "NAME", doc: "Only what was in this mailbox."),
                Option(name: "since", value: "TIME", doc: "Only what was expunged since (UTC)."),
                Option(name: "from", value: "TEXT", doc: "Only messages with TEXT in From."),
                Option(name: "subject", value: "TEXT", doc: "Only with TEXT in the subject."),
                Option(name: "list", value: nil, doc: "Show them; bring nothing back."),
                Option(
                    name: "account", value: nil,
                    doc: "The whole mail of an account that was removed."),
            ],
            summary: "Bring expunged messages and deleted mailboxes back",
            detail: [
                """
                Within msgstored.retention. They come back to their mailbox, which is made again if \
                it is gone, with their flags (without \\Deleted), date, and a new UID.
                """
            ],
            examples: [
                "mailctl undelete alice@example.org --list",
                "mailctl undelete alice@example.org --mailbox INBOX --since 2026-02-28",
            ],
            run: UndeleteCommand.run),
    ]
}
