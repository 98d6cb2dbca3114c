// SPDX-License-Identifier: Apache-2.0
//
// SCRAM with the examples of RFC 5802 §5 and RFC 7677 §3, CRAM-MD5 with that of RFC 2195 §2, tokens
// with those of RFC 7628 §4, and what attackers send.

import Bytes
import Crypto
import SASL
import Testing

private func encoded(_ text: String) -> [UInt8] { Base64.encode(Array(text.utf8).span) }
private func decoded(_ text: String) throws -> [UInt8] {
    try Base64.decode(Array(text.utf8).span, limit: 4_096)
}
private func text(_ step: Step) throws -> String {
    guard case .challenge(let octets) = step else { return "\(step)" }
    return String(decoding: try Base64.decode(octets.span, limit: 4_096), as: UTF8.self)
}

private struct Example: Sendable {
    var mechanism: Mechanism
    var hash: ScramHash
    var clientNonce: String
    var serverNonce: String
    var salt: String
    var proof: String
    var signature: String
}

private let examples = [
    Example(
        mechanism: .scramSHA1, hash: .sha1, clientNonce: "fyko+d2lbbFgONRv9qkxdawL",
        serverNonce: "3rfcNHYJY1ZVvWVs7j", salt: "QSXCR+Q6sek8bf92",
        proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ="),
    Example(
        mechanism: .scramSHA256, hash: .sha256, clientNonce: "rOprNGfwEbeRWgbNEkqO",
        serverNonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
]

@Suite("SCRAM, RFC 5802 and RFC 7677")
struct ScramTests {
    @Test(arguments: [0, 1]) func `the RFC's example is carried through`(index: Int) throws {
        let example = examples[index]
        var exchange = Exchange(example.mechanism, nonce: Array(example.serverNonce.utf8))
        #expect(exchange.begin() == .challenge([]))
        let first = encoded("n,,n=user,r=\(example.clientNonce)")
        let asked = try exchange.received(first.span)
        #expect(
            asked
                == .ask(
                    .scramParameters(
                        isSHA256: example.hash == .sha256, name: Array("user".utf8))))
        let salt = try decoded(example.salt)
        let both = example.clientNonce + example.serverNonce
        let challenge = exchange.scramParameters(salt: salt, iterations: 4_096)
        #expect(try text(challenge) == "r=\(both),s=\(example.salt),i=4096")
        let final = encoded("c=biws,r=\(both),p=\(example.proof)")
        guard case .ask(.scramProof(let proof)) = try exchange.received(final.span) else {
            Issue.record("no proof was asked about")
            return
        }
        let keys = ScramKeys(
            example.hash, password: Array("pencil".utf8), salt: salt, iterations: 4_096)
        let signature = try #require(keys.signature(proof.message, proof: proof.proof))
        #expect(try text(exchange.scramProven(signature: signature)) == "v=\(example.signature)")
        #expect(try exchange.received([UInt8]().span) == .succeeded)
        var wrong = proof.proof
        wrong[3] ^= 1
        #expect(keys.signature(proof.message, proof: wrong) == nil)
        #expect(keys.signature(proof.message + [0], proof: proof.proof) == nil)
    }

    @Test(arguments: [
        "", "n", "n,", "n,,", "n,,n=", "n,,n=a", "n,,n=a,", "n,,n=a,r=", "n,,n=,r=x", "n,,r=x,n=a",
        "n,,m=x,n=a,r=x", "n,,n=a=,r=x", "n,,n=a=2,r=x", "n,,n=a=2D,r=x", "x,,n=a,r=x",
        "n,b=c,n=a,r=x", "n,a==,n=a,r=x", "p=tls-exporter,,n=a,r=x", "n,,n=a,r=x\u{7f}",
        "n,,n=a,r=\u{e9}", "n,,n=a\0,r=x",
    ])
    func `a first message that is none is refused`(message: String) {
        var exchange = Exchange(.scramSHA256, nonce: Array("nonce".utf8))
        let line = encoded(message)
        #expect(throws: SASLError.malformed) { try exchange.begin(initial: line.span) }
    }

    @Test func `names are decoded, and acting for another is passed on`() throws {
        var exchange = Exchange(.scramSHA256, nonce: Array("s".utf8))
        let first = encoded("n,a=b=3D,n=u=2C=3Dv,r=c,x=y")
        #expect(
            try exchange.received(first.span)
                == .ask(.scramParameters(isSHA256: true, name: Array("u,=v".utf8))))
        _ = exchange.scramParameters(salt: [1], iterations: 1)
        let proof = Base64.encode([UInt8](repeating: 0, count: 32).span)
        let bound = Base64.encode(Array("n,a=b=3D,".utf8).span)
        let final =
            Array("c=".utf8) + bound + Array(",r=cs,p=".utf8) + proof
        let line = Base64.encode(final.span)
        guard case .ask(.scramProof(let asked)) = try exchange.received(line.span) else {
            Issue.record("no proof was asked about")
            return
        }
        #expect(asked.authorizationID == Array("b=".utf8))
        #expect(
            String(decoding: asked.message, as: UTF8.self).hasPrefix("n=u=2C=3Dv,r=c,x=y,r=cs,"))
    }

    private func bound(
        _ mechanism: Mechanism, _ flag: String, data: [UInt8], offersBinding: Bool = true,
        claim: [UInt8]? = nil
    ) throws -> Step {
        var exchange = Exchange(
            mechanism, nonce: Array("s".utf8),
            bindings: ChannelBindings(exporter: data, serverEndPoint: [9, 9]),
            offersBinding: offersBinding)
        let first = encoded("\(flag),,n=a,r=c")
        _ = try exchange.received(first.span)
        _ = exchange.scramParameters(salt: [1], iterations: 1)
        let input = Base64.encode((Array("\(flag),,".utf8) + (claim ?? data)).span)
        let proof = Base64.encode([UInt8](repeating: 0, count: 32).span)
        let final = Array("c=".utf8) + input + Array(",r=cs,p=".utf8) + proof
        let line = Base64.encode(final.span)
        return try exchange.received(line.span)
    }

    @Test func `the channel is bound by its exporter or its certificate`() throws {
        guard
            case .ask(.scramProof) = try bound(
                .scramSHA256Plus, "p=tls-exporter", data: [1, 2, 3]),
            case .ask(.scramProof) = try bound(
                .scramSHA256Plus, "p=tls-server-end-point", data: [1], claim: [9, 9])
        else {
            Issue.record("a right binding was refused")
            return
        }
    }

    @Test func `another channel, no channel and a hidden channel are refused`() {
        #expect(throws: SASLError.malformed) {
            try bound(.scramSHA256Plus, "p=tls-exporter", data: [1, 2, 3], claim: [1, 2, 4])
        }
        #expect(throws: SASLError.malformed) {
            try bound(.scramSHA256Plus, "p=tls-unique", data: [1, 2, 3])
        }
        #expect(throws: SASLError.malformed) { try bound(.scramSHA256Plus, "n", data: []) }
        #expect(throws: SASLError.malformed) {
            try bound(.scramSHA256Plus, "p=tls-exporter", data: [])
        }
        // Somebody took the -PLUS mechanisms out of our list.
        #expect(throws: SASLError.malformed) { try bound(.scramSHA256, "y", data: []) }
        #expect(throws: Never.self) {
            try bound(.scramSHA256, "y", data: [], offersBinding: false)
        }
    }

    @Test(arguments: [
        "", "c=biws", "c=biws,r=cs", "c=biws,r=cx,p=AAAA", "r=cs,c=biws,p=AAAA",
        "c=biws,r=cs,p=AA==",
        "c=eSws,r=cs,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ])
    func `a last message that is none is refused`(message: String) throws {
        var exchange = Exchange(.scramSHA1, nonce: Array("s".utf8))
        let first = encoded("n,,n=a,r=c")
        _ = try exchange.received(first.span)
        _ = exchange.scramParameters(salt: [1], iterations: 1)
        let line = encoded(message)
        #expect(throws: SASLError.malformed) { try exchange.received(line.span) }
    }
}

@Suite("CRAM-MD5, EXTERNAL and tokens")
struct OtherMechanismTests {
    @Test func `the example of RFC 2195 is right`() throws {
        var exchange = Exchange(
            .cramMD5, nonce: Array("1896.697170952".utf8),
            hostname: Array("postoffice.reston.mci.net".utf8))
        let challenge = "<1896.697170952@postoffice.reston.mci.net>"
        #expect(try text(exchange.begin()) == challenge)
        let line = encoded("tim b913a602c7eda7a495b4e6e7334d3890")
        guard case .ask(.cramMD5(let response)) = try exchange.received(line.span) else {
            Issue.record("nothing was asked")
            return
        }
        #expect(response.name == Array("tim".utf8))
        let secret = CramSecret(password: Array("tanstaaftanstaaf".utf8))
        #expect(secret.verify(response.digest, of: Array(challenge.utf8)))
        #expect(!secret.verify(response.digest, of: Array("<x@y>".utf8)))
    }

    @Test(arguments: [
        "tim", "tim ", " b913a602c7eda7a495b4e6e7334d3890", "tim b913a602c7eda7a495b4e6e7334d389",
        "tim b913a602c7eda7a495b4e6e7334d389g", "tim b913a602c7eda7a495b4e6e7334d38900",
    ])
    func `a CRAM-MD5 answer that is none is refused`(message: String) {
        var exchange = Exchange(.cramMD5, nonce: Array("1".utf8))
        let line = encoded(message)
        #expect(throws: SASLError.malformed) { try exchange.received(line.span) }
        #expect(throws: SASLError.malformed) { try exchange.begin(initial: line.span) }
    }

    @Test func `EXTERNAL takes an empty name as initial response`() throws {
        var exchange = Exchange(.external)
        #expect(
            try exchange.begin(initial: Array("=".utf8).span)
                == .ask(.external(authorizationID: [])))
    }

    @Test func `tokens are read as RFC 7628 and Google write them`() throws {
        var bearer = Exchange(.oauthBearer)
        let line = encoded(
            "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=143\u{1}"
                + "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}")
        let token = Array("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".utf8)
        let response = BearerResponse(name: Array("user@example.com".utf8), token: token)
        #expect(try bearer.received(line.span) == .ask(.token(response)))
        var google = Exchange(.xoauth2)
        let other = encoded(
            "user=user@example.com\u{1}auth=Bearer \(String(decoding: token, as: UTF8.self))\u{1}\u{1}"
        )
        #expect(try google.received(other.span) == .ask(.token(response)))
        // A refusal is explained, and the client's answer ends it.
        #expect(try text(bearer.rejected()) == #"{"status":"invalid_token"}"#)
        #expect(try bearer.received(encoded("\u{1}").span) == .refused)
    }

    @Test(arguments: [
        "n,,\u{1}\u{1}", "n,,\u{1}auth=Bearer \u{1}\u{1}", "n,,\u{1}auth=Basic abc\u{1}\u{1}",
        "n,,\u{1}auth=Bearer a\u{1}auth=Bearer b\u{1}\u{1}", "n,,\u{1}auth=Bearer a b\u{1}\u{1}",
        "p=tls-exporter,,\u{1}auth=Bearer a\u{1}\u{1}", "n,,\u{1}auth=Bearer a\u{1}",
        "user=\u{1}auth=Bearer a\u{1}\u{1}", "n,a=,\u{1}auth=Bearer a\u{1}\u{1}",
    ])
    func `tokens that are none are refused`(message: String) {
        for mechanism in [Mechanism.oauthBearer, .xoauth2] {
            var exchange = Exchange(mechanism)
            let line = encoded(message)
            #expect(throws: SASLError.malformed) { try exchange.received(line.span) }
        }
    }

    @Test func `what needs TLS is offered with TLS only`() {
        let words = ["plain", "scram-sha-256-plus", "scram-sha-256", "external"]
        #expect(
            Mechanism.offered(words, isTLS: true, hasCertificateName: false)
                == [.plain, .scramSHA256Plus, .scramSHA256])
        #expect(
            Mechanism.offered(words, isTLS: false, hasCertificateName: false)
                == [.plain, .scramSHA256])
        #expect(
            Mechanism.offered(words, isTLS: true, hasCertificateName: true).last == .external)
    }
}
