// SPDX-License-Identifier: Apache-2.0
//
// SQLite 3, with the destructor constants and variadic calls that Swift cannot import.
#ifndef MARTLET_CSQLITE_H
#define MARTLET_CSQLITE_H

#include <sqlite3.h>

static inline sqlite3_destructor_type martlet_sqlite_transient(void) {
    return SQLITE_TRANSIENT;
}

// No per-handle cache of small allocations: an account's handle should stay small.
static inline int martlet_sqlite_no_lookaside(sqlite3 *database) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_LOOKASIDE, (void *)0, 0, 0);
}

// Leave the write-ahead log as it is when the handle closes, as a crash would.
static inline int martlet_sqlite_no_checkpoint_on_close(sqlite3 *database) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}

#endif
