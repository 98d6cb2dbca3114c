// SPDX-License-Identifier: Apache-2.0
//
// A driver of BlobStore without a disk: dictionaries. It shows that the contract can be kept by
// something that has no files and no names, and makes tests of what is built upon it quick.

import Glibc
import Mail

@testable import Store

/// What all mailboxes of the driver share: with S3 this would be the bucket.
final class MemoryBucket {
    /// By mailbox and id.
    var blobs: [Int: [BlobID: [UInt8]]] = [:]
    /// Deleted, but not durably: a power cut brings them back.
    var deleted: [Int: [BlobID: [UInt8]]] = [:]
    /// Fails the next call that writes.
    var failure: StoreError?

    func fail() throws(StoreError) {
        guard let error = failure else { return }
        failure = nil
        throw error
    }

    /// What a power cut leaves.
    func cutPower() {
        for (mailbox, blobs) in deleted {
            self.blobs[mailbox, default: [:]].merge(blobs) { kept, _ in kept }
        }
        deleted = [:]
    }
}

struct MemoryBlob: BlobReader {
    let bytes: [UInt8]
    var octets: Int64 { Int64(bytes.count) }

    func read(from offset: Int64, count: Int) throws(StoreError) -> [UInt8] {
        guard offset < octets else { return [] }
        return Array(bytes[Int(offset)...].prefix(count))
    }

    func file() throws(StoreError) -> SharedDescriptor {
        let place = try System.openDirectory(Array("/tmp".utf8))
        guard let file = try System.createNameless(in: place.descriptor) else {
            throw .file("nameless", errno: EOPNOTSUPP)
        }
        try System.write(bytes, to: file.descriptor)
        guard lseek(file.descriptor, 0, SEEK_SET) == 0 else { throw .system("seek") }
        return SharedDescriptor(file)
    }
}

final class MemoryBlobs: BlobStore {
    private let bucket: MemoryBucket
    private let mailbox: Int

    init(_ bucket: MemoryBucket, _ mailbox: Int) {
        self.bucket = bucket
        self.mailbox = mailbox
    }

    private var mine: [BlobID: [UInt8]] { bucket.blobs[mailbox] ?? [:] }

    func draft(_ octets: [UInt8], date: SecondsSince1970?) throws(StoreError) -> [UInt8] { octets }

    func prepare(_ drafts: [[UInt8]]) -> [StoreError?] {
        drafts.map { _ in
            defer { bucket.failure = nil }
            return bucket.failure
        }
    }

    private static func id(_ label: BlobLabel) throws(StoreError) -> BlobID {
        guard label.unique.octets.count <= 255 else { throw .notPermitted }
        return label.unique.octets
    }

    func put(
        _ drafts: [(draft: [UInt8], label: BlobLabel)], _ durability: Durability
    ) throws(StoreError) -> [BlobID] {
        try bucket.fail()
        var made: [(BlobID, [UInt8])] = []
        for (octets, label) in drafts { made.append((try Self.id(label), octets)) }
        for (id, octets) in made { bucket.blobs[mailbox, default: [:]][id] = octets }
        if durability == .full { try synchronize() }
        return made.map(\.0)
    }

    func copy(
        _ blobs: [(id: BlobID, label: BlobLabel)], from source: MemoryBlobs
    ) throws(StoreError) -> [BlobID?] {
        try bucket.fail()
        var made: [(BlobID, [UInt8])?] = []
        for (id, label) in blobs {
            let target = try Self.id(label)
            made.append(source.mine[id].map { (target, $0) })
        }
        for case (let id, let octets)? in made {
            bucket.blobs[mailbox, default: [:]][id] = octets
        }
        return made.map { $0?.0 }
    }

    func open(_ id: BlobID) throws(StoreError) -> MemoryBlob? { mine[id].map(MemoryBlob.init) }

    @discardableResult
    func delete(_ id: BlobID) throws(StoreError) -> Bool {
        guard let octets = bucket.blobs[mailbox]?.removeValue(forKey: id) else { return false }
        bucket.deleted[mailbox, default: [:]][id] = octets
        return true
    }

    func synchronize() throws(StoreError) { bucket.deleted[mailbox] = nil }

    func list(after id: BlobID?, limit: Int) throws(StoreError) -> [BlobID] {
        let ids = mine.keys.sorted { $0.lexicographicallyPrecedes($1) }
        guard let id else { return Array(ids.prefix(limit)) }
        return Array(ids.drop { !id.lexicographicallyPrecedes($0) }.prefix(limit))
    }
}
