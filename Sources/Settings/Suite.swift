// SPDX-License-Identifier: Apache-2.0
//
// What mail.toml says, as values. The defaults written here are the defaults of the suite; the
// schema (Schema*.swift) names the keys that change them. docs/config.md is made from that schema.

/// Everything that one mail.toml, its fragments and the environment say.
package struct Suite: Sendable, Equatable {
    package var server = ServerSettings()
    package var smtpd = SMTPSettings()
    package var imapd = IMAPSettings()
    package var pop3d = POP3Settings()
    package var msgstored = StoreSettings()
    /// Names of the domains that the file says this machine serves, in lower case.
    package var domains: [String] = []

    package init() {}
}

/// `[server]`: what all daemons share.
package struct ServerSettings: Sendable, Equatable {
    /// Never empty after `Suite.load`.
    package var hostname = "localhost"
    package var runDirectory = "/run/martlet"
    package var stateDirectory = "/var/lib/martlet"
    /// `error`, `warn`, `info`, `debug`.
    package var logLevel = "info"
    /// `auto`, `journal`, `text`, `json`.
    package var logFormat = "auto"
    package var logDirectory = ""
    package var devMode = false
    package var auth = AuthSettings()
    package var authLimits = AuthLimits()
    /// Addresses and CIDR blocks whose PROXY header is believed.
    package var trustedProxies: [String] = []
    /// Addresses and CIDR blocks to which limits on clients and rates do not apply.
    package var exempt = ["127.0.0.0/8", "::1"]
    package var tls = TLSSettings(
        certificateFile: "/etc/martlet/tls/fullchain.pem",
        keyFile: "/etc/martlet/tls/privkey.pem", namesDirectory: "/etc/martlet/tls/sni")

    package init() {}

    /// The path of one of msgstored's sockets.
    package func socketPath(_ socketName: String) -> String { "\(runDirectory)/\(socketName)" }
}

/// `[server.auth]`: how clients of all daemons log in.
package struct AuthSettings: Sendable, Equatable {
    /// Lower case, in the order in which they are offered.
    package var methods = ["plain", "login", "scram-sha-256"]

    package init() {}
}

/// The keys of `[server.limits]` about failed logins.
package struct AuthLimits: Sendable, Equatable {
    /// Failures of one address until it is banned; 0: never.
    package var perAddress = 10
    /// Failures for one name, from all addresses, until those who are new there have to wait.
    package var perAccount = 20
    package var window = Duration.seconds(600)
    /// The first ban; the next ones are longer.
    package var ban = Duration.seconds(3_600)

    package init() {}
}

/// `[server.tls]`, or a daemon's own `[x.tls]` with the gaps filled from `[server.tls]`.
package struct TLSSettings: Sendable, Equatable {
    /// PEM, leaf first. Empty: there is none.
    package var certificateFile = ""
    package var keyFile = ""
    package var minimumVersion = TLSMinimum.tls12
    /// OpenSSL's notation for TLS 1.2; empty: the built-in list.
    package var ciphers = ""
    /// TLS 1.3's, in OpenSSL's notation; empty: OpenSSL's list.
    package var cipherSuites = ""
    /// `<name>/fullchain.pem` and `<name>/privkey.pem` for each name that SNI may ask for; empty or
    /// not there: only the one certificate.
    package var namesDirectory = ""
    /// Refuse a client that asks for another protocol (RFC 7301).
    package var checksProtocol = true
    /// Let clients resume sessions (RFC 8446 §2.2).
    package var sendsTickets = true
    /// How often files are looked at and ticket keys change; zero: files at a reload only.
    package var reloadInterval = Duration.seconds(3_600)
    /// `off`, `request`, `require`.
    package var clientCertificates = "off"
    /// PEM: who signs the certificates of clients.
    package var clientAuthorities = ""

    package init(
        certificateFile: String = "", keyFile: String = "", namesDirectory: String = ""
    ) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.namesDirectory = namesDirectory
    }

    package var hasCertificate: Bool { !certificateFile.isEmpty && !keyFile.isEmpty }
}

package enum TLSMinimum: String, Sendable {
    case tls12 = "TLS1.2"
    case tls13 = "TLS1.3"
}

/// Where to listen.
package enum ListenAddress: Sendable, Hashable {
    /// An empty host is every address of the machine, IPv6 and IPv4.
    case tcp(host: String, port: UInt16)
    case unix(path: String)
}

