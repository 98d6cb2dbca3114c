// SPDX-License-Identifier: Apache-2.0
//
// From the octets of mail.toml and its fragments, and the environment, to a Suite and diagnostics.
// Pure: whoever calls this reads the files.

/// What `Suite.load` found.
package struct ConfigResult: Sendable {
    /// Nil if there is any error.
    package var suite: Suite?
    package var diagnostics: [Diagnostic] = []
    package var errorCount = 0
    package var warningCount = 0
    /// Where each key that is set was set, by its path.
    package var origins: [String: Origin] = [:]

    /// Errors and warnings as text for a terminal or a log, with the final count line; empty if
    /// there are none.
    package var report: String {
        guard !diagnostics.isEmpty else { return "" }
        var text = ""
        for diagnostic in diagnostics { text += diagnostic.text + "\n\n" }
        return text + summary + "\n"
    }

    /// `2 errors, 1 warning. Nothing was changed; ...`
    package var summary: String {
        func count(_ number: Int, _ word: String) -> String {
            "\(number) \(word)\(number == 1 ? "" : "s")"
        }
        var parts: [String] = []
        if errorCount > 0 { parts.append(count(errorCount, "error")) }
        if warningCount > 0 { parts.append(count(warningCount, "warning")) }
        let counts = parts.isEmpty ? "No errors" : parts.joined(separator: ", ")
        return errorCount == 0
            ? counts + "."
            : counts + ". Nothing was changed; the running daemons keep the old configuration."
    }
}

extension Suite {
    /// Reads the configuration.
    ///
    /// - Parameters:
    ///   - files: mail.toml first, then mail.toml.d/*.toml in order: what comes later wins.
    ///   - environment: the whole environment; only names that are ours are looked at.
    ///   - machineName: the host name to use if neither says one.
    ///   - readFile: reads the file that a variable ending in `_FILE` names; nil if it cannot.
    package static func load(
        files: [(path: String, octets: [UInt8])], environment: [String: String],
        machineName: String = "localhost", readFile: (_ path: String) -> [UInt8]? = { _ in nil }
    ) -> ConfigResult {
        var reader = Reader()
        for file in files { reader.read(file: file.path, octets: file.octets) }
        reader.useDefaultListeners()
        reader.read(environment: environment, readFile: readFile)
        reader.finish(machineName: machineName)
        var result = ConfigResult()
        result.diagnostics = reader.diagnostics
        result.errorCount =
            reader.diagnostics.filter { $0.severity == .error }.count + reader.droppedErrors
        result.warningCount = reader.diagnostics.filter { $0.severity == .warning }.count
        result.origins = reader.origins
        if result.errorCount == 0 { result.suite = reader.suite }
        return result
    }
}
