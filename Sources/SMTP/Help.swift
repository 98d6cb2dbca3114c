// SPDX-License-Identifier: Apache-2.0
//
// What HELP says. RFC 5321 §4.1.1.8: all commands, or the form of one.

import Bytes
import Mail

extension Reply {
    /// What each command looks like, in the order of a session.
    private static let forms: [(verb: String, lines: [String])] = [
        ("EHLO", ["EHLO hostname", "Greets and lists the extensions"]),
        ("HELO", ["HELO hostname", "Greets without extensions"]),
        ("STARTTLS", ["STARTTLS", "Goes on in TLS: RFC 3207"]),
        ("AUTH", ["AUTH mechanism [initial-response]", "Logs in: RFC 4954"]),
        (
            "MAIL",
            [
                "MAIL FROM:<address> [SIZE=n] [BODY=7BIT|8BITMIME] [SMTPUTF8]",
                "[RET=FULL|HDRS] [ENVID=xtext] [AUTH=xtext]",
                "inside TLS [REQUIRETLS] [BODY=BINARYMIME]",
                "behind AUTH [BY=seconds;N|R[T]] [MT-PRIORITY=-9...9]",
            ]
        ),
        (
            "RCPT",
            [
                "RCPT TO:<address> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY]",
                "[ORCPT=type;xtext]",
            ]
        ),
        ("DATA", ["DATA", "The message, with a line of one dot behind it"]),
        ("BDAT", ["BDAT octets [LAST]", "A piece of the message: RFC 3030"]),
        ("RSET", ["RSET", "Forgets sender and recipients"]),
        ("VRFY", ["VRFY address", "Tells nothing: recipients are checked at RCPT"]),
        ("EXPN", ["EXPN is not offered"]),
        ("NOOP", ["NOOP", "Does nothing"]),
        ("HELP", ["HELP [command]", "Explains the commands"]),
        ("QUIT", ["QUIT", "Ends the session"]),
    ]

    /// - Parameter topic: in capitals; empty: everything.
    static func help(_ topic: String) -> Reply? {
        let lines: [String]
        if topic.isEmpty {
            let verbs = forms.map(\.verb).filter { $0 != "EXPN" }
            lines = [
                "Commands: " + verbs.joined(separator: " "), "HELP command tells more",
                "See RFC 5321",
            ]
        } else {
            guard let form = forms.first(where: { $0.verb == topic }) else { return nil }
            lines = form.lines
        }
        return Reply(214, EnhancedStatus(2, 0, 0), lines: lines.map { Array($0) })
    }
}
