// SPDX-License-Identifier: Apache-2.0
//
// Tokens, keys, JSON, names for LDAP, and the lines between msgstored and its helpers.

import Bytes
import Testing
import Wire

@testable import LDAPHelper
@testable import Tokens

private func token(_ text: String) throws -> SignedToken {
    try #require(SignedToken(Array(text.utf8)))
}

private func isSigned(_ text: String) throws -> Bool {
    let keys = try #require(KeySet(Array(Issued.keys.utf8)))
    let token = try token(text)
    return token.isSigned(by: keys.candidates(token))
}

private func changed(_ text: String, part: Int) -> String {
    var parts = text.split(separator: ".").map(String.init)
    let middle = parts[part].index(parts[part].startIndex, offsetBy: parts[part].count / 2)
    let other = parts[part][middle] == "A" ? "B" : "A"
    parts[part].replaceSubrange(middle...middle, with: other)
    return parts.joined(separator: ".")
}

@Suite struct `Signed tokens` {
    @Test func `keys that cannot verify are left out of a set`() throws {
        let keys = try #require(KeySet(Array(Issued.keys.utf8)))
        #expect(keys.keys.map(\.identifier) == ["r", "e", "d"].map { Array($0.utf8) })
    }

    @Test(arguments: [Issued.rs256, Issued.rs256WithoutKey, Issued.es256, Issued.edDSA])
    func `a good signature is good, and nothing of it can be changed`(_ text: String) throws {
        #expect(try isSigned(text))
        #expect(try !isSigned(changed(text, part: 2)))
        let other = changed(text, part: 1)
        if SignedToken(Array(other.utf8)) != nil { #expect(try !isSigned(other)) }
    }

    @Test(arguments: [Issued.crossed, Issued.small, Issued.encryption])
    func `a key verifies only what it is for`(_ text: String) throws {
        #expect(try !isSigned(text))
    }

    @Test(arguments: [
        "", ".", "..", "a.b", "a.b.c.d", Issued.hmac,
        // {"alg":"none"}, with and without a signature
        "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.e30.AAAA",
        // {"alg":"RS256","crit":["x"]}
        "eyJhbGciOiJSUzI1NiIsImNyaXQiOlsieCJdfQ.e30.AAAA",
        // {"alg":"RS256","alg":"none"}
        "eyJhbGciOiJSUzI1NiIsImFsZyI6Im5vbmUifQ.e30.AAAA",
        // claims that are no object; padding; the other alphabet
        "eyJhbGciOiJSUzI1NiJ9.W10.AAAA", "eyJhbGciOiJSUzI1NiJ9.e30=.AAAA",
        "eyJhbGciOiJSUzI1NiJ9.e30.A+/A",
    ])
    func `what we would not verify is no token`(_ text: String) {
        #expect(SignedToken(Array(text.utf8)) == nil)
    }
}

@Suite struct `Claims` {
    private static let rules = TokenRules(
        issuer: "https://issuer.example", audience: "mail", scope: "mail", userClaim: "email")
    private static let good =
        #""iss":"https://issuer.example","aud":"mail","exp":2000,"email":"a@b.test","scope":"x mail""#

    private func outcome(
        _ claims: String, now: Int64 = 1_500, isAnswer: Bool = false,
        rules: TokenRules = rules
    ) throws -> String {
        let json = try JSON(Array("{\(claims)}".utf8))
        do throws(TokenRefusal) {
            let user = try rules.user(json, now: now, isAnswer: isAnswer)
            return String(decoding: user, as: UTF8.self)
        } catch {
            return error.rawValue
        }
    }

