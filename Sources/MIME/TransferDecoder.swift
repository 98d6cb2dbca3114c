// SPDX-License-Identifier: Apache-2.0
//
// Content-Transfer-Encoding taken off a body that comes in pieces. RFC 2045 §6.7 and §6.8.
// Damaged encodings give what can be read of them.

import Bytes

package struct TransferDecoder: Sendable {
    private enum State: Equatable {
        case plain
        /// base64: bits read since the last whole group, and how many characters they were.
        case group(UInt32, Int)
        /// quoted-printable: after `=`, and after `=` and one hexadecimal digit.
        case equals, hexadecimal(UInt8)
        /// quoted-printable: blanks or a CR after `=`, before the line end that is not there.
        case softBreak
    }

    private let encoding: TransferEncoding
    private var state = State.plain

    package init(_ encoding: TransferEncoding) {
        self.encoding = encoding
    }

    /// Appends what `octets` stand for.
    package mutating func decode(_ octets: Span<UInt8>, into output: inout [UInt8]) {
        switch encoding {
        case .identity, .unknown: output.append(copying: octets)
        case .base64: decodeBase64(octets, into: &output)
        case .quotedPrintable: decodeQuotedPrintable(octets, into: &output)
        }
    }

    /// Ends the body: appends what an incomplete escape stood for.
    package mutating func finish(into output: inout [UInt8]) {
        switch state {
        case .hexadecimal(let digit):
            output.append(0x3D)
            output.append(digit)
        case .plain, .group, .equals, .softBreak: break
        }
        state = .plain
    }

    /// 0 to 63; 64 for the padding, 255 for what is no base64.
    private static let alphabet: [UInt8] = {
        var table = [UInt8](repeating: 255, count: 256)
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
        for (value, octet) in letters.utf8.enumerated() { table[Int(octet)] = UInt8(value) }
        return table
    }()

    private mutating func decodeBase64(_ octets: Span<UInt8>, into output: inout [UInt8]) {
        let alphabet = Self.alphabet
        var bits: UInt32 = 0
        var count = 0
        if case .group(let oldBits, let oldCount) = state { (bits, count) = (oldBits, oldCount) }
        // 4 characters are 3 octets; 3 may have been pending.
        output.append(addingCapacity: (octets.count + 3) / 4 * 3) { output in
            for index in octets.indices {
                let value = alphabet[Int(octets[index])]
                if value < 64 {
                    bits = bits << 6 | UInt32(value)
                    count += 1
                    if count == 4 {
                        output.append(UInt8(truncatingIfNeeded: bits >> 16))
                        output.append(UInt8(truncatingIfNeeded: bits >> 8))
                        output.append(UInt8(truncatingIfNeeded: bits))
                        (bits, count) = (0, 0)
                    }
                } else if value == 64 {
                    // Padding ends a group; another encoded text may follow it.
                    if count == 2 { output.append(UInt8(truncatingIfNeeded: bits >> 4)) }
                    if count == 3 {
                        output.append(UInt8(truncatingIfNeeded: bits >> 10))
                        output.append(UInt8(truncatingIfNeeded: bits >> 2))
                    }
                    (bits, count) = (0, 0)
                }
            }
        }
        state = .group(bits, count)
    }

    private mutating func decodeQuotedPrintable(
        _ octets: Span<UInt8>, into output: inout [UInt8]
    ) {
        var index = 0
        while index < octets.count {
            if state == .plain {
                let run = index..<octets.first(0x3D, in: index..<octets.count)
                output.append(copying: octets.extracting(run))
                index = run.upperBound
                if index == octets.count { return }
                if index + 2 < octets.count, let high = octets[index + 1].hexadecimalValue,
                    let low = octets[index + 2].hexadecimalValue
                {
                    output.append(high << 4 | low)
                    index += 3
                    continue
                }
            }
            let octet = octets[index]
            index += 1
            switch state {
            case .plain, .group: state = .equals
            case .equals:
                if octet.hexadecimalValue != nil {
                    state = .hexadecimal(octet)
                } else if octet == .lf {
                    state = .plain
                } else if octet == .cr || octet == .space || octet == .tab {
                    state = .softBreak
                } else if octet == 0x3D {
                    output.append(0x3D)
                } else {
                    output.append(0x3D)
                    output.append(octet)
                    state = .plain
                }
            case .hexadecimal(let digit):
                state = .plain
                if let high = digit.hexadecimalValue, let low = octet.hexadecimalValue {
                    output.append(high << 4 | low)
                } else {
                    output.append(0x3D)
                    output.append(digit)
                    if octet == 0x3D { state = .equals } else { output.append(octet) }
                }
            case .softBreak:
                if octet == .lf {
                    state = .plain
                } else if octet != .cr, octet != .space, octet != .tab {
                    // "=" and blanks inside a line: not an escape
                    output.append(0x3D)
                    output.append(.space)
                    state = .plain
                    if octet == 0x3D { state = .equals } else { output.append(octet) }
                }
            }
        }
    }
}
