// SPDX-License-Identifier: Apache-2.0
//
// Values of what the control door carries about addresses, rights and quota.

import Bytes
import Mail

@testable import Wire

enum DirectorySamples {
    private static let alice = Samples.alice
    private static let bob = Samples.bob
    private static let rest = EmailAddress(local: [], domain: Array("example.test"))
    private static let domain = Array("example.test")

    static let requests: [DirectoryRequest] =
        [
            .changeAliases(
                [
                    Alias(address: alice, targets: [alice, bob]),
                    Alias(address: rest, targets: []),
                ], .add, force: true),
            .changeAliases([], .replace, force: false),
            .changeAliases([Alias(address: rest, targets: [bob])], .remove, force: false),
            .listAliases(domain: []),
            .expand(rest),
            .listDomains,
            .setDomain(domain, .aliasOf([])),
            .setDomain(domain, .octets(nil)),
            .setDomain(domain, .messages(.max)),
            .listAccounts(domain: domain, exact: true),
            .showAccount(alice),
            .setAccount(alice, .octets(0)),
            .setAccount(alice, .messages(nil)),
            .setAccount(alice, .addSender(rest)),
            .setAccount(alice, .removeSender(bob)),
            .recount(bob),
            .renameAccount(alice, to: bob, keepAlias: true),
            .renameDomain(domain, to: Array("other.test"), keepAlias: false),
        ] + AccountStanding.allCases.map { .setAccount(alice, .state($0)) }

    static let replies: [DirectoryReply] =
        [
            .aliases([Alias(address: rest, targets: [alice]), Alias(address: bob, targets: [])]),
            .expansion(
                ExpansionStep.Outcome.allCases.map {
                    ExpansionStep(depth: $0.rawValue, address: alice, outcome: $0)
                }),
            .domains([
                DomainDetails(
                    name: domain, accounts: 1, aliases: .max, isConfigured: true, aliasOf: [],
                    quota: QuotaSetting(octets: 0, messages: nil), catchAll: [alice, bob])
            ]),
            .accounts([
                AccountDetails(
                    address: alice, created: -1, state: .loginDisabled,
                    usage: MailUsage(octets: .max, messages: 2, mailboxes: 3),
                    quota: QuotaSetting(octets: nil, messages: 9),
                    limits: QuotaLimits(octets: 5, messages: 9), senders: [rest]),
                AccountDetails(
                    address: bob, created: 0, state: .active, usage: nil, quota: QuotaSetting(),
                    limits: QuotaLimits(), senders: []),
            ]),
            .octets(.max),
            .quota(MailUsage(octets: 1, messages: 2, mailboxes: 3), QuotaLimits(octets: 4)),
        ]
        + AddressProblem.Kind.allCases.map {
            .problem(AddressProblem($0, rest, target: $0 == .loop ? alice : nil))
        }
}
