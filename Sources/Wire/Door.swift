// SPDX-License-Identifier: Apache-2.0
//
// The four doors of msgstored: one Unix socket per right. Which requests a door lets through is
// decided here and nowhere else.

/// A right, and the socket that gives it.
package enum Door: UInt8, CaseIterable, Sendable {
    /// smtpd: ask about a recipient, authenticate a submitter, deliver.
    case deliver = 1
    /// imapd, pop3d: authenticate, then act on that account only.
    case mailbox = 2
    /// relayd: lease jobs, report results.
    case queue = 3
    /// mailctl: accounts, domains, status, and everything on the mail of any account.
    case control = 4

    /// File name under `run_dir`, and the name under which systemd passes the socket.
    package var socketName: String {
        switch self {
        case .deliver: "deliver.sock"
        case .mailbox: "mailbox.sock"
        case .queue: "queue.sock"
        case .control: "control.sock"
        }
    }

    /// FileDescriptorName= of the socket unit.
    package var passedName: String {
        switch self {
        case .deliver: "msgstored-deliver"
        case .mailbox: "msgstored-mailbox"
        case .queue: "msgstored-queue"
        case .control: "msgstored-control"
        }
    }
}
