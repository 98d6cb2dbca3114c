// SPDX-License-Identifier: Apache-2.0
//
// Logins through the doors: SCRAM with keys that never leave the store, app passwords, bans,
// rehashing, password files.

import Bytes
import Config
import Crypto
import Glibc
import Mail
import SASL
import Store
import StoreClient
import Testing
import Transport
import Wire

@testable import StoreServer

/// What a SCRAM client does, here without a network: RFC 5802 §3.
private struct ScramClient {
    let name: String
    let password: String
    var authorizationID = ""
    let nonce = "clientnonce"

    var header: String { "n,\(authorizationID.isEmpty ? "" : "a=\(authorizationID)")," }
    var first: [UInt8] {
        Base64.encode(Array("\(header)n=\(name),r=\(nonce)".utf8).span)
    }

    /// The salt and the iterations in `r=...,s=...,i=...`, and the nonce.
    private static func read(
        _ server: [UInt8]
    ) -> (nonce: String, salt: [UInt8], iterations: Int)? {
        let fields = String(decoding: server, as: UTF8.self).split(separator: ",").map(String.init)
        guard fields.count == 3, let iterations = Int(fields[2].dropFirst(2)) else { return nil }
        let text = Array(fields[1].dropFirst(2).utf8)
        guard let salt = try? Base64.decode(text.span, limit: 256) else { return nil }
        return (fields[0], salt, iterations)
    }

    func final(_ challenge: [UInt8]) -> (line: [UInt8], signature: [UInt8])? {
        guard let server = try? Base64.decode(challenge.span, limit: 4_096),
            let (both, salt, iterations) = Self.read(server)
        else { return nil }
        let bound = String(decoding: Base64.encode(Array(header.utf8).span), as: UTF8.self)
        let without = Array("c=\(bound),\(both)".utf8)
        var message = Array("n=\(name),r=\(nonce),".utf8) + server
        message += [0x2C] + without
        let digest = MessageDigest.sha256
        let salted = digest.pbkdf2(Array(password.utf8), salt: salt, iterations: iterations)
        let clientKey = digest.hmac(key: salted, Array("Client Key".utf8))
        let signature = digest.hmac(key: digest.digest(clientKey), message)
        let proof = zip(clientKey, signature).map { $0 ^ $1 }
        let serverKey = digest.hmac(key: salted, Array("Server Key".utf8))
        var line = without + Array(",p=".utf8)
        line += Base64.encode(proof.span)
        return (Base64.encode(line.span), digest.hmac(key: serverKey, message))
    }
}

private func client(_ remote: String = "127.0.0.1", service: String = "imap") -> LoginClient {
    LoginClient(
        remote: Array(remote.utf8), session: TraceID(rawValue: 1), service: Array(service.utf8))
}

private enum Broken: Error { case exchange }

/// How it ended, and where, if it ended well.
private struct Ending {
    var word: String
    var session: MailboxSession?

    init(_ outcome: LoginOutcome<MailboxSession>) {
        switch outcome {
        case .succeeded(let session):
            word = "in"
            self.session = session
        case .refused(let reason, _): word = reason.text
        case .unavailable: word = "unavailable"
        case .malformed(let error): word = "\(error)"
        }
    }
}

private func scram(
    _ mailboxes: MailboxClient, _ who: ScramClient, remote: String = "127.0.0.1",
    service: String = "imap"
) async throws(Broken) -> Ending {
    let attempt = LoginAttempt(
        mechanism: .scramSHA256, initial: who.first, client: client(remote, service: service))
    let dialogue = ScramDialogue(who)
    let outcome = try await mailboxes.logIn(attempt) { challenge async throws(Broken) in
        try dialogue.answer(challenge)
    }
    return Ending(outcome)
}

private final class ScramDialogue {
    private let who: ScramClient
    private var signature: [UInt8]?

    init(_ who: ScramClient) { self.who = who }

    func answer(_ challenge: [UInt8]) throws(Broken) -> [UInt8] {
        guard let signature else {
            guard let final = who.final(challenge) else { throw .exchange }
            signature = final.signature
            return final.line
        }
        let wanted = Base64.encode((Array("v=".utf8) + Base64.encode(signature.span)).span)
        guard challenge == wanted else { throw .exchange }
        return []
    }
}

private func plain(
    _ mailboxes: MailboxClient, _ name: EmailAddress, _ password: [UInt8],
    remote: String = "127.0.0.1", service: String = "imap"
) async -> Ending {
    let outcome = await mailboxes.logIn(
        PlainResponse(authenticationID: name.octets, password: password),
        client(remote, service: service))
    return Ending(outcome)
}

private func addAppPassword(
    _ control: ControlClient, _ secret: [UInt8], _ scopes: LoginScopes, expires: Int64
) throws -> UInt32 {
    let reply = try control.call(
        .access(
            .addAppPassword(
                World.alice, name: Array("phone".utf8), scopes: scopes, expires: expires,
                password: secret)))
    guard case .access(.appPasswords(let rows)) = reply, let row = rows.first else {
        throw Broken.exchange
    }
    return row.id
}

