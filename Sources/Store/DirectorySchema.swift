// SPDX-License-Identifier: Apache-2.0
//
// Tables of `directory.sqlite` and the way to them from earlier releases. docs/store.md.

/// The layout of the directory.
enum DirectorySchema {
    static let migration = Migration(
        name: "directory.sqlite", version: 3, statements: first + second + third,
        steps: [
            MigrationStep(from: 1, statements: second), MigrationStep(from: 2, statements: third),
        ], keepsOld: true)

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

    /// Version 3: what mechanisms other than PLAIN need, app passwords, bans.
    private static let third: [StaticString] = [
        // Of all passwords of the account, so that each is good for SCRAM; NULL: none was derived.
        "ALTER TABLE accounts ADD COLUMN scram_salt BLOB",
        "ALTER TABLE accounts ADD COLUMN scram_iterations INTEGER",
        // Stored key and server key.
        "ALTER TABLE accounts ADD COLUMN scram_sha1 BLOB",
        "ALTER TABLE accounts ADD COLUMN scram_sha256 BLOB",
        // CramSecret: only where somebody asked for it.
        "ALTER TABLE accounts ADD COLUMN cram_md5 BLOB",
        // LoginScopes; expires 0: never; used 0: not yet.
        """
        CREATE TABLE app_passwords(domain BLOB NOT NULL, local BLOB NOT NULL, id INTEGER NOT NULL,
          name BLOB NOT NULL, scopes INTEGER NOT NULL, created INTEGER NOT NULL,
          expires INTEGER NOT NULL, used INTEGER NOT NULL, scram_sha1 BLOB,
          scram_sha256 BLOB NOT NULL, PRIMARY KEY(domain, local, id)) WITHOUT ROWID
        """,
        // By an owner. until 0: until it is taken back.
        """
        CREATE TABLE bans(network BLOB PRIMARY KEY, since INTEGER NOT NULL,
          until INTEGER NOT NULL) WITHOUT ROWID
        """,
        // Random octets of this installation.
        "CREATE TABLE secrets(name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    ]
}
