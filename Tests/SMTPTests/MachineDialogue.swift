// SPDX-License-Identifier: Apache-2.0
//
// How tests talk with a ServerMachine: machines in the states where most dialogues begin, and what
// an action says.

import Bytes
import Mail
import SMTP
import Testing

typealias Action = ServerMachine.Action

func policy(
    mode: String = "smtp", offersStartTLS: Bool = true, recipientLimit: Int = 100
) -> ServerPolicy {
    ServerPolicy(
        hostname: Array("mx.test"), sizeLimit: 26_214_400, recipientLimit: recipientLimit,
        offersStartTLS: offersStartTLS, mechanisms: [Array("PLAIN"), Array("LOGIN")],
        requiresAuthentication: mode == "submission")
}

let ehlo = Command.hello(name: Array("client"), isExtended: true)
let mailAlice = Command.mail(from: .address(alice), MailParameters())
let rcptBob = Command.rcpt(to: .address(bob))

/// A machine behind EHLO.
func greeted(_ policy: ServerPolicy = policy(), isEncrypted: Bool = false) -> ServerMachine {
    var machine = ServerMachine(policy: policy, isEncrypted: isEncrypted)
    _ = machine.received(ehlo)
    return machine
}

/// A machine with alice as sender and bob as recipient.
func ready() -> ServerMachine {
    var machine = greeted()
    _ = machine.received(mailAlice)
    _ = machine.received(rcptBob)
    _ = machine.recipientChecked(bob, .recipientOK)
    return machine
}

func authenticated() -> ServerMachine {
    var machine = greeted(policy(mode: "submission"), isEncrypted: true)
    _ = machine.received(.auth(mechanism: Array("PLAIN"), initial: nil))
    _ = machine.authenticated(as: alice)
    return machine
}

func code(_ action: Action) -> UInt16? {
    switch action {
    case .reply(let reply), .close(let reply), .startTLS(let reply), .receiveText(let reply),
        .skipChunk(_, let reply):
        reply.code
    default: nil
    }
}

func text(_ action: Action) -> String {
    guard case .reply(let reply) = action else { return "" }
    return String(decoding: reply.octets, as: UTF8.self)
}
