// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry of Config: octets as mail.toml and, behind the first NUL, as a variable of the
// environment. Traps when a diagnostic points outside its file or a settled value is out of range.

import Config

/// Called by libFuzzer with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let octets = Array(UnsafeBufferPointer(start: pointer, count: count))
    let parts = octets.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
    var environment: [String: String] = [:]
    if parts.count == 3 {
        environment["MAIL_" + String(decoding: parts[1], as: UTF8.self)] = String(
            decoding: parts[2], as: UTF8.self)
    }
    let result = Suite.load(
        files: [("mail.toml", Array(parts[0]))], environment: environment,
        readFile: { Array($0.utf8) })
    let lines = parts[0].split(separator: 0x0A, omittingEmptySubsequences: false).count
    for diagnostic in result.diagnostics {
        precondition(!diagnostic.message.isEmpty)
        if let line = diagnostic.line { precondition((1...lines).contains(line)) }
        precondition(diagnostic.text.utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0A })
    }
    precondition((result.suite == nil) == (result.errorCount > 0))
    guard let suite = result.suite else { return 0 }
    precondition((1...1000).contains(suite.smtpd.maxRecipients))
    precondition(!suite.smtpd.hostname.isEmpty && !suite.server.hostname.isEmpty)
    precondition(suite.domains.allSatisfy { !$0.isEmpty && $0.utf8.count <= 253 })
    // What is shown can be read again.
    _ = suite.values(origins: result.origins)
    return 0
}
