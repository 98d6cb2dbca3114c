// SPDX-License-Identifier: Apache-2.0
//
// Finding the parts of a message in one pass over its lines. RFC 2046 §5. A delimiter is a whole
// line: with `a` and `ab` both open, `--ab` can only be the second. What is missing ends with what
// is around it; nothing is refused.

import Bytes

extension MessageStructure {
    /// Parses the message at `range`; all ranges of the parts are ranges of `message`.
    package init(_ message: Span<UInt8>, in range: Range<Int>, limits: Limits = Limits()) {
        var parser = StructureParser(limits: limits)
        parser.run(message, range)
        parts = parser.parts
    }
}

/// An open part.
private struct Frame {
    var part: Int
    /// Line ends of the message before the part's body.
    var linesBefore = 0
    /// Empty while delimiters of this part do not count: before its header ended, and after its
    /// end.
    var boundary: [UInt8] = []
    var lastChild: Int?
    /// True for `multipart/digest`.
    var isDigest = false
}

/// FNV-1a. Equal hashes are not trusted, so nobody gains from making them.
private enum BoundaryHash {
    static let start: UInt64 = 0xCBF2_9CE4_8422_2325

    @inline(__always)
    static func add(_ octet: UInt8, to hash: inout UInt64) {
        hash = (hash ^ UInt64(octet)) &* 0x100_0000_01B3
    }
}

private struct StructureParser {
    let limits: MessageStructure.Limits
    var parts: [MessagePart] = []
    private var frames: [Frame] = []
    /// Of the boundary of each frame, 0 without one: hostile messages gain nothing from many long
    /// similar boundaries.
    private var hashes: [UInt64] = []
    private var openBoundaries = 0
    /// True while the innermost part is in its header.
    private var isInHeader = true
    /// Line ends before the current line.
    private var lines = 0

    init(limits: MessageStructure.Limits) {
        self.limits = limits
    }

    mutating func run(_ message: Span<UInt8>, _ range: Range<Int>) {
        open(at: range.lowerBound, isInDigest: false)
        var start = range.lowerBound
        let limit = range.upperBound
        while start < limit {
            let end = message.first(.lf, in: start..<limit)
            let hasLineEnd = end < limit
            let next = hasLineEnd ? end + 1 : end
            if openBoundaries > 0, end - start > 2, message[start] == 0x2D,
                message[start + 1] == 0x2D, parts.count < limits.parts,
                let (frame, isLast) = delimiter(message, (start + 2)..<end)
            {
                close(above: frame, at: start, message, afterLine: true)
                isInHeader = false
                if isLast {
                    frames[frame].boundary = []
                    hashes[frame] = 0
                    openBoundaries -= 1
                } else {
                    open(at: next, isInDigest: frames[frame].isDigest)
                }
            } else if isInHeader, hasLineEnd,
                end == start || (end == start + 1 && message[start] == .cr)
            {
                headerEnded(message, at: next, linesBefore: lines + 1)
            }
            if hasLineEnd { lines += 1 }
            start = next
        }
        close(above: -1, at: limit, message, afterLine: false)
    }

    /// Begins a part as the next child of the innermost open one.
    private mutating func open(at start: Int, isInDigest: Bool) {
        let number = parts.count
        var depth = 0
        if let parent = frames.indices.last {
            depth = parts[frames[parent].part].depth + 1
            if let last = frames[parent].lastChild {
                parts[last].nextSibling = number
            } else {
                parts[frames[parent].part].firstChild = number
            }
            frames[parent].lastChild = number
        }
        parts.append(
            MessagePart(
                kind: .leaf, header: start..<start, body: start..<start, lines: 0,
                encoding: .identity, isInDigest: isInDigest, depth: depth))
        frames.append(Frame(part: number))
        hashes.append(0)
        isInHeader = true
    }

    /// The innermost frame whose delimiter this is.
    ///
    /// - Parameter range: the line behind `--`, without LF.
    private func delimiter(
        _ message: Span<UInt8>, _ range: Range<Int>
    ) -> (frame: Int, isLast: Bool)? {
        var end = range.upperBound
        while end > range.lowerBound, StructuredText.isBlank(message[end - 1]) { end -= 1 }
        let length = end - range.lowerBound
        guard length > 0, length <= limits.boundary + 2 else { return nil }
        let isClosing = length > 2 && message[end - 1] == 0x2D && message[end - 2] == 0x2D
        var shortHash = BoundaryHash.start
        for index in range.lowerBound..<max(range.lowerBound, end - 2) {
            BoundaryHash.add(message[index], to: &shortHash)
        }
        var hash = shortHash
        for index in max(range.lowerBound, end - 2)..<end {
            BoundaryHash.add(message[index], to: &hash)
        }
        for frame in hashes.indices.reversed() {
            let candidate = hashes[frame]
            guard candidate == hash || candidate == shortHash else { continue }
            if candidate == hash, isEqual(frame, message, range.lowerBound, length) {
                return (frame, false)
            }
            if isClosing, candidate == shortHash,
                isEqual(frame, message, range.lowerBound, length - 2)
            {
                return (frame, true)
            }
        }
        return nil
    }

