// swift-tools-version: 6.2
import PackageDescription

// Every target is Swift 6 mode (the tools version implies it) with these on top.
let common: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]
let strict = common + [.strictMemorySafety()]

/// A protocol core or value library: bytes in, values out. No I/O, no clock, no Foundation.
func pure(
    _ name: String, _ uses: [Target.Dependency], also extra: [SwiftSetting] = []
) -> Target {
    .target(name: name, dependencies: uses, swiftSettings: strict + extra)
}

/// Talks to the machine: sockets, files, OpenSSL, SQLite, journald.
func machine(_ name: String, _ uses: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: uses, swiftSettings: strict)
}

/// The logic of one daemon, testable in-process.
func server(_ name: String, _ uses: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: uses, swiftSettings: strict)
}

/// main.swift and nothing else.
func program(_ name: String, _ uses: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: uses, swiftSettings: strict)
}

func tests(_ name: String, _ uses: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: uses, swiftSettings: common)
}

let package = Package(
    name: "martlet",
    products: [
        // The SMTP server for programs of others; the daemons are products without being named.
        .library(name: "MartletSMTP", targets: ["MartletSMTP"])
    ],
    targets: [
        // 0 · C libraries, as module maps only; CToml is the one compiled shim (toml++ is C++)
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(
            name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .systemLibrary(
            name: "CArgon2", pkgConfig: "libargon2", providers: [.apt(["libargon2-dev"])]),
        .systemLibrary(name: "CIDN2", pkgConfig: "libidn2", providers: [.apt(["libidn2-dev"])]),
        .systemLibrary(name: "CCrypt", providers: [.apt(["libcrypt-dev"])]),
        .systemLibrary(
            name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CLDAP", pkgConfig: "ldap", providers: [.apt(["libldap-dev"])]),
        .target(name: "CToml"),

        // 1 · pure: may use only pure targets and, for computing, libargon2, libcrypto, libidn2
        pure("Bytes", [], also: [.enableExperimentalFeature("Lifetimes")]),
        pure("IDNA", ["Bytes", "CIDN2"]),
        pure("Mail", ["Bytes", "IDNA"]),
        pure("MIME", ["Bytes", "Mail"]),
        pure("Network", ["Bytes"]),
        pure("SMTP", ["Bytes", "IDNA", "Mail", "Network"]),
        pure("IMAP", ["Bytes", "Mail", "MIME"]),
        pure("POP3", ["Bytes", "Mail"]),
        pure("Interchange", ["Bytes", "Mail", "MIME", "IMAP"]),
        pure("SASL", ["Bytes"]),
        pure("Crypto", ["Bytes", "CArgon2", "CCrypt", "CSSL"]),
        pure("Tokens", ["Bytes", "CSSL"]),
        pure("Wire", ["Bytes", "IDNA", "Mail"], also: [.enableExperimentalFeature("Lifetimes")]),
        pure("Settings", []),
        pure("Config", ["Bytes", "IDNA", "IMAP", "Mail", "Network", "Settings", "CToml"]),

        // 2 · machine: may use pure targets and the machine targets above them
        machine("Telemetry", ["Bytes"]),
        machine(
            "Transport", ["Bytes", "Mail", "Network", "Telemetry", "CLinux", "CSSL", "CZlib"]),
        machine(
            "Store", ["Bytes", "Mail", "MIME", "Crypto", "Transport", "CSQLite", "CLinux"]),
        machine(
            "StoreClient",
            ["Bytes", "Mail", "SASL", "Crypto", "Wire", "Telemetry", "Transport", "CLinux"]),
        machine(
            "Serving",
            ["Bytes", "Mail", "Network", "Settings", "Telemetry", "Transport", "CLinux"]),
        machine(
            "Daemon",
            [
                "Bytes", "Config", "Settings", "Telemetry", "Transport", "Serving", "CSystemd",
                "CLinux",
            ]),

        // 3 · servers: may use pure and machine targets, never each other
        server(
            "SMTPServer",
            [
                "Bytes", "Mail", "MIME", "Network", "SMTP", "SASL", "Wire", "Settings",
                "Telemetry", "Transport", "StoreClient", "Serving",
            ]),
        server(
            "IMAPServer",
            [
                "Bytes", "Mail", "MIME", "IMAP", "SASL", "Wire", "Config", "Telemetry", "Transport",
                "StoreClient", "Daemon",
            ]),
        server(
            "POP3Server",
            [
                "Bytes", "Mail", "POP3", "SASL", "Wire", "Config", "Telemetry", "Transport",
                "StoreClient", "Daemon",
            ]),
        server(
            "StoreServer",
            [
                "Bytes", "Mail", "MIME", "Wire", "Crypto", "Config", "Telemetry", "Transport",
                "Store", "Daemon",
            ]),

        // The only target with anything public in it: docs/library.md
        server(
            "MartletSMTP",
            [
                "Bytes", "Mail", "Network", "SMTP", "SASL", "Wire", "Settings", "Telemetry",
                "Transport", "StoreClient", "Serving", "SMTPServer",
            ]),
        server("AuthHelper", ["Bytes", "Settings", "Telemetry", "Transport", "Serving", "Wire"]),
        server(
            "OAuthHelper",
            [
                "Bytes", "Tokens", "Wire", "Settings", "Telemetry", "Serving", "AuthHelper",
                "CCurl",
            ]),
        server("LDAPHelper", ["Bytes", "Wire", "Settings", "Serving", "AuthHelper", "CLDAP"]),

        // 4 · programs: one server each
        program("smtpd", ["Daemon", "SMTPServer"]),
        program("imapd", ["Daemon", "IMAPServer"]),
        program("pop3d", ["Daemon", "POP3Server"]),
        program("msgstored", ["Daemon", "StoreServer"]),
        program("authd-oauth", ["Daemon", "OAuthHelper"]),
        program("authd-ldap", ["Daemon", "LDAPHelper"]),
        program(
            "mailctl",
            [
                "Bytes", "IDNA", "Mail", "MIME", "IMAP", "Interchange", "Wire", "Crypto", "Config",
                "CLinux", "CSSL", "Store",
            ]),

        // tests
        tests("BytesTests", ["Bytes"]),
        tests("MailTests", ["Mail", "IDNA", "Bytes"]),
        tests("MIMETests", ["MIME", "Mail", "Bytes"]),
        tests("NetworkTests", ["Network", "Bytes"]),
        tests("SMTPTests", ["SMTP", "Mail", "Network", "Bytes"]),
        tests("IMAPTests", ["IMAP", "MIME", "Mail", "Bytes"]),
        tests("POP3Tests", ["POP3", "Mail", "Bytes"]),
        tests("InterchangeTests", ["Interchange", "Mail", "Bytes"]),
        tests("SASLTests", ["SASL", "Crypto", "Bytes"]),
        tests("CryptoTests", ["Crypto", "Bytes"]),
        tests("WireTests", ["Wire", "Mail", "Bytes"]),
        tests("ConfigTests", ["Config", "Mail", "Bytes"]),
        tests("AuthHelperTests", ["Tokens", "LDAPHelper", "Wire", "Bytes"]),
        tests("TelemetryTests", ["Telemetry", "Bytes"]),
        tests(
            "TransportTests",
            ["Transport", "Telemetry", "Mail", "Bytes", "CLinux", "CSSL", "CZlib"]),
        tests(
            "DaemonTests",
            [
                "Daemon", "Serving", "Transport", "Telemetry", "Network", "Config", "Bytes",
                "CLinux",
            ]),
        tests("StoreTests", ["Store", "Crypto", "MIME", "Mail", "Bytes", "CLinux"]),
        tests(
            "SMTPServerTests",
            [
                "SMTPServer", "SMTP", "StoreClient", "Wire", "Telemetry", "Transport", "Config",
                "Daemon", "Serving", "Mail", "Network", "Bytes", "CLinux",
            ]),
        tests("MartletSMTPTests", ["MartletSMTP", "CLinux"]),
        tests(
            "StoreServerTests",
            [
                "StoreServer", "StoreClient", "Store", "SASL", "Crypto", "Wire", "Transport",
                "Config", "Mail", "Bytes", "CLinux",
            ]),
    ]
)

// `make fuzz` sets FUZZ; libFuzzer brings its own main, so these cannot be in a plain build.
if Context.environment["FUZZ"] != nil {
    let cores: [(name: String, uses: [Target.Dependency])] = [
        ("SMTP", ["SMTP", "Mail", "Bytes"]),
        ("IMAP", ["IMAP", "MIME", "Mail", "Bytes"]),
        ("POP3", ["POP3", "Mail", "Bytes"]),
        ("MIME", ["MIME", "IMAP", "Mail", "Bytes"]),
        ("Interchange", ["Interchange", "Mail", "Bytes"]),
        ("SASL", ["SASL", "Bytes"]),
        ("Password", ["Crypto", "Bytes"]),
        ("Tokens", ["Tokens", "Bytes"]),
        ("Network", ["Network", "Bytes"]),
        ("Wire", ["Wire", "Mail", "Bytes"]),
        ("Config", ["Config", "Mail", "Bytes"]),
    ]
    for core in cores {
        package.targets.append(
            .executableTarget(
                name: "fuzz-\(core.name.lowercased())", dependencies: core.uses,
                path: "Tests/Fuzz/\(core.name)",
                swiftSettings: common + [.unsafeFlags(["-parse-as-library"])]))
    }
}
