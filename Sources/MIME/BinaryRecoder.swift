// SPDX-License-Identifier: Apache-2.0
//
// Messages that came as BINARYMIME (RFC 3030 §3) made into messages that a mailbox can hold: bodies
// with Content-Transfer-Encoding binary become base64, everything else must be lines. What comes
// out has no NUL, no lone CR and no lone LF, or there is a fault.

import Bytes

/// Takes a message in pieces of any size. Keeps one header, or a few hundred octets.
package struct BinaryRecoder: Sendable {
    package enum Fault: Equatable, Sendable {
        /// NUL, CR or LF alone in a header or in a body that was not declared binary.
        case notText
        /// A header, or multiparts in each other, beyond all reason.
        case tooComplex
    }

    private enum Mode {
        case header
        case text
        case base64
    }

    /// Octets of one header.
    private static let headerLimit = 256 << 10
    private static let depthLimit = 64
    /// RFC 2046 §5.1.1 allows 70.
    private static let boundaryLimit = 256
    /// The longest delimiter line, with what a sloppy writer puts behind it.
    private static let delimiterLimit = 512

    package private(set) var fault: Fault?
    private var mode = Mode.header
    /// Input that nothing was decided about.
    private var pending: [UInt8] = []
    /// Octets at the front of `pending` in which no header ends.
    private var searched = 0
    /// The open multiparts, the innermost last.
    private var boundaries: [[UInt8]] = []
    /// `pending` begins at the start of a line of the body.
    private var isAtLineStart = false
    private var isBehindCR = false
    /// Fewer octets than a line of base64 is made of.
    private var group: [UInt8] = []
    private var hasLines = false

    package init() {}

    /// Takes the next piece and appends what is decided to `output`.
    package mutating func recode(_ input: Span<UInt8>, into output: inout [UInt8]) {
        guard fault == nil else { return }
        pending.append(copying: input)
        run(isEnd: false, &output)
    }

    /// Call behind the last piece.
    package mutating func finish(into output: inout [UInt8]) {
        guard fault == nil else { return }
        run(isEnd: true, &output)
        if mode == .header {
            // A header without the empty line behind it.
            emitText(pending[...], &output)
            pending = []
        }
        endBody(&output)
        if hasLines { output += [.cr, .lf] }
    }

    private mutating func run(isEnd: Bool, _ output: inout [UInt8]) {
        while fault == nil {
            let isDone =
                mode == .header ? !takeHeader(&output) : !takeBody(isEnd: isEnd, &output)
            if isDone { return }
        }
    }

    // MARK: Headers

    /// False: it goes on in the next piece.
    private mutating func takeHeader(_ output: inout [UInt8]) -> Bool {
        guard let end = headerEnd(from: max(0, searched - 4)) else {
            searched = pending.count
            if pending.count > Self.headerLimit { fault = .tooComplex }
            return false
        }
        let header = Array(pending[..<end])
        pending.removeSubrange(..<end)
        searched = 0
        isAtLineStart = true
        begin(header, &output)
        return true
    }

    /// Behind the empty line.
    private func headerEnd(from start: Int) -> Int? {
        let span = pending.span
        if pending.count >= 2, pending[0] == .cr, pending[1] == .lf { return 2 }
        var index = start
        while true {
            index = span.first(.cr, in: index..<pending.count)
            guard index + 3 < pending.count else { return nil }
            if pending[index + 1] == .lf, pending[index + 2] == .cr, pending[index + 3] == .lf {
                return index + 4
            }
            index += 1
        }
    }

    /// Decides what becomes of the body behind `header`, and writes the header.
    private mutating func begin(_ header: [UInt8], _ output: inout [UInt8]) {
        let span = header.span
        let fields = ContentFields(span, header: 0..<header.count)
        let token = fields.encoding.map { FieldBody.token(span, $0) }
        let isBinary = token.map { FieldBody.isWord(span, $0, "binary") } ?? false
        let isEncoded = TransferEncoding(span, fields.encoding) != .identity
        let type = ParameterizedField.mediaType(span, fields.type)
        var replacement = "base64"
        mode = isBinary ? .base64 : .text
        if let type, let subtype = type.subtype, !isEncoded {
            if FieldBody.isWord(span, type.value, "multipart") {
                var boundary = Parameter.text("boundary", span, type.parameters) ?? []
                while let last = boundary.last, StructuredText.isBlank(last) {
                    boundary.removeLast()
                }
                if (1...Self.boundaryLimit).contains(boundary.count) {
                    boundaries.append(boundary)
                    if boundaries.count > Self.depthLimit { fault = .tooComplex }
                    replacement = "8bit"
                    mode = .text
                }
            } else if FieldBody.isWord(span, type.value, "message"),
                FieldBody.isWord(span, subtype, "rfc822")
                    || FieldBody.isWord(span, subtype, "global")
            {
                replacement = "8bit"
                mode = .header
            }
        }
        guard isBinary, let token else {
            emitText(header[...], &output)
            return
        }
        emitText(header[..<token.lowerBound], &output)
        output += Array(replacement)
        emitText(header[token.upperBound...], &output)
    }

    // MARK: Bodies

    /// Writes what is known to be body. False: the rest is decided by the next piece.
    private mutating func takeBody(isEnd: Bool, _ output: inout [UInt8]) -> Bool {
        guard !boundaries.isEmpty else {
            emit(pending[...], &output)
            pending.removeAll(keepingCapacity: true)
            return false
        }
        var index = 0
        var mayBegin = isAtLineStart
        while true {
            let start: Int
            if mayBegin {
                start = 0
            } else {
                index = pending.span.first(.cr, in: index..<pending.count)
                start = min(index + 2, pending.count)
            }
            switch delimiter(at: start, behind: index, isEnd: isEnd) {
            case .found(let level, let isLast, let end):
                emit(pending[..<index], &output)
                endBody(&output)
                hasLines = false
                output += pending[index..<end]
                pending.removeSubrange(..<end)
                boundaries.removeSubrange((isLast ? level : level + 1)...)
                mode = isLast ? .text : .header
                isAtLineStart = true
                return true
            case .none where mayBegin:
                mayBegin = false
            case .none:
                if index < pending.count {
                    index += 1
                    continue
                }
                emit(pending[...], &output)
                pending.removeAll(keepingCapacity: true)
                isAtLineStart = false
                return false
            case .undecided:
                emit(pending[..<index], &output)
                pending.removeSubrange(..<index)
                isAtLineStart = mayBegin
                return false
            }
        }
    }

    private enum Delimiter {
        case found(level: Int, isLast: Bool, end: Int)
        case none
        case undecided
    }

    /// Looks at the line at `start`, which must begin the body or follow a CRLF at `mark`.
    private func delimiter(at start: Int, behind mark: Int, isEnd: Bool) -> Delimiter {
        if mark == pending.count, mark > 0 { return .none }
        let lead: [UInt8] = start == mark ? [0x2D, 0x2D] : [.cr, .lf, 0x2D, 0x2D]
        for (place, octet) in lead.enumerated() {
            guard mark + place < pending.count else { return isEnd ? .none : .undecided }
            if pending[mark + place] != octet { return .none }
        }
        let text = start + 2
        let limit = min(pending.count, text + Self.delimiterLimit)
        let span = pending.span
        let lineEnd = span.first(.lf, in: text..<limit)
        var end = lineEnd + 1
        var length = lineEnd - 1
        if lineEnd == limit {
            guard isEnd, limit == pending.count else {
                return limit < pending.count ? .none : .undecided
            }
            end = limit
            length = limit
        } else if pending[length] != .cr || length < text {
            return .none
        }
        while length > text, [.space, .tab].contains(pending[length - 1]) { length -= 1 }
        let line = pending[text..<length]
        for level in boundaries.indices.reversed() {
            let boundary = boundaries[level]
            guard line.starts(with: boundary) else { continue }
            let rest = line.dropFirst(boundary.count)
            if rest.isEmpty { return .found(level: level, isLast: false, end: end) }
            if rest.elementsEqual([0x2D, 0x2D]) {
                return .found(level: level, isLast: true, end: end)
            }
        }
        return .none
    }

    // MARK: Output

    private mutating func emit(_ octets: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        if mode == .base64 {
            emitBase64(octets, &output)
        } else {
            emitText(octets, &output)
        }
    }

    private mutating func emitText(_ octets: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        for octet in octets {
            if octet == 0 || isBehindCR != (octet == .lf) { fault = fault ?? .notText }
            isBehindCR = octet == .cr
        }
        output += octets
    }

    private mutating func emitBase64(_ octets: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        group += octets
        var start = 0
        while group.count - start >= 57 {
            line(group[start..<(start + 57)], &output)
            start += 57
        }
        group.removeSubrange(..<start)
    }

    /// One line without its end: the delimiter brings that.
    private mutating func line(_ octets: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        if hasLines { output += [.cr, .lf] }
        output += Base64.encode(octets.span)
        hasLines = true
    }

    private mutating func endBody(_ output: inout [UInt8]) {
        if mode == .base64 {
            if !group.isEmpty { line(group[...], &output) }
            group = []
        } else if isBehindCR {
            fault = fault ?? .notText
        }
        isBehindCR = false
    }
}
