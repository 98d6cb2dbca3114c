// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C (Castagnoli), eight octets at a time: it finds a record of the delivery log that a power
// cut left half written.

enum Checksum {
    /// Table k: what an octet does to the checksum k octets later.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for index in 0..<256 {
            var value = UInt32(index)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
            tables[index] = value
        }
        for index in 256..<(8 * 256) {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }()

    static func crc32c(_ octets: ArraySlice<UInt8>) -> UInt32 {
        unsafe tables.withUnsafeBufferPointer { table in
            unsafe octets.withUnsafeBytes { buffer in
                var crc: UInt32 = 0xFFFF_FFFF
                var index = 0
                while index + 8 <= buffer.count {
                    let word = unsafe buffer.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    let low = UInt32(truncatingIfNeeded: word.littleEndian) ^ crc
                    let high = UInt32(truncatingIfNeeded: word.littleEndian >> 32)
                    crc =
                        unsafe table[1792 + Int(low & 0xFF)]
                        ^ table[1536 + Int(low >> 8 & 0xFF)]
                        ^ table[1280 + Int(low >> 16 & 0xFF)] ^ table[1024 + Int(low >> 24)]
                        ^ table[768 + Int(high & 0xFF)] ^ table[512 + Int(high >> 8 & 0xFF)]
                        ^ table[256 + Int(high >> 16 & 0xFF)] ^ table[Int(high >> 24)]
                    index += 8
                }
                while index < buffer.count {
                    crc = unsafe crc >> 8 ^ table[Int((crc ^ UInt32(buffer[index])) & 0xFF)]
                    index += 1
                }
                return crc ^ 0xFFFF_FFFF
            }
        }
    }
}
