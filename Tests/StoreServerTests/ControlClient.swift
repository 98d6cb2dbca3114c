// SPDX-License-Identifier: Apache-2.0
//
// The tests' side of the door `control`: one blocking socket, one question at a time, written
// apart from mailctl's so that each checks the other. docs/wire.md.

import Bytes
import CLinux
import Glibc
import Mail
import Wire

/// Why a question to the store got no good answer.
enum ControlError: Error, Equatable, Sendable {
    /// The socket cannot be connected to: errno. ENOENT or ECONNREFUSED: msgstored does not run.
    case unreachable(Int32)
    /// The store said no.
    case refused(StoreFailure)
    /// No answer in time.
    case timedOut
    /// The connection broke, or what came is not the protocol (another version?).
    case broken(String)
}

/// Changes accounts and domains. Not for daemons: every call blocks.
final class ControlClient {
    private let socket: Int32
    private var lastID: UInt32 = 0

    /// Connects.
    ///
    /// - Parameters:
    ///   - path: of `control.sock`.
    ///   - patience: seconds that one answer may take.
    init(
        path: String, program: String = "mailctl", patience: Int = 120
    ) throws(ControlError) {
        socket = Glibc.socket(AF_UNIX, martlet_sock_stream | martlet_sock_cloexec, 0)
        guard socket >= 0 else { throw .unreachable(errno) }
        do throws(ControlError) {
            try connect(path, patience)
            try shakeHands(program)
        } catch {
            _ = close(socket)
            throw error
        }
    }

    deinit { _ = close(socket) }

    // MARK: - Questions

    func domains() throws(ControlError) -> [DomainInfo] {
        guard case .domains(let rows) = try call(.listDomains) else { throw Self.unexpected }
        return rows
    }

    func addDomain(_ name: [UInt8]) throws(ControlError) { try done(.addDomain(name)) }

    func removeDomain(_ name: [UInt8]) throws(ControlError) {
        try done(.removeDomain(name))
    }

    /// All accounts, or those of one domain.
    func accounts(domain: [UInt8] = []) throws(ControlError) -> [AccountInfo] {
        guard case .accounts(let rows) = try call(.listAccounts(domain: domain)) else {
            throw Self.unexpected
        }
        return rows
    }

    func change(_ change: AccountChange) throws(ControlError) {
        try done(.changeAccount(change))
    }

    func addAccount(_ address: EmailAddress, password: [UInt8]) throws(ControlError) {
        try change(.add(address: address, password: password, hash: []))
    }

    func setPassword(_ address: EmailAddress, password: [UInt8]) throws(ControlError) {
        try change(.setPassword(address: address, password: password, hash: []))
    }

    func removeAccount(_ address: EmailAddress, keepMail: Bool) throws(ControlError) {
        try change(.remove(address: address, keepMail: keepMail))
    }

    func status() throws(ControlError) -> StoreStatus {
        guard case .storeStatus(let status) = try call(.storeStatus) else { throw Self.unexpected }
        return status
    }

    func rebuildIndex(_ address: EmailAddress) throws(ControlError) {
        try done(.rebuildIndex(address))
    }

    // MARK: - The protocol

    private static let unexpected = ControlError.broken("unexpected answer")

    func done(_ request: Request) throws(ControlError) {
        guard case .done = try call(request) else { throw Self.unexpected }
    }

    /// Asks and waits for the answer.
    func call(_ request: Request) throws(ControlError) -> Reply {
        lastID += 1
        let frame: [UInt8]
        do {
            frame = try Frame.encode(request, id: lastID)
        } catch {
            throw .refused(.limit)
        }
        try send(frame)
        var fragments: [UInt8] = []
        while true {
            let (header, payload) = try nextFrame()
            guard header.request == lastID, !header.hasDescriptor,
                header.kind == .reply || header.kind == .part,
                let code = ReplyCode(rawValue: header.opcode)
            else { throw Self.unexpected }
            if header.kind == .part {
                guard code == .fragment,
                    fragments.count + payload.count <= WireLimit.fragmentedReply
                else { throw Self.unexpected }
                fragments += payload
                continue
            }
            let reply: Reply
            do {
                var decoder = Decoder(fragments + payload)
                reply = try Reply(code, from: &decoder)
            } catch {
                throw .broken("\(error)")
            }
            if case .failure(let failure) = reply { throw .refused(failure) }
            return reply
        }
    }

    private func shakeHands(_ program: String) throws(ControlError) {
        let hello = Hello(door: .control, program: Array(program))
        do {
            try send(try Frame.encode(hello))
            let (header, payload) = try nextFrame()
            guard header.kind == .hello else { throw Self.unexpected }
            var decoder = Decoder(payload)
            _ = try Hello(from: &decoder)
            try decoder.finish()
        } catch let error as ControlError {
            throw error
        } catch {
            throw .broken("\(error)")
        }
    }

    private func nextFrame() throws(ControlError) -> (FrameHeader, [UInt8]) {
        do {
            let header = try FrameHeader(try receive(FrameHeader.octets))
            return (header, try receive(header.payloadCount))
        } catch let error as ControlError {
            throw error
        } catch {
            throw .broken("\(error)")
        }
    }

    // MARK: - The socket

    private func connect(_ path: String, _ patience: Int) throws(ControlError) {
        var time = timeval(tv_sec: patience, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        guard setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, size) == 0,
            setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, size) == 0
        else { throw .unreachable(errno) }
        var address = sockaddr_un()
        let length = martlet_unix_address(&address, path)
        guard length > 0 else { throw .unreachable(ENAMETOOLONG) }
        let result = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                Glibc.connect(socket, address, length)
            }
        }
        guard result == 0 else { throw .unreachable(errno) }
    }

    private func send(_ octets: [UInt8]) throws(ControlError) {
        var done = 0
        while done < octets.count {
            let count = octets.withUnsafeBytes { buffer in
                Glibc.send(
                    socket, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                    martlet_msg_nosignal)
            }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                throw errno == EAGAIN ? .timedOut : .broken("send: errno \(errno)")
            }
        }
    }

    private func receive(_ count: Int) throws(ControlError) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(count)
        var room = [UInt8](repeating: 0, count: min(count, 65_536))
        while octets.count < count {
            let wanted = min(room.count, count - octets.count)
            let got = room.withUnsafeMutableBytes { buffer in
                recv(socket, buffer.baseAddress, wanted, 0)
            }
            if got > 0 {
                octets += room[0..<got]
            } else if got == 0 {
                throw .broken("msgstored closed the connection")
            } else if errno != EINTR {
                throw errno == EAGAIN ? .timedOut : .broken("receive: errno \(errno)")
            }
        }
        return octets
    }
}
