// SPDX-License-Identifier: Apache-2.0
//
// Password hashes against RFC 9106 and the reference program's vectors, randomness, comparison.

import Bytes
import Testing

@testable import Crypto

@Suite("password hashes, RFC 9106")
struct PasswordHashTests {
    private static let cheap = Argon2Parameters(memoryKiB: 64, iterations: 1, parallelism: 1)

    @Test func `a password verifies against its hash and no other does`() throws {
        let hash = try PasswordHash.make(Array("secret"), Self.cheap)
        #expect(String(decoding: hash, as: UTF8.self).hasPrefix("$argon2id$v=19$m=64,t=1,p=1$"))
        #expect(try PasswordHash.verify(Array("secret"), hash))
        #expect(try !PasswordHash.verify(Array("Secret"), hash))
        #expect(try !PasswordHash.verify([], hash))
        #expect(try PasswordHash.make(Array("secret"), Self.cheap) != hash)
    }

    @Test func `the default costs are written into the hash`() throws {
        let hash = try PasswordHash.make(Array("x"))
        #expect(String(decoding: hash, as: UTF8.self).hasPrefix("$argon2id$v=19$m=19456,t=2,p=1$"))
    }

    @Test(arguments: [
        // The reference implementation's own tests (src/test.c).
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
    ])
    func `hashes of the reference implementation verify`(_ text: String) throws {
        #expect(try PasswordHash.verify(Array("password"), Array(text)))
        #expect(try !PasswordHash.verify(Array("passwore"), Array(text)))
    }

    @Test(arguments: [
        "", "$", "plain", "$1$salt$hash", "$argon2id$", "$argon2id$v=19$m=64,t=1,p=1$$",
        "$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$AAAA", "$argon2id$v=19$m=64,t=0,p=1$a$b",
        "$argon2id$v=19$m=64,t=1,p=99$a$b", "$argon2id$v=19$m=64,t=1,p=1$a b$c",
        "$argon2id$v=19$t=1,m=64,p=1$a$b", "$argon2x$v=19$m=64,t=1,p=1$a$b",
    ])
    func `other texts are refused before any work`(_ text: String) {
        #expect(!PasswordHash.isSupported(Array(text)))
        #expect(throws: PasswordHashError.unsupported) {
            try PasswordHash.verify(Array("x"), Array(text))
        }
    }

    @Test func `a hash with a broken salt is unsupported, not wrong`() {
        #expect(throws: PasswordHashError.self) {
            try PasswordHash.verify(Array("x"), Array("$argon2id$v=19$m=64,t=1,p=1$!!!!$AAAA"))
        }
    }

    @Test func `a password over the limit is refused`() {
        let long = [UInt8](repeating: 0x61, count: PasswordHash.passwordLimit + 1)
        #expect(throws: PasswordHashError.tooLong) { try PasswordHash.make(long, Self.cheap) }
        #expect(throws: PasswordHashError.tooLong) { try PasswordHash.verify(long, []) }
    }

    @Test func `a password may hold any octet`() throws {
        let odd: [UInt8] = [0, 0xFF, 0x0A, 0x80]
        let hash = try PasswordHash.make(odd, Self.cheap)
        #expect(try PasswordHash.verify(odd, hash))
        #expect(try !PasswordHash.verify([0], hash))
    }
}

@Suite("randomness and comparison")
struct PrimitiveTests {
    @Test(arguments: [0, 1, 7, 8, 9, 64])
    func `random octets have the length asked for and do not repeat`(_ count: Int) {
        let octets = RandomOctets.make(count)
        #expect(octets.count == count)
        if count >= 8 { #expect(octets != RandomOctets.make(count)) }
    }

    @Test func `equality is by every octet and the length`() {
        #expect(ConstantTime.equal([], []))
        #expect(ConstantTime.equal([1, 2], [1, 2]))
        #expect(!ConstantTime.equal([1, 2], [1, 3]))
        #expect(!ConstantTime.equal([1, 2], [1]))
    }
}
