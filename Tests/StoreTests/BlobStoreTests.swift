// SPDX-License-Identifier: Apache-2.0
//
// What every driver of BlobStore promises, held against each of them.

import Bytes
import Glibc
import Mail
import Testing

@testable import Store

/// Where a driver keeps mailboxes: opened again, everything durable is there.
protocol BlobPlace {
    associatedtype Blobs: BlobStore
    func open(_ mailbox: Int) throws -> Blobs
}

/// `BlobPlace` over directories like those of an account.
final class MaildirPlace: BlobPlace {
    private let box: Sandbox

    init() throws {
        box = try Sandbox()
        run("/bin/mkdir", "-p", box.path + "/mail/a")
    }

    func open(_ mailbox: Int) throws -> MaildirBlobs {
        let path = PathOctets("\(box.path)/mail/a/\(mailbox)")
        try System.makeDirectory(path)
        return try MaildirBlobs(try System.openDirectory(path), box.root.staging)
    }
}

final class MemoryPlace: BlobPlace {
    let bucket = MemoryBucket()
    func open(_ mailbox: Int) throws -> MemoryBlobs { MemoryBlobs(bucket, mailbox) }
}

enum BlobDriver: String, CaseIterable, Sendable {
    case maildir, memory

    func make() throws -> any BlobPlace {
        switch self {
        case .maildir: try MaildirPlace()
        case .memory: MemoryPlace()
        }
    }
}

@Suite("message bytes")
struct BlobStoreTests {
    private static func label(_ unique: String, _ uid: UInt32, _ size: Int) -> BlobLabel {
        BlobLabel(
            unique: UniqueName(octets: octets(unique)), size: UInt32(size), uid: uid,
            flags: uid % 2 == 0 ? [.seen] : [], date: 1_700_000_000)
    }

    /// Puts messages, prepared, and returns their ids.
    private static func put<Blobs: BlobStore>(
        _ messages: [[UInt8]], _ blobs: Blobs, from first: UInt32 = 1, _ prefix: String = "u"
    ) throws -> [BlobID] {
        var drafts: [(draft: Blobs.Draft, label: BlobLabel)] = []
        for (index, octets) in messages.enumerated() {
            let uid = first + UInt32(index)
            drafts.append(
                (
                    try blobs.draft(octets, date: 1_700_000_000),
                    label("\(prefix)\(uid)", uid, octets.count)
                ))
        }
        let outcomes = blobs.prepare(drafts.map(\.draft))
        #expect(outcomes.count == messages.count && outcomes.allSatisfy { $0 == nil })
        return try blobs.put(drafts, .full)
    }

    private static func whole(_ reader: (some BlobReader)?) throws -> [UInt8]? {
        try reader.map { try $0.read(from: 0, count: Int($0.octets)) }
    }

