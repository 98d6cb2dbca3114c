// SPDX-License-Identifier: Apache-2.0
//
// Files with mistakes: what is said about each, and that nothing makes the reader trap.

import Config
import Testing

@Suite struct `Mistakes` {
    @Test func `a typo is shown with its line, a caret and what was meant`() {
        let result = load("# a\n[smtpd]\nmax_mesage_size = 26214400\n")
        #expect(result.suite == nil)
        #expect(
            result.report == """
                error: unknown key `max_mesage_size` in [smtpd]
                 --> mail.toml:3:1
                  |
                3 | max_mesage_size = 26214400
                  | ^^^^^^^^^^^^^^^ did you mean `max_message_size`?
                  = type: size, default "25 MiB"; see: mailctl config describe \
                smtpd.max_message_size

                1 error. Nothing was changed; the running daemons keep the old configuration.

                """)
    }

    @Test func `all mistakes are told, in the order of the file`() {
        let result = load(
            """
            [smtpd]
            max_recipients = "many"
            max_clients = 0
            min_version = TLS1.2
            [imapdd]
            [pop3d]
            idle_timeout = "1x"
            """)
        #expect(result.errorCount == 5)
        #expect(result.diagnostics.map(\.line) == [2, 3, 4, 5, 7])
    }

    @Test(arguments: [
        (
            "[smtpd]\nmax_recipients = \"5\"",
            "`max_recipients` in [smtpd] must be an integer, not a string"
        ),
        ("[smtpd]\nmax_recipients = 5000", "`max_recipients` in [smtpd] must be at most 1000"),
        (
            "[smtpd]\nmax_message_size = \"5 QB\"",
            "`max_message_size` in [smtpd]: `5 QB` is not a size"
        ),
        (
            "[smtpd]\nmax_message_size = 5",
            "`max_message_size` in [smtpd] must be at least \"64 KiB\""
        ),
        ("[smtpd]\nenabled = \"true\"", "`enabled` in [smtpd] must be true or false, not a string"),
        ("[smtpd]\nhostname = \"a b\"", "`hostname` in [smtpd]: `a b` is not a host name"),
        ("[smtpd]\nhostname = \"-a.b\"", "`hostname` in [smtpd]: `-a.b` is not a host name"),
        ("[smtpd]\nhostname = 5", "`hostname` in [smtpd] must be a string, not an integer"),
        (
            "[smtpd.tls]\nmin_version = \"TLS1.1\"",
            "`min_version` in [smtpd.tls]: `TLS1.1` is not secure and not supported"
        ),
        (
            "[smtpd.tls]\nmin_version = \"9\"",
            "`min_version` in [smtpd.tls]: `9` is not a version of TLS"
        ),
        (
            "[server]\nlog_level = \"inof\"",
            "`log_level` in [server]: `inof` is not one of error, warn, info, debug"
        ),
        ("[server]\nrun_dir = \"run\"", "`run_dir` in [server] must be an absolute path"),
        (
            "[smtpd.metrics]\npath = \"metrics\"",
            "`path` in [smtpd.metrics] must be the path of a URL"
        ),
        (
            "[smtpd.metrics]\naddress = 9100",
            "`address` in [smtpd.metrics] must be an address, not an integer"
        ),
        (
            "[smtpd.metrics]\naddress = \"9100\"",
            "`address` in [smtpd.metrics]: `9100` is not an address to listen on"
        ),
        (
            "[smtpd.metrics]\naddress = \":0\"",
            "`address` in [smtpd.metrics]: `:0` is not an address to listen on"
        ),
        (
            "[smtpd.metrics]\naddress = \"mail.example.com:25\"",
            "`address` in [smtpd.metrics]: `mail.example.com:25` is not an address to listen on"
        ),
        (
            "[smtpd.metrics]\naddress = \"[::1]\"",
            "`address` in [smtpd.metrics]: `[::1]` is not an address to listen on"
        ),
        (
            "[smtpd.relay]\nallowed_relays = [\"192.0.2.0/33\"]",
            "`allowed_relays` in [smtpd.relay]: `192.0.2.0/33` is neither an address nor a CIDR block"
        ),
        (
            "[smtpd.relay]\nallowed_relays = [5]",
            "`allowed_relays` in [smtpd.relay] must be a list of strings, but this is an integer"
        ),
        (
            "[smtpd.auth]\nmethods = [\"plian\"]",
            "`methods` in [server.auth]: `plian` is not one of plain, login, scram-sha-256, "
                + "scram-sha-256-plus, scram-sha-1, scram-sha-1-plus, cram-md5, external, "
                + "oauthbearer, xoauth2"
        ),
        ("[smtpd.listeners.a]\nmode = \"smtp\"", "[smtpd.listeners.a] needs an address"),
        ("[smtpd.listeners.a]\naddress = \":26\"", "[smtpd.listeners.a] needs a mode"),
        (
            "[smtpd.listeners.a]\naddress = \":26\"\nmode = \"imap\"",
            "[smtpd.listeners.a]: `imap` is not a mode of smtpd"
        ),
        ("[smtpd.listeners]\na = \":26\"", "`a` in [smtpd.listeners] must be a table"),
        (
            "[smtpd.listeners.\"a b\"]\naddress = \":26\"",
            "a listener's name is made of letters, digits, `-` and `_`"
        ),
        ("smtpd = 5", "`smtpd` must be a table, not an integer"),
        ("colour = 5", "unknown key `colour` outside of all sections"),
        ("[colour]\nx = 5", "unknown section [colour]"),
        ("[[domains]]", "[[domains]] needs a name"),
        ("domains = [\"a\"]", "`domains` must be an array of tables"),
        ("[domains]\nname = \"a\"", "`domains` must be an array of tables"),
        ("[[domains]]\nnmae = \"a\"", "unknown key `nmae` in [domains]"),
        (
            "[msgstore]\n[msgstored]",
            "`msgstore` and `msgstored` are the same; only one may be written"
        ),
        ("dev_mode = true\n[server]\ndev_mode = true", "`server.dev_mode` is set twice"),
        (
            "[smtpd]\nmax_clients = 1979-05-27",
            "`max_clients` in [smtpd] must be an integer, not a date or time"
        ),
        (
            "[smtpd]\nhostname = \"a\\u0000b\"",
            "`hostname` in [smtpd] must not contain control characters"
        ),
        (
            "[msgstored]\nsubaddress = \"a\"",
            "`subaddress` in [msgstored] may hold only characters of `+-=_.#%!~`, each once"
        ),
    ])
    func `one mistake, one error`(_ text: String, _ message: String) {
        let result = load(text)
        #expect(messages(result).filter { $0.hasPrefix("error") } == ["error: \(message)"])
        #expect(result.suite == nil)
    }

    @Test(arguments: [
        ("[smtpd]\nhostnam = \"a\"", "did you mean `hostname`?"),
        ("[smtp]\n", "did you mean `smtpd`?"),
        ("[smtpd]\nrun_dir = \"/a\"", "this is a key of [server]"),
        ("[smtpd.metrics]\naddress = \"9100\"", "did you mean \":9100\"?"),
        ("[server]\nlog_format = \"jsno\"", "did you mean \"json\"?"),
        ("[smtpd.listeners.a]\naddress = 25", "did you mean \":25\"?"),
        ("[smtpd]\nhostname = mail.example.com", ""),
    ])
    func `and what may have been meant`(_ text: String, _ label: String) {
        #expect(load(text).diagnostics.first?.label == label)
    }

    @Test func `two listeners at one address`() {
        let result = load(
            """
            [smtpd.listeners.a]
            address = ":2525"
            mode = "smtp"
            [imapd.listeners.b]
            address = "127.0.0.1:2525"
            mode = "imap"
            [pop3d.metrics]
            address = ":9100"
            """)
        #expect(
            messages(result) == [
                "error: [imapd.listeners.b] cannot listen at 127.0.0.1:2525: "
                    + "[smtpd.listeners.a] does",
                "error: [pop3d.metrics] cannot listen at :9100: [smtpd.metrics] does",
            ])
    }

    @Test func `TLS needs a certificate, except in dev mode`() {
        let text = "[server.tls]\ncert_file = \"\"\nkey_file = \"\"\n"
        let result = load(text)
        #expect(
            messages(result) == [
                "error: [smtpd.listeners.submission] needs a certificate, and none is set",
                "error: [smtpd.listeners.smtps] needs a certificate, and none is set",
                "error: [imapd.listeners.imaps] needs a certificate, and none is set",
                "error: [pop3d.listeners.pop3s] needs a certificate, and none is set",
            ])
        #expect(load("dev_mode = true\n" + text).suite != nil)
        #expect(load(text + "[pop3d]\nenabled = false\n").errorCount == 3)
    }

    @Test func `a file that is no TOML at all`() {
        #expect(load("this is not toml").errorCount == 1)
        #expect(
            messages(load("#\n [\u{1}\n")) == ["error: not valid TOML: a control character"])
        #expect(load("#\n [\u{1}\n").diagnostics.first?.text.contains("mail.toml:2:3") == true)
        let result = Config.Suite.load(
            files: [("x", [0xFF, 0xFE, 0x00, 0x5B])], environment: [:])
        #expect(messages(result) == ["error: not valid TOML: not UTF-8"])
    }

    @Test func `what toml++ cannot take never reaches it`() {
        let dots = "[" + String(repeating: "a.", count: 100_000) + "a]"
        #expect(messages(load(dots)) == ["error: not valid TOML: a key of more than 16 parts"])
        let big = "#" + String(repeating: "x", count: 1 << 20)
        #expect(
            messages(load(big)) == ["error: not valid TOML: the file is larger than 1 MiB"])
        let arrays = "a = " + String(repeating: "[", count: 100_000)
        #expect(load(arrays).errorCount == 1)
        let tables = "a = " + String(repeating: "{a=", count: 50_000)
        #expect(load(tables).errorCount == 1)
        #expect(load("a = \"" + String(repeating: ".", count: 1000) + "\"").errorCount == 1)
        let strings =
            "# " + String(repeating: ".", count: 100) + "\n'"
            + String(
                repeating: ".", count: 100) + "' = 1\n"
        #expect(messages(load(strings)).first?.contains("unknown key") == true)
    }

    @Test func `no prefix of a file traps`() {
        let text = Array(Reference.example.utf8)
        for end in stride(from: 0, through: text.count, by: 7) {
            let result = Config.Suite.load(
                files: [("mail.toml", Array(text[..<end]))], environment: [:])
            #expect((result.suite == nil) == (result.errorCount > 0))
        }
    }

    @Test func `a thousand mistakes are counted but not all kept`() {
        var text = "[smtpd]\n"
        for index in 0..<1000 { text += "unknown_\(index) = 1\n" }
        let result = load(text)
        #expect(result.errorCount == 1000)
        #expect(result.diagnostics.count == 200)
    }
}
