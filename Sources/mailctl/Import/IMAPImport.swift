// SPDX-License-Identifier: Apache-2.0
//
// `mailctl import imap`: all mailboxes of an account of another server, with flags, dates and, on
// request, UIDs. Messages are fetched in groups, the next group asked for while one is read.

import Bytes
import Glibc
import IMAP
import Interchange
import Mail

enum IMAPImport {
    /// Messages of one FETCH.
    private static let group = 100
    /// FETCHes that are asked ahead.
    private static let window = 2

    static let command = Command(
        path: ["import", "imap"], count: 0...0,
        options: ImportCommands.shared + [
            Option(name: "host", value: "NAME", doc: "The server."),
            Option(name: "port", value: "NUMBER", doc: "Default: 993, else 143."),
            Option(name: "user", value: "NAME", doc: "Who logs in there."),
            Option(
                name: "password-stdin", value: nil,
                doc: "Read the password from the first line of standard input."),
            Option(
                name: "password-file", value: "FILE", doc: "Read it from the first line of FILE."),
            Option(name: "tls", value: nil, doc: "TLS from the first octet (the default)."),
            Option(name: "starttls", value: nil, doc: "TLS by STARTTLS."),
            Option(name: "insecure", value: nil, doc: "No TLS: everybody on the way can read it."),
            Option(name: "ca", value: "FILE", doc: "Trust the authorities in this PEM file."),
            Option(name: "no-verify", value: nil, doc: "Take any certificate."),
            Option(
                name: "folder", value: "NAMES",
                doc: "Only these mailboxes, by their names here, separated by commas."),
            Option(
                name: "keep-uid", value: nil,
                doc: "Keep UIDVALIDITY and UIDs, so that mail programs download nothing again."),
            Option(
                name: "sync", value: nil,
                doc: "Also bring the flags of messages that earlier runs brought."),
        ],
        summary: "Import an account of another IMAP server",
        detail: [
            """
            Folders, flags, keywords, dates and subscriptions come along. Nothing there is \
            changed: mailboxes are opened for reading only. Run it before the move, and again \
            behind it for what came since.
            """, ImportCommands.goesOn,
        ],
        examples: [
            """
            mailctl import imap --account alice@example.org --host old.example.org --user alice \
            --password-file secret --keep-uid
            """
        ],
        run: run)

    /// A mailbox there, and what it is called here.
    private struct Source {
        var listed: ListedMailbox
        var name: MailboxName
        var count = 0
    }

