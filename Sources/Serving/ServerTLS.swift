// SPDX-License-Identifier: Apache-2.0
//
// Certificates from settings: one TLS context per process, shared by all loops so that tickets of
// one loop resume on another, with one more for each name of sni_dir. Under systemd the files are
// readable to the group martlet-tls, so that a reload takes over a renewed certificate; or, where
// they are not, credentials: copies made at the start (systemd.exec(5), LoadCredential=).

import Bytes
import CLinux
import Glibc
import Settings
import Synchronization
import Telemetry
import Transport

/// The context made last for each pair of files as they were then.
private let madeContexts = Mutex<[ContextKey: TLSContext]>([:])

/// Everything that makes two contexts the same.
private struct ContextKey: Hashable {
    var settings: TLSOptions.Identity
    /// Device, inode, size and times of all files: a renewed certificate is another.
    var files: [Int64]

    init(_ options: TLSOptions, _ named: [NamedCertificate]) {
        settings = options.identity
        files = fileIdentity(options.certificate) + fileIdentity(options.key)
        files += fileIdentity(options.clientAuthorities)
        for one in named { files += fileIdentity(one.certificate) + fileIdentity(one.key) }
    }
}

extension TLSOptions {
    fileprivate struct Identity: Hashable {
        var texts: [String]
        var flags: [Bool]
    }

    /// What mail.toml says, with the paths that this process can read.
    fileprivate init(_ settings: TLSSettings, session: String) {
        let pair = readablePair(settings)
        self.init(certificate: pair.certificate, key: pair.key, session: session)
        minimum = settings.minimumVersion == .tls13 ? .tls13 : .tls12
        ciphers = settings.ciphers
        cipherSuites = settings.cipherSuites
        sendsTickets = settings.sendsTickets
        clientCertificates =
            switch settings.clientCertificates {
            case "request": .requested
            case "require": .required
            default: .ignored
            }
        clientAuthorities =
            settings.clientAuthorities.isEmpty ? "" : readablePath(settings.clientAuthorities)
        guard settings.checksProtocol else { return }
        switch session {
        case "smtpd": applicationProtocol = .smtp
        case "imapd": applicationProtocol = .imap
        case "pop3d": applicationProtocol = .pop3
        default: break
        }
    }

    fileprivate var identity: Identity {
        Identity(
            texts: [certificate, key, ciphers, cipherSuites, session, clientAuthorities],
            flags: [
                minimum == .tls13, sendsTickets, applicationProtocol != nil,
                clientCertificates == .requested, clientCertificates == .required,
            ])
    }
}

/// One directory below sni_dir.
private struct NamedCertificate {
    var name: [UInt8]
    var certificate: String
    var key: String
}

extension TLSContext {
    /// The context that `settings` ask for; nil if they name no certificate.
    ///
    /// Call it again on reload: files that changed are read again, others are not.
    /// - Parameters:
    ///   - session: the daemon's name, see `TLSOptions`.
    ///   - isStrict: a certificate of sni_dir that cannot be used is an error, not a log line.
    package static func server(
        _ settings: TLSSettings, session: String, isStrict: Bool = false
    ) throws(TLSContextError) -> TLSContext? {
        guard settings.hasCertificate else { return nil }
        let options = TLSOptions(settings, session: session)
        let named = namedCertificates(settings.namesDirectory)
        let identity = ContextKey(options, named)
        if let made = madeContexts.withLock({ $0[identity] }) { return made }
        var names: [[UInt8]: TLSContext] = [:]
        for one in named {
            var own = options
            own.certificate = one.certificate
            own.key = one.key
            do throws(TLSContextError) {
                names[one.name] = try TLSContext.server(own)
            } catch {
                guard !isStrict else { throw error }
                Log.error("certificate not usable", [LogField("reason", error.description)])
            }
        }
        let context = try TLSContext.server(options, names: names)
        guard !isStrict else { return context }
        return madeContexts.withLock { made in
            // Two loops may get here together; the first one's context stays.
            if let first = made[identity] { return first }
            // Only the newest is kept: older ones live as long as their connections.
            for old in made.keys where old.settings.texts[4] == session { made[old] = nil }
            made[identity] = context
            return context
        }
    }

    /// The files of `settings` have changed since they were read.
    package static func isOutdated(_ settings: TLSSettings, session: String) -> Bool {
        guard settings.hasCertificate else { return false }
        let identity = ContextKey(
            TLSOptions(settings, session: session), namedCertificates(settings.namesDirectory))
        return madeContexts.withLock { $0[identity] == nil }
    }

    /// The certificate of `settings` as this process sees it: a copy that systemd made at the start
    /// does not change when the file is renewed.
    package static func isCopy(_ settings: TLSSettings) -> Bool {
        settings.hasCertificate && readablePair(settings).key != settings.keyFile
    }
}

/// `<directory>/<name>/fullchain.pem` and `privkey.pem`, by name. A directory that is not there has
/// none.
private func namedCertificates(_ directory: String) -> [NamedCertificate] {
    guard !directory.isEmpty, let handle = unsafe opendir(directory) else { return [] }
    defer { unsafe closedir(handle) }
    var found: [NamedCertificate] = []
    while let entry = unsafe readdir(handle), found.count < 10_000 {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
            unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) {
                unsafe String(cString: $0)
            }
        }
        let certificate = "\(directory)/\(name)/fullchain.pem"
        guard !name.hasPrefix("."), unsafe access(certificate, F_OK) == 0 else { continue }
        // `*` in a file name is a trap for shells: `_.example.com` is the same.
        let pattern = name.hasPrefix("_.") ? "*" + name.dropFirst() : name
        found.append(
            NamedCertificate(
                name: [UInt8](pattern.utf8).asciiLowercased, certificate: certificate,
                key: "\(directory)/\(name)/privkey.pem"))
    }
    return found.sorted { $0.certificate < $1.certificate }
}

/// Both themselves or both copies: after a renewal a copy of the key fits no new certificate.
private func readablePair(_ settings: TLSSettings) -> (certificate: String, key: String) {
    let key = readablePath(settings.keyFile)
    return (
        readablePath(settings.certificateFile, wantsCopy: key != settings.keyFile), key
    )
}

/// `path` itself if this process can read it, else the credential that systemd made of it: with
/// `LoadCredential=tls:/etc/martlet/tls` the file `/etc/martlet/tls/x.pem` is `tls_x.pem`. With
/// neither the path stays, so that the error names the file that the administrator knows.
func readablePath(_ path: String, wantsCopy: Bool = false) -> String {
    let isReadable = unsafe access(path, R_OK) == 0
    guard wantsCopy || !isReadable, let directory = unsafe getenv("CREDENTIALS_DIRECTORY") else {
        return path
    }
    let base = path.split(separator: "/").last.map(String.init) ?? path
    for name in ["tls_\(base)", base] {
        let credential = unsafe "\(String(cString: directory))/\(name)"
        if unsafe access(credential, R_OK) == 0 { return credential }
    }
    return path
}

private func fileIdentity(_ path: String) -> [Int64] {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return [] }
    return [
        Int64(bitPattern: UInt64(status.st_dev)), Int64(bitPattern: UInt64(status.st_ino)),
        Int64(status.st_size), Int64(status.st_mtim.tv_sec), Int64(status.st_mtim.tv_nsec),
        Int64(status.st_ctim.tv_sec), Int64(status.st_ctim.tv_nsec),
    ]
}