private func appPasswords(_ control: ControlClient) throws -> [AppPassword] {
    let reply = try control.call(.access(.listAppPasswords(World.alice)))
    guard case .access(.appPasswords(let rows)) = reply else { throw Broken.exchange }
    return rows
}

private func bans(_ control: ControlClient) throws -> [Ban] {
    let reply = try control.call(.access(.listBans))
    guard case .access(.bans(let rows)) = reply else { throw Broken.exchange }
    return rows
}

@Suite(.serialized) struct LoginDoorTests {
    @Test func `SCRAM lets in who knows the password, and proves that we know it too`() async throws
    {
        let world = try World()
        try await world.onLoop { context in
            let mailboxes = MailboxClient(world.link(.mailbox, context))
            let password = String(decoding: World.password, as: UTF8.self)
            let alice = String(decoding: World.alice.octets, as: UTF8.self)
            let good = try await scram(mailboxes, ScramClient(name: alice, password: password))
            #expect(good.word == "in")
            let session = try #require(good.session)
            #expect(session.account == World.alice)
            #expect(try await !session.list().isEmpty)
            let wrong = try await scram(mailboxes, ScramClient(name: alice, password: "wrong"))
            #expect(wrong.word == "bad-password")
            let nobody = try await scram(
                mailboxes, ScramClient(name: "nobody@example.test", password: password))
            #expect(nobody.word == "bad-password")
            let other = try await scram(
                mailboxes,
                ScramClient(
                    name: alice, password: password, authorizationID: "bob@example.test"))
            #expect(other.word == "bad-password")
        }
        await world.remove()
    }

    @Test func `a name that is nobody's has a salt, always the same and unlike others`()
        async throws
    {
        let world = try World()
        let logins = world.core.logins
        let one = try logins.scramSalt(Array("nobody@example.test".utf8))
        #expect(try logins.scramSalt(Array("NOBODY@example.test".utf8)) == one)
        #expect(try logins.scramSalt(Array("none@example.test".utf8)) != one)
        let real = try logins.scramSalt(World.alice.octets)
        #expect(real.salt.count == one.salt.count)
        #expect(real.iterations == one.iterations)
        await world.remove()
    }

