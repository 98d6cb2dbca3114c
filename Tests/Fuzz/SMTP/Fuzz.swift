// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry: any octets as a session: lines become commands for a machine whose questions
// are answered at random, text goes through the decoders in two cuts that must agree.

import Bytes
import Mail
import SMTP

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: pointer, count: count))
    session(input)
    text(input)
    return 0
}

private func session(_ input: [UInt8]) {
    var policy = ServerPolicy(
        hostname: Array("h"), sizeLimit: 1_000, recipientLimit: 3, offersStartTLS: true,
        mechanisms: [Array("PLAIN")], requiresAuthentication: (input.first ?? 0) & 1 == 1)
    policy.offersXCLIENT = (input.first ?? 0) & 4 == 4
    policy.isDevelopment = (input.first ?? 0) & 8 == 8
    var machine = ServerMachine(policy: policy, isEncrypted: (input.first ?? 0) & 2 == 2)
    let someone = EmailAddress(local: [0x61], domain: [0x62])
    for line in input.split(separator: 0x0A, maxSplits: 64, omittingEmptySubsequences: false) {
        let line = Array(line)
        let isLucky = (line.last ?? 0) & 1 == 0
        let verdict: Reply = isLucky ? .ok : .loop
        var action: ServerMachine.Action
        do throws(CommandError) {
            let command = try Command(line.span)
            check(command)
            action = machine.received(command)
        } catch {
            action = machine.refused(error)
        }
        switch action {
        case .startTLS: machine.tlsStarted()
        case .authenticate:
            action =
                isLucky
                ? machine.authenticated(as: someone) : machine.authenticationFailed(.loop)
        case .checkSender: action = machine.senderChecked(verdict)
        case .checkRecipient: action = machine.recipientChecked(someone, verdict)
        case .receiveText: action = machine.messageEnded(verdict)
        case .receiveChunk(let size, let isLast):
            precondition(size <= 1_000)
            action =
                isLast
                ? machine.messageEnded(verdict)
                : machine.chunkReceived(size: size, fault: isLucky ? nil : .loop)
        case .speakFor: action = machine.clientChanged()
        case .reply, .describe, .skipChunk, .close: break
        }
        switch action {
        case .reply(let reply): precondition(reply.octets.suffix(2).elementsEqual([0x0D, 0x0A]))
        case .close: return
        default: break
        }
    }
}

/// What was read can be written, and is read again as it was.
private func check(_ command: Command) {
    switch command {
    case .rcpt(to: .address(let address), let parameters):
        precondition(address.local.count <= 64 && address.domain.count <= 255)
        precondition(address.domain.allSatisfy { $0 < 0x80 })
        check(written("RCPT TO:<a@b>", parameters.terms.parameters), is: command)
    case .mail(_, let parameters):
        check(written("MAIL FROM:<>", parameters.terms.parameters), is: command)
    default: return
    }
}

private func check(_ line: [UInt8], is command: Command) {
    precondition(line.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
    guard line.count <= Command.parameterLineLimit else { return }
    do throws(CommandError) {
        let again = try Command(line.span)
        switch (again, command) {
        case (.mail(_, let left), .mail(_, let right)): precondition(left.terms == right.terms)
        case (.rcpt(_, let left), .rcpt(_, let right)): precondition(left.terms == right.terms)
        default: preconditionFailure("another command")
        }
    } catch {
        // Encoding again may make a value longer than its limit, and nothing else.
        precondition(error == .badParameter && line.contains(0x2B))
    }
}

private func written(_ verb: String, _ parameters: [[UInt8]]) -> [UInt8] {
    Array(([Array(verb)] + parameters).joined(separator: [0x20]))
}

private func text(_ input: [UInt8]) {
    let cut = Int(input.first ?? 0) % (input.count + 1)
    var whole = DotDecoder(limit: 200)
    var parts = DotDecoder(limit: 200)
    var wholeText: [UInt8] = []
    var partsText: [UInt8] = []
    let used = whole.decode(input.span, into: &wholeText)
    var usedInParts = parts.decode(Array(input[..<cut]).span, into: &partsText)
    if !parts.isComplete {
        usedInParts += parts.decode(Array(input[cut...]).span, into: &partsText)
    }
    precondition(used == usedInParts && whole.isComplete == parts.isComplete)
    precondition(whole.fault == parts.fault)
    if whole.fault == nil { precondition(wholeText == partsText && wholeText.count <= 200) }
    if whole.isComplete { precondition(input[..<used].suffix(3).elementsEqual(Array(".\r\n"))) }

    var check = LineEndCheck()
    check.check(wholeText.span)
    check.finish()
    // What was decoded without fault has no lone line end, but for a CR still waiting.
    if whole.fault == nil, whole.isComplete { precondition(!check.hasBareNewline) }
    var scanner = HeaderScanner()
    scanner.scan(input.span)
    scanner.finish()
}
