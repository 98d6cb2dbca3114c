// SPDX-License-Identifier: Apache-2.0
//
// authd-oauth: checks tokens for msgstored. Everything it does is in OAuthHelper.

import Daemon
import OAuthHelper

run(.authdOAuth)
