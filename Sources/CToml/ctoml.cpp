// SPDX-License-Identifier: Apache-2.0
//
// The only C++ in the suite. TOML 1.0 by toml++ (header only, without exceptions and formatters).
#include "ctoml.h"

#include <string>
#include <vector>

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#define TOML_MAX_NESTED_VALUES MARTLET_TOML_DEPTH

// The library's assertions can be made to fail by its input (3.3.0: a control character in a table
// header). They must neither abort nor, as in release builds, become promises to the compiler: a
// failed one is remembered, and the document is refused.
static thread_local bool martlet_assertion_failed = false;
static void martlet_fail_assertion() { martlet_assertion_failed = true; }
#undef NDEBUG
#define TOML_ASSERT(expr) static_cast<void>((expr) || (martlet_fail_assertion(), false))
#include <toml++/toml.h>

struct martlet_toml {
    toml::table root;
    std::vector<martlet_toml_node> nodes;
    std::string error;
    uint32_t line = 1;
    uint32_t column = 1;
};

namespace {

bool add(martlet_toml &document, const toml::node &node, const toml::key *key, int32_t parent,
         int depth);

bool add_members(martlet_toml &document, const toml::node &node, int32_t parent, int depth) {
    if (depth > MARTLET_TOML_DEPTH) {
        document.error = "tables and arrays nested more than 16 deep";
        document.line = node.source().begin.line;
        document.column = node.source().begin.column;
        return false;
    }
    if (const toml::table *table = node.as_table()) {
        for (auto &&[key, value] : *table) {
            if (!add(document, value, &key, parent, depth)) return false;
        }
    } else if (const toml::array *array = node.as_array()) {
        for (auto &&value : *array) {
            if (!add(document, value, nullptr, parent, depth)) return false;
        }
    }
    return true;
}

bool add(martlet_toml &document, const toml::node &node, const toml::key *key, int32_t parent,
         int depth) {
    martlet_toml_node out = {};
    const toml::source_position at = node.source().begin;
    const toml::source_position name = key != nullptr ? key->source().begin : at;
    out.parent = parent;
    out.line = at.line;
    out.column = at.column;
    out.key_line = name.line;
    out.key_column = name.column;
    if (key != nullptr) {
        out.key = key->str().data();
        out.key_count = key->str().size();
    }
    switch (node.type()) {
    case toml::node_type::table: out.type = MARTLET_TOML_TABLE; break;
    case toml::node_type::array: out.type = MARTLET_TOML_ARRAY; break;
    case toml::node_type::string: {
        const std::string &text = node.as_string()->get();
        out.type = MARTLET_TOML_STRING;
        out.text = text.data();
        out.text_count = text.size();
        break;
    }
    case toml::node_type::integer:
        out.type = MARTLET_TOML_INTEGER;
        out.integer = node.as_integer()->get();
        break;
    case toml::node_type::floating_point:
        out.type = MARTLET_TOML_FLOAT;
        out.number = node.as_floating_point()->get();
        break;
    case toml::node_type::boolean:
        out.type = MARTLET_TOML_BOOLEAN;
        out.integer = node.as_boolean()->get() ? 1 : 0;
        break;
    default: out.type = MARTLET_TOML_OTHER; break;
    }
    const int32_t index = static_cast<int32_t>(document.nodes.size());
    document.nodes.push_back(out);
    return add_members(document, node, index, depth + 1);
}

}  // namespace

extern "C" {

struct martlet_toml *martlet_toml_parse(const char *octets, size_t count) {
    martlet_toml *document = new martlet_toml;
    martlet_assertion_failed = false;
    toml::parse_result result = toml::parse(std::string_view(octets, count));
    if (result.failed()) {
        document->error = std::string(result.error().description());
        if (document->error.empty()) document->error = "not TOML";
        document->line = result.error().source().begin.line;
        document->column = result.error().source().begin.column;
        return document;
    }
    if (martlet_assertion_failed) {
        document->error = "not TOML";
        return document;
    }
    document->root = std::move(result).table();
    if (!add_members(*document, document->root, -1, 1)) document->nodes.clear();
    return document;
}

void martlet_toml_free(struct martlet_toml *document) { delete document; }

const char *martlet_toml_error(
    const struct martlet_toml *document, uint32_t *line, uint32_t *column) {
    *line = document->line;
    *column = document->column;
    return document->error.empty() ? nullptr : document->error.c_str();
}

size_t martlet_toml_count(const struct martlet_toml *document) { return document->nodes.size(); }

struct martlet_toml_node martlet_toml_node_at(const struct martlet_toml *document, size_t index) {
    return document->nodes[index];
}

}  // extern "C"
