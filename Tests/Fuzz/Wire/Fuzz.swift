// SPDX-License-Identifier: Apache-2.0
//
// Any octets as a frame at any door. What decodes must encode to something that decodes to the
// same value; nothing may trap, hang or take memory that the input does not pay for.

import Bytes
import Mail
import Wire

/// One input: an opcode and a payload.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    if let header = try? FrameHeader(Array(input.prefix(FrameHeader.octets))) {
        var again: [UInt8] = []
        header.encode(into: &again)
        precondition(again == Array(input.prefix(FrameHeader.octets)))
    }
    guard input.count >= 2 else { return 0 }
    let opcode = UInt16(input[0]) << 8 | UInt16(input[1])
    let payload = Array(input[2...])
    if opcode == 0 {
        hello(payload)
    } else if let code = RequestCode(rawValue: opcode) {
        request(code, payload)
    } else if let code = ReplyCode(rawValue: opcode) {
        reply(code, payload)
    } else if let code = EventCode(rawValue: opcode) {
        event(code, payload)
    } else {
        precondition(Door.allCases.allSatisfy { !$0.allows(opcode: opcode) })
    }
    return 0
}

private func hello(_ payload: [UInt8]) {
    var decoder = Decoder(payload)
    guard let hello = try? Hello(from: &decoder) else { return }
    var encoder = Encoder()
    hello.encode(into: &encoder)
    var second = Decoder(encoder.octets)
    precondition((try? Hello(from: &second)) == hello)
}

private func request(_ code: RequestCode, _ payload: [UInt8]) {
    var decoder = Decoder(payload)
    guard let request = try? Request(code, from: &decoder) else { return }
    var encoder = Encoder()
    request.encode(into: &encoder)
    precondition(!encoder.isOversized && request.code == code)
    var second = Decoder(encoder.octets)
    precondition((try? Request(code, from: &second)) == request)
}

private func reply(_ code: ReplyCode, _ payload: [UInt8]) {
    var decoder = Decoder(payload)
    guard let reply = try? Reply(code, from: &decoder) else { return }
    var encoder = Encoder()
    reply.encode(into: &encoder)
    precondition(!encoder.isOversized && reply.code == code)
    var second = Decoder(encoder.octets)
    precondition((try? Reply(code, from: &second)) == reply)
}

private func event(_ code: EventCode, _ payload: [UInt8]) {
    var decoder = Decoder(payload)
    guard let event = try? Event(code, from: &decoder) else { return }
    var encoder = Encoder()
    event.encode(into: &encoder)
    precondition(encoder.octets == payload)
}
