// SPDX-License-Identifier: Apache-2.0
//
// What the MIME tests share: texts as octets and back.

import Bytes
import MIME

/// The octets of `text`, its line feeds as CRLF.
func crlf(_ text: String) -> [UInt8] {
    var octets: [UInt8] = []
    for octet in text.utf8 {
        if octet == .lf { octets.append(.cr) }
        octets.append(octet)
    }
    return octets
}

func text(_ octets: some Sequence<UInt8>) -> String {
    String(decoding: Array(octets), as: UTF8.self)
}

/// All fields of a header as name and body.
func fields(_ header: [UInt8]) -> [[String]] {
    var reader = HeaderReader(0..<header.count)
    var found: [[String]] = []
    while let field = reader.next(header.span) {
        found.append([text(header[field.name]), text(header[field.body])])
    }
    return found
}

/// Addresses as `name|route|local|domain`, groups as `name:` and `;`.
func addresses(_ body: String) -> [String] {
    let octets = crlf(body)
    let list = AddressList(octets.span, 0..<octets.count)
    return list.addresses.map { address in
        func part(_ range: Range<Int>?) -> String { range.map { text(list.storage[$0]) } ?? "-" }
        switch address.kind {
        case .groupStart: return part(address.local) + ":"
        case .groupEnd: return ";"
        case .mailbox:
            return [address.name, address.route, address.local, address.domain].map(part)
                .joined(separator: "|")
        }
    }
}

/// Deterministic noise: the same octets in every run.
struct Noise {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }
}
