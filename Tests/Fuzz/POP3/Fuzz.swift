// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry of the POP3 core: a whole session as its input would drive it, and the encoder,
// whose answers are decoded again. Traps when a promise of the core is broken.

import Bytes
import POP3

/// Called by libFuzzer with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let octets = Array(UnsafeBufferPointer(start: pointer, count: count))
    session(octets)
    encoder(octets)
    return 0
}

/// Every line is a command; logins succeed unless the password begins with `x`.
private func session(_ octets: [UInt8]) {
    var machine = ServerMachine(isTLS: false, offersTLS: true)
    for line in octets.split(separator: .lf) {
        var action: ServerMachine.Action
        do {
            action = machine.received(try Command(Array(line).span))
        } catch {
            action = machine.refused(error)
        }
        while let next = perform(action, &machine) { action = next }
        if case .close = action { return }
    }
}

private func perform(
    _ action: ServerMachine.Action, _ machine: inout ServerMachine
) -> ServerMachine.Action? {
    switch action {
    case .reply(let reply), .close(let reply): check(reply)
    case .lines(let reply, let lines):
        check(reply)
        precondition(lines.allSatisfy { !$0.hasPrefix(".") && $0.utf8.count < 500 })
    case .startTLS(let reply):
        check(reply)
        machine.tlsStarted()
    case .login(_, let password): return logIn(password, &machine)
    case .authenticate(_, let initial): return logIn(initial ?? [], &machine)
    case .listing(_, let listing):
        guard let maildrop = machine.maildrop else {
            preconditionFailure("listing without maildrop")
        }
        var next: Int? = 1
        var lines = 0
        while let number = next {
            var piece: [UInt8] = []
            next = maildrop.append(listing, from: number, to: &piece, limit: 20)
            lines += piece.count { $0 == .lf }
        }
        precondition(lines == maildrop.count)
    case .send(let message, _): precondition(!message.isDeleted)
    case .update(let uids):
        precondition(!uids.isEmpty && zip(uids, uids.dropFirst()).allSatisfy { $0 < $1 })
        return machine.updated(true)
    }
    return nil
}

private func logIn(
    _ password: [UInt8], _ machine: inout ServerMachine
) -> ServerMachine.Action {
    if password.first == 0x78 { return machine.loginRefused(.badCredentials) }
    return machine.opened(
        Maildrop(
            uidValidity: 1,
            messages: (0..<UInt32(password.count % 8)).map { .init(uid: $0 + 1, size: $0) }))
}

private func check(_ reply: Reply) {
    let line = reply.line
    precondition(line.count <= 512)
    precondition(line.count { $0 == .lf } == 1 && line.last == .lf)
}

/// The first octet chooses the cut and the size of the pieces.
private func encoder(_ octets: [UInt8]) {
    guard let choice = octets.first else { return }
    let message = Array(octets.dropFirst())
    let piece = Int(choice & 0x0F) + 1
    let lines = choice & 0x80 == 0 ? nil : Int(choice >> 4 & 7)
    let pieces = answer(message, lines: lines, piece: piece)
    precondition(pieces == answer(message, lines: lines, piece: .max), "pieces matter")
    guard lines == nil else { return }
    // What a client reads back is the message with CRLF for every line end.
    var wanted: [UInt8] = []
    for octet in message {
        if octet == .lf, wanted.last != .cr { wanted.append(.cr) }
        wanted.append(octet)
    }
    if let last = wanted.last, last != .lf { wanted += [.cr, .lf] }
    var read: [UInt8] = []
    var start = pieces.startIndex
    while start < pieces.count {
        guard let end = pieces[start...].firstIndex(of: .lf) else {
            preconditionFailure("no line end")
        }
        var line = pieces[start...end]
        start = end + 1
        if line.elementsEqual([0x2E, .cr, .lf]) {
            precondition(start == pieces.count, "the answer ends early")
            precondition(read == wanted, "another message")
            return
        }
        if line.first == 0x2E { line.removeFirst() }
        read += line
    }
    preconditionFailure("the answer does not end")
}

private func answer(_ message: [UInt8], lines: Int?, piece: Int) -> [UInt8] {
    var encoder = MessageEncoder(lines: lines)
    var output: [UInt8] = []
    var start = 0
    while start < message.count, !encoder.isComplete {
        let end = piece < message.count - start ? start + piece : message.count
        encoder.encode(message.span.extracting(start..<end)) { output.append(copying: $0) }
        start = end
    }
    encoder.finish { output.append(copying: $0) }
    return output
}
