// SPDX-License-Identifier: Apache-2.0
//
// Reports of success for senders who asked for one. RFC 3461 §5.2.2: NOTIFY=SUCCESS. Only to a
// sender that proved who it is, only into a mailbox here, never for the null sender: nobody can
// make this server send reports to somebody else.

import Bytes
import MIME
import Mail
import Store
import Telemetry
import Transport
import Wire

extension Delivery {
    /// Somebody is to be told when it has been delivered.
    var wantsReport: Bool {
        guard terms.mayReport, case .address = sender else { return false }
        return recipientTerms.contains { $0.notify?.contains(.success) ?? false }
    }
}

extension DoorConnection {
    /// Puts a report into the sender's mailbox. The message itself has been delivered: what goes
    /// wrong here is logged, and changes nothing about that.
    func report(on delivery: Delivery, header: [UInt8]) async {
        guard case .address(let sender) = delivery.sender else { return }
        let named = delivery.recipients.indices.filter {
            delivery.terms(of: $0).notify?.contains(.success) ?? false
        }
        let id = context.nextTraceID()
        let report = DeliveryReport(
            host: core.reportingHost, id: id, sender: sender,
            recipients: named.map {
                DeliveryReport.Recipient(
                    delivery.recipients[$0], original: delivery.terms(of: $0).original)
            },
            envelopeID: delivery.terms.envelopeID, header: header,
            secondsSince1970: Int64(context.wallMilliseconds() / 1_000))
        do throws(StoreFailure) {
            // A sender elsewhere is told by the queue, once there is one.
            guard try await !lookup(sender).accounts.isEmpty else { return }
            try await deliver(
                Delivery(
                    id: id, session: delivery.session, sender: .null, recipients: [sender],
                    body: .inline(report.message)))
        } catch {
            Log.warn(
                "report not delivered",
                [
                    LogField("id", id.description),
                    LogField("session", delivery.session.description),
                    LogField("reason", "\(error)"), LogField("to", sender.octets),
                ])
        }
    }

    /// The header of a message that is about to be delivered.
    func header(of source: MessageSource?, _ body: MessageBody) async -> [UInt8] {
        switch (body, source) {
        case (.inline(let octets), _):
            return Array(octets[..<HeaderReader.bodyStart(octets.span, in: 0..<octets.count)])
        case (.staged, .staged(let message)):
            let front = await core.run { () -> Result<[UInt8], StoreError> in
                do throws(StoreError) {
                    return .success(try message.front(64 << 10))
                } catch {
                    return .failure(error)
                }
            }
            guard case .success(let front) = front else { return [] }
            return Array(front[..<HeaderReader.bodyStart(front.span, in: 0..<front.count)])
        default: return []
        }
    }
}
