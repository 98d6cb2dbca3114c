// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry: any octets as a stored password of another program. Only what is cheap is also
// verified.

import Bytes
import Crypto

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: pointer, count: count))
    guard let stored = StoredPassword(input) else { return 0 }
    switch stored {
    case .digest, .cram, .plain: _ = try? stored.verify(Array("password".utf8))
    case .phc, .crypt, .scram, .pbkdf2: _ = stored.isWeak
    }
    return 0
}
