// SPDX-License-Identifier: Apache-2.0
//
// authd-ldap: checks passwords in LDAP for msgstored. Everything it does is in LDAPHelper.

import Daemon
import LDAPHelper

run(.authdLDAP)
