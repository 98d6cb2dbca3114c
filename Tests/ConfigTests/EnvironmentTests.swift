// SPDX-License-Identifier: Apache-2.0
//
// The environment: our names, names of other programs, values from files.

import Config
import Testing

@Suite struct `Environment` {
    @Test func `variables win over the file`() throws {
        let result = load(
            smallest + "[imapd]\nmax_clients = 5\n",
            [
                "MAIL_SMTPD__MAX_MESSAGE_SIZE": "10485760", "MAIL_IMAPD__MAX_CLIENTS": "6",
                "MAIL_SMTPD__AUTH__METHODS": "login, plain", "MAIL_SMTPD__AUTH__REQUIRED": "yes",
                "MAIL_SMTPD__LISTENERS__SMTP__ADDRESS": ":2525",
                "MAIL_MSGSTORE__SUBADDRESS": "-", "PATH": "/bin", "HOME": "/root",
            ])
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.smtpd.maxMessageSize == 10_485_760)
        #expect(suite.imapd.maxClients == 6)
        #expect(suite.server.auth.methods == ["login", "plain"])
        #expect(suite.smtpd.auth.required)
        // One default listener is moved; the others stay.
        #expect(suite.smtpd.listeners.count == 3)
        #expect(suite.smtpd.listeners[0].address == .tcp(host: "", port: 2525))
        #expect(suite.msgstored.subaddress == "-")
        #expect(result.origins["imapd.max_clients"] == .environment("MAIL_IMAPD__MAX_CLIENTS"))
    }

    @Test(
        arguments: [
            ("SMTPD_HOSTNAME", "a.example", \Config.Suite.smtpd.hostname),
            ("MAIL_HOSTNAME", "a.example", \.smtpd.hostname),
            ("SMTPD_LOG_LEVEL", "debug", \.server.logLevel),
        ] as [(String, String, any KeyPath<Config.Suite, String> & Sendable)])
    func `names of other programs`(
        _ name: String, _ value: String, _ path: any KeyPath<Config.Suite, String> & Sendable
    ) {
        #expect(load("", [name: value]).suite?[keyPath: path] == value)
    }

    @Test func `switches of other programs`() {
        #expect(load("", ["ENVIRONMENT": "development"]).suite?.server.devMode == true)
        #expect(load("", ["ENVIRONMENT": "production"]).suite?.server.devMode == false)
        #expect(load("", ["DAPTIN_DISABLE_SMTP": "true"]).suite?.smtpd.isEnabled == false)
        #expect(
            load(smallest, ["MAIL_DOMAIN": "B.example"]).suite?.domains == [
                "b.example", "example.com",
            ])
        let tls = load("", ["SMTPD_TLS_CERT_FILE": "/c", "SMTPD_TLS_KEY_FILE": "/k"]).suite
        #expect(tls?.smtpd.tls.certificateFile == "/c")
        #expect(tls?.imapd.tls.certificateFile == "/etc/martlet/tls/fullchain.pem")
    }

    @Test func `our name wins over another program's`() {
        let result = load(
            "", ["SMTPD_HOSTNAME": "a.example", "MAIL_SMTPD__HOSTNAME": "b.example"])
        #expect(result.suite?.smtpd.hostname == "b.example")
    }

    @Test func `a name that means nothing is an error with a suggestion`() {
        let result = load("", ["MAIL_SMTPD__MAX_MESAGE_SIZE": "1"])
        #expect(result.suite == nil)
        #expect(
            result.diagnostics.first?.text == """
                error: unknown variable MAIL_SMTPD__MAX_MESAGE_SIZE
                  --> environment: MAIL_SMTPD__MAX_MESAGE_SIZE
                   = did you mean MAIL_SMTPD__MAX_MESSAGE_SIZE?
                """)
        #expect(load("", ["MAIL_NONSENSE": "1"]).errorCount == 1)
        #expect(load("", ["MAIL_": "1"]).errorCount == 1)
        #expect(load("", ["MAIL": "1"]).errorCount == 0)
    }

    @Test func `a wrong value names the variable`() {
        let result = load("", ["MAIL_SMTPD__MAX_CLIENTS": "many"])
        #expect(
            messages(result) == ["error: `max_clients` in [smtpd] must be an integer, not `many`"])
        #expect(result.diagnostics.first?.file == "environment: MAIL_SMTPD__MAX_CLIENTS")
    }

    @Test func `a value may be in a file, and cert_file is not such a name`() throws {
        let result = Config.Suite.load(
            files: [],
            environment: [
                "MAIL_SMTPD__HOSTNAME_FILE": "/secret",
                "MAIL_SERVER__TLS__CERT_FILE": "/c.pem", "MAIL_SERVER__TLS__KEY_FILE_FILE": "/k",
            ],
            readFile: { $0 == "/secret" ? Array("a.example\n".utf8) : Array("/key.pem".utf8) })
        let suite = try #require(result.suite, "\(result.report)")
        #expect(suite.smtpd.hostname == "a.example")
        #expect(suite.server.tls.certificateFile == "/c.pem")
        #expect(suite.server.tls.keyFile == "/key.pem")
        let unreadable = load("", ["MAIL_SMTPD__HOSTNAME_FILE": "/none"])
        #expect(unreadable.errorCount == 1)
    }
}
