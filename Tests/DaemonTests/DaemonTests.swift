// SPDX-License-Identifier: Apache-2.0
//
// Command lines, configuration files, request lines and the change of sockets on a reload.

import Bytes
import Config
import Glibc
import Network
import Testing
import Transport

@testable import Daemon
@testable import Serving

struct DaemonTests {
    @Test(
        arguments: [
            ([], .serve, nil),
            (["-t"], .check, nil),
            (["--foreground", "--config", "/a"], .serve, "/a"),
            (["-config", "/a", "-t"], .check, "/a"),
            (["--config=/a"], .serve, "/a"),
            (["-config=/a"], .serve, "/a"),
            (["--version"], .version, nil),
            (["--config"], .wrong("--config needs a file name"), nil),
            (["--daemon"], .wrong("unknown argument --daemon"), nil),
        ] as [([String], Arguments.Action, String?)])
    func `command lines`(words: [String], action: Arguments.Action, path: String?) {
        let arguments = Arguments(words, environment: [:])
        #expect(arguments.action == action)
        #expect(arguments.path == path)
    }

    @Test func `the command line wins over MARTLET_CONFIG`() {
        let environment = ["MARTLET_CONFIG": "/env"]
        #expect(Arguments([], environment: environment).path == "/env")
        #expect(Arguments(["--config", "/a"], environment: environment).path == "/a")
    }

    @Test func `refused connections are logged up to a number, then counted`() {
        let log = RefusalLog()
        #expect((0..<RefusalLog.limit).allSatisfy { _ in log.admits() })
        for _ in 0..<1_000 { #expect(!log.admits()) }
        #expect(log.endPeriod() == 1_000)
        #expect(log.admits())
        #expect(log.endPeriod() == 0)
    }

    @Test func `fragments follow the file in the order of their names`() throws {
        let base = "/tmp/martlet-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).toml"
        let names = [base, base + ".d/20-b.toml", base + ".d/10-a.toml", base + ".d/ignored.txt"]
        mkdir(base + ".d", 0o700)
        for name in names {
            let file = open(name, O_WRONLY | O_CREAT, 0o600)
            write(file, "#" + name, name.utf8.count + 1)
            close(file)
        }
        defer {
            for name in names { unlink(name) }
            rmdir(base + ".d")
        }
        let files = try Sources.files(base)
        #expect(files.map(\.path) == [names[0], names[2], names[1]])
        #expect(files[0].octets == [UInt8]("#\(base)".utf8))
        unlink(base)
        #expect(throws: Sources.Unreadable.self) { try Sources.files(base) }
    }

    @Test(
        arguments: [
            ("GET /metrics HTTP/1.1", .get(path: [UInt8]("/metrics".utf8))),
            ("GET /health?x=1 HTTP/1.0", .get(path: [UInt8]("/health".utf8))),
            ("POST /metrics HTTP/1.1", .otherMethod),
            ("HEAD / HTTP/1.1", .otherMethod),
            ("GET metrics HTTP/1.1", .malformed),
            ("GET /metrics", .malformed),
            ("GET /metrics HTTP/2", .malformed),
            ("GET /a b HTTP/1.1", .malformed),
            ("GET  /a HTTP/1.1", .malformed),
            ("GET /a HTTP/1.1 ", .malformed),
            ("", .malformed),
        ] as [(String, Supervisor.Request)])
    func `request lines`(line: String, expected: Supervisor.Request) {
        #expect(Supervisor.parse([UInt8](line.utf8).span) == expected)
    }

    private func listener(_ name: String, _ address: ListenAddress) -> ListenerSettings {
        ListenerSettings(name: name, address: address, mode: "smtp")
    }

    @Test func `a reload keeps, opens and closes sockets by name and address`() throws {
        var sockets = Sockets(passed: nil)
        let one = listener("one", .tcp(host: "127.0.0.1", port: 0))
        let path = "/tmp/martlet-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        let two = listener("two", .unix(path: path))
        let first = try sockets.change(to: [one], runDirectory: "/tmp")
        #expect(first.added.map(\.name) == ["one"])
        let second = try sockets.change(to: [one, two], runDirectory: "/tmp")
        #expect(second.added.map(\.name) == ["two"])
        #expect(second.removed.isEmpty)
        #expect(access(path, F_OK) == 0)
        let third = try sockets.change(to: [two], runDirectory: "/tmp")
        #expect(third.added.isEmpty)
        #expect(third.removed.map(\.name) == ["one"])
    }

    @Test func `a listener that cannot be opened changes nothing`() throws {
        var sockets = Sockets(passed: nil)
        let one = listener("one", .tcp(host: "127.0.0.1", port: 0))
        _ = try sockets.change(to: [one], runDirectory: "/tmp")
        let bad = listener("bad", .unix(path: "/nowhere/at/all.sock"))
        #expect(throws: Sockets.Failure.self) {
            try sockets.change(to: [bad], runDirectory: "/tmp")
        }
        #expect(Array(sockets.open.keys.map(\.name)) == ["one"])
    }

    @Test func `with systemd only passed sockets are used`() throws {
        let passed = try ListenerSocket.bind(host: "127.0.0.1", port: 0, name: "one")
        var sockets = Sockets(passed: ["one": passed])
        let one = listener("one", .tcp(host: "127.0.0.1", port: 1))
        let two = listener("two", .tcp(host: "127.0.0.1", port: 0))
        let first = try sockets.change(to: [one, two], runDirectory: "/tmp")
        #expect(first.added.map(\.name) == ["one"])
        // Another address for a passed socket is systemd's business: it stays open.
        let moved = listener("one", .tcp(host: "127.0.0.1", port: 2))
        let second = try sockets.change(to: [moved], runDirectory: "/tmp")
        #expect(second.added.isEmpty)
        #expect(second.removed.isEmpty)
    }

    @Test func `a listener may move within its port while the old socket is open`() throws {
        let free = try #require(ListenerSocket.bind(host: "127.0.0.1", port: 0, name: "x").first)
        let port = free.localPort
        // Not the free one any more: it is closed when this function is done with it.
        _ = consume free
        var sockets = Sockets(passed: nil)
        let first = try sockets.change(
            to: [listener("one", .tcp(host: "127.0.0.1", port: port))], runDirectory: "/tmp")
        let second = try sockets.change(
            to: [listener("one", .tcp(host: "", port: port))], runDirectory: "/tmp")
        #expect(second.added.count == 1)
        #expect(second.removed.count == 1 && second.removed.first === first.added.first)
        // Another process, or another suite in this one, may not.
        var others = Sockets(passed: nil)
        #expect(throws: Sockets.Failure.self) {
            try others.change(
                to: [listener("one", .tcp(host: "127.0.0.1", port: port))], runDirectory: "/tmp")
        }
    }

    @Test func `nothing is left in the census when everybody has gone`() {
        let census = Census()
        let limits = CensusLimits(all: 1_000, address: 3, network: 5)
        let all = (0..<1_000).compactMap { IPAddress("192.0.\($0 % 7).\($0 % 11)") }
        var inside: [IPAddress] = []
        for address in all where census.enter("smtp", address, limits, now: 0) == nil {
            inside.append(address)
        }
        #expect(inside.count == 35)
        for address in inside { census.leave("smtp", address) }
        #expect(census.addressCounts == 0)
        #expect(census.enter("smtp", nil, CensusLimits(all: 1), now: 0) == nil)
        #expect(census.enter("smtp", nil, CensusLimits(all: 1), now: 0) == .clients)
    }
}
