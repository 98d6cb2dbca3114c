// SPDX-License-Identifier: Apache-2.0
//
// What the commands about addresses, rights and quota share: asking, and the words for what cannot
// be.

import Bytes
import Config
import Mail
import Wire

/// Questions to the directory of the store.
enum Addresses {
    /// `NAME@DOMAIN`; with `rest` also `@DOMAIN`, everything that is nobody there.
    static func parse(_ text: String, rest: Bool = false) throws(Failure) -> EmailAddress {
        if rest, text.hasPrefix("@"), text.utf8.count > 1 {
            let domain = Array(text.utf8.dropFirst())
            if isPlain(domain), !domain.contains(0x40) {
                return EmailAddress(local: [], domain: domain)
            }
        }
        guard let address = EmailAddress(splitting: Array(text.utf8)),
            address.local.count <= 64, address.domain.count <= 253, isPlain(address.domain),
            address.local.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else {
            throw Failure(
                .badData, "`\(text)` is not an address",
                hints: ["write it as NAME@DOMAIN" + (rest ? ", or @DOMAIN for the rest" : "")])
        }
        return address
    }

    private static func isPlain(_ octets: [UInt8]) -> Bool {
        octets.allSatisfy { $0 > 0x20 && $0 != 0x7F }
    }

    static func ask(
        _ request: DirectoryRequest, _ client: inout ControlClient
    ) throws(Failure) -> DirectoryReply {
        let reply = try client.call(.directory(request))
        guard case .directory(let answer) = reply else { throw Store.unexpected(reply) }
        if case .problem(let problem) = answer { throw failure(problem) }
        return answer
    }

    /// Asks for a change.
    static func change(
        _ request: DirectoryRequest, _ client: inout ControlClient
    ) throws(Failure) {
        let reply = try client.call(.directory(request))
        switch reply {
        case .done: break
        case .directory(.problem(let problem)): throw failure(problem)
        default: throw Store.unexpected(reply)
        }
    }

    static func accounts(
        _ request: DirectoryRequest, _ client: inout ControlClient
    ) throws(Failure) -> [AccountDetails] {
        guard case .accounts(let rows) = try ask(request, &client) else {
            throw Failure(.remoteProtocol, "msgstored gave a strange answer")
        }
        return rows
    }

    static func domains(_ client: inout ControlClient) throws(Failure) -> [DomainDetails] {
        guard case .domains(let rows) = try ask(.listDomains, &client) else {
            throw Failure(.remoteProtocol, "msgstored gave a strange answer")
        }
        return rows
    }

    /// As it is written: `@example.org` for the rest of a domain.
    static func text(_ address: EmailAddress) -> String { address.text }

    static func failure(_ problem: AddressProblem) -> Failure {
        let name = problem.address.text
        let target = problem.target?.text ?? ""
        let domain = Store.text(problem.address.domain)
        switch problem.kind {
        case .loop:
            return Failure(
                .badData,
                target == name || target.isEmpty
                    ? "\(name) would lead to itself"
                    : "\(name) -> \(target) is a loop: \(target) leads back to \(name)",
                hints: ["see: mailctl alias check \(target.isEmpty ? name : target)"])
        case .remoteTarget:
            return Failure(
                .badData, "\(target) is not on this server, and mail is not sent to others yet",
                hints: ["aliases can lead to accounts and aliases here: mailctl account list"])
        case .unknownTarget:
            return Failure(
                .noSuchAccount, "\(target) is neither an account nor an alias",
                hints: ["add it first, or say --force if it will come later"])
        case .tooMany:
            return Failure(
                .badData, "\(name) would lead to more than 1,000 accounts, or more than 16 deep")
        case .notOurDomain:
            return Failure(
                .noSuchDomain, "domain \(domain) is not served here",
                hints: ["add it first:  mailctl domain add \(domain)"])
        case .aliasDomain:
            return Failure(
                .badData,
                "\(domain) only stands for another domain and has no addresses of its own",
                hints: ["see: mailctl domain show \(domain)"])
        case .noSuchAlias:
            return Failure(
                .noSuchAccount,
                target.isEmpty
                    ? "there is no alias \(name)" : "the alias \(name) does not lead to \(target)",
                hints: ["see: mailctl alias list \(domain)"])
        case .badAddress:
            return Failure(
                .badData, "`\(target.isEmpty ? name : target)` cannot be an address or domain")
        case .domainInUse:
            return Failure(
                .permission, "\(domain) has accounts or aliases, or other domains stand for it",
                hints: ["see: mailctl domain show \(domain)"])
        case .exists:
            return Failure(
                .cannotCreate, "\(name) exists already: an account, an alias, or mail left behind")
        }
    }

    /// `2 GB`, `500M`, 0 or `none` for no limit; `default` (nil) for what lies behind.
    static func limit(_ text: String) throws(Failure) -> UInt64? {
        switch text.lowercased() {
        case "default", "inherit": return nil
        case "none", "unlimited": return 0
        default: break
        }
        var notation = text
        if let last = text.uppercased().last, "KMGT".contains(last) { notation += "iB" }
        guard let octets = SizeNotation.parse(notation) else {
            throw Failure(
                .badData, "`\(text)` is not a size",
                hints: ["for example 2G, 500 MB, none, default"])
        }
        return UInt64(octets)
    }

    static func count(_ text: String) throws(Failure) -> UInt64? {
        switch text.lowercased() {
        case "default", "inherit": return nil
        case "none", "unlimited": return 0
        default: break
        }
        guard let number = UInt64(text) else {
            throw Failure(
                .badData, "`\(text)` is not a number of messages",
                hints: ["for example 100000, none, default"])
        }
        return number
    }

    static func name(_ state: AccountStanding) -> String {
        switch state {
        case .active: "active"
        case .loginDisabled: "login-disabled"
        case .disabled: "disabled"
        }
    }

    static func state(_ text: String) throws(Failure) -> AccountStanding {
        for state in AccountStanding.allCases where name(state) == text { return state }
        throw Failure(
            .badData, "`\(text)` is not a state",
            hints: ["one of: " + AccountStanding.allCases.map(name).joined(separator: " ")])
    }

    /// For people: a dash where there is no limit.
    static func limitText(_ limit: UInt64) -> String { limit == 0 ? "-" : Store.size(limit) }
}
