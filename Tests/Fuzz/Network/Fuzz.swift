// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer entry: any octets as a PROXY header, as an address and as a block.

import Bytes
import Network

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ pointer: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: pointer, count: count))
    if let (header, used) = try? ProxyHeader.parse(input.span) {
        precondition(used <= input.count)
        // What follows a header never changes it.
        let again = try? ProxyHeader.parse((Array(input[..<used]) + [0x41]).span)
        precondition(again?.header == header && again?.count == used)
        if let client = header.client {
            precondition(IPAddress(client.address.text) == client.address)
        }
    }
    if let address = IPAddress(input) {
        precondition(IPAddress(address.text) == address, "an address has one canonical form")
    }
    if let text = String(validating: input, as: UTF8.self), let block = AddressBlock(text) {
        precondition(block.contains(block.prefix))
    }
    return 0
}
