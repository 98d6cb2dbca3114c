// SPDX-License-Identifier: Apache-2.0
//
// What msgstored asks the helpers that check passwords and tokens elsewhere (authd-oauth,
// authd-ldap): a line there, a line back, over a Unix socket. docs/wire.md, "Helpers".

import Bytes

/// `password NAME PASSWORD ADDRESS SERVICE` or `token TOKEN ADDRESS SERVICE`; each word in Base64,
/// an empty one as `=`.
package enum HelperQuestion: Equatable, Sendable {
    case password(name: [UInt8], password: [UInt8], remote: [UInt8], service: [UInt8])
    case token(token: [UInt8], remote: [UInt8], service: [UInt8])

    /// Octets of a line, its end included.
    package static let lineLimit = 24_576

    package init?(line: [UInt8]) {
        let words = line.split(separator: .space, omittingEmptySubsequences: false)
        guard let kind = words.first, (2...5).contains(words.count) else { return nil }
        var values: [[UInt8]] = []
        for word in words.dropFirst() {
            guard let value = HelperWord.decode(word) else { return nil }
            values.append(value)
        }
        switch (String(decoding: kind, as: UTF8.self), values.count) {
        case ("password", 4):
            self = .password(
                name: values[0], password: values[1], remote: values[2], service: values[3])
        case ("token", 3):
            self = .token(token: values[0], remote: values[1], service: values[2])
        default: return nil
        }
    }

    package var line: [UInt8] {
        switch self {
        case .password(let name, let password, let remote, let service):
            HelperWord.line("password", [name, password, remote, service])
        case .token(let token, let remote, let service):
            HelperWord.line("token", [token, remote, service])
        }
    }
}

/// `ok NAME`, `no REASON`, `temp REASON`.
package enum HelperAnswer: Equatable, Sendable {
    /// `name`: whom it was about.
    case right(name: [UInt8])
    /// It was checked, and it is not good.
    case wrong(reason: [UInt8])
    /// Nothing could be checked: nobody's fault.
    case unavailable(reason: [UInt8])

    package static let lineLimit = 2_048

    package init?(line: [UInt8]) {
        let words = line.split(separator: .space, omittingEmptySubsequences: false)
        guard words.count == 2, let value = HelperWord.decode(words[1]) else { return nil }
        switch String(decoding: words[0], as: UTF8.self) {
        case "ok": self = .right(name: value)
        case "no": self = .wrong(reason: value)
        case "temp": self = .unavailable(reason: value)
        default: return nil
        }
    }

    package var line: [UInt8] {
        switch self {
        case .right(let name): HelperWord.line("ok", [name])
        case .wrong(let reason): HelperWord.line("no", [Array(reason.prefix(512))])
        case .unavailable(let reason): HelperWord.line("temp", [Array(reason.prefix(512))])
        }
    }
}

private enum HelperWord {
    static func line(_ kind: String, _ values: [[UInt8]]) -> [UInt8] {
        var line = Array(kind)
        for value in values {
            line.append(.space)
            line += value.isEmpty ? [0x3D] : Base64.encode(value.span)
        }
        return line + [.lf]
    }

    static func decode(_ word: ArraySlice<UInt8>) -> [UInt8]? {
        if word.elementsEqual([0x3D]) { return [] }
        do throws(Base64Error) {
            let value = try Base64.decode(Array(word).span, limit: WireLimit.exchange)
            return value.isEmpty ? nil : value
        } catch {
            return nil
        }
    }
}
