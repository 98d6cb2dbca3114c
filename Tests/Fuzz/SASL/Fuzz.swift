// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry: any octets as the lines of an exchange of every mechanism, and as Base64.

import Bytes
import SASL

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: pointer, count: count))
    if let octets = try? Base64.decode(input.span, limit: 1 << 16) {
        let again = Base64.encode(octets.span)
        precondition(again == input, "Base64 has one spelling only")
    }
    _ = try? PlainResponse(input)
    for mechanism in Mechanism.allCases {
        // As they come, and with the Base64 that a fuzzer would have to guess.
        exchange(mechanism, input, isEncoded: false)
        exchange(mechanism, input, isEncoded: true)
    }
    return 0
}

private func exchange(_ mechanism: Mechanism, _ input: [UInt8], isEncoded: Bool) {
    var exchange = Exchange(
        mechanism, nonce: Array("nonce".utf8), hostname: Array("host".utf8),
        bindings: ChannelBindings(exporter: [1, 2], serverEndPoint: [3]), offersBinding: true)
    for line in input.split(separator: 0x0A, maxSplits: 8) {
        let line = isEncoded ? Base64.encode(Array(line).span) : Array(line)
        guard var step = try? exchange.received(line.span) else { return }
        if case .ask(let question) = step {
            switch question {
            case .password(let response):
                precondition(!response.authenticationID.isEmpty && !response.password.isEmpty)
                return
            case .scramParameters(_, let name):
                precondition(!name.isEmpty && name.count <= SASLLimits.identity)
                step = exchange.scramParameters(salt: [1, 2, 3], iterations: 4_096)
            case .scramProof(let proof):
                precondition(proof.proof.count == (proof.isSHA256 ? 32 : 20))
                step = exchange.scramProven(signature: [4])
            case .cramMD5(let response):
                precondition(response.digest.count == 16 && !response.name.isEmpty)
                return
            case .external: return
            case .token(let response):
                precondition(!response.token.isEmpty)
                step = exchange.rejected()
            }
        }
        guard case .challenge = step else { return }
    }
}
