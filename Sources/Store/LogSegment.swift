// SPDX-License-Identifier: Apache-2.0
//
// One file of the delivery log: as long as it will ever be from the start, filled with zeros, and
// written over in place, so that making a record durable needs no journal of the file system.
// docs/store.md, "The delivery log".

import Bytes

/// `<root>/.log/segment-<number>`. Used under the log's rules: one writer.
final class LogSegment: Sendable {
    /// Octets that are written at once: a multiple of what disks write at once.
    static let page = 4_096
    private static let magic: UInt64 = 0x316C_2E74_6C72_616D  // "marlt.l1"

    let number: Int
    let size: Int
    private let file: File

    private init(_ number: Int, _ file: consuming File, size: Int) {
        self.number = number
        self.file = file
        self.size = size
    }

    static func name(_ number: Int) -> PathOctets { PathOctets("segment-\(number)") }

    static func number(of name: PathOctets) -> Int? {
        guard name.starts(with: "segment-".utf8) else { return nil }
        return Int(String(decoding: name.dropFirst(8), as: UTF8.self)).flatMap {
            (0..<100_000).contains($0) ? $0 : nil
        }
    }

    /// Makes a file of zeros, durably. On a full disk nothing is left.
    static func create(
        _ number: Int, size: Int, in directory: Int32
    ) throws(StoreError) -> LogSegment {
        let temporary = PathOctets("making-\(number)")
        try System.unlink(temporary, in: directory)
        let file = try System.createFile(temporary, in: directory)
        do throws(StoreError) {
            let zeros = [UInt8](repeating: 0, count: 1 << 20)
            var left = size
            while left > 0 {
                try System.write(
                    left >= zeros.count ? zeros : Array(zeros.prefix(left)), to: file.descriptor)
                left -= zeros.count
            }
            try System.synchronize(file.descriptor, "log segment")
            guard
                try System.rename(temporary, in: directory, to: name(number), in: directory)
            else { throw .file("rename log segment", errno: 2) }
            try System.synchronize(directory, "log")
        } catch {
            _ = try? System.unlink(temporary, in: directory)  // emptied at the next start, too
            throw error
        }
        return LogSegment(number, file, size: size)
    }

    /// Nil if there is no such file, or it is too short to be one.
    static func open(_ number: Int, in directory: Int32) throws(StoreError) -> LogSegment? {
        guard let file = try System.openForWriting(name(number), in: directory) else { return nil }
        let size = Int(try System.status(file.descriptor).size)
        guard size >= 2 * page, size <= 1 << 30 else { return nil }
        return LogSegment(number, file, size: size / page * page)
    }

    // MARK: - The first page

    struct FirstPage: Equatable {
        /// Which log: a new one must not believe in positions of an old one.
        var log: UInt64
        /// The position of the first record.
        var first: UInt64
        var lowWater: UInt64
    }

    func write(_ page: FirstPage) throws(StoreError) {
        var octets: [UInt8] = []
        octets.reserveCapacity(Self.page)
        octets.put(Self.magic)
        octets.put(page.log)
        octets.put(page.first)
        octets.put(page.lowWater)
        octets.put(Checksum.crc32c(octets[...]))
        octets += [UInt8](repeating: 0, count: Self.page - octets.count)
        try write(octets, at: 0)
    }

    /// Nil if it was never used.
    func firstPage() throws(StoreError) -> FirstPage? {
        let octets = try System.read(file.descriptor, from: 0, count: Self.page)
        var reader = LogReader(octets, 0)
        guard reader.number(UInt64.self) == Self.magic, let log = reader.number(UInt64.self),
            let first = reader.number(UInt64.self), let lowWater = reader.number(UInt64.self),
            reader.number(UInt32.self) == Checksum.crc32c(octets[..<32])
        else { return nil }
        return FirstPage(log: log, first: first, lowWater: lowWater)
    }

    // MARK: - Records

    func write(_ octets: [UInt8], at offset: Int) throws(StoreError) {
        try System.write(octets, to: file.descriptor, at: Int64(offset))
    }

    func synchronize() throws(StoreError) {
        try System.synchronizeData(file.descriptor, "log")
    }

    /// Every sound record from the first on, until something else is there.
    func records(
        from first: UInt64, _ body: (LogHeader, _ octets: [UInt8], _ offset: Int) -> Void
    ) throws(StoreError) {
        let octets = try System.read(file.descriptor, from: 0, count: size)
        var offset = Self.page
        var position = first
        while let header = LogRecord.header(in: octets, at: offset), header.position == position {
            body(header, octets, offset)
            offset += header.count
            position += 1
        }
    }
}
