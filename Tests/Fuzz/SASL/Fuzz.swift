// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry: any octets as the lines of a PLAIN and of a LOGIN exchange, and as Base64.

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
        var exchange = Exchange(mechanism)
        for line in input.split(separator: 0x0A, maxSplits: 8) {
            let line = Array(line)
            guard let step = try? exchange.received(line.span) else { break }
            if case .finished(let response) = step {
                precondition(!response.authenticationID.isEmpty && !response.password.isEmpty)
                break
            }
        }
    }
    return 0
}
