// SPDX-License-Identifier: Apache-2.0
//
// Octets that were read and not yet consumed. The memory comes from a pool of the loop and goes
// back when a connection waits with nothing buffered, so idle connections hold none.

import Glibc

/// Blocks of memory for reading, by size. Confined to one loop.
@safe struct BufferPool {
    static let sizes = [4096, 16_384, 65_536]
    private static let kept = [256, 64, 32]

    private var free: [[UnsafeMutableRawPointer]] = unsafe [[], [], []]

    /// A block of at least `count` octets.
    mutating func take(_ count: Int) -> (UnsafeMutableRawPointer, Int) {
        for index in 0..<3 where count <= Self.sizes[index] {
            let block =
                unsafe free[index].popLast()
                ?? .allocate(byteCount: Self.sizes[index], alignment: 16)
            return unsafe (block, Self.sizes[index])
        }
        return (.allocate(byteCount: count, alignment: 16), count)
    }

    mutating func give(_ block: UnsafeMutableRawPointer, _ size: Int) {
        for index in 0..<3 where size == Self.sizes[index] {
            if unsafe free[index].count < Self.kept[index] {
                unsafe free[index].append(block)
                return
            }
        }
        unsafe block.deallocate()
    }

    mutating func drop() {
        for index in 0..<3 {
            while let block = unsafe free[index].popLast() { unsafe block.deallocate() }
        }
    }
}

/// The input of one connection: `head..<tail` is unread.
@safe struct InputBuffer {
    private var block: UnsafeMutableRawPointer?
    private(set) var capacity = 0
    private(set) var head = 0
    private(set) var tail = 0
    /// Octets to ask for when a new block is taken; grows while a peer sends in bulk.
    private var appetite = BufferPool.sizes[0]

    var count: Int { tail - head }

    mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= tail - head, "consumed more than is buffered")
        head += count
    }

    /// Makes room behind `tail`. Offsets of octets may change.
    ///
    /// - Parameter limit: the most octets that the buffer may hold.
    /// - Returns: false if it already holds that many.
    mutating func makeRoom(limit: Int, _ pool: inout BufferPool) -> Bool {
        if head == tail {
            head = 0
            tail = 0
            if unsafe block != nil, capacity < appetite { release(&pool) }
        }
        if unsafe block == nil {
            unsafe (block, capacity) = pool.take(appetite)
            return true
        }
        if tail < capacity { return true }
        if head > 0, head >= capacity / 2 || capacity >= limit {
            compact()
            return true
        }
        guard capacity < limit else { return false }
        let wanted = min(max(limit, BufferPool.sizes[2]), capacity * 4)
        let (bigger, size) = unsafe pool.take(wanted)
        let kept = tail - head
        if let block = unsafe block {
            unsafe bigger.copyMemory(from: block + head, byteCount: kept)
            unsafe pool.give(block, capacity)
        }
        unsafe block = bigger
        capacity = size
        head = 0
        tail = kept
        return true
    }

    private mutating func compact() {
        guard let block = unsafe block, head > 0 else { return }
        unsafe memmove(block, block + head, tail - head)
        tail -= head
        head = 0
    }

    /// Lets `read` put octets behind `tail`.
    ///
    /// - Returns: what `read` returns: the number of octets, or not more than 0.
    mutating func receive(_ read: (UnsafeMutableRawPointer, Int) -> Int) -> Int {
        guard let block = unsafe block else { return 0 }
        let room = capacity - tail
        let count = unsafe read(block + tail, room)
        if count > 0 {
            tail += count
            if count == room, room >= appetite / 2 {
                appetite = min(appetite * 4, BufferPool.sizes[2])
            } else if count < BufferPool.sizes[0] {
                appetite = BufferPool.sizes[0]
            }
        }
        return count
    }

    /// Offset behind `head` of the first `octet` at or behind `start`.
    func firstIndex(of octet: UInt8, from start: Int) -> Int? {
        guard let block = unsafe block, start < count else { return nil }
        let from = unsafe block + head + start
        guard let found = unsafe memchr(from, Int32(octet), count - start) else { return nil }
        return unsafe UnsafeRawPointer(found) - UnsafeRawPointer(block) - head
    }

    subscript(offset: Int) -> UInt8 {
        precondition(offset >= 0 && offset < count)
        guard let block = unsafe block else { return 0 }
        return unsafe block.load(fromByteOffset: head + offset, as: UInt8.self)
    }

    /// The octets from `start` to `end`, counted from the start of the block.
    func withOctets<R, E: Error>(
        _ start: Int, _ end: Int, _ body: (Span<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        guard let block = unsafe block, start < end, end <= tail else {
            return try body(InlineArray<0, UInt8>(repeating: 0).span)
        }
        let octets = unsafe UnsafeBufferPointer(
            start: (block + start).assumingMemoryBound(to: UInt8.self), count: end - start)
        return try unsafe body(octets.span)
    }

    /// Appends the first `count` octets to `result` and consumes them.
    mutating func move(_ count: Int, to result: inout [UInt8]) {
        let wanted = min(count, self.count)
        guard let block = unsafe block, wanted > 0 else { return }
        unsafe result.append(
            contentsOf: UnsafeRawBufferPointer(start: block + head, count: wanted))
        head += wanted
    }

    /// Gives the memory back, and what was in it.
    mutating func release(_ pool: inout BufferPool) {
        if let block = unsafe block { unsafe pool.give(block, capacity) }
        unsafe block = nil
        capacity = 0
        head = 0
        tail = 0
    }
}
