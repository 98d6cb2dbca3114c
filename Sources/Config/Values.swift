// SPDX-License-Identifier: Apache-2.0
//
// The values in force, as `mailctl config show` lists them.

/// A key with its value and where that comes from.
package struct ConfigValue: Sendable {
    package var path: String
    /// As mail.toml would write it.
    package var literal: String
    package var origin: Origin
}

extension Suite {
    /// Every supported key, in the order of the schema; listeners under their names.
    package func values(origins: [String: Origin]) -> [ConfigValue] {
        var values: [ConfigValue] = []
        var shown: Set<String> = []
        for key in Schema.keys where key.isSupported {
            switch key.target {
            case .suite(let slot):
                guard let literal = slot.literal(in: self) else { continue }
                values.append(
                    ConfigValue(
                        path: key.path, literal: literal, origin: origins[key.path] ?? .standard))
            case .listener:
                let daemon = String(key.path.prefix { $0 != "." })
                if shown.insert(daemon).inserted { values += listenerValues(daemon, origins) }
            case .domain: break
            }
        }
        for domain in domains {
            values.append(
                ConfigValue(
                    path: "domains.name", literal: quoted(domain),
                    origin: origins["domains.\(domain)"] ?? .standard))
        }
        return values
    }

    private func listenerValues(_ daemon: String, _ origins: [String: Origin]) -> [ConfigValue] {
        let listeners: [ListenerSettings]
        switch daemon {
        case "smtpd": listeners = smtpd.listeners
        case "imapd": listeners = imapd.listeners
        default: listeners = pop3d.listeners
        }
        var values: [ConfigValue] = []
        for listener in listeners {
            let base = "\(daemon).listeners.\(listener.name)"
            func add(_ name: String, _ literal: String) {
                let path = "\(base).\(name)"
                values.append(
                    ConfigValue(path: path, literal: literal, origin: origins[path] ?? .standard))
            }
            add("address", quoted(AddressNotation.format(listener.address)))
            add("mode", quoted(listener.mode))
            add("always_on_tls", String(listener.tlsImplicit))
            if let limit = listener.maxClients { add("max_clients", String(limit)) }
            if let limit = listener.maxClientsPerAddress {
                add("max_clients_per_ip", String(limit))
            }
            add("tls", quoted(listener.encryption))
            add("proxy_protocol", String(listener.expectsProxy))
            if let wanted = listener.authentication { add("auth", quoted(wanted)) }
            if let size = listener.maxMessageSize {
                add("max_message_size", SizeNotation.format(size))
            }
            if let count = listener.maxRecipients { add("max_recipients", String(count)) }
        }
        return values
    }
}
