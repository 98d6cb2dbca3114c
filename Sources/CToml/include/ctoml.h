// SPDX-License-Identifier: Apache-2.0
//
// toml++ behind a C interface: one parse, then a flat list of nodes in document order of the tree.
// The caller must refuse documents over 1 MiB and keys of more than 16 dotted parts before it calls
// (toml++ 3.3.0 overflows the stack on the latter); nested values are limited in here.
#ifndef MARTLET_CTOML_H
#define MARTLET_CTOML_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum martlet_toml_type {
    MARTLET_TOML_TABLE = 0,
    MARTLET_TOML_ARRAY = 1,
    MARTLET_TOML_STRING = 2,
    MARTLET_TOML_INTEGER = 3,
    MARTLET_TOML_FLOAT = 4,
    MARTLET_TOML_BOOLEAN = 5,
    /// A date or a time: nothing in mail.toml is one.
    MARTLET_TOML_OTHER = 6,
};

/// Levels of tables and arrays in each other.
#define MARTLET_TOML_DEPTH 16

struct martlet_toml_node {
    /// Index of the table or array that holds this node; -1 for members of the root table.
    int32_t parent;
    int32_t type;
    /// The key, UTF-8, not terminated; empty for elements of an array.
    const char *key;
    size_t key_count;
    /// Where the key begins (where the value does, for elements of an array), counted from 1 in
    /// lines and code points.
    uint32_t key_line;
    uint32_t key_column;
    uint32_t line;
    uint32_t column;
    /// Set for strings.
    const char *text;
    size_t text_count;
    /// Set for integers and booleans.
    int64_t integer;
    double number;
};

struct martlet_toml;

/// Parses `count` octets. The result is freed with `martlet_toml_free`; never NULL.
struct martlet_toml *martlet_toml_parse(const char *octets, size_t count);
void martlet_toml_free(struct martlet_toml *document);

/// NULL if the document was parsed; else why not, and where.
const char *martlet_toml_error(
    const struct martlet_toml *document, uint32_t *line, uint32_t *column);

size_t martlet_toml_count(const struct martlet_toml *document);
/// `index` must be less than the count. Pointers in it live as long as the document.
struct martlet_toml_node martlet_toml_node_at(const struct martlet_toml *document, size_t index);

#ifdef __cplusplus
}
#endif

#endif
