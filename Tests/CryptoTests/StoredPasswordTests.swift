// SPDX-License-Identifier: Apache-2.0
//
// Passwords as Dovecot (doveadm pw), crypt(3) and openssl(1) have stored them.

import Bytes
import Crypto
import Testing

private let password = Array("Tr0ub4dor&3".utf8)

/// Made with `doveadm pw -p`, `openssl passwd`, and mkpasswd, for that password.
private let stored: [(text: String, isWeak: Bool)] = [
    ("{BLF-CRYPT}$2y$05$GJehvQVmxeZ8VHhpeaLG9O5JAoRiBsrk9ApbVAMJqm343yucOnZOG", false),
    (
        "{SHA512-CRYPT}$6$rounds=1000$wLpwbOiqPjr./HXb$cjCAJ6zPOqXWYFZ5./cdV1ePVHr8R"
            + "TfKYBr72BbAIiRwqw3ROrZeV9DHi8LSUFiLc1eSY28wfZZimD.uYxXbe/", false
    ),
    (
        "{SHA256-CRYPT}$5$rounds=1000$S/TZ9Evshk8p45T2$bSgNODOZ4Dujx3xkDSFdUYSRtLb5/"
            + "UWNb17ax3O6p78", false
    ),
    ("{SSHA}gL0ApAGUXzwe0naQbN0UFl3N7JaVPMgS", false),
    ("{SSHA256}i3XB3R8f2CCaEqn6IA+4UsOJm4ANqEVdDouGpguxAw5PqFqj", false),
    (
        "{SSHA512}MfG5hPcvJ1MU2F0mcuUVdvkZ6zGi4ikRH0G8wY/V0cOkp1A6L+QYas1IiZTkhcOPko"
            + "AqzY2X7oGsP3204jSj9iNkM/M=", false
    ),
    ("{SMD5}Iu3LUb2Fgrx6dT5PiezOsfnoSJc=", true),
    ("{SHA}h0Vy56WuaklGamrFeLmK26eMaqY=", true),
    ("{SHA256}SEhuFRToQjRv9AWx5F9EBZroJhnyMG+Z0JQNyzhukfc=", true),
    (
        "{SHA512}xyu2IccEDPS2R0BjqaeXJpDiUvNa2+fPr/Wx7iMW7+c4LnI9QeATor+8M8MAfFDFhH0"
            + "hqInM6DhTbqxyeAjeQA==", true
    ),
    ("{PLAIN-MD5}4ece57a61323b52ccffdbef021956754", true),
    ("{LDAP-MD5}Ts5XphMjtSzP/b7wIZVnVA==", true),
    ("{CRAM-MD5}c0a49b541c47c13e0fed75e90df0510e8e19d265316dbafce5048e1f92c94232", true),
    ("{PBKDF2}$1$77DTaPYWWh11Bo4M$5$5ab619e1dc06a83210b74fd084f11bdd5dd9f685", false),
    (
        "{SCRAM-SHA-1}4096,gJczYyzmUUO/BauDgQ6pJA==,VU/wLfSwHkz0wjMb72hWG7R0344=,4zG"
            + "5Rciguxv+k8l3Ten27ZkMwlE=", false
    ),
    (
        "{SCRAM-SHA-256}4096,2I17iFu7dhRtXNtr4CwuLQ==,HOgzq6lnAWRPenEUyrxy/xMeEd2Y8z"
            + "NXyj1iZYrxhZQ=,1liFetXvBIJ+gFfPLBodAduyN2KH53gm/uG8alVAaZY=", false
    ),
    ("{MD5-CRYPT}$1$uZ1s.P4c$DIZ8mpFqleVGLh9deXs.50", true),
    ("{DES-CRYPT}XWQQ7HjYJ.W5o", true),
    ("{PLAIN}Tr0ub4dor&3", true),
    ("{SSHA.HEX}00e92df66ba62ecf67e1b3dcea15a6804fccc95cba45a2f1", false),
    ("{SHA256.HEX}48486e1514e842346ff405b1e45f44059ae82619f2306f99d0940dcb386e91f7", true),
    ("{PLAIN.B64}VHIwdWI0ZG9yJjM=", true),
    ("$y$j75$ynvEUt4JS6SZyeJAJxwdS1$5qaPUyAe9GVddvrbYxMKnnEkpHyARwGpEX.9c1iqpM3", false),
    ("$7$CU..../....v10tIXawKFgnQvReOzCEQ.$Cx7mopUBy8IcFK2.tkCNMQM9/YCFqaAH61WBB62a6e0", false),
    (
        "$6$rounds=1000$vG7TxAbVem5av4RE$sV58udzde9A1D4.e72OngSzliN8f36xqiQoKB2a41BK"
            + "2UH/oFBbJpN78NEnLUF7.G0DONpKEKbJD3MiUIjkxh1", false
    ),
    ("$gy$j75$jpMoq9ecRtrix4Ea.pXA51$wUXq8ocYNNKsoxUtIEiCD2HRJjvos0BIsHTNCrL0dr6", false),
]

