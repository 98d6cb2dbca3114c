// SPDX-License-Identifier: Apache-2.0
//
// `mailctl import`: the command lines.

enum ImportCommands {
    static let shared: [Option] = [
        Option(name: "account", value: "ADDRESS", doc: "The account that gets the mail."),
        Option(name: "dry-run", value: nil, doc: "Only count what would be imported."),
        Option(
            name: "compare", value: nil,
            doc: "Leave out what is in the mailboxes here already, whoever brought it."),
        Option(name: "again", value: nil, doc: "Forget what earlier runs brought."),
        Option(
            name: "journal", value: "DIR",
            doc: "Where the import notes what is done; default: state_dir/imports."),
    ]

    static let goesOn = """
        Can be stopped at any moment and run again: it goes on where it stopped, and a message \
        is never imported twice. See docs/migrating.md.
        """

    static let all: [Command] = [
        Command(
            path: ["import", "maildir"], arguments: "DIR", count: 1...1,
            options: shared + [
                Option(
                    name: "mailbox", value: "NAME",
                    doc: "Put everything into and below this mailbox; default: INBOX."),
                Option(
                    name: "sync", value: nil,
                    doc: "Also bring the flags of messages that earlier runs brought."),
            ],
            summary: "Import a Maildir with its folders",
            detail: [
                """
                Maildir++ (folders .A.B) or a tree of Maildirs, with flags, keywords \
                (dovecot-keywords), dates (of the files) and subscriptions. Nothing there is changed.
                """, goesOn,
            ],
            examples: ["mailctl import maildir --account alice@example.org /home/alice/Maildir"],
            run: MaildirImport.run),
        Command(
            path: ["import", "mbox"], arguments: "FILE", count: 1...1,
            options: shared + [
                Option(name: "mailbox", value: "NAME", doc: "Default: INBOX."),
                Option(
                    name: "format", value: "FORMAT",
                    doc: "auto, mboxo, mboxrd or mboxcl2: how lines with `From ` are quoted."),
            ],
            summary: "Import an mbox file into one mailbox",
            detail: [
                """
                Flags come from Status, X-Status, X-Keywords and Mozilla's fields, dates from the \
                From line.
                """, goesOn,
            ],
            examples: [
                "mailctl import mbox --account alice@example.org --mailbox Archive/2009 old.mbox"
            ],
            run: MboxImport.run),
        IMAPImport.command,
    ]
}
