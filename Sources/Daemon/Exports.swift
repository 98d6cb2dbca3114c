// SPDX-License-Identifier: Apache-2.0
//
// A daemon is a process around what serves its connections, which other programs can have too.

@_exported import Serving
