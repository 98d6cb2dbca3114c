// SPDX-License-Identifier: Apache-2.0
//
// The line reader: limits, line ends, splits, pipelining.

import Bytes
import Glibc
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct LineTests {
    /// Answers every result of readLine with one line.
    private func lineServer(limit: Int, end: LineEnd) throws -> TestServer {
        try TestServer { connection, _ in
            do throws(ConnectionError) {
                while true {
                    let result = try await connection.readLine(
                        limit: limit, end: end, within: .seconds(5))
                    switch result {
                    case .line:
                        connection.write("[")
                        connection.withLine { connection.write(copying: $0) }
                        connection.write("]\n")
                    case .tooLong: connection.write("long\n")
                    case .bareLineFeed: connection.write("bare\n")
                    case .closed: return connection.write("closed\n")
                    case .draining: return connection.write("draining\n")
                    }
                }
            } catch {
                connection.write("error\n")
            }
        }
    }

    private func answers(_ input: String, limit: Int = 10, end: LineEnd = .crlf) throws -> String {
        let server = try lineServer(limit: limit, end: end)
        let client = try server.connect()
        client.send(input)
        client.endSending()
        return client.rest()
    }

    @Test(arguments: [
        ("a\r\nb\r\n", "[a]\n[b]\nclosed\n"),
        ("\r\n", "[]\nclosed\n"),
        ("", "closed\n"),
        ("half", "closed\n"),
        ("1234567890\r\n", "[1234567890]\nclosed\n"),
        ("12345678901\r\nx\r\n", "long\n[x]\nclosed\n"),
        ("123456789012345678901234567890\r\nx\r\n", "long\n[x]\nclosed\n"),
        ("a\nb\r\n", "bare\n[b]\nclosed\n"),
        ("\n\n", "bare\nbare\nclosed\n"),
        ("a\rb\r\n", "[a\rb]\nclosed\n"),
        ("a\r\r\n", "[a\r]\nclosed\n"),
        // A bare LF does not end a line that is being discarded: what follows is not a command.
        ("123456789012345\nQUIT\r\nx\r\n", "long\n[x]\nclosed\n"),
    ])
    func `only CRLF ends a line of SMTP`(input: String, expected: String) throws {
        #expect(try answers(input) == expected)
    }

    @Test(arguments: [
        ("a\nb\r\n", "[a]\n[b]\nclosed\n"),
        ("12345678901\nx\n", "long\n[x]\nclosed\n"),
        ("123456789012345678901\nx\n", "long\n[x]\nclosed\n"),
        ("1234567890\r\n", "[1234567890]\nclosed\n"),
    ])
    func `a bare LF ends a line of IMAP and POP3`(input: String, expected: String) throws {
        #expect(try answers(input, end: .crlfOrLF) == expected)
    }

    @Test func `every split of the input gives the same lines`() throws {
        let input = "ab\r\nc\rd\r\n\r\n123456789012345\r\nz\r\n"
        let expected = "[ab]\n[c\rd]\n[]\nlong\n[z]\nclosed\n"
        let server = try lineServer(limit: 10, end: .crlf)
        for cut in 0...input.utf8.count {
            let client = try server.connect()
            let octets = [UInt8](input.utf8)
            client.send(Array(octets[..<cut]))
            // Answers to what is complete come before the rest is sent, so the cut is real.
            client.send(Array(octets[cut...]))
            client.endSending()
            #expect(client.rest() == expected, "cut at \(cut)")
        }
        let client = try server.connect()
        client.sendSlowly(input)
        client.endSending()
        #expect(client.rest() == expected)
    }

    @Test func `a line of ten megabytes is discarded in bounded memory`() throws {
        let peak = Recorder<Int>()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                let result = try await connection.readLine(
                    limit: 510, end: .crlf, within: .seconds(5))
                peak.add(connection.buffered)
                connection.write(result == .tooLong ? "long\n" : "wrong\n")
                let next = try await connection.readLine(
                    limit: 510, end: .crlf, within: .seconds(5))
                connection.write(next == .line ? "line\n" : "wrong\n")
            } catch {
                connection.write("error\n")
            }
        }
        let client = try server.connect()
        client.send([UInt8](repeating: 0x41, count: 10 << 20))
        client.send("\r\nNOOP\r\n")
        client.endSending()
        #expect(client.rest() == "long\nline\n")
        #expect(peak.all.allSatisfy { $0 <= 65_536 })
    }

    @Test func `lines longer than 64 KiB are read when the limit allows`() throws {
        let server = try lineServer(limit: 200_000, end: .crlf)
        let client = try server.connect()
        let long = [UInt8](repeating: 0x42, count: 200_000)
        client.send(long + [0x0D, 0x0A] + long + [0x42, 0x0D, 0x0A])
        client.endSending()
        let answer = client.rest()
        #expect(answer == "[" + String(decoding: long, as: UTF8.self) + "]\nlong\nclosed\n")
    }

    @Test func `a thousand pipelined lines are answered in order`() throws {
        let server = try lineServer(limit: 100, end: .crlf)
        let client = try server.connect()
        client.send((0..<1000).map { "line \($0)\r\n" }.joined())
        client.endSending()
        #expect(client.rest() == (0..<1000).map { "[line \($0)]\n" }.joined() + "closed\n")
    }

    @Test func `a line that does not come in time is timedOut`() throws {
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                _ = try await connection.readLine(
                    limit: 100, end: .crlf, within: .milliseconds(150))
            } catch {
                errors.add(error)
            }
        }
        let client = try server.connect()
        // Octets keep coming, the line does not: the time is for the whole line.
        for _ in 0..<8 {
            client.send("x")
            usleep(30_000)
        }
        #expect(errors.wait(1) == [.timedOut])
        #expect(client.rest() == "")
    }

    @Test func `readExactly and readLine share one buffer`() throws {
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                _ = try await connection.readLine(limit: 100, end: .crlf, within: .seconds(5))
                let literal = try await connection.readExactly(300_000, within: .seconds(5))
                connection.write("\(literal.count) \(Set(literal))\n")
                guard
                    try await connection.readLine(limit: 100, end: .crlf, within: .seconds(5))
                        == .line
                else { return }
                connection.withLine { connection.write(copying: $0) }
                _ = try await connection.readExactly(10, within: .seconds(5))
                connection.write("wrong")
            } catch {
                connection.write("\(error)\n")
            }
        }
        let client = try server.connect()
        client.send("A {300000}\r\n")
        client.send([UInt8](repeating: 7, count: 300_000))
        client.send("tail\r\nabc")
        client.endSending()
        #expect(client.rest() == "300000 [7]\ntailclosed\n")
    }
}

extension Connection {
    /// For tests: text made at run time.
    func write(_ text: String) { write([UInt8](text.utf8)) }
}