/// One `[<daemon>.listeners.<name>]`.
package struct ListenerSettings: Sendable, Equatable {
    /// Also the FileDescriptorName= under which systemd passes its sockets.
    package var name: String
    package var address: ListenAddress
    /// smtpd: `smtp`, `submission`, `smtps`, `alt`. imapd: `imap`, `imaps`. pop3d: `pop3`, `pop3s`.
    package var mode: String
    /// TLS from the first octet.
    package var tlsImplicit: Bool
    /// Nil: only the daemon's own limit.
    package var maxClients: Int?
    /// Nil: the daemon's own.
    package var maxClientsPerAddress: Int?
    /// smtpd only. Nil: the daemon's own.
    package var maxMessageSize: Int?
    package var maxRecipients: Int?
    /// Connections come from trusted proxies only and begin with a PROXY header.
    package var expectsProxy = false
    /// smtpd only: `off`, `offered`, `required`. Nil: as the mode says.
    package var authentication: String?
    /// `offered`; `required`: nothing is done before TLS; `off`: no STARTTLS.
    package var encryption = "offered"

    package init(
        name: String, address: ListenAddress, mode: String, tlsImplicit: Bool = false,
        maxClients: Int? = nil
    ) {
        self.name = name
        self.address = address
        self.mode = mode
        self.tlsImplicit = tlsImplicit
        self.maxClients = maxClients
    }
}

/// `[<daemon>.limits]`: what every front daemon counts. 0: no limit.
package struct ClientLimits: Sendable, Equatable {
    /// Sessions of one address at the same time.
    package var perAddress: Int
    /// Sessions of one /24 or, with IPv6, /64.
    package var perNetwork = 0
    /// New connections of one address (IPv6: /64) in a minute.
    package var ratePerAddress: Int

    package init(perAddress: Int, ratePerAddress: Int) {
        self.perAddress = perAddress
        self.ratePerAddress = ratePerAddress
    }
}

/// `[smtpd.limits]`. 0: no limit.
package struct SMTPLimits: Sendable, Equatable {
    package var clients = ClientLimits(perAddress: 50, ratePerAddress: 300)
    package var messagesPerAddress = 0
    /// Of an account.
    package var messagesPerSender = 200
    /// Of an account, in a day.
    package var recipientsPerSender = 2_000
    /// Of an address that others send from, without AUTH.
    package var messagesPerRemoteSender = 0
    package var messagesPerRecipientDomain = 0
    /// Refused commands until the connection is closed.
    package var maxErrors = 20
    /// Of these, lines that are no command at all.
    package var maxBadCommands = 20
    package var maxRefusedRecipients = 100
    /// Commands that bring no message nearer, between two messages.
    package var maxIdleCommands = 200
    /// Octets that a session may make us hold.
    package var sessionMemory = 2_097_152
    /// Errors after which each further reply waits for `tarpit`.
    package var tarpitAfter = 3
    package var tarpit = Duration.seconds(2)
    /// How long strangers must be silent before they are greeted.
    package var greetDelay = Duration.zero

    package init() {}
}

/// `[<daemon>.metrics]`.
package struct MetricsSettings: Sendable, Equatable {
    package var enabled = true
    package var address: ListenAddress
    package var path = "/metrics"

    package init(port: UInt16) {
        address = .tcp(host: "127.0.0.1", port: port)
    }
}

/// `[smtpd.auth]`.
package struct SMTPAuthSettings: Sendable, Equatable {
    package var enabled = true
    /// True: also on listeners of mode smtp and alt; submission and smtps always require it.
    package var required = false

    package init() {}
}

/// `[smtpd]`.
package struct SMTPSettings: Sendable, Equatable {
    package var isEnabled = true
    /// For the banner, EHLO and Received. Never empty after `Suite.load`.
    package var hostname = "localhost"
    package var maxMessageSize = 26_214_400
    package var maxRecipients = 100
    package var maxClients = 200
    package var listeners = [
        ListenerSettings(name: "smtp", address: .tcp(host: "", port: 25), mode: "smtp"),
        ListenerSettings(
            name: "submission", address: .tcp(host: "", port: 587), mode: "submission"),
        ListenerSettings(
            name: "smtps", address: .tcp(host: "", port: 465), mode: "smtps", tlsImplicit: true),
    ]
    package var tls = TLSSettings()
    package var auth = SMTPAuthSettings()
    package var commandTimeout = Duration.seconds(300)
    package var dataTimeout = Duration.seconds(600)
    package var connectionTimeout = Duration.seconds(1800)
    package var messageTimeout = Duration.seconds(3600)
    package var limits = SMTPLimits()
    package var xclient = false
    /// Addresses and CIDR blocks that may send XCLIENT.
    package var xclientHosts = ["127.0.0.1", "::1"]
    package var metrics = MetricsSettings(port: 9100)
    /// Addresses and CIDR blocks whose clients may relay without AUTH.
    package var allowedRelays = ["127.0.0.1", "::1"]
    /// False hides the submitting client's address from the Received field.
    package var receivedHeaderIP = true

    package init() {}
}