    private static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        guard let host = invocation.value("host"), let user = invocation.value("user") else {
            throw Failure(
                .usage, "which server and which user?", hints: ["--host NAME --user NAME"])
        }
        let server = try connect(invocation, host, user)
        let importer = try Importer(invocation, source: "imap \(user)@\(host.lowercased())")
        var sources = try sources(server, invocation)
        var total = 0
        for index in sources.indices {
            sources[index].count = try server.count(sources[index].listed.wireName)
            total += sources[index].count
        }
        importer.progress.total = total
        for source in sources {
            if importer.isDryRun {
                try importer.count(source.count, in: source.name)
            } else {
                try bring(source, server, importer)
            }
        }
        importer.report(invocation)
        return .ok
    }

    private static func connect(
        _ invocation: Invocation, _ host: String, _ user: String
    ) throws(Failure) -> IMAPServer {
        let ways = ["tls", "starttls", "insecure"].filter { invocation.has($0) }
        guard ways.count <= 1 else {
            throw Failure(.usage, "only one of --\(ways.joined(separator: ", --"))")
        }
        var security = ServerSecurity.tls
        if ways == ["starttls"] { security = .startTLS }
        if ways == ["insecure"] { security = .none }
        var port: UInt16 = security == .tls ? 993 : 143
        if let text = invocation.value("port") {
            guard let number = UInt16(text), number > 0 else {
                throw Failure(.usage, "`\(Shown.text(text))` is no port")
            }
            port = number
        }
        let password: [UInt8]
        if invocation.has("password-stdin") || invocation.has("password-file") {
            password = try Password.given(invocation, for: user).password
        } else {
            guard Terminal.isInputTerminal,
                let typed = Terminal.readSecret("Password of \(Shown.text(user)) there: ")
            else {
                throw Failure(
                    .usage, "no password, and no terminal to ask on",
                    hints: ["use --password-stdin or --password-file FILE"])
            }
            password = typed
        }
        let server = IMAPServer(try ServerConnection(host: host, port: port))
        try server.open(
            security, verify: !invocation.has("no-verify"), authorities: invocation.value("ca"),
            user: Array(user.utf8), password: password)
        return server
    }

    private static func sources(
        _ server: IMAPServer, _ invocation: Invocation
    ) throws(Failure) -> [Source] {
        let (listed, prefix) = try server.list()
        var wanted: Set<MailboxName>?
        if let text = invocation.value("folder") {
            var names: Set<MailboxName> = []
            for part in text.split(separator: ",") {
                names.insert(try MailSession.mailboxName(String(part)))
            }
            wanted = names
        }
        var found: [Source] = []
        var names: Set<MailboxName> = []
        for mailbox in listed where mailbox.isSelectable {
            guard let name = mailbox.name(prefix: prefix) else {
                Terminal.error("left out, no mailbox name: \(Shown.text(mailbox.wireName))")
                continue
            }
            if let wanted {
                guard wanted.contains(name) else { continue }
            } else if mailbox.isVirtual {
                Terminal.error("left out, a view of other mailboxes: \(Shown.text(name.octets))")
                continue
            }
            guard names.insert(name).inserted else {
                throw Failure(
                    .badData, "two mailboxes there would be \(Shown.text(name.octets)) here",
                    hints: ["choose with --folder"])
            }
            found.append(Source(listed: mailbox, name: name))
        }
        if let wanted {
            for name in wanted.sorted() where !names.contains(name) {
                throw Failure(
                    .noInput, "there is no mailbox \(Shown.text(name.octets)) on the server")
            }
        }
        return found.sorted { left, right in
            left.name.isInbox != right.name.isInbox ? left.name.isInbox : left.name < right.name
        }
    }

    // MARK: - Messages

    private static func bring(
        _ source: Source, _ server: IMAPServer, _ importer: Importer
    ) throws(Failure) {
        let (uidValidity, messages) = try server.examine(source.listed.wireName)
        try importer.begin(
            ImportedMailbox(
                name: source.name, use: source.listed.specialUse, sourceValidity: uidValidity,
                isSubscribed: source.listed.isSubscribed))
        if messages > 0 {
            let wanted = try unknown(server, importer, messages)
            var groups = stride(from: 0, to: wanted.count, by: group).map {
                wanted[$0..<min($0 + group, wanted.count)]
            }[...]
            var asked: [[UInt8]] = []
            while !groups.isEmpty || !asked.isEmpty {
                while asked.count < window, let next = groups.popFirst() {
                    asked.append(try server.send(fetch(next)))
                }
                let tag = asked.removeFirst()
                _ = try server.finish(tag, what: "FETCH") { response throws(Failure) in
                    try take(response, server, importer)
                }
            }
        }
        try importer.end()
    }

    private static func fetch(_ uids: ArraySlice<UInt32>) -> [UInt8] {
        let set = UIDRange.ranges(of: Array(uids)).map { range in
            range.first == range.last ? "\(range.first)" : "\(range.first):\(range.last)"
        }
        return Array(
            "UID FETCH \(set.joined(separator: ",")) (UID FLAGS INTERNALDATE BODY.PEEK[])")
    }

    /// UIDs that no earlier run brought, rising.
    private static func unknown(
        _ server: IMAPServer, _ importer: Importer, _ messages: Int
    ) throws(Failure) -> [UInt32] {
        var uids: [UInt32] = []
        try server.run(Array("UID FETCH 1:* (UID FLAGS)"), what: "FETCH") {
            response throws(Failure) in
            guard let message = FetchedMessage(response), let uid = message.uid else { return }
            if try importer.isKnown("\(uid)", flags: message.flags) { return }
            guard uids.count < 50_000_000 else {
                throw Failure(.remoteProtocol, "the server lists too many messages")
            }
            uids.append(uid)
        }
        uids.sort()
        var last: UInt32 = 0
        return uids.filter { uid in
            defer { last = uid }
            return uid != last
        }
    }

    private static func take(
        _ response: ServerResponse, _ server: IMAPServer, _ importer: Importer
    ) throws(Failure) {
        // News about flags have no body.
        guard let message = FetchedMessage(response), let uid = message.uid,
            let body = message.body, body != .nothing
        else { return }
        let spilled = server.spilled
        try importer.add(
            .known("\(uid)"), flags: message.flags ?? NamedFlags(), date: message.internalDate,
            uid: uid
        ) { sink throws(Failure) in
            var ends = LineEndings()
            if let octets = body.octets {
                var converted: [UInt8] = []
                ends.append(octets.span, to: &converted)
                try sink(converted)
            } else if let spilled {
                let octets = MessageOctets.file(spilled.file, size: spilled.size)
                try octets.forEachPiece { piece throws(Failure) in
                    var converted: [UInt8] = []
                    ends.append(piece.span, to: &converted)
                    try sink(converted)
                }
            }
        }
    }
}
