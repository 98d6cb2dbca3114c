// SPDX-License-Identifier: Apache-2.0
//
// What the store reads of a message itself: where the header ends, a few fields for lists, and
// CRLF line ends for files of other programs. RFC 5322 §2.1, §2.2.3. Nothing is decoded here.

import Bytes
import MIME

/// Fields kept in the index for later lists: raw, unfolded, cut off.
package struct MessageSummary: Equatable, Sendable {
    /// Octets of a message that are looked at.
    static let window = 16 << 10
    private static let lineLimit = 512

    package private(set) var subject: [UInt8]?
    package private(set) var sender: [UInt8]?
    package private(set) var recipients: [UInt8]?
    package private(set) var messageID: [UInt8]?
    /// What lists show; nil if `head` does not hold the whole header.
    package private(set) var synopsis: MessageSynopsis?

    /// - Parameters:
    ///   - head: the beginning of a message.
    ///   - isWhole: it is all of it.
    ///   - needsCRLF: its lines end with LF in places.
    ///   - isBrief: leave what takes longer for later.
    package init(
        _ head: [UInt8], isWhole: Bool = false, needsCRLF: Bool = false, isBrief: Bool = false
    ) {
        readFields(head)
        guard !isBrief, isWhole || MessageText.headerCount(head) != nil else { return }
        if needsCRLF {
            var octets: [UInt8] = []
            var last: UInt8 = 0
            MessageText.appendWithCRLF(head, after: &last, to: &octets)
            synopsis = MessageSynopsis(octets.span, isWhole: isWhole)
        } else {
            synopsis = MessageSynopsis(head.span, isWhole: isWhole)
        }
    }

    private mutating func readFields(_ head: [UInt8]) {
        var index = 0
        let end = min(head.count, Self.window)
        while index < end {
            let lineEnd = head[index..<end].firstIndex(of: .lf) ?? end
            guard head[index] != .lf, head[index] != .cr else { return }  // end of the header
            let kind = Self.kind(head[index..<lineEnd])
            var next = lineEnd + 1
            // A line that begins with white space continues the field.
            while next < end, head[next] == .space || head[next] == .tab {
                next = (head[next..<end].firstIndex(of: .lf) ?? end) + 1
            }
            if let kind { keep(kind, head[index..<min(next, end)]) }
            index = next
        }
    }

    private enum Field { case subject, sender, recipients, messageID }

    private static func kind(_ line: ArraySlice<UInt8>) -> Field? {
        guard let colon = line.prefix(16).firstIndex(of: 0x3A) else { return nil }
        switch String(decoding: Array(line[..<colon]).asciiLowercased, as: UTF8.self) {
        case "subject": return .subject
        case "from": return .sender
        case "to": return .recipients
        case "message-id": return .messageID
        default: return nil
        }
    }

    private mutating func keep(_ field: Field, _ line: ArraySlice<UInt8>) {
        guard let colon = line.firstIndex(of: 0x3A) else { return }
        var value: [UInt8] = []
        for octet in line[(colon + 1)...] where octet != .cr && octet != .lf {
            if value.isEmpty, octet == .space || octet == .tab { continue }
            value.append(octet)
            if value.count == Self.lineLimit { break }
        }
        switch field {
        case .subject: if subject == nil { subject = value }
        case .sender: if sender == nil { sender = value }
        case .recipients: if recipients == nil { recipients = value }
        case .messageID: if messageID == nil { messageID = value }
        }
    }
}

/// Line ends and the header's end.
enum MessageText {
    /// `RFC822.HEADER` longer than this is cut off.
    static let headerLimit = 512 << 10

    /// Octets up to and including the empty line behind the header; nil if it is not in `octets`.
    static func headerCount(_ octets: [UInt8]) -> Int? {
        var lineStart = 0
        while lineStart < octets.count {
            if octets[lineStart] == .lf { return lineStart + 1 }
            if octets[lineStart] == .cr {
                guard lineStart + 1 < octets.count else { return nil }
                if octets[lineStart + 1] == .lf { return lineStart + 2 }
            }
            guard let lineEnd = octets[lineStart...].firstIndex(of: .lf) else { return nil }
            lineStart = lineEnd + 1
        }
        return nil
    }

    /// Appends `chunk` with CR before every LF that has none. `last` is the octet before it.
    static func appendWithCRLF(
        _ chunk: [UInt8], after last: inout UInt8, to octets: inout [UInt8]
    ) {
        octets.reserveCapacity(octets.count + chunk.count + chunk.count / 16)
        for octet in chunk {
            if octet == .lf, last != .cr { octets.append(.cr) }
            octets.append(octet)
            last = octet
        }
    }

    /// LFs without a CR in a whole file.
    static func bareLineFeeds(in descriptor: Int32, size: Int64) throws(StoreError) -> Int64 {
        var count: Int64 = 0
        var last: UInt8 = 0
        var offset: Int64 = 0
        while offset < size {
            let chunk = try System.read(descriptor, from: offset, count: chunkOctets)
            if chunk.isEmpty { break }
            for octet in chunk {
                if octet == .lf, last != .cr { count += 1 }
                last = octet
            }
            offset += Int64(chunk.count)
        }
        return count
    }

    /// LFs without a CR in a whole message.
    static func bareLineFeeds(in octets: [UInt8]) -> Int64 {
        var count: Int64 = 0
        var last: UInt8 = 0
        for octet in octets {
            if octet == .lf, last != .cr { count += 1 }
            last = octet
        }
        return count
    }

    static let chunkOctets = 128 << 10
}
