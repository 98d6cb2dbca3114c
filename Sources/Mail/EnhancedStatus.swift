// SPDX-License-Identifier: Apache-2.0
//
// Enhanced mail system status codes, RFC 3463.

/// `class.subject.detail`.
package struct EnhancedStatus: Hashable, Sendable, CustomStringConvertible {
    package let kind: UInt8
    package let subject: UInt16
    package let detail: UInt16

    package init(_ kind: UInt8, _ subject: UInt16, _ detail: UInt16) {
        self.kind = kind
        self.subject = subject
        self.detail = detail
    }

    package var description: String { "\(kind).\(subject).\(detail)" }
}
