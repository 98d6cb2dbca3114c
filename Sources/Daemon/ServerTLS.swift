// SPDX-License-Identifier: Apache-2.0
//
// Certificates from settings: one TLS context per certificate and process, shared by all loops so
// that tickets of one loop resume on another. Under systemd the files are credentials
// (systemd.exec(5), LoadCredential=): `tls` for the directory of the configured file.

import CLinux
import Config
import Glibc
import Synchronization
import Transport

/// The context made last for each pair of files as they were then.
private let madeContexts = Mutex<[ContextKey: TLSContext]>([:])

/// Everything that makes two contexts the same.
private struct ContextKey: Hashable {
    var settings: [String]
    /// Device, inode, size and modification times of both files: a renewed certificate is another.
    var files: [Int64]
}

extension TLSContext {
    /// The context that `settings` ask for; nil if they name no certificate.
    ///
    /// Call it again on reload: files that changed are read again, others are not.
    /// - Parameter session: the daemon's name, see `server(certificate:key:…)`.
    package static func server(
        _ settings: TLSSettings, session: String
    ) throws(TLSContextError) -> TLSContext? {
        guard settings.hasCertificate else { return nil }
        let certificate = readablePath(settings.certificateFile)
        let key = readablePath(settings.keyFile)
        let identity = ContextKey(
            settings: [
                certificate, key, settings.minimumVersion.rawValue, settings.ciphers, session,
            ],
            files: fileIdentity(certificate) + fileIdentity(key))
        if let made = madeContexts.withLock({ $0[identity] }) { return made }
        let context = try TLSContext.server(
            certificate: certificate, key: key,
            minimum: settings.minimumVersion == .tls13 ? .tls13 : .tls12,
            ciphers: settings.ciphers, session: session)
        return madeContexts.withLock { made in
            // Two loops may get here together; the first one's context stays.
            if let first = made[identity] { return first }
            // Only the newest is kept: older ones live as long as their connections.
            for old in made.keys where old.settings == identity.settings { made[old] = nil }
            made[identity] = context
            return context
        }
    }
}

/// `path` itself if this process can read it, else the credential that systemd made of it: with
/// `LoadCredential=tls:/etc/martlet/tls` the file `/etc/martlet/tls/x.pem` is `tls_x.pem`. With
/// neither the path stays, so that the error names the file that the administrator knows.
func readablePath(_ path: String) -> String {
    guard unsafe access(path, R_OK) != 0, let directory = unsafe getenv("CREDENTIALS_DIRECTORY")
    else { return path }
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
