// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry: any octets as JSON, as a set of keys, as a token and as its claims.

import Bytes
import Tokens

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: pointer, count: count))
    let rules = TokenRules(issuer: "i", audience: "a", scope: "s", userClaim: "email")
    if let json = try? JSON(input) {
        for isAnswer in [true, false] {
            guard let user = try? rules.user(json, now: 1_000, isAnswer: isAnswer) else { continue }
            precondition(!user.isEmpty && user.count <= 320)
        }
    }
    let parts = input.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    let keys = KeySet(Array(parts[0])) ?? KeySet()
    guard let last = parts.last, let token = SignedToken(Array(last)) else { return 0 }
    let candidates = keys.candidates(token)
    precondition(candidates.allSatisfy { $0.algorithm == token.algorithm })
    _ = token.isSigned(by: candidates)
    return 0
}
