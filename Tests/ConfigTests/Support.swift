// SPDX-License-Identifier: Apache-2.0
//
// Short ways to load a configuration in tests.

import Config

func load(_ text: String, _ environment: [String: String] = [:]) -> ConfigResult {
    Suite.load(files: [("mail.toml", Array(text.utf8))], environment: environment)
}

/// The texts of all diagnostics, in order.
func messages(_ result: ConfigResult) -> [String] {
    result.diagnostics.map { "\($0.severity.rawValue): \($0.message)" }
}

/// What a small but complete file sets.
let smallest = """
    [smtpd]
    hostname = "mail.example.com"

    [[domains]]
    name = "example.com"

    """
