// SPDX-License-Identifier: Apache-2.0
//
// Finding the parts of a message in one pass over its lines. RFC 2046 §5.

import Bytes

extension MessageStructure {
    package init(_ message: Span<UInt8>, in range: Range<Int>, limits: Limits) {
        parts = []
    }
}