    /// True if the boundary of `frame` is the `length` octets at `start`.
    private func isEqual(
        _ frame: Int, _ message: Span<UInt8>, _ start: Int, _ length: Int
    ) -> Bool {
        let boundary = frames[frame].boundary
        guard boundary.count == length, length > 0 else { return false }
        for index in boundary.indices where boundary[index] != message[start + index] {
            return false
        }
        return true
    }

    /// The header of the innermost part ended before `position`: what comes now?
    private mutating func headerEnded(
        _ message: Span<UInt8>, at position: Int, linesBefore: Int
    ) {
        let top = frames.count - 1
        let number = frames[top].part
        let header = parts[number].header.lowerBound..<position
        let fields = ContentFields(message, header: header)
        parts[number].header = header
        parts[number].body = position..<position
        parts[number].contentType = fields.type
        parts[number].encoding = TransferEncoding(message, fields.encoding)
        frames[top].linesBefore = linesBefore
        isInHeader = false

        let mayHaveParts = parts[number].depth < limits.depth && parts.count < limits.parts
        let type = ParameterizedField.mediaType(message, fields.type)
        if let type, FieldBody.isWord(message, type.value, "multipart") {
            var boundary = Parameter.text("boundary", message, type.parameters) ?? []
            while let last = boundary.last, StructuredText.isBlank(last) { boundary.removeLast() }
            guard !boundary.isEmpty, boundary.count <= limits.boundary else { return }
            guard mayHaveParts else {
                parts[number].kind = .opaque
                return
            }
            parts[number].kind = .multipart
            hashes[top] = boundary.reduce(into: BoundaryHash.start) {
                BoundaryHash.add($1, to: &$0)
            }
            frames[top].boundary = boundary
            frames[top].isDigest =
                type.subtype.map { FieldBody.isWord(message, $0, "digest") } ?? false
            openBoundaries += 1
        } else if isMessage(message, type, isInDigest: parts[number].isInDigest) {
            guard mayHaveParts else {
                parts[number].kind = .opaque
                return
            }
            parts[number].kind = .message
            open(at: position, isInDigest: false)
        }
    }

    private func isMessage(
        _ message: Span<UInt8>, _ type: ParameterizedField?, isInDigest: Bool
    ) -> Bool {
        guard let type, let subtype = type.subtype else { return isInDigest }
        return FieldBody.isWord(message, type.value, "message")
            && (FieldBody.isWord(message, subtype, "rfc822")
                || FieldBody.isWord(message, subtype, "global"))
    }

    /// Ends all parts above frame `bottom`.
    ///
    /// - Parameters:
    ///   - position: the beginning of a delimiter line, or the end of everything.
    ///   - afterLine: the line end before `position` belongs to the delimiter (§5.1.1).
    private mutating func close(
        above bottom: Int, at position: Int, _ message: Span<UInt8>, afterLine: Bool
    ) {
        // All end at the same place: a line end that is the innermost part's empty line is not the
        // delimiter's, or a part would reach out of the one around it.
        var end = position
        var linesEnd = lines
        if afterLine, let innermost = frames.last {
            let part = parts[innermost.part]
            let start = isInHeader ? part.header.lowerBound : part.body.lowerBound
            if end > start, message[end - 1] == .lf {
                end -= 1
                linesEnd -= 1
                if end > start, message[end - 1] == .cr { end -= 1 }
            }
        }
        while frames.count > bottom + 1 {
            if isInHeader {
                // Cut off in its header; a message then still gets its one, empty, child.
                headerEnded(message, at: end, linesBefore: linesEnd)
                if isInHeader { continue }
            }
            let frame = frames.removeLast()
            hashes.removeLast()
            parts[frame.part].body = parts[frame.part].body.lowerBound..<end
            parts[frame.part].lines = linesEnd - frame.linesBefore
            if !frame.boundary.isEmpty { openBoundaries -= 1 }
        }
    }
}
