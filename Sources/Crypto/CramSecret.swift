// SPDX-License-Identifier: Apache-2.0
//
// What CRAM-MD5 (RFC 2195) needs of a password: the two MD5 states of HMAC after its key, in the
// form of Dovecot's {CRAM-MD5}. Weaker than any other form: made only when somebody asks for it.

import Bytes

/// The states that HMAC-MD5 begins with: outer, then inner.
package struct CramSecret: Equatable, Sendable {
    /// 32 octets.
    package let octets: [UInt8]
    private static let block = 64

    package init?(octets: [UInt8]) {
        guard octets.count == 32 else { return nil }
        self.octets = octets
    }

    package init(password: [UInt8]) {
        let key = password.count > Self.block ? MessageDigest.md5.digest(password) : password
        let padded = key + [UInt8](repeating: 0, count: Self.block - key.count)
        var outer = MD5State()
        outer.compress(padded.map { $0 ^ 0x5C }[...])
        var inner = MD5State()
        inner.compress(padded.map { $0 ^ 0x36 }[...])
        octets = outer.octets + inner.octets
    }

    /// The digest that a client with the password answers with, 16 octets.
    package func response(to challenge: [UInt8]) -> [UInt8] {
        var inner = MD5State(octets[16...])
        let digest = inner.finish(challenge, after: Self.block)
        var outer = MD5State(octets[..<16])
        return outer.finish(digest, after: Self.block)
    }

    package func verify(_ digest: [UInt8], of challenge: [UInt8]) -> Bool {
        ConstantTime.equal(digest, response(to: challenge))
    }
}

/// MD5 (RFC 1321) from a state in the middle, which OpenSSL has no way to begin with.
private struct MD5State {
    private var words: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476]

    private static let shifts: [UInt32] = [
        7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21,
    ]

    private static let table: [UInt32] = [
        0xD76A_A478, 0xE8C7_B756, 0x2420_70DB, 0xC1BD_CEEE, 0xF57C_0FAF, 0x4787_C62A, 0xA830_4613,
        0xFD46_9501, 0x6980_98D8, 0x8B44_F7AF, 0xFFFF_5BB1, 0x895C_D7BE, 0x6B90_1122, 0xFD98_7193,
        0xA679_438E, 0x49B4_0821, 0xF61E_2562, 0xC040_B340, 0x265E_5A51, 0xE9B6_C7AA, 0xD62F_105D,
        0x0244_1453, 0xD8A1_E681, 0xE7D3_FBC8, 0x21E1_CDE6, 0xC337_07D6, 0xF4D5_0D87, 0x455A_14ED,
        0xA9E3_E905, 0xFCEF_A3F8, 0x676F_02D9, 0x8D2A_4C8A, 0xFFFA_3942, 0x8771_F681, 0x6D9D_6122,
        0xFDE5_380C, 0xA4BE_EA44, 0x4BDE_CFA9, 0xF6BB_4B60, 0xBEBF_BC70, 0x289B_7EC6, 0xEAA1_27FA,
        0xD4EF_3085, 0x0488_1D05, 0xD9D4_D039, 0xE6DB_99E5, 0x1FA2_7CF8, 0xC4AC_5665, 0xF429_2244,
        0x432A_FF97, 0xAB94_23A7, 0xFC93_A039, 0x655B_59C3, 0x8F0C_CC92, 0xFFEF_F47D, 0x8584_5DD1,
        0x6FA8_7E4F, 0xFE2C_E6E0, 0xA301_4314, 0x4E08_11A1, 0xF753_7E82, 0xBD3A_F235, 0x2AD7_D2BB,
        0xEB86_D391,
    ]

    init() {}

    init(_ octets: ArraySlice<UInt8>) {
        words = Self.littleEndian(octets)
    }

    var octets: [UInt8] {
        words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
    }

    private static func littleEndian(_ octets: ArraySlice<UInt8>) -> [UInt32] {
        stride(from: octets.startIndex, to: octets.endIndex, by: 4).map { at in
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(octets[at + $1]) << UInt32(8 * $1) }
        }
    }

    mutating func compress(_ block: ArraySlice<UInt8>) {
        let input = Self.littleEndian(block)
        var (a, b, c, d) = (words[0], words[1], words[2], words[3])
        for round in 0..<64 {
            let mixed: UInt32
            let place: Int
            switch round >> 4 {
            case 0: (mixed, place) = ((b & c) | (~b & d), round)
            case 1: (mixed, place) = ((d & b) | (~d & c), (5 * round + 1) & 15)
            case 2: (mixed, place) = (b ^ c ^ d, (3 * round + 5) & 15)
            default: (mixed, place) = (c ^ (b | ~d), (7 * round) & 15)
            }
            let sum = a &+ mixed &+ Self.table[round] &+ input[place]
            let shift = Self.shifts[(round >> 4) * 4 + (round & 3)]
            (a, d, c, b) = (d, c, b, b &+ (sum << shift | sum >> (32 - shift)))
        }
        words[0] &+= a
        words[1] &+= b
        words[2] &+= c
        words[3] &+= d
    }

    /// Takes the rest of a message of which `before` octets are in the state already.
    mutating func finish(_ octets: [UInt8], after before: Int) -> [UInt8] {
        let bits = UInt64(before + octets.count) * 8
        var rest = octets + [0x80]
        while rest.count % 64 != 56 { rest.append(0) }
        for index in 0..<8 { rest.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * index))) }
        for start in stride(from: 0, to: rest.count, by: 64) {
            compress(rest[start..<(start + 64)])
        }
        return self.octets
    }
}
