// SPDX-License-Identifier: Apache-2.0
//
// Tables of `directory.sqlite` and the way to them from earlier releases. docs/store.md.

/// The layout of the directory.
enum DirectorySchema {
    static let migration = Migration(
        name: "directory.sqlite", version: 1, statements: statements, steps: [], keepsOld: true)

    private static let statements: [StaticString] = [
        "CREATE TABLE domains(name BLOB PRIMARY KEY) WITHOUT ROWID",
        """
        CREATE TABLE accounts(domain BLOB NOT NULL, local BLOB NOT NULL,
          created INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(domain, local)) WITHOUT ROWID
        """,
    ]
}
