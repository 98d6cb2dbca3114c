// SPDX-License-Identifier: Apache-2.0
//
// Where a server listens and what it puts up with. The defaults are smtpd's (docs/config.md).

import Settings

/// One address to listen on.
public struct Listener: Sendable, Hashable {
    /// What a listener demands of its clients.
    public enum Mode: String, Sendable {
        /// From other servers (port 25): STARTTLS is offered, AUTH is not needed.
        case smtp
        /// From people's mail programs (port 587, RFC 6409): STARTTLS and AUTH come first.
        case submission
        /// The same, with TLS from the first octet (port 465, RFC 8314).
        case submissions
    }

    /// For `Client.listener`, the log and the metrics. Different for each listener.
    public var name: String
    /// What it demands.
    public var mode: Mode
    /// A name or an address; empty: every address of the machine, IPv6 and IPv4.
    public var host: String
    /// 0: one that is free; `MailServer.port(of:)` says which.
    public var port: Int
    /// Connections come through load balancers (`MailServer.init`, `proxies`) and begin with a
    /// PROXY header.
    public var expectsProxy = false

    /// A listener; its name is the mode's unless another one is given.
    public init(_ mode: Mode, host: String = "", port: Int, name: String? = nil) {
        self.mode = mode
        self.host = host
        self.port = port
        self.name = name ?? mode.rawValue
    }

    /// Mail from other servers.
    public static func smtp(host: String = "", port: Int = 25) -> Listener {
        Listener(.smtp, host: host, port: port)
    }

    /// Mail from people's programs, with STARTTLS.
    public static func submission(host: String = "", port: Int = 587) -> Listener {
        Listener(.submission, host: host, port: port)
    }

    /// Mail from people's programs, with TLS from the first octet.
    public static func submissions(host: String = "", port: Int = 465) -> Listener {
        Listener(.submissions, host: host, port: port)
    }

    var settings: ListenerSettings {
        var settings = ListenerSettings(
            name: name, address: .tcp(host: host, port: UInt16(clamping: port)),
            mode: mode == .submissions ? "smtps" : mode.rawValue,
            tlsImplicit: mode == .submissions)
        settings.expectsProxy = expectsProxy
        return settings
    }
}

/// A certificate for TLS, in two PEM files that this process can read.
public struct Certificate: Sendable, Hashable {
    /// The oldest version that is spoken.
    public enum Version: Sendable {
        /// With ciphers that are still good.
        case tls12
        /// RFC 8446.
        case tls13
    }

    /// The chain, leaf first.
    public var chainFile: String
    /// The private key.
    public var keyFile: String
    /// 1.2 unless changed.
    public var minimumVersion = Version.tls12

    /// Files; they are read by `MailServer.start` and `MailServer.reloadCertificate`.
    public init(chainFile: String, keyFile: String) {
        self.chainFile = chainFile
        self.keyFile = keyFile
    }

    var settings: TLSSettings {
        var settings = TLSSettings(certificateFile: chainFile, keyFile: keyFile)
        settings.minimumVersion = minimumVersion == .tls13 ? .tls13 : .tls12
        return settings
    }
}

/// What clients may do, and how long they may take. 0 means no limit where it says so.
public struct Limits: Sendable, Hashable {
    /// Octets of a message (SIZE).
    public var maxMessageSize = 26_214_400
    /// Recipients of a message.
    public var maxRecipients = 100
    /// Sessions at the same time.
    public var maxClients = 200
    /// Sessions of one address at the same time; 0: no limit.
    public var maxClientsPerAddress = 50
    /// New connections of one address in a minute; 0: no limit.
    public var connectionsPerMinute = 300
    /// Messages of one address in an hour; 0: no limit.
    public var messagesPerHourPerAddress = 0
    /// Messages of one account in an hour; 0: no limit.
    public var messagesPerHourPerAccount = 200
    /// Recipients of one account in a day; 0: no limit.
    public var recipientsPerDayPerAccount = 2_000
    /// Refused commands until the connection is closed.
    public var maxErrors = 20
    /// Refused recipients until the connection is closed.
    public var maxRefusedRecipients = 100
    /// Refusals after which each further one is delayed by `tarpit`.
    public var tarpitAfter = 3
    /// Zero: no delay.
    public var tarpit = Duration.seconds(2)
    /// For the next command.
    public var commandTimeout = Duration.seconds(300)
    /// For the next piece of a message.
    public var dataTimeout = Duration.seconds(600)
    /// For a whole message.
    public var messageTimeout = Duration.seconds(3_600)
    /// For a session without a message that was accepted.
    public var connectionTimeout = Duration.seconds(1_800)
    /// Addresses and CIDR blocks that the limits on addresses and the tarpit do not apply to.
    public var exempt = ["127.0.0.0/8", "::1"]

    /// The defaults.
    public init() {}

    func apply(to suite: inout Suite) {
        suite.server.exempt = exempt
        suite.smtpd.maxMessageSize = maxMessageSize
        suite.smtpd.maxRecipients = maxRecipients
        suite.smtpd.maxClients = maxClients
        suite.smtpd.commandTimeout = commandTimeout
        suite.smtpd.dataTimeout = dataTimeout
        suite.smtpd.messageTimeout = messageTimeout
        suite.smtpd.connectionTimeout = connectionTimeout
        var limits = SMTPLimits()
        limits.clients = ClientLimits(
            perAddress: maxClientsPerAddress, ratePerAddress: connectionsPerMinute)
        limits.messagesPerAddress = messagesPerHourPerAddress
        limits.messagesPerSender = messagesPerHourPerAccount
        limits.recipientsPerSender = recipientsPerDayPerAccount
        limits.maxErrors = maxErrors
        limits.maxBadCommands = maxErrors
        limits.maxRefusedRecipients = maxRefusedRecipients
        limits.tarpitAfter = tarpitAfter
        limits.tarpit = tarpit
        suite.smtpd.limits = limits
    }

    /// Why these limits cannot be; nil: they can.
    var mistake: String? {
        if maxMessageSize < 65_536 { return "maxMessageSize is at least 65536 (RFC 5321 §4.5.3)" }
        if !(1...1_000).contains(maxRecipients) { return "maxRecipients is 1 to 1000" }
        if maxClients < 1 { return "maxClients is at least 1" }
        if [maxClientsPerAddress, connectionsPerMinute, messagesPerHourPerAddress].contains(where: {
            $0 < 0
        }) || messagesPerHourPerAccount < 0 || recipientsPerDayPerAccount < 0 {
            return "a limit is not negative"
        }
        if maxErrors < 1 || maxRefusedRecipients < 1 || tarpitAfter < 0 || tarpit < .zero {
            return "maxErrors and maxRefusedRecipients are at least 1"
        }
        if [commandTimeout, dataTimeout, messageTimeout, connectionTimeout].contains(where: {
            $0 < .seconds(1)
        }) {
            return "a timeout is at least a second"
        }
        return nil
    }
}
