// SPDX-License-Identifier: Apache-2.0
//
// Line ends of messages that clients upload. RFC 3501 §6.3.11 asks for RFC 5322 messages: CRLF.

import Bytes

/// Makes every line end CRLF: some clients send bare LF, and what is stored has CRLF only.
package struct LineEndings {
    private var lastWasCR = false

    package init() {}

    package mutating func append(_ octets: Span<UInt8>, to message: inout [UInt8]) {
        message.reserveCapacity(message.count + octets.count)
        for index in octets.indices {
            let octet = octets[index]
            if octet == .lf, !lastWasCR { message.append(.cr) }
            message.append(octet)
            lastWasCR = octet == .cr
        }
    }
}
