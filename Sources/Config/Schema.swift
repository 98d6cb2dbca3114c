// SPDX-License-Identifier: Apache-2.0
//
// The table of all keys. Reading, checks, mail.toml.example, docs/config.md, mail.toml(5) and
// `mailctl config describe` are made from it; nothing about a key is written anywhere else.

/// One listener while it is read.
struct ListenerDraft: Sendable {
    var name = ""
    var isEnabled = true
    var address = ListenAddress.tcp(host: "", port: 0)
    var mode = ""
    var alwaysOnTLS = false
    var maxClients: Int?
    var maxClientsPerAddress: Int?
    var maxMessageSize: Int?
    var maxRecipients: Int?
    var expectsProxy = false
    /// Empty: as the mode says.
    var authentication = ""
    var encryption = "offered"
}

/// One element of `[[domains]]` while it is read.
struct DomainDraft: Sendable {
    var name = ""
}

enum Target: Sendable {
    case suite(Slot<Suite>)
    case listener(Slot<ListenerDraft>)
    case domain(Slot<DomainDraft>)
}

/// One key of mail.toml.
struct Key: Sendable {
    /// Dotted; `*` stands for the name of a listener.
    var path: String
    var target: Target
    var doc: String
    /// Other paths of the same key in the files of programs that came before.
    var aliases: [String] = []
    /// Names in the environment beside MAIL_<SECTION>__<KEY>.
    var variables: [String] = []
    /// Shown in the example instead of the default.
    var example: String?
    /// In the example behind a `#`, because writing the default would change something.
    var isOptional = false
    var since = "0.1"

    var section: String { String(path[..<(path.lastIndex(of: ".") ?? path.startIndex)]) }
    var name: String {
        String(path[path.index(after: path.lastIndex(of: ".") ?? path.startIndex)...])
    }

    var isSupported: Bool {
        switch target {
        case .suite(.later), .listener(.later), .domain(.later), .suite(.pointless),
            .listener(.pointless), .domain(.pointless):
            false
        default: true
        }
    }

    var typeName: String {
        switch target {
        case .suite(let slot): slot.typeName
        case .listener(let slot): slot.typeName
        case .domain(let slot): slot.typeName
        }
    }

    /// As mail.toml would write it; nil if there is none.
    var defaultLiteral: String? {
        switch target {
        case .suite(let slot): slot.literal(in: Schema.defaults)
        case .listener(let slot): name == "address" ? nil : slot.literal(in: ListenerDraft())
        case .domain: nil
        }
    }

    /// Its own name in the environment; nil inside `[[domains]]`.
    var variable: String? {
        if case .domain = target { return nil }
        return Schema.variable(path)
    }
}

struct Section: Sendable {
    var path: String
    var doc: String
    /// Other names of the same table.
    var aliases: [String] = []
    /// Nothing in it is supported yet: one warning for all of it.
    var isLater = false
}

enum Schema {
    /// What is in force if nothing is written anywhere.
    static let defaults = Suite()

    static let keys: [Key] =
        serverKeys + smtpdKeys + smtpdLaterKeys + imapdKeys + pop3dKeys + storeKeys + otherKeys

    /// By path, aliases not included.
    static let byPath: [String: Key] = Dictionary(uniqueKeysWithValues: keys.map { ($0.path, $0) })

    static let sectionsByPath: [String: Section] = Dictionary(
        uniqueKeysWithValues: sections.map { ($0.path, $0) })

    /// From an alias to the canonical path: keys and sections.
    static let aliases: [String: String] = {
        var table: [String: String] = [:]
        for key in keys {
            for alias in key.aliases { table[alias] = key.path }
        }
        for section in sections {
            for alias in section.aliases { table[alias] = section.path }
        }
        for (alias, path) in listenerAliases { table[alias] = path }
        return table
    }()

    /// Daptin and Elemta have one address for all of SMTP: it becomes the listener `smtp`.
    static let listenerAliases: [String: String] = [
        "listen_addr": "smtpd.listeners.smtp.address",
        "smtpd.listen_addr": "smtpd.listeners.smtp.address",
        "smtpd.listen_interface": "smtpd.listeners.smtp.address",
        "smtpd.always_on_tls": "smtpd.listeners.smtp.always_on_tls",
        "imapd.listen_interface": "imapd.listeners.imap.address",
        "pop3d.listen_interface": "pop3d.listeners.pop3.address",
    ]

    /// Names in the environment that are not of the form MAIL_<SECTION>__<KEY>.
    static let variables: [String: String] = {
        var table: [String: String] = [:]
        for key in keys {
            for variable in key.variables { table[variable] = key.path }
        }
        return table
    }()

    static let daemons = ["smtpd", "imapd", "pop3d"]

    /// The modes of each daemon's listeners. `later`: known, but nothing serves them yet.
    static func modes(of daemon: String) -> (now: [String], later: [String]) {
        switch daemon {
        case "smtpd": (["smtp", "submission", "smtps", "alt"], ["lmtp"])
        case "imapd": (["imap", "imaps"], [])
        default: (["pop3", "pop3s"], [])
        }
    }

    static func defaultMode(ofPort port: UInt16, daemon: String) -> String? {
        switch (daemon, port) {
        case ("smtpd", 25): "smtp"
        case ("smtpd", 587): "submission"
        case ("smtpd", 465): "smtps"
        case ("smtpd", 2525): "alt"
        case ("imapd", 143): "imap"
        case ("imapd", 993): "imaps"
        case ("pop3d", 110): "pop3"
        case ("pop3d", 995): "pop3s"
        default: nil
        }
    }

    /// `smtpd.listeners.smtp.address` → `smtpd.listeners.*.address`.
    static func generalised(_ path: String) -> String {
        var parts = path.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 3, parts[1] == "listeners" else { return path }
        parts[2] = "*"
        return parts.joined(separator: ".")
    }

    /// `smtpd.max_clients` → `MAIL_SMTPD__MAX_CLIENTS`.
    static func variable(_ path: String) -> String {
        "MAIL_"
            + path.split(separator: ".", omittingEmptySubsequences: false)
            .map { $0 == "*" ? "<NAME>" : $0.uppercased() }.joined(separator: "__")
    }

    /// Keys and tables that may stand directly in `section`.
    static func members(of section: String) -> [String] {
        let prefix = section.isEmpty ? "" : section + "."
        var names: [String] = []
        for path in keys.map(\.path) + sections.map(\.path) where path.hasPrefix(prefix) {
            let rest = path.dropFirst(prefix.count)
            let name = String(rest.prefix { $0 != "." })
            if !name.isEmpty, name != "*", !names.contains(name) { names.append(name) }
        }
        return names
    }
}