/// The names under which IMAP clients find the special mailboxes (RFC 6154).
package struct SpecialUseNames: Sendable, Equatable {
    package var drafts = "Drafts"
    package var sent = "Sent"
    package var junk = "Junk"
    package var trash = "Trash"
    package var archive = "Archive"

    package init() {}
}

/// `[imapd]`.
package struct IMAPSettings: Sendable, Equatable {
    package var isEnabled = true
    package var maxClients = 2000
    package var maxClientsPerUser = 30
    /// RFC 9051 §5.4: not less than 30 minutes.
    package var idleTimeout = Duration.seconds(1800)
    package var loginTimeout = Duration.seconds(60)
    package var limits = ClientLimits(perAddress: 300, ratePerAddress: 600)
    package var listeners = [
        ListenerSettings(name: "imap", address: .tcp(host: "", port: 143), mode: "imap"),
        ListenerSettings(
            name: "imaps", address: .tcp(host: "", port: 993), mode: "imaps", tlsImplicit: true),
    ]
    package var tls = TLSSettings()
    package var metrics = MetricsSettings(port: 9102)
    package var specialUse = SpecialUseNames()
    package var xlist = true
    package var announcesRevision2 = false
    /// Names of capabilities as CAPABILITY has them.
    package var disabledCapabilities: [String] = []

    package init() {}
}

/// `[pop3d]`.
package struct POP3Settings: Sendable, Equatable {
    package var isEnabled = true
    package var maxClients = 500
    /// RFC 1939 §3: not less than 10 minutes.
    package var idleTimeout = Duration.seconds(600)
    package var limits = ClientLimits(perAddress: 100, ratePerAddress: 600)
    package var listeners = [
        ListenerSettings(name: "pop3", address: .tcp(host: "", port: 110), mode: "pop3"),
        ListenerSettings(
            name: "pop3s", address: .tcp(host: "", port: 995), mode: "pop3s", tlsImplicit: true),
    ]
    package var tls = TLSSettings()
    package var metrics = MetricsSettings(port: 9101)

    package init() {}
}

/// `[msgstored.auth] argon2`: the cost of a new password hash (RFC 9106 §4).
package struct Argon2Settings: Sendable, Equatable {
    package var memoryKiB = 19_456
    package var iterations = 2
    package var parallelism = 1

    package init() {}
}

/// `[msgstored]`.
package struct StoreSettings: Sendable, Equatable {
    package var isEnabled = true
    /// `<root>/<domain>/<user>/Maildir`.
    package var maildirRoot = "/var/lib/martlet/mail"
    package var argon2 = Argon2Settings()
    /// Who checks passwords, in this order: `internal`, `file`, `ldap`.
    package var authBackends = ["internal"]
    /// Of the backend `file`.
    package var passwordFile = ""
    /// Weak schemes of that file are good enough.
    package var allowsWeakHashes = false
    /// Keys for SCRAM are kept beside password hashes.
    package var keepsScram = true
    package var appPasswords = true
    package var oauth = OAuthSettings()
    package var ldap = LDAPSettings()
    /// Password hashes computed at the same time; each takes `argon2.memoryKiB`.
    package var maxConcurrentHashes = 4
    /// Characters that start a subaddress (RFC 5233); empty: none.
    package var subaddress = "+"
    package var normalizeCase = true
    /// Octets that an account may keep; 0: no limit. Accounts and domains can have their own.
    package var quota = 0
    /// Messages that an account may keep; 0: no limit.
    package var quotaMessages = 0
    /// Per cent of a quota; 0: no warnings.
    package var quotaWarning = 90
    /// Per cent of a quota at which the account gets mail about it; empty: never.
    package var quotaMail = ["80", "95", "100"]
    /// True: mail for a full account is refused for now (452), not for good (552).
    package var quotaTemporary = false
    package var metrics = MetricsSettings(port: 9103)
    /// Threads for blocking work; 0: chosen from the number of cores.
    package var workers = 0
    /// `sqlite`: an index of what messages say; `none`: they are read.
    package var search = "sqlite"
    /// Octets; longer messages are not indexed, only read.
    package var searchMaxMessage = 64 << 20
    /// Databases of accounts kept open.
    package var openDatabases = 1024
    /// How long expunged messages and removed accounts can come back; 0: not at all.
    package var retention = Duration.seconds(7 * 86_400)
    /// Octets of one account's expunged messages; 0: no limit.
    package var retentionSize = 1 << 30
    package var deliveryLogSize = 128 << 20

    package init() {}
}
