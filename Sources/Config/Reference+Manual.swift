// SPDX-License-Identifier: Apache-2.0
//
// mail.toml(5) in mdoc(7), made from the schema.

extension Reference {
    package static var manual: String {
        var text = manualHead
        for section in Schema.sections {
            let keys = Schema.keys.filter { $0.section == section.path && $0.isSupported }
            guard !keys.isEmpty else { continue }
            let title = section.path == "domains" ? "[[domains]]" : "[\(section.path)]"
            text += ".Ss \(title)\n\(sentences(section.doc))\n.Bl -tag -width Ds\n"
            for key in keys {
                text += ".It Cm \(escaped(key.name))\n\(sentences(key.doc))\n"
                text += "Type: \(escaped(key.typeName))"
                if let literal = key.defaultLiteral { text += "; default: \(escaped(literal))" }
                text += ".\n"
            }
            text += ".El\n"
        }
        return text + manualTail
    }

    private static var manualHead: String {
        """
        .\\" SPDX-License-Identifier: Apache-2.0
        .\\" Made from Sources/Config/Schema*.swift by mailctl man mail.toml.
        .Dd November 21, 2026
        .Dt MAIL.TOML 5
        .Os
        .Sh NAME
        .Nm mail.toml
        .Nd configuration of the Martlet mail suite
        .Sh DESCRIPTION
        One file for all daemons, in TOML 1.0.
        Then
        .Pa mail.toml.d/*.toml
        beside it are read in the order of their names, and what comes later wins.
        Nothing in it is about accounts: those are kept by
        .Xr msgstored 8
        and changed with
        .Xr mailctl 1 .
        .Pp
        A file that works:
        .Bd -literal -offset indent
        [smtpd]
        hostname = "mail.example.com"

        [[domains]]
        name = "example.com"
        .Ed
        .Pp
        Durations are 90 (seconds), "90s", "5m", "1h30m", "7d".
        Sizes are octets (26214400), "25 MB" (10^6) or "25 MiB" (2^20).
        Addresses are ":25", "192.0.2.1:25", "[2001:db8::1]:25".
        .Pp
        A daemon that is told to reload and finds an error keeps the settings it has.
        .Sh SECTIONS

        """
    }

    private static var manualTail: String {
        """
        .Sh ENVIRONMENT
        .Ev MAIL_<SECTION>__<KEY>
        overrides a key: tables are joined by two underscores, lists are separated by commas.
        With
        .Ev _FILE
        behind the name the value is read from that file.
        .Sh FILES
        .Bl -tag -width Ds
        .It Pa /etc/martlet/mail.toml
        .It Pa /etc/martlet/mail.toml.d/*.toml
        .El
        .Sh SEE ALSO
        .Xr mailctl 1 ,
        .Xr imapd 8 ,
        .Xr msgstored 8 ,
        .Xr pop3d 8 ,
        .Xr smtpd 8

        """
    }

    /// Text as it is written in a manual page, mdoc(7).
    package static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            default: result.append(character)
            }
        }
        return result.hasPrefix(".") || result.hasPrefix("'") ? "\\&" + result : result
    }

    /// One sentence per line, as mdoc(7) wants.
    private static func sentences(_ text: String) -> String {
        escaped(text).split(separator: ". ").joined(separator: ".\n")
    }
}
