// SPDX-License-Identifier: Apache-2.0
//
// What is made from the schema: the files in the tree are up to date, and the example means the
// defaults.

import Config
import Glibc
import Testing

/// A file of the source tree.
private func treeFile(_ name: String) -> String? {
    var parts = #filePath.split(separator: "/")
    parts.removeLast(3)
    let path = "/" + parts.joined(separator: "/") + "/" + name
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var octets: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { return String(decoding: octets, as: UTF8.self) }
        octets += buffer[..<count]
    }
}

@Suite struct `Generated files` {
    @Test func `mail.toml.example is what config example prints`() {
        #expect(treeFile("mail.toml.example") == Reference.example)
    }

    @Test func `docs/config.md is up to date`() {
        #expect(treeFile("docs/config.md") == Reference.markdown)
    }

    @Test func `mail.toml(5) is up to date`() {
        #expect(treeFile("docs/man/mail.toml.5") == Reference.manual)
    }

    @Test func `the example loads without a word and means the defaults`() throws {
        let result = load(Reference.example)
        #expect(result.report == "")
        var suite = try #require(result.suite)
        var standard = try #require(load("").suite)
        #expect(suite.domains == ["example.com"])
        suite.domains = []
        for path in [\Config.Suite.server.hostname, \.smtpd.hostname] {
            #expect(suite[keyPath: path] == "mail.example.com")
            standard[keyPath: path] = "mail.example.com"
        }
        #expect(suite == standard)
    }

    @Test func `every key can be described, by its aliases too`() {
        for name in Reference.names { #expect(Reference.describe(name) != nil, "\(name)") }
        #expect(Reference.describe("smtpd.max_size")?.hasPrefix("smtpd.max_message_size") == true)
        #expect(Reference.describe("smtpd.listeners.alt.mode")?.contains("submission") == true)
        #expect(Reference.describe("nonsense") == nil)
    }

    @Test func `values in force are written so that they can be read again`() throws {
        let text =
            smallest + "[smtpd.tls]\ncert_file='/a \"b\"'\nkey_file='/k'\nmin_version='1.3'\n"
        let result = load(text)
        let suite = try #require(result.suite)
        var again = ""
        for value in suite.values(origins: result.origins) where value.path != "domains.name" {
            again += "\(value.path) = \(value.literal)\n"
        }
        again += "[[domains]]\nname = \"example.com\"\n"
        let second = load(again)
        #expect(second.suite == suite, "\(second.report)")
    }

    @Test(arguments: [
        ("abc", "abc", 0), ("abc", "abd", 1), ("abc", "acb", 1), ("", "ab", 2),
        ("kitten", "sitting", 3),
    ])
    func `edit distance`(_ left: String, _ right: String, _ distance: Int) {
        #expect(editDistance(Array(left.utf8), Array(right.utf8), limit: 5) == distance)
    }
}
