// SPDX-License-Identifier: Apache-2.0
//
// imapd: IMAP for mail clients. Arguments, sockets and signals are Daemon's, the protocol is
// IMAPServer's.

import Daemon
import IMAPServer

run(.imapd())
