// SPDX-License-Identifier: Apache-2.0
//
// The records of the delivery log and their octets. docs/store.md, "The delivery log". Everything
// read here was written by this program, but may be cut off or stale: each length is checked.

import Bytes
import Mail

/// The place of a record in the log; rises by one with each.
package struct LogPosition: Hashable, Comparable, Sendable {
    package let rawValue: UInt64
    init(rawValue: UInt64) { self.rawValue = rawValue }

    package static func < (left: LogPosition, right: LogPosition) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// A message and everyone who gets it: all of them, or none.
package struct LogEntry: Sendable, Equatable {
    package struct Target: Sendable, Equatable {
        package var address: EmailAddress
        /// The part of the file's name that is like no other's.
        package var unique: UniqueName
        package var mailbox: MailboxName

        package init(address: EmailAddress, unique: UniqueName, mailbox: MailboxName) {
            self.address = address
            self.unique = unique
            self.mailbox = mailbox
        }
    }

    package var targets: [Target]
    package var flags: NamedFlags
    package var date: SecondsSince1970
    /// Complete, CRLF line ends.
    package var octets: [UInt8]

    package init(
        targets: [Target], flags: NamedFlags = NamedFlags(), date: SecondsSince1970,
        octets: [UInt8]
    ) {
        self.targets = targets
        self.flags = flags
        self.date = date
        self.octets = octets
    }
}

enum LogRecord: Equatable {
    case message(LogEntry)
    /// The message at that position was not stored for everybody: whoever got it loses it.
    case abort(LogPosition)
    /// Says nothing but the low-water mark, which every record says.
    case mark
    /// What came before for this account is of no interest: it was removed.
    case removal(EmailAddress)
}

/// What stands before each record.
///
///     0  magic "MRL1"        4  CRC-32C of octets 8 to the end   8  octets of the whole record
///     12 kind                16 position                          24 low-water mark
///
/// All numbers little-endian.
struct LogHeader: Equatable {
    static let octets = 32
    static let magic: UInt32 = 0x314C_524D

    var count: Int
    var kind: UInt8
    var position: UInt64
    /// Records below it are carried out and durable as mail.
    var lowWater: UInt64
}

extension LogRecord {
    var isMessage: Bool { kind == 1 }

    private var kind: UInt8 {
        switch self {
        case .message: 1
        case .abort: 2
        case .mark: 3
        case .removal: 4
        }
    }

    /// Octets that `write` appends, at most.
    var octetLimit: Int {
        guard case .message(let entry) = self else { return LogHeader.octets + 1_024 }
        let keywords = entry.flags.keywords.reduce(0) { $0 + $1.count + 2 }
        let targets = entry.targets.reduce(0) {
            $0 + $1.address.local.count + $1.address.domain.count + $1.unique.octets.count
                + $1.mailbox.octets.count + 8
        }
        return LogHeader.octets + 64 + keywords + targets + entry.octets.count
    }

    func write(to buffer: inout [UInt8], at position: UInt64, lowWater: UInt64) {
        let start = buffer.count
        buffer.put(LogHeader.magic)
        buffer.put(0 as UInt32)
        buffer.put(0 as UInt32)
        buffer.put(UInt32(kind))
        buffer.put(position)
        buffer.put(lowWater)
        switch self {
        case .message(let entry): Self.write(entry, to: &buffer)
        case .abort(let aborted): buffer.put(aborted.rawValue)
        case .mark: break
        case .removal(let address):
            buffer.put(short: address.local)
            buffer.put(short: address.domain)
        }
        buffer.set(UInt32(buffer.count - start), at: start + 8)
        buffer.set(Checksum.crc32c(buffer[(start + 8)...]), at: start + 4)
    }

    private static func write(_ entry: LogEntry, to buffer: inout [UInt8]) {
        buffer.put(UInt64(bitPattern: entry.date))
        buffer.put(entry.flags.system.rawValue)
        buffer.put(UInt16(entry.flags.keywords.count))
        for keyword in entry.flags.keywords { buffer.put(short: keyword) }
        buffer.put(UInt16(entry.targets.count))
        for target in entry.targets {
            buffer.put(short: target.address.local)
            buffer.put(short: target.address.domain)
            buffer.put(short: target.unique.octets)
            buffer.put(short: target.mailbox.octets)
        }
        buffer.put(UInt32(entry.octets.count))
        buffer += entry.octets
    }

    /// The header at `offset`, if a whole and sound record begins there.
    static func header(in octets: [UInt8], at offset: Int) -> LogHeader? {
        guard offset + LogHeader.octets <= octets.count else { return nil }
        var reader = LogReader(octets, offset)
        guard reader.number(UInt32.self) == LogHeader.magic,
            let checksum = reader.number(UInt32.self), let count = reader.number(UInt32.self),
            let kind = reader.number(UInt32.self).flatMap({ UInt8(exactly: $0) }),
            let position = reader.number(UInt64.self), let lowWater = reader.number(UInt64.self),
            count >= LogHeader.octets, Int(count) <= octets.count - offset,
            Checksum.crc32c(octets[(offset + 8)..<(offset + Int(count))]) == checksum
        else { return nil }
        return LogHeader(count: Int(count), kind: kind, position: position, lowWater: lowWater)
    }

    /// Nil for a kind of a later version.
    static func read(_ header: LogHeader, from octets: [UInt8], at offset: Int) -> LogRecord? {
        var reader = LogReader(octets, offset + LogHeader.octets, end: offset + header.count)
        switch header.kind {
        case 1: return readEntry(&reader).map { .message($0) }
        case 2: return reader.number(UInt64.self).map { .abort(LogPosition(rawValue: $0)) }
        case 3: return .mark
        case 4: return reader.address().map { .removal($0) }
        default: return nil
        }
    }

    private static func readEntry(_ reader: inout LogReader) -> LogEntry? {
        guard let date = reader.number(UInt64.self), let system = reader.number(UInt64.self),
            let keywordCount = reader.number(UInt16.self)
        else { return nil }
        var flags = NamedFlags(system: Flags(rawValue: system))
        for _ in 0..<keywordCount {
            guard let keyword = reader.short() else { return nil }
            flags.keywords.append(keyword)
        }
        guard let targetCount = reader.number(UInt16.self) else { return nil }
        var targets: [LogEntry.Target] = []
        for _ in 0..<targetCount {
            guard let address = reader.address(), let unique = reader.short(),
                let mailbox = reader.short().flatMap({ MailboxName($0) })
            else { return nil }
            targets.append(
                LogEntry.Target(
                    address: address, unique: UniqueName(octets: unique), mailbox: mailbox))
        }
        guard let count = reader.number(UInt32.self), let octets = reader.take(Int(count))
        else { return nil }
        return LogEntry(
            targets: targets, flags: flags, date: Int64(bitPattern: date), octets: octets)
    }
}

/// Reads what `[UInt8].put` wrote; nil at the end.
struct LogReader {
    private let octets: [UInt8]
    private var index: Int
    private let end: Int

    init(_ octets: [UInt8], _ start: Int, end: Int? = nil) {
        self.octets = octets
        index = start
        self.end = min(end ?? octets.count, octets.count)
    }

    mutating func number<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
        let count = Number.bitWidth / 8
        guard index + count <= end else { return nil }
        var value: Number = 0
        for place in 0..<count {
            value |= Number(truncatingIfNeeded: octets[index + place]) << (8 * place)
        }
        index += count
        return value
    }

    mutating func take(_ count: Int) -> [UInt8]? {
        guard count <= end - index else { return nil }
        defer { index += count }
        return Array(octets[index..<(index + count)])
    }

    mutating func short() -> [UInt8]? { number(UInt16.self).flatMap { take(Int($0)) } }

    mutating func address() -> EmailAddress? {
        guard let local = short(), let domain = short() else { return nil }
        return EmailAddress(local: local, domain: domain)
    }
}

extension [UInt8] {
    mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        for place in 0..<(Number.bitWidth / 8) {
            append(UInt8(truncatingIfNeeded: number >> (8 * place)))
        }
    }

    /// At most 65,535 octets, with their number before them.
    mutating func put(short octets: [UInt8]) {
        put(UInt16(octets.count))
        self += octets
    }

    mutating func set(_ number: UInt32, at index: Int) {
        for place in 0..<4 {
            self[index + place] = UInt8(truncatingIfNeeded: number >> (8 * place))
        }
    }
}
