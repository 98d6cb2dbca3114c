// SPDX-License-Identifier: Apache-2.0
//
// Tables of `directory.sqlite` and the way to them from earlier releases. docs/store.md.

/// The layout of the directory.
enum DirectorySchema {
    static let migration = Migration(
        name: "directory.sqlite", version: 2, statements: first + second,
        steps: [MigrationStep(from: 1, statements: second)], keepsOld: true)

    /// Version 1.
    private static let first: [StaticString] = [
        "CREATE TABLE domains(name BLOB PRIMARY KEY) WITHOUT ROWID",
        """
        CREATE TABLE accounts(domain BLOB NOT NULL, local BLOB NOT NULL,
          created INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(domain, local)) WITHOUT ROWID
        """,
    ]

    /// Version 2: aliases, rights, quota.
    private static let second: [StaticString] = [
        // AccountStanding.
        "ALTER TABLE accounts ADD COLUMN state INTEGER NOT NULL DEFAULT 0",
        // NULL: what the domain says, or mail.toml; 0: no limit.
        "ALTER TABLE accounts ADD COLUMN quota_octets INTEGER",
        "ALTER TABLE accounts ADD COLUMN quota_messages INTEGER",
        // Totals as they were last written, for lists; NULL: never counted.
        "ALTER TABLE accounts ADD COLUMN used_octets INTEGER",
        "ALTER TABLE accounts ADD COLUMN used_messages INTEGER",
        "ALTER TABLE accounts ADD COLUMN used_mailboxes INTEGER",
        // Also of domains that only mail.toml names.
        """
        CREATE TABLE domain_settings(name BLOB PRIMARY KEY, alias_of BLOB, quota_octets INTEGER,
          quota_messages INTEGER) WITHOUT ROWID
        """,
        // One row for each target, in order. An empty local-part is the catch-all of the domain.
        """
        CREATE TABLE aliases(domain BLOB NOT NULL, local BLOB NOT NULL, place INTEGER NOT NULL,
          target_domain BLOB NOT NULL, target_local BLOB NOT NULL,
          PRIMARY KEY(domain, local, place)) WITHOUT ROWID
        """,
        "CREATE INDEX alias_targets ON aliases(target_domain, target_local)",
        // As whom an account may send beside its own addresses. An empty local-part: all of them.
        """
        CREATE TABLE senders(domain BLOB NOT NULL, local BLOB NOT NULL,
          sender_domain BLOB NOT NULL, sender_local BLOB NOT NULL,
          PRIMARY KEY(domain, local, sender_domain, sender_local)) WITHOUT ROWID
        """,
        // Accounts whose mail is being renamed.
        """
        CREATE TABLE renames(domain BLOB NOT NULL, local BLOB NOT NULL, new_domain BLOB NOT NULL,
          new_local BLOB NOT NULL)
        """,
    ]
}
