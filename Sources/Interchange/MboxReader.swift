// SPDX-License-Identifier: Apache-2.0
//
// Messages of an mbox file: mboxo, mboxrd and mboxcl2 (mbox(5), RFC 4155). The file is read in
// pieces of bounded size, whatever is in it; every octet of it belongs to some message.

import Bytes
import Mail

/// How lines that look like the start of a message were kept apart from one.
package enum MboxQuoting: Sendable, CaseIterable {
    /// By Content-Length where that fits, else as `reversible`.
    case automatic
    /// mboxo: `>From ` was `From `; lines with more `>` are as they were.
    case original
    /// mboxrd: one `>` was put in front of `From ` after any number of them.
    case reversible
    /// mboxcl2: nothing was changed.
    case none
}

/// One message of a file, as a place in it.
package struct MboxMessage: Equatable, Sendable {
    /// Where its `From ` line begins, and where the next one does.
    package var start: Int64
    package var end: Int64
    /// With CRLF, without the fields that only mbox files have, with the empty line behind it.
    package var header: [UInt8]
    /// Octets of the file.
    package var body: Range<Int64>
    package var quoting: MboxQuoting
    package var date: SecondsSince1970?
    package var flags: NamedFlags
    /// Not a message: what UW IMAP keeps for itself at the front of a file.
    package var isInternal: Bool
}

