// SPDX-License-Identifier: Apache-2.0
//
// What can be judged only when everything has been read: gaps filled from other sections, listeners
// complete and not in each other's way, certificates where TLS needs them.

extension Reader {
    /// Listeners that nobody wrote, so that the environment can change one of them.
    mutating func useDefaultListeners() {
        let standard: [(String, [ListenerSettings])] = [
            ("smtpd", suite.smtpd.listeners), ("imapd", suite.imapd.listeners),
            ("pop3d", suite.pop3d.listeners),
        ]
        for (daemon, settings) in standard where listeners[daemon]?.isEmpty ?? true {
            listeners[daemon] = settings.map { listener in
                var draft = ListenerDraft()
                draft.name = listener.name
                draft.address = listener.address
                draft.mode = listener.mode
                let place = Diagnostic(
                    severity: .error, message: "", file: "default", line: nil, column: nil)
                return WrittenListener(draft: draft, place: place, hasAddress: true)
            }
        }
    }

    mutating func finish(machineName: String) {
        fillGaps(machineName: machineName)
        suite.smtpd.listeners = settings("smtpd")
        suite.imapd.listeners = settings("imapd")
        suite.pop3d.listeners = settings("pop3d")
        checkAddresses()
        checkRelays()
        checkAuthHelpers()
        checkClientCertificates()
        checkCertificate("server", suite.server.tls, listeners: [])
        if suite.smtpd.isEnabled {
            checkCertificate("smtpd", suite.smtpd.tls, listeners: suite.smtpd.listeners)
        }
        if suite.imapd.isEnabled {
            checkCertificate("imapd", suite.imapd.tls, listeners: suite.imapd.listeners)
        }
        if suite.pop3d.isEnabled {
            checkCertificate("pop3d", suite.pop3d.tls, listeners: suite.pop3d.listeners)
        }
        checkLogins()
    }

    private mutating func checkLogins() {
        if suite.server.auth.methods.isEmpty {
            suite.server.auth.methods = Schema.defaults.server.auth.methods
            let methods = suite.server.auth.methods.joined(separator: ", ")
            report(
                general(
                    .warning,
                    "[server.auth] methods has none that is supported: \(methods) are used"))
        }
        if suite.msgstored.authBackends.isEmpty {
            suite.msgstored.authBackends = Schema.defaults.msgstored.authBackends
            report(
                general(
                    .warning,
                    "[msgstored.auth] backend has none that is supported: internal is used"))
        }
        if suite.msgstored.authBackends.contains("file"), suite.msgstored.passwordFile.isEmpty {
            report(
                general(
                    .error, "[msgstored.auth] backend has \"file\", but file_path is not set",
                    notes: ["set file_path to the file with the lines user@domain:{SCHEME}hash"]))
        }
    }

    func general(
        _ severity: Diagnostic.Severity, _ message: String, notes: [String] = []
    ) -> Diagnostic {
        Diagnostic(
            severity: severity, message: message, file: "mail.toml", line: nil, column: nil,
            notes: notes)
    }

    private mutating func fillGaps(machineName: String) {
        let hasServer = origins["server.hostname"] != nil && !suite.server.hostname.isEmpty
        let hasSMTP = origins["smtpd.hostname"] != nil && !suite.smtpd.hostname.isEmpty
        let machine = machineName.isEmpty ? "localhost" : machineName
        let server = suite.server.hostname
        let smtp = suite.smtpd.hostname
        suite.server.hostname = hasServer ? server : hasSMTP ? smtp : machine
        suite.smtpd.hostname = hasSMTP ? smtp : hasServer ? server : machine
        if origins["msgstored.maildir_root"] == nil {
            suite.msgstored.maildirRoot = suite.server.stateDirectory + "/mail"
        }
        suite.smtpd.tls = merged(suite.smtpd.tls, "smtpd")
        suite.imapd.tls = merged(suite.imapd.tls, "imapd")
        suite.pop3d.tls = merged(suite.pop3d.tls, "pop3d")
    }

    private func merged(_ own: TLSSettings, _ daemon: String) -> TLSSettings {
        var tls = own
        let shared = suite.server.tls
        func isOwn(_ key: String) -> Bool { origins["\(daemon).tls.\(key)"] != nil }
        // A certificate without its key would take another's key: both or none come from outside.
        if !isOwn("cert_file") && !isOwn("key_file") {
            tls.certificateFile = shared.certificateFile
            tls.keyFile = shared.keyFile
        }
        if !isOwn("min_version") { tls.minimumVersion = shared.minimumVersion }
        if !isOwn("ciphers") { tls.ciphers = shared.ciphers }
        if !isOwn("ciphersuites") { tls.cipherSuites = shared.cipherSuites }
        if !isOwn("sni_dir") { tls.namesDirectory = shared.namesDirectory }
        if !isOwn("alpn") { tls.checksProtocol = shared.checksProtocol }
        if !isOwn("session_tickets") { tls.sendsTickets = shared.sendsTickets }
        if !isOwn("reload_interval") { tls.reloadInterval = shared.reloadInterval }
        if !isOwn("client_certificates") { tls.clientCertificates = shared.clientCertificates }
        if !isOwn("client_ca_file") { tls.clientAuthorities = shared.clientAuthorities }
        return tls
    }

    private mutating func settings(_ daemon: String) -> [ListenerSettings] {
        var result: [ListenerSettings] = []
        for written in listeners[daemon] ?? [] where written.draft.isEnabled {
            if let listener = check(written, daemon) { result.append(listener) }
        }
        return result
    }