    @Test func `a real token says who it is for`() throws {
        let claims = try token(Issued.rs256).claims
        #expect(
            try Self.rules.user(claims, now: 1_500, isAnswer: false)
                == Array("alice@example.test".utf8))
        #expect(throws: TokenRefusal.expired) {
            try Self.rules.user(claims, now: 2_060, isAnswer: false)
        }
        #expect(throws: TokenRefusal.early) {
            try Self.rules.user(claims, now: 939, isAnswer: false)
        }
    }

    @Test(arguments: [
        ("", "a@b.test"),
        (#","email_verified":true"#, "a@b.test"),
        (#","email_verified":false"#, TokenRefusal.unverified.rawValue),
        (#","email_verified":"false""#, TokenRefusal.unverified.rawValue),
        (#","nbf":1559"#, "a@b.test"),
        (#","nbf":1561"#, TokenRefusal.early.rawValue),
        (#","nbf":"1""#, TokenRefusal.early.rawValue),
    ])
    func `more claims`(_ more: String, _ wanted: String) throws {
        #expect(try outcome(Self.good + more) == wanted)
    }

    @Test(arguments: [
        ("\"iss\":\"https://issuer.example\"", "\"iss\":\"https://other.example\"", "other issuer"),
        ("\"iss\":\"https://issuer.example\",", "", "other issuer"),
        ("\"aud\":\"mail\"", "\"aud\":\"web\"", "other audience"),
        ("\"aud\":\"mail\"", "\"aud\":[\"web\",\"mail\"]", "a@b.test"),
        ("\"aud\":\"mail\"", "\"aud\":[]", "other audience"),
        ("\"aud\":\"mail\",", "", "other audience"),
        ("\"exp\":2000", "\"exp\":1439", "expired"),
        ("\"exp\":2000", "\"exp\":\"2000\"", "expired"),
        ("\"exp\":2000,", "", "expired"),
        ("x mail", "x mailbox", "scope is missing"),
        (",\"scope\":\"x mail\"", ",\"scp\":[\"mail\"]", "a@b.test"),
        (",\"scope\":\"x mail\"", "", "scope is missing"),
        ("\"email\":\"a@b.test\"", "\"email\":\"\"", "names no user"),
        ("\"email\":\"a@b.test\"", "\"email\":7", "names no user"),
        ("\"email\":\"a@b.test\"", "\"email\":\"a b@b.test\"", "names no user"),
        ("\"email\":\"a@b.test\"", "\"sub\":\"a@b.test\"", "names no user"),
    ])
    func `one claim is different`(_ old: String, _ new: String, _ wanted: String) throws {
        let parts = Self.good.split(separator: old, omittingEmptySubsequences: false)
        #expect(parts.count == 2)
        #expect(try outcome(parts.joined(separator: new)) == wanted)
    }

    @Test func `an issuer that answers may leave out what it has looked at`() throws {
        let little = #""email":"a@b.test","scope":"mail""#
        #expect(try outcome(#""active":true,"# + little, isAnswer: true) == "a@b.test")
        #expect(try outcome(#""active":false,"# + little, isAnswer: true) == "not active")
        #expect(try outcome(#""active":"true","# + little, isAnswer: true) == "not active")
        #expect(try outcome(little, isAnswer: true) == "not active")
        #expect(
            try outcome(#""active":true,"exp":1,"# + little, isAnswer: true) == "expired")
        #expect(
            try outcome(#""active":true,"aud":"web","# + little, isAnswer: true)
                == "other audience")
    }
}

@Suite struct `JSON of strangers` {
    @Test(arguments: [
        ("null", JSON.null),
        (" [1, -2.5e1 ,true]\n", .array([.number(1), .number(-25), .bool(true)])),
        (#""a\u00e9\ud83d\ude00\n\/""#, .string(Array("aé😀\n/".utf8))),
        (#"{"a":{"b":[]}}"#, .object([Array("a".utf8): .object([Array("b".utf8): .array([])])])),
    ])
    func `values`(_ text: String, _ wanted: JSON) throws {
        #expect(try JSON(Array(text.utf8)) == wanted)
    }

    @Test(arguments: [
        "", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "1.", ".5", "+1", "1e", "nul", "1 2",
        "\"\u{1}\"", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\u00g0\"",
        "\"\\u+123\"", "\"open", "1e999", "[1 2]", "{\"a\" 1}",
    ])
    func `what is not JSON`(_ text: String) {
        #expect(throws: JSONError.malformed) { try JSON(Array(text.utf8)) }
    }

    @Test func `limits, N and N+1`() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array(String(repeating: "[", count: depth).utf8)
                + Array(String(repeating: "]", count: depth).utf8)
        }
        #expect(throws: Never.self) { try JSON(nested(16)) }
        #expect(throws: JSONError.tooDeep) { try JSON(nested(17)) }
        let long = Array("\"".utf8) + [UInt8](repeating: 0x61, count: JSON.limit - 2)
        #expect(throws: Never.self) { try JSON(long + Array("\"".utf8)) }
        #expect(throws: JSONError.tooLarge) { try JSON(long + Array("a\"".utf8)) }
        func list(_ count: Int) -> [UInt8] {
            Array(("[" + Array(repeating: "1", count: count).joined(separator: ",") + "]").utf8)
        }
        #expect(throws: Never.self) { try JSON(list(16_383)) }
        #expect(throws: JSONError.tooLarge) { try JSON(list(16_384)) }
        #expect(throws: JSONError.duplicateName) { try JSON(Array("{\"a\":1,\"\\u0061\":2}".utf8)) }
        #expect(throws: JSONError.notUTF8) { try JSON([0x22, 0xFF, 0x22]) }
    }
}

@Suite struct `Names for LDAP` {
    @Test(arguments: [
        ("(mail=%u)", "bob@example.test", "(mail=bob@example.test)"),
        ("uid=%n,dc=%d", "bob@example.test", "uid=bob,dc=example.test"),
        ("(uid=%n)", "*@x", "(uid=\\2a)"),
        ("(uid=%n)", "a)(uid=*@x", "(uid=a\\29\\28uid\\3d\\2a)"),
        ("(uid=%n)", "a\\2a@x", "(uid=a\\5c2a)"),
        ("uid=%n,ou=p", "a,ou=admins@x", "uid=a\\2cou\\3dadmins,ou=p"),
        ("uid=%n,ou=p", " #a+b\"<>;@x", "uid=\\20\\23a\\2bb\\22\\3c\\3e\\3b,ou=p"),
        ("uid=%n", "é@x", "uid=\\c3\\a9"),
        ("100%%=%n", "%u@x", "100%=\\25u"),
        ("", "bob@x", ""),
    ])
    func `a user name is never more than a value`(
        _ template: String, _ address: String, _ wanted: String
    ) {
        #expect(LDAPTemplate.expand(template, Array(address.utf8)) == wanted)
    }

    @Test func `what cannot be filled in`() {
        #expect(LDAPTemplate.expand("%x", Array("a@b".utf8)) == nil)
        #expect(LDAPTemplate.expand("%", Array("a@b".utf8)) == nil)
        #expect(LDAPTemplate.expand("%u", Array("nobody".utf8)) == nil)
        #expect(LDAPTemplate.expand("%u", Array("a\0@b".utf8)) == nil)
    }
}

@Suite struct `Lines to helpers` {
    @Test(arguments: [
        HelperQuestion.password(
            name: Array("a@b".utf8), password: Array("p w\n\0".utf8), remote: [], service: [1]),
        .token(token: Array("t".utf8), remote: Array("::1".utf8), service: Array("imap".utf8)),
    ])
    func `a question comes back as it was`(_ question: HelperQuestion) {
        #expect(question.line.filter { $0 == .lf }.count == 1)
        #expect(HelperQuestion(line: question.line.dropLast()) == question)
    }

    @Test(arguments: [
        HelperAnswer.right(name: Array("a@b".utf8)), .wrong(reason: []),
        .unavailable(reason: Array("no route".utf8)),
    ])
    func `an answer comes back as it was`(_ answer: HelperAnswer) {
        #expect(HelperAnswer(line: answer.line.dropLast()) == answer)
    }

    @Test(arguments: ["", "ok", "ok ", "ok a", "yes YQ==", "ok YQ== YQ==", "ok  YQ=="])
    func `what is no answer is none`(_ line: String) {
        #expect(HelperAnswer(line: Array(line.utf8)) == nil)
    }

    @Test(arguments: [
        "", "token", "token YQ==", "password YQ== YQ== YQ==", "token a b c", "x = = =",
    ])
    func `what is no question is none`(_ line: String) {
        #expect(HelperQuestion(line: Array(line.utf8)) == nil)
    }

    @Test func `the longest token fits into a line, and no longer one`() {
        let longest = [UInt8](repeating: 0x61, count: WireLimit.exchange)
        let line = HelperQuestion.token(token: longest, remote: [1], service: [2]).line
        #expect(line.count < HelperQuestion.lineLimit)
        #expect(HelperQuestion(line: line.dropLast()) != nil)
        let over = HelperQuestion.token(token: longest + [0x61], remote: [1], service: [2]).line
        #expect(HelperQuestion(line: over.dropLast()) == nil)
    }
}