/// Finds one message after the other.
package struct MboxReader<Failure: Error> {
    /// Octets in memory at once, beside a header.
    private let chunk: Int
    private let headerLimit = 1 << 20
    private let size: Int64
    private let quoting: MboxQuoting
    private let read: (Int64, Int) throws(Failure) -> [UInt8]
    private var position: Int64 = 0
    private var window: [UInt8] = []
    private var windowStart: Int64 = 0
    /// The first line has no date that we can read: then others need none either.
    private var takesAnyDate = false

    /// - Parameters:
    ///   - size: of the file; what lies behind is not read.
    ///   - read: at an offset at most so many octets; empty only at the end.
    package init(
        size: Int64, quoting: MboxQuoting, chunk: Int = 256 << 10,
        read: @escaping (Int64, Int) throws(Failure) -> [UInt8]
    ) {
        self.size = size
        self.quoting = quoting
        self.chunk = max(chunk, 4 * MboxLine.octetLimit)
        self.read = read
    }

    /// Goes on at a place that was some message's `end`.
    package mutating func seek(to offset: Int64) { position = min(max(0, offset), size) }

    package var offset: Int64 { position }

    /// The next message.
    ///
    /// - Returns: nil at the end, and at once for a file that does not begin like an mbox.
    package mutating func next() throws(Failure) -> MboxMessage? {
        try skipEmptyLines()
        guard position < size else { return nil }
        guard let line = try separator(at: position, afterBlank: true, isFirst: true) else {
            return nil
        }
        let start = position
        if start == 0, line.date == nil { takesAnyDate = true }
        var scan = HeaderScan()
        var place = try endOfLine(position)
        // Header lines, up to an empty one, the next message, or too many octets.
        while place < size, scan.octets.count < headerLimit {
            if try separator(at: place, afterBlank: false) != nil { break }
            let next = try endOfLine(place)
            let text = try octets(place..<min(next, place + Int64(headerLimit)))
            place = next
            if scan.take(text) { break }
        }
        let bodyStart = place
        var message = MboxMessage(
            start: start, end: 0, header: [], body: bodyStart..<bodyStart, quoting: .reversible,
            date: line.date, flags: scan.flags, isInternal: scan.isInternal)
        if let end = try declaredEnd(scan.contentLength, bodyStart) {
            message.body = bodyStart..<end.body
            message.end = end.message
            message.quoting = .none
            scan.dropContentLength()
        } else {
            let end = try scannedEnd(bodyStart)
            message.body = bodyStart..<end.body
            message.end = end.message
            message.quoting = quoting == .automatic ? .reversible : quoting
        }
        message.header = scan.finish()
        position = message.end
        return message
    }

    /// The message as it is to be stored: CRLF line ends, quoting undone, a piece at a time.
    package func content(
        of message: MboxMessage, _ sink: ([UInt8]) throws(Failure) -> Void
    ) throws(Failure) {
        try sink(message.header)
        var text = MboxBody(quoting: message.quoting)
        var place = message.body.lowerBound
        while place < message.body.upperBound {
            let wanted = Int(min(Int64(chunk), message.body.upperBound - place))
            let octets = try read(place, wanted)
            if octets.isEmpty { break }
            place += Int64(octets.count)
            var converted: [UInt8] = []
            converted.reserveCapacity(octets.count + octets.count / 16)
            text.append(octets, to: &converted)
            if place >= message.body.upperBound { text.finish(&converted) }
            if !converted.isEmpty { try sink(converted) }
        }
    }

    // MARK: - Ends

    /// By Content-Length, if what follows there is the end of the file or another message.
    private mutating func declaredEnd(
        _ length: Int64?, _ bodyStart: Int64
    ) throws(Failure) -> (body: Int64, message: Int64)? {
        guard quoting == .automatic || quoting == .none, let length, length >= 0,
            length <= size - bodyStart
        else { return nil }
        let end = bodyStart + length
        if end > bodyStart, try octet(end - 1) != .lf { return nil }
        var next = end
        // One empty line may stand between them.
        if try octet(next) == .cr, try octet(next + 1) == .lf {
            next += 2
        } else if try octet(next) == .lf {
            next += 1
        }
        if next >= size { return (end, size) }
        for place in [next, end] where try separator(at: place, afterBlank: true) != nil {
            return (end, place)
        }
        return nil
    }

    /// At the next line that starts a message; an empty line in front of it belongs to the format.
    private mutating func scannedEnd(
        _ bodyStart: Int64
    ) throws(Failure) -> (body: Int64, message: Int64) {
        var place = bodyStart
        var blankStart: Int64?
        while place < size {
            if try separator(at: place, afterBlank: blankStart != nil) != nil { break }
            let next = try endOfLine(place)
            let length = next - place
            var isBlank = false
            if length <= 2 {
                let line = try octets(place..<next)
                isBlank = line == [.lf] || line == [.cr, .lf]
            }
            blankStart = isBlank ? place : nil
            place = next
        }
        return (blankStart ?? place, place)
    }

    // MARK: - Lines

    private mutating func skipEmptyLines() throws(Failure) {
        while position < size, let octet = try octet(position), octet == .lf || octet == .cr {
            position += 1
        }
    }

    private struct Separator {
        var date: SecondsSince1970?
    }

    /// The `From ` line at the start of a line, if there is one.
    private mutating func separator(
        at place: Int64, afterBlank: Bool, isFirst: Bool = false
    ) throws(Failure) -> Separator? {
        for (index, expected) in MboxLine.mark.enumerated() {
            guard try octet(place + Int64(index)) == expected else { return nil }
        }
        let end = min(try endOfLine(place), place + Int64(MboxLine.octetLimit))
        var line = try octets(place..<end)
        while line.last == .lf || line.last == .cr { line.removeLast() }
        if let date = MboxLine.date(line) { return Separator(date: date) }
        return isFirst || takesAnyDate && afterBlank ? Separator(date: nil) : nil
    }

    /// Behind the LF of the line, or the end of the file.
    private mutating func endOfLine(_ start: Int64) throws(Failure) -> Int64 {
        var place = start
        while place < size {
            try load(place)
            let from = Int(place - windowStart)
            guard from < window.count else { return size }
            let found = window.span.first(.lf, in: from..<window.count)
            if found < window.count { return windowStart + Int64(found) + 1 }
            place = windowStart + Int64(window.count)
        }
        return size
    }

    private mutating func octet(_ place: Int64) throws(Failure) -> UInt8? {
        guard place < size else { return nil }
        try load(place)
        let index = Int(place - windowStart)
        return index < window.count ? window[index] : nil
    }

    private mutating func octets(_ range: Range<Int64>) throws(Failure) -> [UInt8] {
        var result: [UInt8] = []
        var place = range.lowerBound
        while place < range.upperBound {
            try load(place)
            let from = Int(place - windowStart)
            let to = Int(min(range.upperBound - windowStart, Int64(window.count)))
            guard from < to else { break }
            result += window[from..<to]
            place += Int64(to - from)
        }
        return result
    }

    /// Makes the octet at `place` part of the window, unless the file is shorter than it was.
    private mutating func load(_ place: Int64) throws(Failure) {
        if place >= windowStart, place < windowStart + Int64(window.count) { return }
        window = try read(place, Int(min(Int64(chunk), size - place)))
        windowStart = place
    }
}

/// The header of a message of an mbox file, line by line.
private struct HeaderScan {
    private(set) var octets: [UInt8] = []
    private(set) var flags = NamedFlags()
    private(set) var contentLength: Int64?
    private(set) var isInternal = false
    private var hasEmptyLine = false
    private var field: [UInt8] = []
    private var lengthField: [UInt8] = []
    private var subject: [UInt8] = []
    private var hasInternalField = false

