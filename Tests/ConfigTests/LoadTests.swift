// SPDX-License-Identifier: Apache-2.0
//
// Files that load: defaults, values in every notation, spellings of other programs, fragments.

import Config
import Testing

@Suite struct `Loading` {
    @Test func `nothing at all gives the defaults`() throws {
        let suite = try #require(load("").suite)
        var expected = Config.Suite()
        for path in [\Config.Suite.smtpd.tls, \.imapd.tls, \.pop3d.tls] {
            expected[keyPath: path] = expected.server.tls
        }
        #expect(suite == expected)
        #expect(suite.smtpd.listeners.map(\.name) == ["smtp", "submission", "smtps"])
        #expect(suite.smtpd.maxMessageSize == 26_214_400)
        #expect(suite.smtpd.metrics.address == .tcp(host: "127.0.0.1", port: 9100))
    }

    @Test func `the smallest file is enough`() throws {
        let result = load(smallest)
        #expect(result.diagnostics.isEmpty)
        let suite = try #require(result.suite)
        #expect(suite.smtpd.hostname == "mail.example.com")
        #expect(suite.server.hostname == "mail.example.com")
        #expect(suite.domains == ["example.com"])
    }

    @Test func `domains in any script have one spelling`() throws {
        let result = load(
            smallest + "[[domains]]\nname = 'B\u{dc}cher.example'\n",
            ["MAIL_HOSTNAME": "m\u{e4}il.example"])
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.domains == ["example.com", "xn--bcher-kva.example"])
        #expect(suite.smtpd.hostname == "xn--mil-qla.example")
        for wrong in ["a\u{ff0f}b.example", "\u{200d}.example", "a_b.example"] {
            #expect(load(smallest + "[[domains]]\nname = '\(wrong)'\n").suite == nil)
        }
    }

    @Test func `the file of the smtpd seed loads`() throws {
        let result = load(
            """
            [smtpd]
            hostname = "mail.example.com"
            max_message_size = 26214400  # 25 MB
            max_recipients = 100

            [smtpd.listeners]
              [smtpd.listeners.smtp]
              address = ":25"
              mode = "smtp"

              [smtpd.listeners.submission]
              address = ":587"
              mode = "submission"

              [smtpd.listeners.smtps]
              address = ":465"
              mode = "smtps"

            [smtpd.tls]
            cert_file = "/etc/smtpd/certs/mail.crt"
            key_file = "/etc/smtpd/certs/mail.key"
            min_version = "TLS1.2"

            [pop3d]
            # pop3d-specific settings (separate daemon)

            [imapd]
            # imapd-specific settings (separate daemon)

            [msgstore]
            # shared message storage settings
            """)
        #expect(messages(result) == ["warning: `msgstore` is read as [msgstored]"])
        let suite = try #require(result.suite)
        #expect(suite.smtpd.tls.certificateFile == "/etc/smtpd/certs/mail.crt")
        #expect(suite.imapd.tls.certificateFile == "/etc/martlet/tls/fullchain.pem")
    }

    @Test(arguments: [
        ("26214400", 26_214_400), ("\"25 MB\"", 25_000_000), ("\"25 MiB\"", 26_214_400),
        ("\"25mb\"", 25_000_000), ("\"1GiB\"", 1 << 30), ("\"65536\"", 65_536),
        ("\"64 KiB\"", 65_536), ("\"100 KB\"", 100_000),
    ])
    func `sizes are octets, powers of ten or powers of two`(_ text: String, _ octets: Int) {
        let result = load("[smtpd]\nmax_message_size = \(text)\n")
        #expect(result.suite?.smtpd.maxMessageSize == octets, "\(result.report)")
    }

    @Test(arguments: [
        ("300", 300), ("\"300\"", 300), ("\"90s\"", 90), ("\"5m\"", 300), ("\"1h30m\"", 5400),
        ("\"1d\"", 86_400), ("\"2h3m4s\"", 7384),
    ])
    func `durations are seconds or have units`(_ text: String, _ seconds: Int) {
        let result = load("[smtpd.timeouts]\ncommand = \(text)\n")
        #expect(result.suite?.smtpd.commandTimeout == .seconds(seconds), "\(result.report)")
    }

    @Test(arguments: [
        (":2525", ListenAddress.tcp(host: "", port: 2525)),
        ("*:2525", .tcp(host: "", port: 2525)),
        ("[::]:2525", .tcp(host: "", port: 2525)),
        ("0.0.0.0:2525", .tcp(host: "0.0.0.0", port: 2525)),
        ("192.0.2.1:65535", .tcp(host: "192.0.2.1", port: 65535)),
        ("[2001:db8::1]:25", .tcp(host: "2001:db8::1", port: 25)),
        ("[::ffff:192.0.2.1]:25", .tcp(host: "::ffff:192.0.2.1", port: 25)),
        ("localhost:25", .tcp(host: "127.0.0.1", port: 25)),
        ("unix:/run/x.sock", .unix(path: "/run/x.sock")),
    ])
    func `addresses to listen on`(_ text: String, _ address: ListenAddress) {
        let result = load("[smtpd.listeners.a]\naddress = \"\(text)\"\nmode = \"smtp\"\n")
        #expect(result.suite?.smtpd.listeners.first?.address == address, "\(result.report)")
    }

    @Test func `listeners may be an array, and take their mode from the port`() throws {
        let result = load(
            """
            [[smtpd.listeners]]
            address = ":465"
            [[smtpd.listeners]]
            name = "alt"
            address = ":2525"
            max_clients = 7
            [[imapd.listeners]]
            address = ":1143"
            mode = "imap"
            always_on_tls = true
            """)
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.smtpd.listeners.map(\.mode) == ["smtps", "alt"])
        #expect(suite.smtpd.listeners.map(\.tlsImplicit) == [true, false])
        #expect(suite.smtpd.listeners.map(\.name) == ["listener-1", "alt"])
        #expect(suite.smtpd.listeners[1].maxClients == 7)
        #expect(suite.imapd.listeners.map(\.tlsImplicit) == [true])
    }

    @Test func `a daemon's certificate is its own or the shared one, never half of each`() throws {
        let result = load(
            """
            [server.tls]
            min_version = "1.3"
            cert_file = "/a.pem"
            key_file = "/a.key"
            [imapd.tls]
            cert_file = "/b.pem"
            key_file = "/b.key"
            min_version = "TLS1.2"
            """)
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.smtpd.tls.certificateFile == "/a.pem")
        #expect(suite.smtpd.tls.minimumVersion == .tls13)
        #expect(suite.imapd.tls.keyFile == "/b.key")
        #expect(suite.imapd.tls.minimumVersion == .tls12)
        let half = load("[imapd.tls]\ncert_file = \"/b.pem\"\n")
        #expect(messages(half) == ["error: [imapd.tls] has cert_file but no key_file"])
    }

    @Test func `later files win, and domains add up`() throws {
        let result = Config.Suite.load(
            files: [
                ("mail.toml", Array((smallest + "[imapd]\nmax_clients = 5\n").utf8)),
                ("a.toml", Array("[imapd]\nmax_clients = 6\n[[domains]]\nname='b.example'".utf8)),
            ], environment: [:])
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.imapd.maxClients == 6)
        #expect(suite.domains == ["example.com", "b.example"])
        #expect(result.origins["imapd.max_clients"] == .file(path: "a.toml", line: 2))
    }

    @Test func `special-use names, hash costs and relays`() throws {
        let result = load(
            """
            [imapd]
            special_use = { Gesendet = "\\\\Sent", "Papier korb" = "\\\\trash" }
            [msgstored.auth]
            argon2 = { memory = "64 MiB", iterations = 3, parallelism = 2 }
            [smtpd.relay]
            allowed_relays = ["192.0.2.0/24", "2001:db8::/32", "::1"]
            [smtpd.auth]
            methods = ["LOGIN"]
            """)
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.imapd.specialUse.sent == "Gesendet")
        #expect(suite.imapd.specialUse.trash == "Papier korb")
        #expect(suite.imapd.specialUse.junk == "Junk")
        #expect(suite.msgstored.argon2.memoryKiB == 65_536)
        #expect(suite.smtpd.allowedRelays.count == 3)
        #expect(suite.server.auth.methods == ["login"])
    }

    @Test func `mail lies below the state directory unless it is told otherwise`() {
        let moved = load("[server]\nstate_dir = \"/srv/x\"\n").suite
        #expect(moved?.msgstored.maildirRoot == "/srv/x/mail")
        let told = load("[server]\nstate_dir='/srv/x'\n[msgstored]\nmaildir_root='/m'\n").suite
        #expect(told?.msgstored.maildirRoot == "/m")
    }

    @Test func `elemta's and daptin's keys mean what they meant there`() throws {
        let result = load(
            """
            hostname = "mail.example.com"
            listen_addr = ":2525"
            queue_dir = "/var/spool/elemta"
            max_size = 1000000
            dev_mode = true
            allowed_relays = ["127.0.0.1"]
            [auth]
            enabled = true
            required = false
            methods = ["plain", "login"]
            backend = "file"
            file_path = "/etc/users.json"
            [tls]
            enabled = true
            [queue]
            max_workers = 5
            [imap]
            enabled = true
            listen_interface = "127.0.0.1:1143"
            """)
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.smtpd.hostname == "mail.example.com")
        #expect(suite.smtpd.listeners.map(\.mode) == ["alt"])
        #expect(suite.smtpd.maxMessageSize == 1_000_000)
        #expect(suite.server.devMode)
        #expect(suite.imapd.listeners.map(\.name) == ["imap"])
        #expect(
            messages(result).contains("warning: `max_size` is read as `smtpd.max_message_size`"))
        #expect(
            messages(result).contains(
                "warning: [smtpd.queue] is not supported in this version yet: ignored"))
        #expect(result.warningCount >= 10)
    }

    @Test func `keys of later versions are told of and ignored`() {
        let result = load(
            """
            [smtpd.spf]
            enabled = true
            [smtpd]
            require_helo = false
            [msgstored]
            index = "postgres"
            fsync = "always"
            """)
        #expect(
            messages(result) == [
                "warning: [smtpd.spf] is not supported in this version yet: ignored",
                "warning: `require_helo` in [smtpd]: not supported in this version yet: ignored",
                "warning: `index` in [msgstored]: only \"sqlite\" is supported in this version: "
                    + "ignored",
            ])
        #expect(result.suite != nil)
    }
}
