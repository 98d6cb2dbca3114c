// SPDX-License-Identifier: Apache-2.0
//
// msgstored: keeps the mail. Everything is in StoreServer.

import Daemon
import StoreServer

Daemon.run(StoreService.program())
