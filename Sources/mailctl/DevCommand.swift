// SPDX-License-Identifier: Apache-2.0
//
// `mailctl dev`: the whole suite on loopback, without root, for as long as this runs.

import CLinux
import Config
import Glibc
import Mail
import Wire

enum DevCommand {
    /// From the first start to the last answer.
    private static let startLimit: UInt64 = 60_000

    static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        var offset = 1000
        if let text = invocation.value("ports") {
            let digits = text.hasPrefix("+") ? String(text.dropFirst()) : text
            guard let number = Int(digits), (0...56_000).contains(number) else {
                throw Failure(.usage, "--ports takes a number from 0 to 56000, not \(text)")
            }
            offset = number
        }
        let wished = invocation.value("dir").map(Files.absolute)
        let isTemporary = wished == nil
        var directory = wished ?? ""
        if isTemporary { directory = try makeTemporary() }
        let layout = DevLayout(directory: directory, offset: offset)
        try Files.makeDirectory(directory, mode: 0o700)
        let lock = try takeLock(directory)
        defer { close(lock) }
        do throws(Failure) {
            try layout.prepare(extra: invocation.value("config"))
            var more: [DevAccount] = []
            if let file = invocation.value("accounts-file") { more = try readAccounts(file) }
            let check = try ConfigFiles.load(layout.configPath)
            guard check.suite != nil else {
                Terminal.error(check.report)
                throw Failure(.configuration, "the configuration has errors")
            }
            let code = try DevRun(
                layout: layout, invocation: invocation, isTemporary: isTemporary, more: more
            ).run(startLimit: startLimit)
            if isTemporary { Files.removeTree(directory) }
            return code
        } catch {
            if isTemporary { Files.removeTree(directory) }
            throw error
        }
    }

    /// The process between `mailctl dev` and a daemon: it knows its own pid, which sd_listen_fds(3)
    /// wants in LISTEN_PID, and becomes the daemon.
    static func child(_ invocation: Invocation) throws(Failure) -> ExitCode {
        guard let parent = Int32(invocation.arguments[0]) else {
            throw Failure(.usage, "dev-child is used by mailctl dev only")
        }
        guard martlet_die_with_parent(SIGTERM) == 0, getppid() == parent else {
            throw Failure(.software, "mailctl dev is gone")
        }
        unsafe setenv("LISTEN_PID", String(getpid()), 1)
        let program = invocation.arguments[1]
        let arguments = [program] + invocation.arguments.dropFirst(2)
        unsafe withTerminated(arguments) { argv in
            _ = unsafe execv(program, argv)
        }
        throw .system("cannot run \(program)", errno, .software)
    }

    private static func makeTemporary() throws(Failure) -> String {
        let base = Environment.value("TMPDIR") ?? "/tmp"
        var template = Array("\(base)/martlet-dev-\(String(repeating: "X", count: 6))".utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw .system("cannot create a directory in \(base)", errno, .cannotCreate)
        }
        return String(
            decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func takeLock(_ directory: String) throws(Failure) -> Int32 {
        let path = "\(directory)/dev.lock"
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("cannot open \(path)", errno, .cannotCreate) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw Failure(
                .tryAgain, "another mailctl dev runs in \(directory)",
                hints: ["choose another --dir, or stop that one"])
        }
        return descriptor
    }

    /// Lines of an address, blanks, and a password up to the end of the line.
    private static func readAccounts(_ path: String) throws(Failure) -> [DevAccount] {
        var accounts: [DevAccount] = []
        for (index, line) in try Files.read(path).split(separator: 0x0A).enumerated() {
            let parts = line.split(maxSplits: 1) { $0 == 0x20 || $0 == 0x09 }
            guard let first = parts.first, first.first != 0x23 else { continue }
            guard parts.count == 2, EmailAddress(splitting: Array(first)) != nil else {
                throw Failure(
                    .badData, "\(path):\(index + 1): a line is an address, a blank and a password")
            }
            accounts.append(
                DevAccount(
                    address: String(decoding: first, as: UTF8.self),
                    password: String(decoding: parts[1], as: UTF8.self)))
        }
        return accounts
    }
}
