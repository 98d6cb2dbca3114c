// SPDX-License-Identifier: Apache-2.0
//
// The listening sockets that `mailctl dev` holds for its children, so that none is ever refused a
// connection while a child is being replaced. systemd.socket(5), sd_listen_fds(3).

import CLinux
import Glibc
import Wire

/// One listening socket.
struct ListeningSocket: Sendable {
    var daemon: String
    /// FileDescriptorName=.
    var name: String
    var descriptor: Int32
}

enum DevSockets {
    private static let backlog: Int32 = 4096
    /// Sockets are kept above this number, so that dup2 to 3, 4, ... never hits one of them.
    private static let lowest: Int32 = 100

    /// Opens all of them, or none.
    static func open(_ layout: DevLayout) throws(Failure) -> [ListeningSocket] {
        var sockets: [ListeningSocket] = []
        var taken: [String] = []
        do throws(Failure) {
            for port in DevLayout.ports {
                let number = port.standard + layout.offset
                guard let low = UInt16(exactly: number), low > 0 else {
                    throw Failure(.usage, "--ports \(layout.offset): there is no port \(number)")
                }
                guard let descriptor = try openTCP(port: low) else {
                    taken.append(String(number))
                    continue
                }
                sockets.append(
                    ListeningSocket(
                        daemon: port.daemon, name: port.name, descriptor: descriptor))
            }
            guard taken.isEmpty else {
                throw Failure(
                    .cannotCreate, "in use already: port \(taken.joined(separator: ", "))",
                    hints: ["choose others:  mailctl dev --ports \(layout.offset + 1000)"])
            }
            for door in Door.allCases {
                let descriptor = try openUnix("\(layout.runDirectory)/\(door.socketName)")
                sockets.append(
                    ListeningSocket(
                        daemon: "msgstored", name: door.passedName, descriptor: descriptor))
            }
        } catch {
            for socket in sockets { close(socket.descriptor) }
            throw error
        }
        return sockets
    }

    /// - Returns: nil if the port is in use.
    private static func openTCP(port: UInt16) throws(Failure) -> Int32? {
        let descriptor = try raised(
            socket(AF_INET, Int32(SOCK_STREAM.rawValue) | StreamSocket.closeOnExec, 0))
        var one: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, size)
        var storage = sockaddr_storage()
        let length = StreamSocket.fill(&storage, host: "127.0.0.1", port: port) ?? 0
        let isBound = unsafe withUnsafePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe bind(descriptor, generic, length) == 0
            }
        }
        if isBound, listen(descriptor, backlog) == 0 { return descriptor }
        let number = errno
        close(descriptor)
        if number == EADDRINUSE { return nil }
        throw Failure(
            number == EACCES ? .permission : .cannotCreate, "port \(port): \(errorText(number))")
    }

    private static func openUnix(_ path: String) throws(Failure) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let octets = Array(path.utf8)
        guard octets.count < 108 else {
            throw Failure(
                .cannotCreate, "the path of a socket has at most 107 octets: \(path)",
                hints: ["choose a shorter --dir"])
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { space in
            unsafe space.copyBytes(from: octets)
        }
        unsafe unlink(path)
        let descriptor = try raised(
            socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | StreamSocket.closeOnExec, 0))
        let mask = umask(0o177)
        let isBound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe bind(descriptor, generic, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        let number = errno
        umask(mask)
        if isBound, listen(descriptor, backlog) == 0 { return descriptor }
        close(descriptor)
        throw .system("cannot listen at \(path)", number, .cannotCreate)
    }

    private static func raised(_ descriptor: Int32) throws(Failure) -> Int32 {
        guard descriptor >= 0 else { throw .system("socket", errno) }
        let high = fcntl(descriptor, F_DUPFD_CLOEXEC, lowest)
        let number = errno
        close(descriptor)
        guard high >= 0 else { throw .system("cannot keep a socket", number) }
        return high
    }
}
