// SPDX-License-Identifier: Apache-2.0
//
// Reading messages: always with CRLF line ends, whoever wrote the file. RFC 9051 §2.3.4 (size).

import Bytes
import Mail

extension AccountStore {
    /// A message, or its header. Nil if there is no such message (any more).
    ///
    /// - Parameter inlineLimit: longer ones come as a file.
    package func read(
        _ id: MailboxID, uid: UInt32, _ part: MessagePart, inlineLimit: Int
    ) throws(StoreError) -> MessageContent? {
        try guarded { () throws(StoreError) in
            let folder: Folder
            if let opened = openedFolder(id) {
                folder = opened  // no look at the directory: a file that is there can be read
            } else {
                folder = try self.folder(id)
            }
            return try content(folder, uid, part, inlineLimit: inlineLimit)
        }
    }

    /// As above, of a mailbox that need not be open. Nil also if it has another UIDVALIDITY.
    package func read(
        _ name: MailboxName, uidValidity: UInt32?, uid: UInt32, inlineLimit: Int
    ) throws(StoreError) -> MessageContent? {
        try guarded { () throws(StoreError) in
            let folder = try folder(name)
            guard uidValidity == nil || uidValidity == folder.uidValidity else { return nil }
            return try content(folder, uid, .whole, inlineLimit: inlineLimit)
        }
    }

    func content(
        _ folder: Folder, _ uid: UInt32, _ part: MessagePart, inlineLimit: Int
    ) throws(StoreError) -> MessageContent? {
        guard let name = try index.blob(folder.id, uid) else { return nil }
        if let blob = try folder.blobs.open(name) {
            return try content(blob, FileName(name), part, inlineLimit, folder)
        }
        // Another program renamed or removed it.
        folder.needsScan = true
        try refresh(folder)
        guard let name = try index.blob(folder.id, uid),
            let blob = try folder.blobs.open(name)
        else { return nil }
        return try content(blob, FileName(name), part, inlineLimit, folder)
    }

    /// Up to `count` octets of the file, with CRLF line ends. Nil if there is no such message.
    func beginning(
        _ folder: Folder, _ uid: UInt32, _ count: Int
    ) throws(StoreError) -> [UInt8]? {
        guard let name = try index.blob(folder.id, uid), let blob = try folder.blobs.open(name)
        else { return nil }
        let octets = try blob.read(from: 0, count: min(count, Int(blob.octets)))
        guard FileName(name).needsCRLF else { return octets }
        var converted: [UInt8] = []
        var last: UInt8 = 0
        MessageText.appendWithCRLF(octets, after: &last, to: &converted)
        return converted
    }

    private func content(
        _ blob: MaildirBlob, _ name: FileName, _ part: MessagePart, _ inlineLimit: Int,
        _ folder: Folder
    ) throws(StoreError) -> MessageContent {
        let size = blob.octets
        if part == .header { return .octets(try header(blob, needsCRLF: name.needsCRLF)) }
        guard !name.needsCRLF else { return try converted(blob, inlineLimit, folder) }
        guard size > inlineLimit else {
            return .octets(try blob.read(from: 0, count: Int(size)))
        }
        guard let octets = UInt32(exactly: size) else { throw .limit }
        return .file(try blob.file(), size: octets)
    }

    /// Up to and including the empty line; all of a message without one; at most 1 MiB.
    private func header(
        _ blob: some BlobReader, needsCRLF: Bool
    ) throws(StoreError) -> [UInt8] {
        let size = blob.octets
        var count = 8 << 10
        while true {
            let octets = try blob.read(from: 0, count: min(count, Int(size)))
            let end = MessageText.headerCount(octets)
            if end == nil, octets.count < size, octets.count < MessageText.headerLimit {
                count = min(count * 8, MessageText.headerLimit)
                continue
            }
            let header = Array(octets.prefix(end ?? octets.count))
            guard needsCRLF else { return header }
            var converted: [UInt8] = []
            var last: UInt8 = 0
            MessageText.appendWithCRLF(header, after: &last, to: &converted)
            return converted
        }
    }

    /// A file with LF line ends, as if it had been written with CRLF.
    private func converted(
        _ blob: some BlobReader, _ inlineLimit: Int, _ folder: Folder
    ) throws(StoreError) -> MessageContent {
        var octets: [UInt8] = []
        var last: UInt8 = 0
        var offset: Int64 = 0
        var file: MessageFile?
        var written = 0
        while offset < blob.octets {
            let chunk = try blob.read(from: offset, count: MessageText.chunkOctets)
            if chunk.isEmpty { break }
            offset += Int64(chunk.count)
            MessageText.appendWithCRLF(chunk, after: &last, to: &octets)
            guard file != nil || octets.count > inlineLimit else { continue }
            let copy: MessageFile
            if let file {
                copy = file
            } else {
                copy = try folder.blobs.emptyDraft()
                file = copy
            }
            try System.write(octets, to: copy.descriptor)
            written += octets.count
            octets.removeAll(keepingCapacity: true)
        }
        guard let file else { return .octets(octets) }
        guard let total = UInt32(exactly: written) else { throw .limit }
        let reader = try System.reopenReadOnly(file.descriptor)
        return .file(SharedDescriptor(reader), size: total)
    }
}
