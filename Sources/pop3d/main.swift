// SPDX-License-Identifier: Apache-2.0
//
// pop3d: gives mail to POP3 clients (RFC 1939). Everything it does is in POP3Server.

import Daemon
import POP3Server

run(.pop3d)
