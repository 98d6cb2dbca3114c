// SPDX-License-Identifier: Apache-2.0
//
// The encoding of what `checkIndex` and `optimizeIndex` answer. docs/wire.md.

import Bytes
import Mail

extension Encoder {
    mutating func put(_ report: IndexReport) {
        put(report.mailboxes)
        put(report.messages)
        put(report.omitted)
        put(list: report.findings, limit: IndexReport.findingLimit) { encoder, finding in
            encoder.put(finding.kind.rawValue)
            encoder.put(finding.mailbox, limit: MailboxName.octetLimit)
            encoder.put(finding.uid)
            encoder.put(finding.detail, limit: WireLimit.findingDetail)
            encoder.put(finding.isRepaired)
        }
    }
}

extension Decoder {
    mutating func indexReport() throws(WireError) -> IndexReport {
        var report = IndexReport()
        report.mailboxes = try integer(UInt32.self)
        report.messages = try integer(UInt64.self)
        report.omitted = try integer(UInt64.self)
        report.findings = try list(limit: IndexReport.findingLimit, minimum: 14) {
            decoder throws(WireError) in
            IndexFinding(
                try decoder.choice(IndexFinding.Kind.self, "kind of finding"),
                mailbox: try decoder.string(limit: MailboxName.octetLimit),
                uid: try decoder.integer(UInt32.self),
                detail: try decoder.string(limit: WireLimit.findingDetail),
                isRepaired: try decoder.bool())
        }
        return report
    }
}
