// SPDX-License-Identifier: Apache-2.0
//
// Numbers, sums, marks and listings of a maildrop.

import POP3
import Testing

private func drop(_ sizes: [UInt32]) -> Maildrop {
    Maildrop(
        uidValidity: 1_700_000_000,
        messages: sizes.enumerated().map { .init(uid: UInt32($0.offset * 3 + 1), size: $0.element) }
    )
}

@Suite("The maildrop, RFC 1939 §5")
struct MaildropTests {
    @Test func `numbers begin at 1 and follow the order of the UIDs`() {
        let maildrop = drop([10, 20])
        #expect(maildrop.message(0) == nil)
        #expect(maildrop.message(1)?.uid == 1)
        #expect(maildrop.message(2)?.uid == 4)
        #expect(maildrop.message(3) == nil)
    }

    @Test func `a marked message leaves the sums and keeps the other numbers`() {
        var maildrop = drop([10, 20, 30])
        #expect(maildrop.delete(2) == true)
        #expect(maildrop.delete(2) == false)
        #expect(maildrop.delete(4) == false)
        #expect(maildrop.count == 2)
        #expect(maildrop.octets == 40)
        #expect(maildrop.message(2) == nil)
        #expect(maildrop.message(3)?.size == 30)
        #expect(maildrop.deletedUIDs == [4])
    }

    @Test func `reset takes every mark back`() {
        let before = drop([10, 20, 30])
        var maildrop = before
        for number in 1...3 { #expect(maildrop.delete(number) == true) }
        #expect(maildrop.deletedUIDs == [1, 4, 7])
        maildrop.reset()
        #expect(maildrop == before)
        #expect(maildrop.deletedUIDs.isEmpty)
    }

    @Test func `sums larger than 32 bits are exact`() {
        #expect(drop(Array(repeating: .max, count: 5)).octets == 5 * UInt64(UInt32.max))
    }

    @Test func `a listing can be written in pieces and skips marked messages`() {
        var maildrop = drop(Array(repeating: 7, count: 1_000))
        #expect(maildrop.delete(500) == true)
        var text: [UInt8] = []
        var pieces = 0
        var next: Int? = 1
        while let number = next {
            var piece: [UInt8] = []
            next = maildrop.append(.scan, from: number, to: &piece, limit: 100)
            #expect(piece.count < 120)
            text += piece
            pieces += 1
        }
        #expect(pieces > 50)
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\r\n")
        #expect(lines.count == 999)
        #expect(lines[498] == "499 7")
        #expect(lines[499] == "501 7")
        #expect(lines.last == "1000 7")
    }

    @Test func `an empty maildrop has an empty listing`() {
        var piece: [UInt8] = []
        #expect(drop([]).append(.scan, from: 1, to: &piece, limit: 10) == nil)
        #expect(piece.isEmpty)
    }

    @Test func `the unique id is validity and UID and at most 70 printable octets`() {
        let maildrop = Maildrop(
            uidValidity: .max, messages: [.init(uid: .max, size: 1)])
        var line: [UInt8] = []
        maildrop.append(.uniqueID, 1, to: &line)
        #expect(String(decoding: line, as: UTF8.self) == "1 4294967295.4294967295")
        #expect(line.count - 2 <= 70)
    }
}
