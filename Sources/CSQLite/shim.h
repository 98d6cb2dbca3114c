// SPDX-License-Identifier: Apache-2.0
//
// SQLite 3, with the destructor constants that Swift cannot import.
#ifndef MARTLET_CSQLITE_H
#define MARTLET_CSQLITE_H

#include <sqlite3.h>

static inline sqlite3_destructor_type martlet_sqlite_transient(void) {
    return SQLITE_TRANSIENT;
}

#endif
