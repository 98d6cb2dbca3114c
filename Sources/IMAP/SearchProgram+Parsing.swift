// SPDX-License-Identifier: Apache-2.0
//
// The grammar of SEARCH. RFC 3501 §9, search-key.

import Bytes
import Mail

extension SearchProgram {
    /// Reads ` [RETURN (...)] [CHARSET x] key ...` up to the end of the command.
    init(from cursor: inout Cursor) throws(CommandError) {
        let before = cursor.offset
        try cursor.space()
        var returns: SearchReturn?
        if cursor.word() == "RETURN" {
            try cursor.space()
            returns = try cursor.searchReturn()
        } else {
            cursor.rewind(to: before)
        }
        try self.init(from: &cursor, key: .all)
        self.returns = returns
    }

    /// Reads ` charset key ...` as SORT and THREAD have it.
    init(from cursor: inout Cursor, returning returns: SearchReturn?) throws(CommandError) {
        try cursor.space()
        let charset = try cursor.charset()
        try self.init(from: &cursor, key: .all)
        charsetIsUnknown = !charset
        namesCharset = true
        self.returns = returns
    }

    /// Reads ` [CHARSET x] key ...`.
    private init(from cursor: inout Cursor, key: SearchKey) throws(CommandError) {
        self.init(key: key)
        try cursor.space()
        let start = cursor.offset
        if cursor.word() == "CHARSET" {
            try cursor.space()
            charsetIsUnknown = try !cursor.charset()
            namesCharset = true
            try cursor.space()
        } else {
            cursor.rewind(to: start)
        }
        var parser = KeyParser()
        var keys: [SearchKey] = []
        repeat {
            keys.append(try parser.key(&cursor, depth: 0))
            guard cursor.skip(while: { $0 == .space }) > 0 else { break }
        } while !cursor.isAtEnd
        self.key = keys.count == 1 ? keys[0] : .and(keys)
        mentionsModSeq = parser.mentionsModSeq
    }
}

extension Cursor {
    /// - Returns: false for a charset that is not supported.
    fileprivate mutating func charset() throws(CommandError) -> Bool {
        let charset = try astring().map(\.asciiUppercased)
        return charset == Array("UTF-8") || charset == Array("US-ASCII")
    }
}

private struct KeyParser {
    var mentionsModSeq = false
    private var keys = 0

    mutating func key(_ cursor: inout Cursor, depth: Int) throws(CommandError) -> SearchKey {
        guard depth < SearchProgram.depthLimit, keys < SearchProgram.keyLimit else {
            throw .tooComplex
        }
        keys += 1
        if cursor.take(0x28) {
            var group: [SearchKey] = []
            repeat {
                _ = cursor.skip(while: { $0 == .space })
                group.append(try key(&cursor, depth: depth + 1))
                _ = cursor.skip(while: { $0 == .space })
            } while !cursor.take(0x29)
            return group.count == 1 ? group[0] : .and(group)
        }
        if let octet = cursor.next, octet.isASCIIDigit || octet == 0x2A || octet == 0x24 {
            return .sequence(try SequenceSet(from: &cursor))
        }
        let name = cursor.word()
        if let flag = Self.flagKey(name) { return flag }
        switch name {
        case "ALL": return .all
        case "NOT":
            try cursor.space()
            return .not(try key(&cursor, depth: depth + 1))
        case "OR":
            try cursor.space()
            let left = try key(&cursor, depth: depth + 1)
            try cursor.space()
            return .or(left, try key(&cursor, depth: depth + 1))
        case "UID":
            try cursor.space()
            return .uid(try SequenceSet(from: &cursor))
        case "KEYWORD":
            try cursor.space()
            return .keyword(try cursor.atom())
        case "UNKEYWORD":
            try cursor.space()
            return .not(.keyword(try cursor.atom()))
        case "MODSEQ": return try modSeq(&cursor)
        case "SAVEDATESUPPORT" where cursor.take("ED"): return .all  // RFC 8514 §4.3
        default:
            if let key = try Self.valueKey(name, &cursor) { return key }
            throw cursor.failure
        }
    }

