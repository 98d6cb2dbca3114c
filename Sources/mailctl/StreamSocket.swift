// SPDX-License-Identifier: Apache-2.0
//
// Blocking sockets with time limits: mailctl does one thing at a time.

import CLinux
import CSSL
import Glibc

/// A connected stream; closed when it goes.
final class StreamSocket {
    let descriptor: Int32

    deinit { close(descriptor) }

    /// - Parameter seconds: for connecting and for each read and write.
    init(unix path: String, seconds: Int) throws(Failure) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let octets = Array(path.utf8)
        guard octets.count < 108 else { throw Failure(.unavailable, "path too long: \(path)") }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { space in
            unsafe space.copyBytes(from: octets)
        }
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Self.closeOnExec, 0)
        guard descriptor >= 0 else { throw .system("socket", errno) }
        setTimeLimit(seconds)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe connect(descriptor, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw .system("cannot connect to \(path)", errno, .unavailable) }
    }

    /// - Parameter host: an IPv4 or IPv6 address in text form.
    init(host: String, port: UInt16, seconds: Int) throws(Failure) {
        var storage = sockaddr_storage()
        guard let length = Self.fill(&storage, host: host, port: port) else {
            throw Failure(.unavailable, "not an address: \(host)")
        }
        descriptor = socket(
            Int32(storage.ss_family), Int32(SOCK_STREAM.rawValue) | Self.closeOnExec, 0)
        guard descriptor >= 0 else { throw .system("socket", errno) }
        setTimeLimit(seconds)
        let result = unsafe withUnsafePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe connect(descriptor, generic, length)
            }
        }
        guard result == 0 else {
            throw .system("cannot connect to \(host) port \(port)", errno, .unavailable)
        }
    }

    static let closeOnExec = Int32(SOCK_CLOEXEC.rawValue)

    /// - Returns: the length of the address, nil if `host` is none.
    static func fill(
        _ storage: inout sockaddr_storage, host: String, port: UInt16
    ) -> socklen_t? {
        unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            let v4 = unsafe pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { four in
                unsafe four.pointee.sin_family = sa_family_t(AF_INET)
                unsafe four.pointee.sin_port = port.bigEndian
                return unsafe inet_pton(AF_INET, host, &four.pointee.sin_addr) == 1
            }
            if v4 { return socklen_t(MemoryLayout<sockaddr_in>.size) }
            let v6 = unsafe pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { six in
                unsafe six.pointee.sin6_family = sa_family_t(AF_INET6)
                unsafe six.pointee.sin6_port = port.bigEndian
                return unsafe inet_pton(AF_INET6, host, &six.pointee.sin6_addr) == 1
            }
            return v6 ? socklen_t(MemoryLayout<sockaddr_in6>.size) : nil
        }
    }

    private func setTimeLimit(_ seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
    }

    func write(_ octets: [UInt8]) throws(Failure) {
        var start = 0
        while start < octets.count {
            let count = unsafe octets.withUnsafeBytes { buffer in
                unsafe send(
                    descriptor, buffer.baseAddress?.advanced(by: start), octets.count - start,
                    Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system("connection lost", errno, .unavailable) }
            start += count
        }
    }

    /// What is there, at most `limit` octets; empty at the end.
    func read(limit: Int) throws(Failure) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { space in
                unsafe recv(descriptor, space.baseAddress, space.count, 0)
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                throw errno == EAGAIN
                    ? Failure(.unavailable, "no answer in time")
                    : .system("connection lost", errno, .unavailable)
            }
            buffer.removeLast(buffer.count - count)
            return buffer
        }
    }

    func readExactly(_ count: Int) throws(Failure) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(count)
        while octets.count < count {
            let more = try read(limit: min(65_536, count - octets.count))
            guard !more.isEmpty else { throw Failure(.unavailable, "connection closed") }
            octets += more
        }
        return octets
    }
}

/// One GET; only what `/health` needs.
enum HTTP {
    static func get(
        host: String, port: UInt16, path: String, seconds: Int
    ) throws(Failure) -> (status: Int, body: [UInt8]) {
        let stream = try StreamSocket(
            host: host.isEmpty ? "127.0.0.1" : host, port: port, seconds: seconds)
        try stream.write(
            Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8))
        var answer: [UInt8] = []
        while answer.count < 1 << 20 {
            let more = try stream.read(limit: 65_536)
            if more.isEmpty { break }
            answer += more
        }
        let head = answer.prefix { $0 != 0x0D }
        let words = head.split(separator: 0x20)
        guard words.count >= 2, let status = Int(String(decoding: words[1], as: UTF8.self)) else {
            throw Failure(.remoteProtocol, "no HTTP answer from port \(port)")
        }
        let separator: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A]
        var index = 0
        while index + 4 <= answer.count, !answer[index...].starts(with: separator) { index += 1 }
        return (status, Array(answer.dropFirst(index + 4)))
    }
}
