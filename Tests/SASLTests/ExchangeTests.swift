// SPDX-License-Identifier: Apache-2.0
//
// PLAIN and LOGIN as clients send them, and as attackers do.

import Bytes
import SASL
import Testing

private func encoded(_ octets: [UInt8]) -> [UInt8] { Base64.encode(octets.span) }

private func failure(_ message: [UInt8]) -> SASLError? {
    do throws(SASLError) {
        _ = try PlainResponse(message)
        return nil
    } catch {
        return error
    }
}

@Suite("PLAIN, RFC 4616")
struct PlainTests {
    @Test func `the RFC's two examples are read`() throws {
        let tim = try PlainResponse(Array("\0tim\0tanstaaftanstaaf"))
        #expect(
            tim
                == PlainResponse(
                    authenticationID: Array("tim"), password: Array("tanstaaftanstaaf")))
        let ursel = try PlainResponse(Array("Ursel\0Kurt\0xipj3plmq"))
        #expect(ursel.authorizationID == Array("Ursel"))
        #expect(ursel.authenticationID == Array("Kurt"))
    }

    @Test(arguments: [
        "", "\0", "\0\0", "\0a\0", "\0\0b", "a\0b", "\0a\0b\0", "\0a\0b\0c", "a\0\0b", "\0\0\0",
    ])
    func `wrong numbers of NULs and empty parts are malformed`(message: String) {
        #expect(failure(Array(message)) == .malformed)
    }

    @Test func `octets that are not UTF-8 are malformed`() {
        #expect(failure([0, 0x61, 0, 0xFF]) == .malformed)
        #expect(failure([0, 0xC3, 0, 0x61]) == .malformed)
        #expect(failure([0, 0xC3, 0xA9, 0, 0x61]) == nil)
    }

    @Test func `sizes are limited part by part`() {
        let name = [UInt8](repeating: 0x61, count: SASLLimits.identity)
        let password = [UInt8](repeating: 0x62, count: SASLLimits.password)
        #expect(failure([0] + name + [0] + password) == nil)
        #expect(failure([0] + name + [0x61, 0] + password) == .tooLong)
        #expect(failure([0] + name + [0] + password + [0x62]) == .tooLong)
        #expect(failure(name + [0x61, 0] + name + [0, 0x62]) == .tooLong)
    }

    @Test func `every shorter prefix of a response is refused or another response`() throws {
        let whole = Array("authz\0authc\0secret")
        for length in 0..<whole.count {
            if let response = try? PlainResponse(Array(whole[..<length])) {
                #expect(response.authenticationID == Array("authc"))
                #expect(Array("secret").starts(with: response.password))
            } else {
                #expect(length <= 12)
            }
        }
    }
}

@Suite("Exchanges, RFC 4422")
struct ExchangeTests {
    @Test func `PLAIN without initial response gets an empty challenge`() throws {
        var exchange = Exchange(.plain)
        #expect(exchange.begin() == .challenge([]))
        let line = encoded(Array("\0a@b\0c"))
        #expect(
            try exchange.received(line.span)
                == .ask(
                    .password(
                        PlainResponse(authenticationID: Array("a@b"), password: Array("c")))))
    }

    @Test func `LOGIN asks for Username and Password in exactly these words`() throws {
        var exchange = Exchange(.login)
        #expect(exchange.begin() == .challenge(Array("VXNlcm5hbWU6")))
        let name = encoded(Array("alice@example.test"))
        #expect(try exchange.received(name.span) == .challenge(Array("UGFzc3dvcmQ6")))
        let password = encoded(Array("s e\u{e9}cret"))
        #expect(
            try exchange.received(password.span)
                == .ask(
                    .password(
                        PlainResponse(
                            authenticationID: Array("alice@example.test"),
                            password: Array("s e\u{e9}cret")))))
    }

    @Test func `LOGIN takes the name as initial response`() throws {
        var exchange = Exchange(.login)
        let name = encoded(Array("alice"))
        #expect(try exchange.begin(initial: name.span) == .challenge(Array("UGFzc3dvcmQ6")))
    }

    @Test(arguments: Mechanism.allCases)
    func `a star cancels`(mechanism: Mechanism) {
        var exchange = Exchange(mechanism)
        #expect(throws: SASLError.cancelled) { try exchange.received(Array("*").span) }
    }

    @Test func `a star cancels at the password too`() throws {
        var exchange = Exchange(.login)
        let name = encoded(Array("alice"))
        _ = try exchange.received(name.span)
        #expect(throws: SASLError.cancelled) { try exchange.received(Array("*").span) }
    }

    @Test(arguments: ["a", "YQ", "YQ=", "Y===", "YQ==YQ==", "Y Q=", "YR==", "YWJj\r", "-_-_"])
    func `bad Base64 is an encoding error`(line: String) {
        for mechanism in Mechanism.allCases {
            var exchange = Exchange(mechanism)
            #expect(throws: SASLError.encoding) { try exchange.received(Array(line).span) }
        }
    }

    @Test func `empty responses are malformed, but for EXTERNAL`() {
        for mechanism in Mechanism.allCases where mechanism != .external {
            var exchange = Exchange(mechanism)
            #expect(throws: SASLError.malformed) { try exchange.begin(initial: Array("=").span) }
            #expect(throws: SASLError.malformed) { try exchange.received([UInt8]().span) }
        }
    }

    @Test func `a NUL in LOGIN is malformed`() {
        var exchange = Exchange(.login)
        let name = encoded([0x61, 0, 0x62])
        #expect(throws: SASLError.malformed) { try exchange.received(name.span) }
    }

    @Test func `names of mechanisms have any case`() {
        #expect(Mechanism(name: Array("plain")) == .plain)
        #expect(Mechanism(name: Array("LoGiN")) == .login)
        #expect(Mechanism(name: Array("scram-sha-256-plus")) == .scramSHA256Plus)
        #expect(Mechanism(name: Array("DIGEST-MD5")) == nil)
        #expect(Mechanism(name: []) == nil)
    }
}
