// SPDX-License-Identifier: Apache-2.0
//
// From the command line to the last connection.

package func run(_ program: Program) -> Never { fatalError(program.name) }
