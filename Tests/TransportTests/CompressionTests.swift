// SPDX-License-Identifier: Apache-2.0
//
// DEFLATE on a connection: whatever is written and read, in whatever pieces, also after rests; and
// what is not DEFLATE. RFC 4978.

import CZlib
import Glibc
import Testing
import Transport

/// The client's side, with windows of 32 KiB.
private final class Peer {
    let client: Client
    private var deflater = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    private var inflater = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)

    init(_ client: Client) {
        self.client = client
        deflater.initialize(to: z_stream())
        inflater.initialize(to: z_stream())
        #expect(martlet_deflate_begin(deflater, 9, 15, 9) == Z_OK)
        #expect(martlet_inflate_begin(inflater) == Z_OK)
    }

    deinit {
        deflateEnd(deflater)
        inflateEnd(inflater)
        deflater.deallocate()
        inflater.deallocate()
    }

    func packed(_ text: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: text.count + 1_024)
        var input = text
        let size = output.count
        input.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                deflater.pointee.next_in = input.baseAddress
                deflater.pointee.avail_in = uInt(input.count)
                deflater.pointee.next_out = output.baseAddress
                deflater.pointee.avail_out = uInt(output.count)
                #expect(deflate(deflater, Z_SYNC_FLUSH) == Z_OK)
            }
        }
        output.removeLast(Int(deflater.pointee.avail_out))
        #expect(output.count < size)
        return output
    }

    func send(_ text: [UInt8]) { client.send(packed(text)) }

    /// Reads until so many octets are there.
    func read(_ count: Int) -> (octets: [UInt8], compressed: Int) {
        var result: [UInt8] = []
        var compressed = 0
        while result.count < count {
            var input = client.readSome()
            guard !input.isEmpty else { break }
            compressed += input.count
            input.withUnsafeMutableBufferPointer { input in
                inflater.pointee.next_in = input.baseAddress
                inflater.pointee.avail_in = uInt(input.count)
                repeat {
                    var output = [UInt8](repeating: 0, count: 65_536)
                    output.withUnsafeMutableBufferPointer { output in
                        inflater.pointee.next_out = output.baseAddress
                        inflater.pointee.avail_out = uInt(output.count)
                        let status = inflate(inflater, Z_SYNC_FLUSH)
                        #expect(status == Z_OK || status == Z_BUF_ERROR)
                    }
                    result += output.dropLast(Int(inflater.pointee.avail_out))
                } while inflater.pointee.avail_out == 0
            }
        }
        return (result, compressed)
    }
}

/// Turns compression on, then sends every line back twice; `big` sends much.
private func echoing() throws -> TestServer {
    try TestServer { connection, _ in
        do throws(ConnectionError) {
            connection.write("ready\r\n")
            try await connection.flush(within: .seconds(5))
            try connection.startCompression()
            while case .line = try await connection.readLine(
                limit: 1 << 20, end: .crlf, within: .seconds(5))
            {
                let line = connection.withLine { octets in
                    octets.withUnsafeBufferPointer { Array($0) }
                }
                if line == Array("big".utf8) {
                    for _ in 0..<64 {
                        connection.write([UInt8](repeating: 0x61, count: 100_000))
                        connection.write("\r\n")
                    }
                }
                connection.write(line)
                connection.write(line)
                connection.write("\r\n")
            }
            try await connection.flush(within: .seconds(5))
        } catch {
            connection.kill()
        }
    }
}

@Suite("COMPRESS")
struct CompressionTests {
    private func start() throws -> (TestServer, Peer) {
        let server = try echoing()
        let client = try server.connect()
        var greeting: [UInt8] = []
        while greeting.count < 7 { greeting += client.readSome() }
        #expect(greeting == Array("ready\r\n".utf8))
        return (server, Peer(client))
    }

    @Test func `lines go both ways, also after rests`() throws {
        let (server, peer) = try start()
        defer { withExtendedLifetime(server) {} }
        for number in 0..<50 {
            // The client refers back to what it sent before the server rested
            let line = Array("line number \(number) of many that are nearly the same".utf8)
            peer.send(line + [13, 10])
            #expect(peer.read(2 * line.count + 2).octets == line + line + [13, 10])
            if number % 20 == 0 { usleep(50_000) }
        }
    }

    @Test func `pieces of any size are put together`() throws {
        let (server, peer) = try start()
        defer { withExtendedLifetime(server) {} }
        var state: UInt64 = 9
        let long = (0..<200_000).map { _ -> UInt8 in
            state = state &* 6_364_136_223_846_793_005 &+ 1
            return UInt8(0x30 + (state >> 60))
        }
        let packed = peer.packed(long + [13, 10] + Array("x\r\n".utf8))
        for start in stride(from: 0, to: packed.count, by: 999) {
            peer.client.send(Array(packed[start..<min(start + 999, packed.count)]))
        }
        let answer = peer.read(2 * long.count + 6).octets
        #expect(answer == long + long + [13, 10] + Array("xx\r\n".utf8))
    }

    @Test func `much of the same is small on the way, and a bomb is only what it makes`() throws {
        let (server, peer) = try start()
        defer { withExtendedLifetime(server) {} }
        peer.send(Array("big\r\n".utf8))
        let (octets, compressed) = peer.read(64 * 100_002 + 8)
        #expect(octets.count == 64 * 100_002 + 8 && compressed < octets.count / 50)
        // A line of 8 MB is refused, and the connection goes on
        peer.send([UInt8](repeating: 0x61, count: 8 << 20) + [13, 10])
        #expect(peer.client.readSome().isEmpty)
    }

    @Test func `what is not DEFLATE ends the connection`() throws {
        let (server, peer) = try start()
        defer { withExtendedLifetime(server) {} }
        peer.client.send(Array("a NOOP\r\n".utf8))
        #expect(peer.client.readSome().isEmpty)
    }
}

extension Client {
    /// What is there; empty at the end or after five seconds.
    fileprivate func readSome() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 65_536) { room, count in
            count = max(0, recv(descriptor, room.baseAddress, 65_536, 0))
        }
    }
}
