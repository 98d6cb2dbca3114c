// SPDX-License-Identifier: Apache-2.0
//
// Messages for an mbox file in the format mboxrd: LF line ends, every line that is `From ` behind
// any number of `>` gets one more, flags in Status, X-Status and X-Keywords. mbox(5).

import Bytes
import Mail

/// Turns one stored message into what is written to the file, a piece at a time.
package struct MboxWriter {
    private let flags: NamedFlags
    private var isInHeader = true
    /// Octets of the line so far, up to what decides whether it must be quoted.
    private var line: [UInt8] = []
    private var isDecided = false
    private var heldCR = false
    private var lastOctet: UInt8 = .lf

    package init(flags: NamedFlags) { self.flags = flags }

    package mutating func append(_ octets: [UInt8], to output: inout [UInt8]) {
        var index = 0
        while index < octets.count {
            if isDecided, !heldCR {
                let end = octets.span.firstLineEnd(from: index)
                if end > index {
                    put(octets[index..<end], &output)
                    index = end
                    continue
                }
            }
            take(octets[index], &output)
            index += 1
        }
    }

    private mutating func take(_ octet: UInt8, _ output: inout [UInt8]) {
        if heldCR, octet != .lf {
            heldCR = false
            add(.cr, &output)
        }
        switch octet {
        case .cr: heldCR = true
        case .lf:
            heldCR = false
            endLine(&output)
        default: add(octet, &output)
        }
    }

    private mutating func add(_ octet: UInt8, _ output: inout [UInt8]) {
        if isDecided {
            put([octet], &output)
            return
        }
        line.append(octet)
        let depth = line.prefix { $0 == 0x3E }.count
        let rest = line.dropFirst(depth)
        if rest.elementsEqual(MboxLine.mark) {
            decide(isQuoted: true, &output)
        } else if !MboxLine.mark.starts(with: rest) || line.count > 256 {
            decide(isQuoted: false, &output)
        }
    }

    private mutating func decide(isQuoted: Bool, _ output: inout [UInt8]) {
        if isQuoted { output.append(0x3E) }
        put(line[...], &output)
        line = []
        isDecided = true
    }

    private mutating func put(_ octets: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        output += octets
        lastOctet = octets.last ?? lastOctet
    }

    private mutating func endLine(_ output: inout [UInt8]) {
        if !isDecided {
            if line.isEmpty, isInHeader {
                isInHeader = false
                output += MboxFlags.fields(flags)
            }
            decide(isQuoted: false, &output)
        }
        put([.lf], &output)
        isDecided = false
    }

    /// The end of the message, with the empty line that separates it from the next.
    package mutating func finish(_ output: inout [UInt8]) {
        if heldCR {
            heldCR = false
            add(.cr, &output)
        }
        if !isDecided { decide(isQuoted: false, &output) }
        if lastOctet != .lf { put([.lf], &output) }
        if isInHeader { output += MboxFlags.fields(flags) + [.lf] }
        output.append(.lf)
    }
}
