// SPDX-License-Identifier: Apache-2.0
//
// The version of the suite, in one place.

package enum Martlet {
    package static let version = "0.1.0"
}
