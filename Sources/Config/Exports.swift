// SPDX-License-Identifier: Apache-2.0
//
// Whoever reads a configuration wants what it says: the values have a target of their own, so that
// a program with the SMTP server in it needs neither mail.toml nor a TOML parser.

@_exported import Settings
