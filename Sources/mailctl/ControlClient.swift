// SPDX-License-Identifier: Apache-2.0
//
// The control door of msgstored, blocking. docs/wire.md. Requests may be sent ahead of answers.

import Mail
import Wire

/// A connection to control.sock.
struct ControlClient {
    private let stream: StreamSocket
    private var lastID: UInt32 = 0

    /// Connects and greets.
    init(path: String, seconds: Int = 60) throws(Failure) {
        do throws(Failure) {
            stream = try StreamSocket(unix: path, seconds: seconds)
        } catch {
            throw Failure(
                error.code == .permission ? .permission : .unavailable,
                "msgstored is not reachable: \(error.message)",
                hints: [
                    error.code == .permission
                        ? "run as root, or as a member of the group martlet-control"
                        : "is it running?  systemctl status msgstored"
                ])
        }
        let hello = Hello(door: .control, program: Array("mailctl".utf8))
        var greeting: [UInt8] = []
        do throws(WireError) { greeting = try Frame.encode(hello) } catch {
            throw Self.broken(error)
        }
        try stream.write(greeting)
        let (header, payload) = try nextFrame()
        do throws(WireError) {
            guard header.kind == .hello else { throw .invalid("hello") }
            var decoder = Decoder(payload)
            let hello = try Hello(from: &decoder)
            try decoder.finish()
            guard hello.door == .control else { throw .invalid("door") }
        } catch {
            throw Self.broken(error)
        }
    }

    private static func broken(_ error: WireError) -> Failure {
        Failure(
            .remoteProtocol, "msgstored speaks another protocol: \(error)",
            hints: ["are mailctl and msgstored of the same version?"])
    }

    private func nextFrame() throws(Failure) -> (FrameHeader, [UInt8]) {
        let octets = try stream.readExactly(FrameHeader.octets)
        let header: FrameHeader
        do throws(WireError) { header = try FrameHeader(octets) } catch { throw Self.broken(error) }
        return (header, try stream.readExactly(header.payloadCount))
    }

    /// Sends without waiting.
    /// - Returns: the id under which `answer` brings the result.
    mutating func send(_ request: Request) throws(Failure) -> UInt32 {
        lastID += 1
        var frame: [UInt8] = []
        do throws(WireError) { frame = try Frame.encode(request, id: lastID) } catch {
            throw Failure(.badData, "the request cannot be sent: \(error)")
        }
        try stream.write(frame)
        return lastID
    }

    /// The next answer, in whatever order they come; what came in parts is joined.
    func answer() throws(Failure) -> (id: UInt32, reply: Reply) {
        var parts: [UInt32: Reply] = [:]
        while true {
            let (header, payload) = try nextFrame()
            let reply: Reply
            do throws(WireError) {
                guard header.kind == .reply || header.kind == .part,
                    let code = ReplyCode(rawValue: header.opcode)
                else { throw .invalid("frame") }
                var decoder = Decoder(payload)
                reply = try Reply(code, from: &decoder)
                try decoder.finish()
            } catch {
                throw Self.broken(error)
            }
            let whole = Self.joined(parts[header.request], reply)
            if header.kind == .reply { return (header.request, whole) }
            parts[header.request] = whole
        }
    }

    private static func joined(_ first: Reply?, _ second: Reply) -> Reply {
        switch (first, second) {
        case (.accounts(let left), .accounts(let right)): .accounts(left + right)
        case (.accounts(let left), .done): .accounts(left)
        case (.domains(let left), .domains(let right)): .domains(left + right)
        case (.domains(let left), .done): .domains(left)
        default: second
        }
    }

    /// Asks and waits.
    mutating func call(_ request: Request) throws(Failure) -> Reply {
        let id = try send(request)
        let (answered, reply) = try answer()
        guard answered == id else {
            throw Failure(.remoteProtocol, "msgstored answered another question")
        }
        return reply
    }
}
