// SPDX-License-Identifier: Apache-2.0
//
// The command line of every daemon, and the files it leads to.

import CLinux
import Config
import Glibc

/// What the command line asks for.
struct Arguments: Equatable {
    enum Action: Equatable {
        case serve, check, version, help
        case wrong(String)
    }

    static let defaultPath = "/etc/martlet/mail.toml"

    var action = Action.serve
    /// Nil: the default file, which need not exist.
    var path: String?

    init(_ words: [String], environment: [String: String]) {
        path = environment["MARTLET_CONFIG"]
        var index = 0
        while index < words.count {
            let word = words[index]
            index += 1
            switch word {
            case "-config", "--config", "-c":
                guard index < words.count else {
                    action = .wrong("\(word) needs a file name")
                    return
                }
                path = words[index]
                index += 1
            case "-t", "--check": action = .check
            case "--version", "-version": action = .version
            case "--help", "-help", "-h": action = .help
            case "--foreground": break  // always: systemd or the shell has the process
            default:
                guard let start = ["-config=", "--config="].first(where: word.hasPrefix) else {
                    action = .wrong("unknown argument \(word)")
                    return
                }
                path = String(word.dropFirst(start.count))
            }
        }
    }

    static func usage(_ program: String) -> String {
        """
        usage: \(program) [--config FILE] [-t]
          --config FILE   the configuration (default \(defaultPath), or $MARTLET_CONFIG)
          -t              check the configuration and exit
          --foreground    accepted and ignored: it never forks
          --version       print the version

        """
    }
}

/// The configuration files and the environment.
enum Sources {
    /// Why a file cannot be read.
    struct Unreadable: Error {
        let path: String
        let errno: Int32
    }

    /// `path` (nil: the default, which may be missing), then `path.d/*.toml` in order.
    static func files(
        _ path: String?
    ) throws(Unreadable) -> [(path: String, octets: [UInt8])] {
        let main = path ?? Arguments.defaultPath
        var files: [(path: String, octets: [UInt8])] = []
        do throws(Unreadable) {
            files.append((main, try read(main)))
        } catch {
            guard path == nil, error.errno == ENOENT else { throw error }
        }
        for name in fragments(main + ".d") {
            let fragment = "\(main).d/\(name)"
            files.append((fragment, try read(fragment)))
        }
        return files
    }

    private static func fragments(_ directory: String) -> [String] {
        guard let handle = unsafe opendir(directory) else { return [] }
        defer { unsafe closedir(handle) }
        var names: [String] = []
        while let entry = unsafe readdir(handle) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
                unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if name.hasSuffix(".toml"), !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    private static func read(_ path: String) throws(Unreadable) -> [UInt8] {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Unreadable(path: path, errno: errno) }
        defer { _ = close(file) }
        var octets: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65_536)
        while octets.count <= 4 << 20 {
            let count = unsafe Glibc.read(file, &room, room.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Unreadable(path: path, errno: errno) }
            if count == 0 { return octets }
            octets.append(contentsOf: room[0..<count])
        }
        throw Unreadable(path: path, errno: EFBIG)
    }

    static func environment() -> [String: String] {
        var result: [String: String] = [:]
        var next = unsafe martlet_environment()
        while let entry = unsafe next.pointee {
            let text = unsafe String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                result[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            unsafe next += 1
        }
        return result
    }

    static func machineName() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard unsafe gethostname(&name, 255) == 0 else { return "localhost" }
        let octets = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return octets.isEmpty ? "localhost" : String(decoding: octets, as: UTF8.self)
    }

    /// Everything together.
    static func load(_ path: String?) throws(Unreadable) -> ConfigResult {
        Suite.load(
            files: try files(path), environment: environment(), machineName: machineName(),
            readFile: { path in
                do throws(Unreadable) {
                    return try read(path)
                } catch {
                    return nil  // the configuration says so, with the variable's name
                }
            })
    }
}