    @Test func `a new password ends the old one for SCRAM, too`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let mailboxes = MailboxClient(world.link(.mailbox, context))
            let alice = String(decoding: World.alice.octets, as: UTF8.self)
            let control = try world.control()
            #expect(
                try control.call(
                    .changeAccount(
                        .setPassword(
                            address: World.alice, password: Array("new".utf8), hash: [])))
                    == .done)
            let old = try await scram(
                mailboxes,
                ScramClient(name: alice, password: String(decoding: World.password, as: UTF8.self)))
            #expect(old.word == "bad-password")
            let new = try await scram(mailboxes, ScramClient(name: alice, password: "new"))
            #expect(new.word == "in")
        }
        await world.remove()
    }

    @Test func `a foreign hash becomes argon2id with SCRAM keys at the first login`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let mailboxes = MailboxClient(world.link(.mailbox, context))
            let control = try world.control()
            let carol = EmailAddress(local: Array("carol"), domain: Array("example.test"))
            // The password is "Tr0ub4dor&3".
            let hash = Array("{SSHA}gL0ApAGUXzwe0naQbN0UFl3N7JaVPMgS".utf8)
            #expect(
                try control.call(
                    .changeAccount(.add(address: carol, password: [], hash: hash))) == .done)
            let name = String(decoding: carol.octets, as: UTF8.self)
            let early = try await scram(
                mailboxes, ScramClient(name: name, password: "Tr0ub4dor&3"))
            #expect(early.word == "bad-password")
            #expect(await plain(mailboxes, carol, Array("Tr0ub4dor&4".utf8)).word == "bad-password")
            #expect(try world.core.directory.secrets(carol)?.hash == hash)
            #expect(await plain(mailboxes, carol, Array("Tr0ub4dor&3".utf8)).word == "in")
            let secrets = try #require(try world.core.directory.secrets(carol))
            #expect(secrets.hash.starts(with: "$argon2id$".utf8))
            #expect(secrets.sha256 != nil)
            #expect(await plain(mailboxes, carol, Array("Tr0ub4dor&3".utf8)).word == "in")
            let late = try await scram(mailboxes, ScramClient(name: name, password: "Tr0ub4dor&3"))
            #expect(late.word == "in")
        }
        await world.remove()
    }

    @Test func `an app password is good for its services until it expires`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let mailboxes = MailboxClient(world.link(.mailbox, context))
            let control = try world.control()
            let secret = Array("abcdefghijklmnopqrst".utf8)
            let id = try addAppPassword(control, secret, [.imap], expires: 0)
            #expect(await plain(mailboxes, World.alice, secret).word == "in")
            #expect(
                await plain(mailboxes, World.alice, secret, service: "pop3").word
                    == "bad-password")
            #expect(await plain(mailboxes, World.bob, secret).word == "bad-password")
            let name = String(decoding: World.alice.octets, as: UTF8.self)
            let text = String(decoding: secret, as: UTF8.self)
            #expect(
                try await scram(mailboxes, ScramClient(name: name, password: text)).word == "in")
            // The account's own password is still good, and changing it leaves the other alone.
            #expect(await plain(mailboxes, World.alice, World.password).word == "in")
            _ = try control.call(
                .changeAccount(
                    .setPassword(address: World.alice, password: Array("new".utf8), hash: [])))
            #expect(await plain(mailboxes, World.alice, secret).word == "in")
            let rows = try appPasswords(control)
            #expect(rows.map(\.id) == [id])
            #expect(rows.first?.used ?? 0 > 0)
            #expect(
                try control.call(.access(.removeAppPassword(World.alice, id: id))) == .done)
            #expect(await plain(mailboxes, World.alice, secret).word == "bad-password")
            _ = try addAppPassword(control, secret, .all, expires: 1)
            #expect(await plain(mailboxes, World.alice, secret).word == "expired")
        }
        await world.remove()
    }

    @Test func `ten failures ban an address from every service, but not from its own account`()
        async throws
    {
        let world = try World()
        try await world.onLoop { context in
            let mailboxes = MailboxClient(world.link(.mailbox, context))
            let office = "192.0.2.7"
            #expect(
                await plain(mailboxes, World.alice, World.password, remote: office).word == "in")
            let logins = world.core.logins
            for _ in 0..<10 {
                _ = logins.refuse(.badCredentials, World.bob.octets, client(office))
            }
            for service in ["imap", "pop3", "smtp"] {
                let began = context.now
                let outcome = await plain(
                    mailboxes, World.bob, World.password, remote: office, service: service)
                #expect(outcome.word == "banned")
                #expect(began.duration(to: context.now) < .milliseconds(900))
            }
            let bob = String(decoding: World.bob.octets, as: UTF8.self)
            let exchange = try await scram(
                mailboxes, ScramClient(name: bob, password: "x"), remote: office)
            #expect(exchange.word == "banned")
            #expect(
                await plain(mailboxes, World.alice, World.password, remote: office).word == "in")
            #expect(await plain(mailboxes, World.bob, World.password).word == "in")
            let control = try world.control()
            let banned = try bans(control)
            #expect(banned.map(\.network) == [Array(office.utf8)])
            #expect(try control.call(.access(.removeBan(Array(office.utf8)))) == .done)
            #expect(throws: ControlError.refused(.noSuchAccount)) {
                try control.call(.access(.removeBan(Array(office.utf8))))
            }
            #expect(await plain(mailboxes, World.bob, World.password, remote: office).word == "in")
            // By hand: never somebody who has just logged in.
            #expect(throws: ControlError.refused(.alreadyExists)) {
                try control.call(.access(.addBan(Array(office.utf8), seconds: 60)))
            }
            #expect(
                try control.call(.access(.addBan(Array("2001:db8::1".utf8), seconds: 60)))
                    == .done)
            #expect(
                await plain(
                    mailboxes, World.bob, World.password, remote: "2001:db8::9"
                ).word == "banned")
        }
        await world.remove()
    }

    @Test func `unknown names and wrong passwords take the same time`() async throws {
        let world = try World()
        try await world.onLoop { context in
            let mailboxes = MailboxClient(world.link(.mailbox, context))
            let nobody = EmailAddress(local: Array("nobody"), domain: Array("example.test"))
            var times: [Duration] = []
            for name in [World.alice, nobody, World.alice, nobody] {
                let began = context.now
                #expect(await plain(mailboxes, name, Array("x".utf8)).word == "bad-password")
                times.append(began.duration(to: context.now))
            }
            #expect(times.allSatisfy { $0 > .milliseconds(990) && $0 < .milliseconds(1_200) })
        }
        await world.remove()
    }

    @Test func `passwords in a file are good, and a change of it is noticed`() async throws {
        let world = try World()
        let path = world.directory + "/users"
        func write(_ text: String) throws {
            let file = try #require(fopen(path, "w"))
            fputs(text, file)
            fclose(file)
        }
        try write("alice@example.test:{SSHA}gL0ApAGUXzwe0naQbN0UFl3N7JaVPMgS\n")
        var suite = world.suite
        suite.msgstored.authBackends = ["internal", "file"]
        suite.msgstored.passwordFile = path
        world.core.apply(suite)
        let path2 = path
        try await world.onLoop { context in
            let mailboxes = MailboxClient(world.link(.mailbox, context))
            let right = Array("Tr0ub4dor&3".utf8)
            #expect(await plain(mailboxes, World.alice, right).word == "in")
            #expect(await plain(mailboxes, World.alice, World.password).word == "in")
            #expect(await plain(mailboxes, World.bob, right).word == "bad-password")
            let file = try #require(fopen(path2, "w"))
            fputs("bob@example.test:{PLAIN}clear\n", file)
            fclose(file)
            #expect(await plain(mailboxes, World.alice, right).word == "bad-password")
            // Weak: not unless mail.toml says so.
            #expect(await plain(mailboxes, World.bob, Array("clear".utf8)).word == "bad-password")
            #expect(unlink(path2) == 0)
            #expect(await plain(mailboxes, World.bob, right).word == "unavailable")
        }
        await world.remove()
    }
}
