// SPDX-License-Identifier: Apache-2.0
//
// smtpd: receives mail, from other servers and from the people of this one.

import Daemon
import SMTPServer

run(.smtpd())
