// SPDX-License-Identifier: Apache-2.0
//
// A C door to toml++ (header only, C++17). The implementation is in ctoml.cpp.
#ifndef MARTLET_CTOML_H
#define MARTLET_CTOML_H
#endif
