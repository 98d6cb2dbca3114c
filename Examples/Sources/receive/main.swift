// SPDX-License-Identifier: Apache-2.0
//
// receive DIRECTORY CHAIN KEY OFFSET: keeps what is for example.test, or from alice, as files. The
// ports are OFFSET + 25, 587 and 465.

import Foundation
import MartletSMTP

let directory = URL(filePath: CommandLine.arguments[1])
let offset = Int(CommandLine.arguments[4]) ?? 3_000
let server = MailServer(
    hostname: "mx.example.test",
    listeners: [
        .smtp(host: "127.0.0.1", port: offset + 25),
        .submission(host: "127.0.0.1", port: offset + 587),
        .submissions(host: "127.0.0.1", port: offset + 465),
    ],
    certificate: Certificate(
        chainFile: CommandLine.arguments[2], keyFile: CommandLine.arguments[3]),
    delivery: DeliveryClosures(
        recipient: { address, transaction in
            if transaction.client.account != nil { return .accept }  // to wherever it is
            return address.domain == "example.test" ? .accept : .relayingDenied
        },
        message: { message in
            let file = directory.appending(path: "\(message.id).eml")
            try Data(message.octets()).write(to: file, options: .atomic)
            return .accept
        }),
    authentication: AuthClosure { credentials in
        guard credentials.name == "alice@example.test", credentials.password == "secret" else {
            return nil
        }
        return Address(credentials.name).map { Account($0) }
    },
    filters: [
        FilterClosures(message: { message in
            let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
            return try Data(message.octets()).contains(Data(gtube.utf8))
                ? .reject("This looks like spam") : .accept
        })
    ])
try await server.run()
