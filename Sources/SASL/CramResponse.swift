// SPDX-License-Identifier: Apache-2.0
//
// What a client of CRAM-MD5 answers: a name, a space, 32 hexadecimal digits. RFC 2195 §2.

import Bytes

package struct CramResponse: Equatable, Sendable {
    package var name: [UInt8]
    package var challenge: [UInt8]
    /// 16 octets.
    package var digest: [UInt8]

    package init(name: [UInt8], challenge: [UInt8], digest: [UInt8]) {
        self.name = name
        self.challenge = challenge
        self.digest = digest
    }

    init(_ message: [UInt8], challenge: [UInt8]) throws(SASLError) {
        guard message.count <= SASLLimits.identity + 33 else { throw .tooLong }
        guard let space = message.lastIndex(of: 0x20), space > 0,
            String(validating: message, as: UTF8.self) != nil, !message.contains(0)
        else { throw .malformed }
        let digits = message[(space + 1)...]
        guard digits.count == 32 else { throw .malformed }
        var digest: [UInt8] = []
        for digit in digits {
            let value: UInt8
            switch digit {
            case 0x30...0x39: value = digit - 0x30
            case 0x61...0x66: value = digit - 0x61 + 10
            case 0x41...0x46: value = digit - 0x41 + 10
            default: throw .malformed
            }
            digest.append(value)
        }
        name = Array(message[..<space])
        self.challenge = challenge
        self.digest = stride(from: 0, to: 32, by: 2).map { digest[$0] << 4 | digest[$0 + 1] }
    }
}