    private static func flagKey(_ name: String) -> SearchKey? {
        switch name {
        case "ANSWERED": .flag(.answered)
        case "DELETED": .flag(.deleted)
        case "DRAFT": .flag(.draft)
        case "FLAGGED": .flag(.flagged)
        case "SEEN": .flag(.seen)
        case "RECENT": .flag(.recent)
        case "NEW": .new
        case "OLD": .not(.flag(.recent))
        case "UNANSWERED": .not(.flag(.answered))
        case "UNDELETED": .not(.flag(.deleted))
        case "UNDRAFT": .not(.flag(.draft))
        case "UNFLAGGED": .not(.flag(.flagged))
        case "UNSEEN": .not(.flag(.seen))
        default: nil
        }
    }

    /// Keys with one number, date or string behind them; nil for any other name.
    private static func valueKey(
        _ name: String, _ cursor: inout Cursor
    ) throws(CommandError) -> SearchKey? {
        switch name {
        case "BCC", "CC", "FROM", "SUBJECT", "TO":
            return .header(name: Array(name), try text(&cursor))
        case "HEADER":
            try cursor.space()
            let field = try cursor.astring()
            return .header(name: field, try text(&cursor))
        case "BODY": return .body(try text(&cursor))
        case "TEXT": return .text(try text(&cursor))
        case "LARGER": return .larger(try number(&cursor))
        case "SMALLER": return .smaller(try number(&cursor))
        case "BEFORE": return .internalDay(.before(try day(&cursor)))
        case "ON": return .internalDay(.on(try day(&cursor)))
        case "SINCE": return .internalDay(.since(try day(&cursor)))
        case "SAVEDBEFORE": return .savedDay(.before(try day(&cursor)))
        case "SAVEDON": return .savedDay(.on(try day(&cursor)))
        case "SAVEDSINCE": return .savedDay(.since(try day(&cursor)))
        case "EMAILID": return .emailID(try text(&cursor))
        case "THREADID":
            _ = try text(&cursor)
            return .not(.all)  // RFC 8474 §6: no message has one here
        case "SENTBEFORE": return .sentDay(.before(try day(&cursor)))
        case "SENTON": return .sentDay(.on(try day(&cursor)))
        case "SENTSINCE": return .sentDay(.since(try day(&cursor)))
        case "YOUNGER": return .younger(Int64(try number(&cursor)))
        case "OLDER": return .not(.younger(Int64(try number(&cursor))))
        default: return nil
        }
    }

    private static func text(_ cursor: inout Cursor) throws(CommandError) -> [UInt8] {
        try cursor.space()
        return try cursor.astring()
    }

    private static func number(_ cursor: inout Cursor) throws(CommandError) -> UInt32 {
        try cursor.space()
        return try cursor.number32()
    }

    /// date, with or without quotes.
    private static func day(_ cursor: inout Cursor) throws(CommandError) -> Int {
        try cursor.space()
        let text = try cursor.astring()
        guard let day = InternalDate.parseDay(text.span) else { throw .badDate }
        return day
    }

    /// RFC 7162 §3.1.5: `MODSEQ ["/flags/\\Seen" all] n`. One number per message is kept, so the
    /// entry name narrows nothing.
    private mutating func modSeq(_ cursor: inout Cursor) throws(CommandError) -> SearchKey {
        mentionsModSeq = true
        try cursor.space()
        if cursor.next == 0x22 {
            _ = try cursor.quoted()
            try cursor.space()
            let type = cursor.word()
            guard type == "ALL" || type == "PRIV" || type == "SHARED" else { throw cursor.failure }
            try cursor.space()
        }
        return .modSeq(try cursor.modSeq())
    }
}