    /// - Returns: true for the empty line.
    mutating func take(_ line: [UInt8]) -> Bool {
        var text = line
        while text.last == .lf || text.last == .cr { text.removeLast() }
        if text.isEmpty {
            closeField()
            hasEmptyLine = line.last == .lf
            isInternal =
                hasInternalField
                && String(decoding: subject, as: UTF8.self).contains("FOLDER INTERNAL DATA")
            return true
        }
        if text.first == .space || text.first == .tab {
            field += Array("\r\n") + text
        } else {
            closeField()
            field = text
        }
        if line.last != .lf { closeField(isCut: true) }
        return false
    }

    private mutating func closeField(isCut: Bool = false) {
        guard !field.isEmpty else { return }
        let colon = field.firstIndex(of: 0x3A) ?? field.endIndex
        let name = String(decoding: field[..<colon].map(\.asciiLowercased), as: UTF8.self)
        let body = Array(field[colon...].dropFirst())
        let whole = field + (isCut ? [] : Array("\r\n"))
        field = []
        // A quoted `From ` line among the fields is rubbish that some programs leave there.
        if colon == whole.endIndex || name.hasPrefix(">from ") {
            if !whole.starts(with: Array(">From ")) { octets += whole }
            return
        }
        MboxFlags.read(name, body, into: &flags)
        if name == "x-imap" || name == "x-imapbase" { hasInternalField = true }
        if name == "subject" { subject = Array(body.prefix(200)) }
        if name == "content-length", contentLength == nil {
            let digits = body.filter { $0 != .space && $0 != .tab }
            if (1...15).contains(digits.count), digits.allSatisfy(\.isASCIIDigit) {
                contentLength = digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
                lengthField = whole
                octets += whole
                return
            }
        }
        if !MboxFlags.ownFields.contains(name) { octets += whole }
    }

    /// Content-Length was right: it says nothing about the message as it is stored.
    mutating func dropContentLength() {
        guard !lengthField.isEmpty, octets.count >= lengthField.count else { return }
        for start in 0...(octets.count - lengthField.count)
        where start == 0 || octets[start - 1] == .lf {
            if octets[start...].starts(with: lengthField) {
                octets.removeSubrange(start..<(start + lengthField.count))
                return
            }
        }
    }

    mutating func finish() -> [UInt8] {
        closeField()
        return hasEmptyLine ? octets + Array("\r\n") : octets
    }
}

/// Turns the body of a message in an mbox file into what is stored.
private struct MboxBody {
    /// `>` in front of `From ` that are counted.
    private static let depthLimit = 64

    private let quoting: MboxQuoting
    private var isLineStart = true
    private var lastWasCR = false
    /// The start of a line that may turn out to be quoted.
    private var pending: [UInt8] = []

    init(quoting: MboxQuoting) { self.quoting = quoting }

    mutating func append(_ octets: [UInt8], to output: inout [UInt8]) {
        var index = 0
        while index < octets.count {
            if isLineStart, quoting != .none, takePrefix(octets[index], &output) {
                index += 1
                continue
            }
            isLineStart = false
            let end = octets.span.first(.lf, in: index..<octets.count)
            output += octets[index..<end]
            if end > index { lastWasCR = octets[end - 1] == .cr }
            index = end
            guard index < octets.count else { break }
            if !lastWasCR { output.append(.cr) }
            output.append(.lf)
            lastWasCR = false
            isLineStart = true
            index += 1
        }
    }

    /// True if the octet belongs to a prefix that is not complete yet, or was the end of one.
    private mutating func takePrefix(_ octet: UInt8, _ output: inout [UInt8]) -> Bool {
        let depth = pending.prefix { $0 == 0x3E }.count
        let matched = pending.count - depth
        if matched == 0, octet == 0x3E, depth < Self.depthLimit {
            pending.append(octet)
            return true
        }
        if depth > 0, octet == MboxLine.mark[matched] {
            pending.append(octet)
            if matched + 1 == MboxLine.mark.count {
                if quoting == .reversible || depth == 1 { pending.removeFirst() }
                flush(&output)
            }
            return true
        }
        flush(&output)
        return false
    }

    private mutating func flush(_ output: inout [UInt8]) {
        output += pending
        if !pending.isEmpty { lastWasCR = false }
        pending = []
        isLineStart = false
    }

    mutating func finish(_ output: inout [UInt8]) { flush(&output) }
}