    private mutating func check(_ written: WrittenListener, _ daemon: String) -> ListenerSettings? {
        let draft = written.draft
        let table = "[\(daemon).listeners.\(draft.name)]"
        guard written.hasAddress else {
            // A wrong address has been reported already.
            if !diagnostics.contains(where: { $0.message.hasPrefix("`address` in \(table)") }) {
                report(
                    at: written, "\(table) needs an address", ["write address = \":2525\" below it"]
                )
            }
            return nil
        }
        let modes = Schema.modes(of: daemon)
        var mode = draft.mode.lowercased()
        if mode.isEmpty, case .tcp(_, let port) = draft.address {
            mode = Schema.defaultMode(ofPort: port, daemon: daemon) ?? ""
        }
        if mode.isEmpty, modes.now.contains(draft.name) { mode = draft.name }
        if modes.later.contains(mode) {
            report(
                at: written,
                "\(table): mode \"\(mode)\" is not supported in this version yet: ignored",
                [], .warning)
            return nil
        }
        guard modes.now.contains(mode) else {
            let list = modes.now.joined(separator: ", ")
            let meant = suggestion(for: mode, among: modes.now)
            report(
                at: written,
                mode.isEmpty
                    ? "\(table) needs a mode" : "\(table): `\(mode)` is not a mode of \(daemon)",
                [meant.map { "did you mean \"\($0)\"?" } ?? "one of \(list)"])
            return nil
        }
        let isImplicit = mode == "smtps" || mode == "imaps" || mode == "pop3s"
        var listener = ListenerSettings(
            name: draft.name, address: draft.address, mode: mode,
            tlsImplicit: isImplicit || draft.alwaysOnTLS, maxClients: draft.maxClients)
        listener.maxClientsPerAddress = draft.maxClientsPerAddress
        listener.maxMessageSize = draft.maxMessageSize
        listener.maxRecipients = draft.maxRecipients
        listener.expectsProxy = draft.expectsProxy
        listener.encryption = draft.encryption
        if !draft.authentication.isEmpty { listener.authentication = draft.authentication }
        checkSafety(listener, written)
        return listener
    }

    mutating func report(
        at written: WrittenListener, _ message: String, _ notes: [String],
        _ severity: Diagnostic.Severity = .error
    ) {
        var diagnostic = written.place
        diagnostic.severity = severity
        diagnostic.message = message
        diagnostic.notes = notes
        report(diagnostic)
    }

    /// No two sockets of enabled daemons at one address.
    private mutating func checkAddresses() {
        var taken: [(owner: String, address: ListenAddress)] = []
        let daemons: [(String, Bool, [ListenerSettings], MetricsSettings)] = [
            ("smtpd", suite.smtpd.isEnabled, suite.smtpd.listeners, suite.smtpd.metrics),
            ("imapd", suite.imapd.isEnabled, suite.imapd.listeners, suite.imapd.metrics),
            ("pop3d", suite.pop3d.isEnabled, suite.pop3d.listeners, suite.pop3d.metrics),
            ("msgstored", suite.msgstored.isEnabled, [], suite.msgstored.metrics),
        ]
        for (daemon, isEnabled, listeners, metrics) in daemons where isEnabled {
            for listener in listeners {
                taken.append(("[\(daemon).listeners.\(listener.name)]", listener.address))
            }
            if metrics.enabled { taken.append(("[\(daemon).metrics]", metrics.address)) }
        }
        for (index, one) in taken.enumerated() {
            guard let other = taken[..<index].first(where: { collide($0.address, one.address) })
            else { continue }
            let text = AddressNotation.format(one.address)
            let message = "\(one.owner) cannot listen at \(text): \(other.owner) does"
            let place = self.listeners.values.joined().first {
                one.owner.hasSuffix(".listeners.\($0.draft.name)]")
                    && $0.draft.address == one.address
            }
            let note = "give one of them another port"
            if let place {
                report(at: place, message, [note])
            } else {
                report(general(.error, message, notes: [note]))
            }
        }
    }

    private func collide(_ left: ListenAddress, _ right: ListenAddress) -> Bool {
        guard case .tcp(let oneHost, let onePort) = left,
            case .tcp(let otherHost, let otherPort) = right
        else { return left == right }
        return onePort == otherPort
            && (oneHost == otherHost || oneHost.isEmpty || otherHost.isEmpty)
    }

    private mutating func checkCertificate(
        _ section: String, _ tls: TLSSettings, listeners settings: [ListenerSettings]
    ) {
        let isWritten = origins["\(section).tls.cert_file"] != nil
        let isKeyWritten = origins["\(section).tls.key_file"] != nil
        if tls.certificateFile.isEmpty != tls.keyFile.isEmpty || isWritten != isKeyWritten,
            isWritten || isKeyWritten
        {
            let (has, needs) = isWritten ? ("cert_file", "key_file") : ("key_file", "cert_file")
            report(
                general(
                    .error, "[\(section).tls] has \(has) but no \(needs)",
                    notes: ["a certificate and its key are set together"]))
            return
        }
        guard !tls.hasCertificate, !suite.server.devMode else { return }
        for listener in settings where listener.tlsImplicit || listener.mode == "submission" {
            let message =
                "[\(section).listeners.\(listener.name)] needs a certificate, and none is set"
            let note = "set [server.tls] cert_file and key_file, or run: mailctl tls self-signed"
            if let written = listeners[section]?.first(where: { $0.draft.name == listener.name }) {
                report(at: written, message, [note])
            } else {
                report(general(.error, message, notes: [note]))
            }
        }
    }
}
