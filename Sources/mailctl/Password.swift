// SPDX-License-Identifier: Apache-2.0
//
// Where a password comes from: never from the command line.

import Crypto
import Glibc

enum Password {
    /// Octets; longer ones are refused by the store.
    static let limit = 1024

    /// Letters and digits that cannot be taken for each other: 20 of 54 are 115 bits.
    static func generate() -> String {
        let letters = Array("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789".utf8)
        var result: [UInt8] = []
        while result.count < 20 {
            for octet in RandomOctets.make(32) where result.count < 20 {
                // Octets behind the last whole multiple would make some letters likelier.
                let whole = 256 / letters.count * letters.count
                if Int(octet) < whole { result.append(letters[Int(octet) % letters.count]) }
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// What an account command was given: one of a password and a hash is empty.
    struct Given {
        var password: [UInt8] = []
        var hash: [UInt8] = []
        /// To be shown once.
        var generated: String?
    }

    static func given(_ invocation: Invocation, for address: String) throws(Failure) -> Given {
        let ways = ["password-stdin", "password-file", "generate", "hash"].filter(invocation.has)
        guard ways.count <= 1 else {
            throw Failure(.usage, "only one of --\(ways.joined(separator: ", --"))")
        }
        switch ways.first {
        case "password-stdin":
            guard let line = Terminal.readLine(limit: limit + 1) else {
                throw Failure(.noInput, "standard input is empty")
            }
            return Given(password: try checked(line))
        case "password-file":
            let path = invocation.value("password-file") ?? ""
            let octets = try Files.read(path, limit: 65_536)
            var line = Array(octets.prefix { $0 != 0x0A })
            if line.last == 0x0D { line.removeLast() }
            return Given(password: try checked(line))
        case "generate":
            let password = generate()
            return Given(password: Array(password.utf8), generated: password)
        case "hash":
            let hash = Array((invocation.value("hash") ?? "").utf8)
            guard let stored = StoredPassword(hash) else {
                throw Failure(
                    .badData, "that hash cannot be checked here",
                    hints: ["give an argon2id hash: '$argon2id$v=19$m=19456,t=2,p=1$...'"])
            }
            guard !stored.isWeak || invocation.has("allow-weak") else {
                throw Failure(
                    .badData, "that hash is easily undone",
                    hints: ["set a new password instead, or say --allow-weak"])
            }
            return Given(hash: hash)
        default: return Given(password: try asked(address))
        }
    }

    private static func checked(_ password: [UInt8]) throws(Failure) -> [UInt8] {
        guard !password.isEmpty else { throw Failure(.badData, "the password is empty") }
        guard password.count <= limit else {
            throw Failure(.badData, "the password is longer than \(limit) octets")
        }
        guard !password.contains(0) else { throw Failure(.badData, "the password contains NUL") }
        return password
    }

    private static func asked(_ address: String) throws(Failure) -> [UInt8] {
        guard Terminal.isInputTerminal else {
            throw Failure(
                .usage, "no password for \(address), and no terminal to ask on",
                hints: ["use --password-stdin, --password-file FILE or --generate"])
        }
        guard let first = Terminal.readSecret("New password: "),
            let second = Terminal.readSecret("Repeat:       ")
        else { throw Failure(.noInput, "no password") }
        guard first == second else { throw Failure(.badData, "the two are not the same") }
        return try checked(first)
    }
}
