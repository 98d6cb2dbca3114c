// SPDX-License-Identifier: Apache-2.0
//
// The fields of a header as ranges of the message. RFC 5322 §2.2 and §4.5. A line that is no field
// belongs to the header but is passed over; only an empty line or the end of the octets ends it.

import Bytes

/// One header field.
package struct HeaderField: Equatable, Sendable {
    package var name: Range<Int>
    /// Everything after the colon, folds included, without the last line end.
    package var body: Range<Int>
    /// Behind the last line end.
    package var end: Int

    /// Name, colon, body and line end.
    package var whole: Range<Int> { name.lowerBound..<end }
}

/// Reads the fields of one header from front to back.
package struct HeaderReader: Sendable {
    /// Fields that begin behind this many octets are not seen, nor any behind this many fields.
    package static let octetLimit = 1 << 20
    package static let fieldLimit = 10_000

    private var position: Int
    private let end: Int
    private let limit: Int
    private var fieldsLeft = HeaderReader.fieldLimit

    /// - Parameter range: begins with the header; may go on behind its empty line.
    package init(_ range: Range<Int>) {
        position = range.lowerBound
        end = range.upperBound
        limit = range.lowerBound + Self.octetLimit
    }

    /// The next field; nil at the empty line or a limit.
    package mutating func next(_ message: Span<UInt8>) -> HeaderField? {
        while position < end, position < limit {
            let start = position
            let first = message[start]
            if first == .lf || (first == .cr && start + 1 < end && message[start + 1] == .lf) {
                return nil
            }
            // A name is visible ASCII up to the colon; blanks before the colon are obsolete (§4.5).
            var nameEnd = start
            while nameEnd < end, message[nameEnd].isASCIIVisible, message[nameEnd] != 0x3A {
                nameEnd += 1
            }
            var colon = nameEnd
            while colon < end, message[colon] == .space || message[colon] == .tab { colon += 1 }
            let isField = nameEnd > start && colon < end && message[colon] == 0x3A
            let lineEnd = Self.foldedLineEnd(message, from: isField ? colon + 1 : start, end: end)
            position = lineEnd.next
            if isField {
                guard fieldsLeft > 0 else { return nil }
                fieldsLeft -= 1
                return HeaderField(
                    name: start..<nameEnd, body: (colon + 1)..<max(colon + 1, lineEnd.text),
                    end: lineEnd.next)
            }
        }
        return nil
    }

    /// The end of a line and of the lines folded onto it (§2.2.3).
    private static func foldedLineEnd(
        _ message: Span<UInt8>, from start: Int, end: Int
    ) -> (text: Int, next: Int) {
        var index = start
        while index < end {
            index = message.first(.lf, in: index..<end)
            guard index < end else { break }
            let next = index + 1
            if next == end || (message[next] != .space && message[next] != .tab) {
                let text = index > start && message[index - 1] == .cr ? index - 1 : index
                return (text, next)
            }
            index = next
        }
        return (end, end)
    }

    /// Where the body begins: behind the first empty line, or at the end if there is none.
    package static func bodyStart(_ message: Span<UInt8>, in range: Range<Int>) -> Int {
        var lineStart = range.lowerBound
        let end = range.upperBound
        while lineStart < end {
            if message[lineStart] == .lf { return lineStart + 1 }
            if message[lineStart] == .cr, lineStart + 1 < end, message[lineStart + 1] == .lf {
                return lineStart + 2
            }
            lineStart = message.first(.lf, in: lineStart..<end) + 1
        }
        return end
    }
}

/// The fields that the suite gives a meaning to.
package enum KnownField: UInt8, Sendable {
    case date, subject, from, sender, replyTo, to, cc, bcc, inReplyTo, messageID
    case contentType, contentTransferEncoding, contentDisposition, contentID, contentDescription
    case contentMD5, contentLanguage, contentLocation

    /// The field with the name at `name`, in any case; nil for any other.
    package init?(_ message: Span<UInt8>, _ name: Range<Int>) {
        var cursor = Cursor(message.extracting(name))
        switch name.count {
        case 2:
            if cursor.take("to") {
                self = .to
            } else if cursor.take("cc") {
                self = .cc
            } else {
                return nil
            }
        case 3: self.init(&cursor, "bcc", .bcc)
        case 4:
            if cursor.take("from") {
                self = .from
            } else {
                self.init(&cursor, "date", .date)
            }
        case 6: self.init(&cursor, "sender", .sender)
        case 7: self.init(&cursor, "subject", .subject)
        case 8: self.init(&cursor, "reply-to", .replyTo)
        case 10:
            if cursor.take("message-id") {
                self = .messageID
            } else {
                self.init(&cursor, "content-id", .contentID)
            }
        case 11:
            if cursor.take("in-reply-to") {
                self = .inReplyTo
            } else {
                self.init(&cursor, "content-md5", .contentMD5)
            }
        case 12: self.init(&cursor, "content-type", .contentType)
        case 16:
            if cursor.take("content-language") {
                self = .contentLanguage
            } else {
                self.init(&cursor, "content-location", .contentLocation)
            }
        case 19:
            if cursor.take("content-disposition") {
                self = .contentDisposition
            } else {
                self.init(&cursor, "content-description", .contentDescription)
            }
        case 25: self.init(&cursor, "content-transfer-encoding", .contentTransferEncoding)
        default: return nil
        }
    }

    private init?(_ cursor: inout Cursor, _ name: StaticString, _ field: KnownField) {
        guard cursor.take(name) else { return nil }
        self = field
    }
}

/// Bodies of the Content fields of one header; of repeated fields the first.
package struct ContentFields: Equatable, Sendable {
    package private(set) var type: Range<Int>?
    package private(set) var encoding: Range<Int>?
    package private(set) var disposition: Range<Int>?
    package private(set) var id: Range<Int>?
    package private(set) var description: Range<Int>?
    package private(set) var md5: Range<Int>?
    package private(set) var language: Range<Int>?
    package private(set) var location: Range<Int>?

    package init(_ message: Span<UInt8>, header: Range<Int>) {
        var reader = HeaderReader(header)
        while let field = reader.next(message) {
            guard message[field.name.lowerBound].asciiLowercased == 0x63 else { continue }  // "c"
            switch KnownField(message, field.name) {
            case .contentType: type = type ?? field.body
            case .contentTransferEncoding: encoding = encoding ?? field.body
            case .contentDisposition: disposition = disposition ?? field.body
            case .contentID: id = id ?? field.body
            case .contentDescription: description = description ?? field.body
            case .contentMD5: md5 = md5 ?? field.body
            case .contentLanguage: language = language ?? field.body
            case .contentLocation: location = location ?? field.body
            default: break
            }
        }
    }
}
