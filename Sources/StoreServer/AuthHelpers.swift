// SPDX-License-Identifier: Apache-2.0
//
// Asking the helpers that check passwords and tokens elsewhere: on threads of their own, so that a
// slow one never keeps those waiting whose password is here. A helper that is gone or slow is an
// outage, never a wrong password. docs/wire.md, "Helpers".

import Bytes
import CLinux
import Glibc
import Mail
import Synchronization
import Transport
import Wire

final class AuthHelpers: Sendable {
    private static let threads = 16
    /// Questions that may wait.
    private static let waitingLimit = 256
    /// For the whole question: longer than a helper's own `timeout` may be.
    private static let patience = Duration.seconds(35)

    private let workers = Workers(count: threads, name: "helper")
    private let waiting = Atomic<Int>(0)

    func ask(_ question: HelperQuestion, at path: String) async -> HelperAnswer {
        let before = waiting.wrappingAdd(1, ordering: .relaxed).oldValue
        defer { waiting.wrappingSubtract(1, ordering: .relaxed) }
        guard before < Self.waitingLimit else {
            return .unavailable(reason: Array("too many logins at once"))
        }
        return await workers.run { Self.askNow(question, path) }
    }

    /// Blocks.
    private static func askNow(_ question: HelperQuestion, _ path: String) -> HelperAnswer {
        let deadline = MonotonicInstant.now + patience
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { return failure(path, errno) }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: Int(patience.components.seconds), tv_usec: 0)
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        let length = unsafe martlet_unix_address(&address, path)
        let connected = unsafe withUnsafePointer(to: &address) { address in
            unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, length)
            }
        }
        guard length > 0, connected == 0 else { return failure(path, errno) }
        var rest = question.line[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes {
                unsafe send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return failure(path, errno) }
            rest = rest.dropFirst(count)
        }
        return receive(descriptor, path, deadline)
    }

    private static func receive(
        _ descriptor: Int32, _ path: String, _ deadline: MonotonicInstant
    ) -> HelperAnswer {
        var line: [UInt8] = []
        var room = [UInt8](repeating: 0, count: HelperAnswer.lineLimit)
        while line.count < HelperAnswer.lineLimit {
            let left = deadline - .now
            guard left > .zero else { return failure(path, ETIMEDOUT) }
            let milliseconds = Int32(clamping: left.components.seconds * 1_000 + 1)
            guard martlet_wait_readable(descriptor, milliseconds) > 0 else { continue }
            let count = unsafe read(descriptor, &room, room.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return failure(path, count == 0 ? ECONNRESET : errno) }
            line += room[..<count]
            if line.last == .lf {
                return HelperAnswer(line: line.dropLast()) ?? failure(path, EPROTO)
            }
        }
        return failure(path, EPROTO)
    }

    private static func failure(_ path: String, _ number: Int32) -> HelperAnswer {
        let reason = unsafe String(cString: strerror(number))
        return .unavailable(reason: Array("\(path): \(reason)"))
    }
}

/// Who is asked about a password.
enum PasswordSource: Equatable, Sendable {
    /// What this store knows: passwords of its own, the password file, app passwords.
    case here
    /// The path of a helper's socket.
    case helper(String)
}

extension DoorConnection {
    /// Asks one after the other until one says yes. Nil: too busy.
    func check(_ credentials: Credentials) async -> LoginVerdict? {
        let logins = core.logins
        var last = LoginVerdict.refused(.badCredentials)
        for source in logins.sources {
            let verdict: LoginVerdict
            switch source {
            case .here:
                guard let made = await core.hashing.run({ logins.check(credentials) }) else {
                    return nil
                }
                verdict = made
            case .helper(let path): verdict = await ask(path, credentials)
            }
            switch verdict {
            case .accepted, .refused(.disabled), .refused(.expired): return verdict
            // If one cannot say, the password may be right.
            case .failed: last = verdict
            case .refused: break
            }
        }
        return last
    }

    /// Only about accounts that are here.
    private func ask(_ path: String, _ credentials: Credentials) async -> LoginVerdict {
        let logins = core.logins
        let found = await core.run { logins.known(credentials) }
        guard case .accepted(let account, _) = found else { return found }
        let answer = await logins.helpers.ask(
            .password(
                name: account.address.octets, password: credentials.password,
                remote: credentials.remote, service: credentials.service), at: path)
        switch answer {
        case .right: return found
        case .wrong: return .refused(.badCredentials)
        case .unavailable(let reason): return .failed(String(decoding: reason, as: UTF8.self))
        }
    }

    /// The helper says whose token it is; an account of that name must be here.
    func check(token: [UInt8], name: [UInt8], _ client: LoginClient) async -> LoginVerdict {
        let logins = core.logins
        guard let path = logins.tokenHelper else { return .refused(.badCredentials) }
        let answer = await logins.helpers.ask(
            .token(token: token, remote: client.remote, service: client.service), at: path)
        switch answer {
        case .right(let user): return await core.run { logins.owner(of: user, wanted: name) }
        case .wrong: return .refused(.badCredentials)
        case .unavailable(let reason): return .failed(String(decoding: reason, as: UTF8.self))
        }
    }
}