@Suite("Stored passwords of other programs")
struct StoredPasswordTests {
    @Test(arguments: 0..<stored.count)
    func `the right password matches and others do not`(index: Int) throws {
        let (text, isWeak) = stored[index]
        let found = try #require(StoredPassword(Array(text.utf8)), "\(text)")
        #expect(try found.verify(password))
        #expect(try !found.verify(Array("Tr0ub4dor&4".utf8)) || text.hasPrefix("{DES"))
        #expect(try !found.verify(Array("tr0ub4dor&3".utf8)))
        #expect(try !found.verify([]))
        #expect(found.isWeak == isWeak)
        #expect(!found.isCurrent(Argon2Parameters()))
    }

    @Test func `our own is current until its cost changes`() throws {
        let small = Argon2Parameters(memoryKiB: 64, iterations: 1)
        let found = try #require(StoredPassword(try PasswordHash.make(password, small)))
        #expect(found.isCurrent(small))
        #expect(!found.isCurrent(Argon2Parameters()))
        #expect(try found.verify(password))
    }

    @Test(arguments: [
        "", "x", "{NOPE}abc", "{SSHA}", "{SSHA}h0Vy56WuaklGamrFeLmK26eMaqY=", "{SHA256}AAAA",
        "{PLAIN-MD5}zz", "{SCRAM-SHA-256}4096,AA==,AA==,AA==", "{SCRAM-SHA-256}0,AA==,x,y",
        "{PBKDF2}$1$salt$99999999999$00", "{CRAM-MD5}00", "{SHA512-CRYPT}plain", "$9$abc$defghijkl",
    ])
    func `what cannot be checked is none`(text: String) {
        #expect(StoredPassword(Array(text.utf8)) == nil)
    }

    @Test func `a crypt(3) setting that is broken is an error, not a wrong password`() throws {
        let broken = try #require(StoredPassword(Array("$2b$99$abcdefghijklmnopqrstuv".utf8)))
        #expect(throws: PasswordHashError.unsupported) { try broken.verify(password) }
    }

    @Test func `a password with a NUL is not cut short`() throws {
        let found = try #require(
            stored.map(\.text).first { $0.hasPrefix("{SHA512-CRYPT}") }.flatMap {
                StoredPassword(Array($0.utf8))
            })
        #expect(try !found.verify(password + [0, 0x61]))
    }

    @Test func `digests and HMAC are those of RFC 2202 and RFC 6070`() {
        let hmac = MessageDigest.sha1.hmac(
            key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(hmac.prefix(4) == [0xEF, 0xFC, 0xDF, 0x6A])
        let key = MessageDigest.sha1.pbkdf2(
            Array("password".utf8), salt: Array("salt".utf8), iterations: 4_096)
        #expect(key.prefix(4) == [0x4B, 0x00, 0x79, 0x01])
        #expect(MessageDigest.md5.digest([]).prefix(3) == [0xD4, 0x1D, 0x8C])
    }
}
