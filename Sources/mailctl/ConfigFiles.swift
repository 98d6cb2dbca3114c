// SPDX-License-Identifier: Apache-2.0
//
// Which files make up the configuration, and what they say together with the environment.

import Config
import Glibc

enum ConfigFiles {
    static let standardPath = "/etc/martlet/mail.toml"

    static func path(_ invocation: Invocation) -> String {
        invocation.value("config") ?? Environment.value("MARTLET_CONFIG") ?? standardPath
    }

    /// The file and then `<file>.d/*.toml` by name.
    static func read(_ path: String) throws(Failure) -> [(path: String, octets: [UInt8])] {
        guard Files.exists(path) else {
            throw Failure(
                .noInput, "there is no \(path)",
                hints: ["make one:  mailctl config example > \(path)", "or say --config FILE"])
        }
        var files: [(path: String, octets: [UInt8])] = []
        files.append((path, try Files.read(path, limit: 8 << 20)))
        for name in Files.names(in: "\(path).d") ?? [] where name.hasSuffix(".toml") {
            let fragment = "\(path).d/\(name)"
            files.append((fragment, try Files.read(fragment, limit: 8 << 20)))
        }
        return files
    }

    static func load(_ path: String) throws(Failure) -> ConfigResult {
        Suite.load(
            files: try read(path), environment: Environment.all, machineName: machineName,
            readFile: { file in
                do throws(Failure) { return try Files.read(file, limit: 1 << 20) } catch {
                    return nil
                }
            })
    }

    /// The settings; a configuration with errors ends the command.
    static func suite(_ invocation: Invocation) throws(Failure) -> Suite {
        let path = path(invocation)
        let result = try load(path)
        guard let suite = result.suite else {
            Terminal.error(result.report)
            throw Failure(
                .configuration, "the configuration has errors",
                hints: ["see: mailctl --config \(path) config check"])
        }
        return suite
    }

    static var machineName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard unsafe gethostname(&buffer, 255) == 0 else { return "localhost" }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