    @Test(arguments: BlobDriver.allCases)
    func `what was put is read back octet for octet, whole, in part and as a file`(
        _ driver: BlobDriver
    ) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            let long = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
            let messages = [[], [0], octets("From: a\r\n\r\n\u{0}bare \n and \r"), long]
            let ids = try Self.put(messages, blobs)
            #expect(Set(ids).count == messages.count)
            for (id, octets) in zip(ids, messages) {
                let reader = try #require(try blobs.open(id))
                #expect(reader.octets == octets.count)
                #expect(try Self.whole(reader) == octets)
            }
            let reader = try #require(try blobs.open(ids[3]))
            #expect(try reader.read(from: 70_001, count: 9) == Array(long[70_001..<70_010]))
            #expect(try reader.read(from: 299_999, count: 9) == [long[299_999]])
            #expect(try reader.read(from: 300_000, count: 9) == [])
            let descriptor = try #require(try reader.file().take())
            defer { close(descriptor) }
            #expect(readAll(descriptor) == long)
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `a draft that was not put is nowhere`(_ driver: BlobDriver) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            let draft = try blobs.draft(message("draft"), date: nil)
            #expect(blobs.prepare([draft]).count == 1)
            #expect(try blobs.list(after: nil, limit: 10) == [])
            #expect(try place.open(1).list(after: nil, limit: 10) == [])
            _ = draft
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `what was put, copied and deleted is so for who opens it again`(
        _ driver: BlobDriver
    ) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            let ids = try Self.put((1...3).map { message("m\($0)") }, blobs)
            let other = try place.open(2)
            let copies = try other.copy([(ids[0], Self.label("c", 9, 1))], from: blobs)
            let copied = try #require(copies[0])
            try blobs.delete(ids[1])
            try blobs.synchronize()
            (place as? MemoryPlace)?.bucket.cutPower()
            let again = try place.open(1)
            #expect(try Self.whole(again.open(ids[0])) == message("m1"))
            #expect(try Self.whole(again.open(ids[1])) == nil)
            #expect(try Self.whole(again.open(ids[2])) == message("m3"))
            #expect(try Self.whole(place.open(2).open(copied)) == message("m1"))
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `deleting is done once and no error the second time`(_ driver: BlobDriver) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            let ids = try Self.put([message("a"), message("b")], blobs)
            #expect(try blobs.delete(ids[0]))
            #expect(try !blobs.delete(ids[0]))
            #expect(try Self.whole(blobs.open(ids[0])) == nil)
            #expect(try blobs.list(after: nil, limit: 10) == [ids[1]])
            #expect(try !blobs.delete(octets("never-was")))
            #expect(try Self.whole(blobs.open(octets("never-was"))) == nil)
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `a message that is open stays whole when it is deleted`(_ driver: BlobDriver) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            let octets = message("open", octets: 50_000)
            let id = try Self.put([octets], blobs)[0]
            let reader = try #require(try blobs.open(id))
            try blobs.delete(id)
            try blobs.synchronize()
            #expect(try Self.whole(reader) == octets)
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `a copy outlives its source, and a source that is gone is passed over`(
        _ driver: BlobDriver
    ) throws {
        func check(_ place: some BlobPlace) throws {
            let (blobs, other) = (try place.open(1), try place.open(2))
            let ids = try Self.put([message("a"), message("b"), message("c")], blobs)
            try blobs.delete(ids[1])
            let wanted = ids.enumerated().map { ($1, Self.label("k\($0)", UInt32($0) + 7, 1)) }
            let copies = try other.copy(wanted, from: blobs)
            #expect(copies.count == 3)
            #expect(copies[1] == nil)
            for id in ids { try blobs.delete(id) }
            try blobs.synchronize()
            let (first, third) = (try #require(copies[0]), try #require(copies[2]))
            #expect(try Self.whole(other.open(first)) == message("a"))
            #expect(try Self.whole(other.open(third)) == message("c"))
            // Within one mailbox.
            let twins = try other.copy([(first, Self.label("t", 20, 1))], from: other)
            let twin = try #require(twins[0])
            #expect(twin != first)
            try other.delete(first)
            #expect(try Self.whole(other.open(twin)) == message("a"))
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `the list has everything once, in order, page by page`(_ driver: BlobDriver) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            let ids = try Self.put((1...57).map { message("m\($0)") }, blobs)
            _ = try Self.put([message("elsewhere")], try place.open(2))
            var listed: [BlobID] = []
            while true {
                let page = try blobs.list(after: listed.last, limit: 10)
                listed += page
                if page.count < 10 { break }
            }
            #expect(listed == ids.sorted { $0.lexicographicallyPrecedes($1) })
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `a put that fails leaves nothing`(_ driver: BlobDriver) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            #expect(throws: StoreError.self) {
                try blobs.put(
                    [
                        (try blobs.draft(message("a"), date: nil), Self.label("good", 1, 1)),
                        (
                            try blobs.draft(message("b"), date: nil),
                            Self.label(String(repeating: "x", count: 300), 2, 1)
                        ),
                    ], .full)
            }
            #expect(try blobs.list(after: nil, limit: 10) == [])
            let id = try Self.put([message("source")], blobs)[0]
            let other = try place.open(2)
            #expect(throws: StoreError.self) {
                try other.copy(
                    [
                        (id, Self.label("good", 1, 1)),
                        (id, Self.label(String(repeating: "x", count: 300), 2, 1)),
                    ], from: blobs)
            }
            #expect(try other.list(after: nil, limit: 10) == [])
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `mailboxes do not see each other's`(_ driver: BlobDriver) throws {
        func check(_ place: some BlobPlace) throws {
            let (one, two) = (try place.open(1), try place.open(2))
            let first = try Self.put([message("one")], one)[0]
            let second = try Self.put([message("two")], two)[0]
            #expect(try Self.whole(one.open(first)) == message("one"))
            #expect(try Self.whole(two.open(second)) == message("two"))
            try one.delete(first)
            #expect(try Self.whole(two.open(second)) == message("two"))
            #expect(try one.list(after: nil, limit: 10) == [])
        }
        try check(driver.make())
    }

    @Test(arguments: BlobDriver.allCases)
    func `what only the delivery log makes durable is there at once`(_ driver: BlobDriver) throws {
        func check(_ place: some BlobPlace) throws {
            let blobs = try place.open(1)
            let draft = try blobs.draft(message("logged"), date: 1_700_000_000)
            let ids = try blobs.put([(draft, Self.label("l", 1, 1))], .logged)
            #expect(try Self.whole(blobs.open(ids[0])) == message("logged"))
        }
        try check(driver.make())
    }
}
