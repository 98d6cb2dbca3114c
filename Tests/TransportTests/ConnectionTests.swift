// SPDX-License-Identifier: Apache-2.0
//
// Waiting, back-pressure, files, descriptors, draining, workers and timers.

import CLinux
import Glibc
import Mail
import Synchronization
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
    @Test func `wait tells input, wake, time and end apart`() throws {
        let results = Recorder<WaitResult>()
        let server = try TestServer { connection, context in
            results.add(await connection.wait(within: .milliseconds(50)))
            context.after(.milliseconds(20)) { connection.wake() }
            results.add(await connection.wait(within: .seconds(5)))
            connection.wake()
            results.add(await connection.wait(within: .seconds(5)))
            connection.write("go\n")
            results.add(await connection.wait(within: .seconds(5)))
            connection.consume(connection.buffered)
            results.add(await connection.wait(within: .seconds(5)))
        }
        let client = try server.connect()
        #expect(client.line() == "go\n")
        client.send("DONE\r\n")
        usleep(50_000)
        client.endSending()
        #expect(results.wait(5) == [.timedOut, .woken, .woken, .input, .closed])
    }

    @Test func `a peer that reads nothing stops the writer, and time ends it`() throws {
        let sent = Recorder<Int>()
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            let block = [UInt8](repeating: 0x58, count: 65_536)
            var total = 0
            do throws(ConnectionError) {
                while true {
                    connection.write(block)
                    try await connection.flush(within: .milliseconds(200))
                    total += block.count
                }
            } catch {
                sent.add(total)
                errors.add(error)
                connection.kill()
            }
        }
        let client = try server.connect()
        #expect(errors.wait(1) == [.timedOut])
        // What the kernel's buffers hold, and no more.
        #expect(sent.all.allSatisfy { $0 < 32 << 20 })
        withExtendedLifetime(client) {}
    }

    @Test func `a client that sends and never reads is not read from for ever`() throws {
        let served = Atomic(0)
        let server = try TestServer { connection, _ in
            let reply = [UInt8](repeating: 0x2B, count: 1000)
            do throws(ConnectionError) {
                while try await connection.readLine(limit: 100, end: .crlf, within: .seconds(2))
                    == .line
                {
                    connection.write(reply)
                    served.wrappingAdd(1, ordering: .relaxed)
                }
            } catch {
                connection.kill()
            }
        }
        let client = try server.connect()
        var time = timeval(tv_sec: 0, tv_usec: 300_000)
        setsockopt(
            client.descriptor, SOL_SOCKET, SO_SNDTIMEO, &time,
            socklen_t(MemoryLayout<timeval>.size))
        client.send([UInt8](String(repeating: "NOOP\r\n", count: 4_000_000).utf8))
        // 24 MB of commands would be 4 GB of replies.
        #expect(served.load(ordering: .relaxed) < 100_000)
    }

    @Test func `lines that are here already wait until replies are read`() throws {
        let served = Atomic(0)
        let server = try TestServer { connection, _ in
            let reply = [UInt8](repeating: 0x2B, count: 4_096)
            do throws(ConnectionError) {
                while try await connection.readLine(limit: 100, end: .crlf, within: .seconds(5))
                    == .line
                {
                    connection.write(reply)
                    served.wrappingAdd(1, ordering: .relaxed)
                }
            } catch {
                connection.kill()
            }
        }
        let client = try server.connect()
        // 30 KB, read at once, that ask for 40 MB.
        client.send(String(repeating: "x\r\n", count: 10_000))
        usleep(300_000)
        #expect(served.load(ordering: .relaxed) < 5_000)
        #expect(client.receive(10_000 * 4_096).count == 10_000 * 4_096)
    }

    @Test(arguments: [0, 1, 5000, 3_000_000])
    func `sendFile sends exactly the asked octets between what is written`(count: Int) throws {
        let path = temporaryPath("file")
        let content = (0..<(count + 100)).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 3) }
        let file = open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        defer { unlink(path) }
        var done = 0
        while done < content.count {
            done += content[done...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        }
        close(file)
        let server = try TestServer { connection, _ in
            let file = Descriptor(open(path, O_RDONLY))
            do throws(ConnectionError) {
                connection.write("head\n")
                try await connection.sendFile(file, offset: 50, count: count, within: .seconds(10))
                connection.write("tail\n")
            } catch {
                connection.write("\(error)")
            }
        }
        let answer = try server.connect().receive(.max)
        #expect(answer == [UInt8]("head\n".utf8) + content[50..<(50 + count)] + "tail\n".utf8)
    }

    @Test func `a file that is too short is an input error`() throws {
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            let file = Descriptor(open("/dev/null", O_RDONLY))
            do throws(ConnectionError) {
                try await connection.sendFile(file, offset: 0, count: 10, within: .seconds(1))
            } catch {
                errors.add(error)
            }
        }
        _ = try server.connect().rest()
        #expect(errors.wait(1).count == 1)
        #expect(errors.all.first != .timedOut)
    }

    @Test func `draining tells idle sessions and lets busy ones finish`() throws {
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                while true {
                    switch try await connection.readLine(
                        limit: 100, end: .crlf, within: .seconds(5))
                    {
                    case .line: connection.write("ok\n")
                    case .draining:
                        connection.write("bye \(connection.isDraining)\n")
                        return
                    default: return
                    }
                }
            } catch {}
        }
        let idle = try server.connect()
        let busy = try server.connect()
        idle.send("NOOP\r\n")
        busy.send("NOOP\r\nHALF")
        #expect(idle.line() == "ok\n")
        #expect(busy.line() == "ok\n")
        usleep(20_000)
        let drained = Recorder<Bool>()
        server.thread.submit { context in
            context.drain { drained.add(true) }
        }
        #expect(idle.line() == "bye true\n")
        #expect(drained.all.isEmpty)
        busy.send(" LINE\r\n")
        #expect(busy.line() == "ok\n")
        #expect(busy.line() == "bye true\n")
        #expect(drained.wait(1) == [true])
    }

    @Test func `kill ends a waiting session with killed`() throws {
        let errors = Recorder<ConnectionError>()
        let server = try TestServer { connection, _ in
            do throws(ConnectionError) {
                connection.write("hello\n")
                _ = try await connection.fill(within: .seconds(30))
            } catch {
                errors.add(error)
            }
        }
        let client = try server.connect()
        #expect(client.line() == "hello\n")
        server.thread.submit { $0.killConnections() }
        #expect(errors.wait(1) == [.killed])
        #expect(client.rest() == "")
    }

    @Test func `descriptors travel both ways with their frames, in order`() throws {
        let path = temporaryPath("sock")
        defer { unlink(path) }
        // Sends back, for each 4-octet frame, the frame and the descriptor that came with it.
        let server = try TestServer(path: path) { connection, _ in
            do throws(ConnectionError) {
                while true {
                    let frame = try await connection.readExactly(4, within: .seconds(5))
                    if frame[0] == 1 {
                        guard let received = connection.takeDescriptor() else {
                            return connection.write("none")
                        }
                        connection.write(frame, attaching: received)
                    } else {
                        connection.write(frame)
                    }
                    connection.flushSoon()
                }
            } catch {}
        }
        defer { withExtendedLifetime(server) {} }
        let results = Recorder<String>()
        let client = try TestServer { _, _ in }
        client.thread.submit { context in
            context.spawn {
                do throws(ConnectionError) {
                    let connection = try await context.connect(unix: path)
                    defer { connection.close() }
                    for number in 0..<50 {
                        if number % 3 == 0 {
                            connection.write([0, 0, 0, UInt8(number)])
                            continue
                        }
                        var ends: [Int32] = [0, 0]
                        _ = pipe2(&ends, O_CLOEXEC)
                        var octet = UInt8(number)
                        _ = write(ends[1], &octet, 1)
                        close(ends[1])
                        connection.write(
                            [1, 0, 0, UInt8(number)], attaching: Descriptor(ends[0]))
                    }
                    connection.flushSoon()
                    for number in 0..<50 {
                        let frame = try await connection.readExactly(4, within: .seconds(5))
                        guard frame[3] == number else { return results.add("order \(frame)") }
                        guard frame[0] == 1 else { continue }
                        guard let back = connection.takeDescriptor() else {
                            return results.add("no descriptor at \(number)")
                        }
                        var octet: UInt8 = 0
                        let count = read(back.rawValue, &octet, 1)
                        guard count == 1, octet == number else {
                            return results.add("wrong file at \(number)")
                        }
                    }
                    results.add("good")
                } catch {
                    results.add("\(error)")
                }
            }
        }
        #expect(results.wait(1) == ["good"])
    }

    @Test func `two descriptors in one message end the connection and are closed`() throws {
        let path = temporaryPath("sock")
        defer { unlink(path) }
        let errors = Recorder<ConnectionError>()
        let server = try TestServer(path: path) { connection, _ in
            do throws(ConnectionError) {
                _ = try await connection.readExactly(4, within: .seconds(5))
            } catch {
                errors.add(error)
            }
        }
        let client = try server.connect()
        var ends: [Int32] = [0, 0]
        #expect(pipe2(&ends, O_CLOEXEC) == 0)
        sendTwoDescriptors(client.descriptor, ends[1], ends[1])
        close(ends[1])
        #expect(errors.wait(1) == [.system(EPROTO)])
        // Every copy of the writing end is closed, so the reading end sees the end of file.
        var octet: UInt8 = 0
        #expect(read(ends[0], &octet, 1) == 0)
        close(ends[0])
    }

    /// Lays the control message out by hand, as CMSG_DATA would (64-bit Linux).
    private func sendTwoDescriptors(_ socket: Int32, _ first: Int32, _ second: Int32) {
        var control = [UInt8](repeating: 0, count: 24)
        control.withUnsafeMutableBytes { room in
            room.storeBytes(of: 24, as: Int.self)
            room.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: Int32.self)
            room.storeBytes(of: 1, toByteOffset: 12, as: Int32.self)  // SCM_RIGHTS
            room.storeBytes(of: first, toByteOffset: 16, as: Int32.self)
            room.storeBytes(of: second, toByteOffset: 20, as: Int32.self)
            var octets: [UInt8] = [1, 2, 3, 4]
            octets.withUnsafeMutableBytes { octets in
                var vector = iovec(iov_base: octets.baseAddress, iov_len: 4)
                withUnsafeMutablePointer(to: &vector) { vector in
                    var message = msghdr()
                    message.msg_iov = vector
                    message.msg_iovlen = 1
                    message.msg_control = room.baseAddress
                    message.msg_controllen = 24
                    #expect(sendmsg(socket, &message, 0) == 4)
                }
            }
        }
    }

    @Test func `more descriptors than anybody takes end the connection`() throws {
        let path = temporaryPath("sock")
        defer { unlink(path) }
        let errors = Recorder<ConnectionError>()
        let server = try TestServer(path: path) { connection, _ in
            do throws(ConnectionError) {
                _ = try await connection.readExactly(1000, within: .seconds(5))
            } catch {
                errors.add(error)
            }
        }
        let client = try server.connect()
        let file = open("/dev/null", O_RDONLY)
        for _ in 0..<100 { _ = martlet_send_descriptor(client.descriptor, "x", 1, file) }
        close(file)
        #expect(errors.wait(1) == [.system(EMFILE)])
    }

    @Test func `workers keep the order of a lane and resume on the loop`() throws {
        let order = Recorder<Int>()
        let done = Recorder<Bool>()
        let server = try TestServer { _, _ in }
        server.thread.submit { context in
            for number in 0..<200 {
                context.spawn {
                    let value = await context.workers.run(lane: 7) {
                        order.add(number)
                        return number * 2
                    }
                    if value != number * 2 { done.add(false) }
                    if number == 199 { done.add(true) }
                }
            }
        }
        #expect(done.wait(1) == [true])
        #expect(order.all == Array(0..<200))
    }

    @Test func `what a timer does may arm timers`() throws {
        let server = try TestServer { _, _ in }
        let ticks = Recorder<Int>()
        server.thread.submit { context in
            context.after(.milliseconds(5)) {
                ticks.add(1)
                context.after(.milliseconds(5)) { ticks.add(2) }
            }
        }
        #expect(ticks.wait(2) == [1, 2])
    }

    @Test func `of two tasks that flush to a deaf peer each gives up at its own time`() throws {
        let ends = Recorder<String>()
        let server = try TestServer { connection, context in
            connection.write([UInt8](repeating: 0x78, count: 32 << 20))
            for milliseconds in [300, 100] {
                context.spawn {
                    do throws(ConnectionError) {
                        try await connection.flush(within: .milliseconds(milliseconds))
                        ends.add("\(milliseconds) sent")
                    } catch {
                        ends.add("\(milliseconds) \(error)")
                    }
                }
            }
            await context.sleep(.milliseconds(500))
            connection.kill()
        }
        let client = try server.connect()
        #expect(ends.wait(2) == ["100 timed out", "300 timed out"])
        withExtendedLifetime(client) {}
    }

    @Test func `sleeps end in the order of their length`() throws {
        let order = Recorder<Int>()
        let server = try TestServer { _, _ in }
        server.thread.submit { context in
            for number in [5, 1, 4, 2, 3] {
                context.spawn {
                    let start = context.now
                    await context.sleep(.milliseconds(number * 20))
                    order.add(context.now - start >= .milliseconds(number * 20) ? number : -1)
                }
            }
        }
        #expect(order.wait(5) == [1, 2, 3, 4, 5])
    }

    @Test(arguments: [Duration.milliseconds(-1), .seconds(-5), .zero])
    func `a time that has passed is timedOut at once`(within: Duration) throws {
        let results = Recorder<WaitResult>()
        let server = try TestServer { connection, _ in
            results.add(await connection.wait(within: within))
        }
        _ = try server.connect().rest()
        #expect(results.wait(1) == [.timedOut])
    }

    @Test func `for ever is not now`() throws {
        let results = Recorder<WaitResult>()
        let server = try TestServer { connection, _ in
            results.add(await connection.wait(within: .seconds(Int64.max)))
        }
        let client = try server.connect()
        usleep(20_000)
        client.send("x")
        #expect(results.wait(1) == [.input])
    }

    @Test func `trace ids of one loop differ and sort by time`() throws {
        let ids = Recorder<String>()
        let server = try TestServer { _, _ in }
        server.thread.submit { context in
            for _ in 0..<1000 { ids.add(context.nextTraceID().description) }
        }
        #expect(Set(ids.wait(1000)).count == 1000)
    }

    @Test func `a stale Unix socket is replaced, a live one is not`() throws {
        let path = temporaryPath("sock")
        defer { unlink(path) }
        do {
            _ = try ListenerSocket.bind(unix: path, name: "first")
        }
        let second = try ListenerSocket.bind(unix: path, name: "second")
        #expect(throws: ConnectionError.system(EADDRINUSE)) {
            try ListenerSocket.bind(unix: path, name: "third")
        }
        withExtendedLifetime(second) {}
    }
}
