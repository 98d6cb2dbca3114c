// SPDX-License-Identifier: Apache-2.0
//
// Random octets that nobody can guess, from the kernel. getrandom(2).

/// Octets from the system's cryptographic generator.
package enum RandomOctets {
    /// `count` fresh octets.
    ///
    /// `SystemRandomNumberGenerator` is getrandom(2) on Linux, and ends the process rather than
    /// give weak numbers.
    package static func make(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        var octets: [UInt8] = []
        octets.reserveCapacity(count)
        while octets.count < count {
            var word = generator.next()
            for _ in 0..<min(8, count - octets.count) {
                octets.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        return octets
    }
}
