// SPDX-License-Identifier: Apache-2.0
//
// The control door of msgstored, blocking. docs/wire.md. Requests may be sent ahead of answers;
// answers come with their parts, in whatever order the store has them.

import CLinux
import Glibc
import Mail
import Wire

/// A descriptor that came from somewhere; closed when it goes.
final class OpenFile {
    let descriptor: Int32
    init(owning descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }
}

/// A part of an answer, or its last.
struct Answer {
    var id: UInt32
    var reply: Reply
    /// False for a part: more follows for the same id.
    var isLast: Bool
    /// What came with it: a file to write (`.staged`) or to read (`.message` without octets).
    var file: OpenFile?
}

/// A connection to control.sock.
struct ControlClient {
    private let stream: StreamSocket
    private let input: FrameInput
    private var lastID: UInt32 = 0
    private var fragments: [UInt32: [UInt8]] = [:]

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
        input = FrameInput(stream, seconds: seconds)
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
        let octets = try input.take(FrameHeader.octets)
        let header: FrameHeader
        do throws(WireError) { header = try FrameHeader(octets) } catch { throw Self.broken(error) }
        return (header, try input.take(header.payloadCount))
    }

    /// Sends without waiting. At most 1,024 may be unanswered, and whoever asks for much must
    /// take it.
    /// - Returns: the id under which `next` brings the result.
    mutating func send(_ request: Request) throws(Failure) -> UInt32 {
        lastID += 1
        var frame: [UInt8] = []
        do throws(WireError) { frame = try Frame.encode(request, id: lastID) } catch {
            throw Failure(.badData, "the request cannot be sent: \(error)")
        }
        try stream.write(frame)
        return lastID
    }

    /// Waits for the next part or reply to any request. Events are left out: mailctl asks.
    mutating func next() throws(Failure) -> Answer {
        while true {
            let (header, payload) = try nextFrame()
            if header.kind == .event { continue }
            do throws(WireError) {
                guard header.kind == .reply || header.kind == .part,
                    let code = ReplyCode(rawValue: header.opcode)
                else { throw .invalid("frame") }
                if code == .fragment {
                    let known = fragments[header.request]?.count ?? 0
                    guard header.kind == .part, known + payload.count <= WireLimit.fragmentedReply
                    else { throw .oversized }
                    fragments[header.request, default: []] += payload
                    continue
                }
                var octets = payload
                if header.kind == .reply, let first = fragments.removeValue(forKey: header.request)
                {
                    octets = first + payload
                }
                var decoder = Decoder(octets)
                let reply = try Reply(code, from: &decoder)
                guard reply.carriesDescriptor == header.hasDescriptor else {
                    throw .invalid("descriptor")
                }
                let file = header.hasDescriptor ? input.takeFile() : nil
                if header.hasDescriptor, file == nil { throw .invalid("descriptor") }
                return Answer(
                    id: header.request, reply: reply, isLast: header.kind == .reply, file: file)
            } catch {
                throw Self.broken(error)
            }
        }
    }

    /// Asks and waits; nothing else may be unanswered.
    ///
    /// - Parameter onPart: gets what comes in front of the reply.
    mutating func call(
        _ request: Request, onPart: (Answer) throws(Failure) -> Void
    ) throws(Failure) -> Answer {
        let id = try send(request)
        while true {
            let answer = try next()
            guard answer.id == id else {
                throw Failure(.remoteProtocol, "msgstored answered another question")
            }
            if answer.isLast { return answer }
            try onPart(answer)
        }
    }

    /// Asks and waits. Parts are dropped.
    mutating func call(_ request: Request) throws(Failure) -> Reply {
        try call(request) { _ throws(Failure) in }.reply
    }
}

/// What came on the socket and was not taken yet, with the descriptors that came along.
private final class FrameInput {
    private static let room = 256 << 10
    /// Descriptors that may wait: more than the store ever sends ahead.
    private static let fileLimit = 4_096

    private let stream: StreamSocket
    private let seconds: Int
    private var buffer = [UInt8](repeating: 0, count: room)
    private var start = 0
    private var end = 0
    private var files: [OpenFile] = []

    init(_ stream: StreamSocket, seconds: Int) {
        self.stream = stream
        self.seconds = seconds
    }

    func takeFile() -> OpenFile? { files.isEmpty ? nil : files.removeFirst() }

    /// Exactly `count` octets.
    func take(_ count: Int) throws(Failure) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(count)
        while true {
            let some = min(count - octets.count, end - start)
            octets += buffer[start..<(start + some)]
            start += some
            if octets.count == count { return octets }
            try fill()
        }
    }

    private func fill() throws(Failure) {
        while true {
            var waiting = pollfd(fd: stream.descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe poll(&waiting, 1, Int32(clamping: seconds * 1000))
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else {
                throw ready == 0
                    ? Failure(.unavailable, "msgstored gave no answer in \(seconds) s")
                    : .system("poll", errno)
            }
            var received: Int32 = -1
            let count = unsafe buffer.withUnsafeMutableBytes { space in
                unsafe martlet_receive(
                    stream.descriptor, space.baseAddress, space.count, &received)
            }
            if received >= 0 { files.append(OpenFile(owning: received)) }
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count >= 0 else { throw .system("connection lost", errno, .unavailable) }
            guard count > 0 else {
                throw Failure(
                    .unavailable, "msgstored closed the connection",
                    hints: ["its log says why:  journalctl -u msgstored"])
            }
            guard files.count <= Self.fileLimit else {
                throw Failure(.remoteProtocol, "msgstored sent too many files")
            }
            start = 0
            end = count
            return
        }
    }
}
