// SPDX-License-Identifier: Apache-2.0
//
// The statements of `directory.sqlite`.

/// A statement that is kept prepared.
enum DirectoryQuery: Int {
    case hasDomain, domains, addDomain, removeDomain, accountCount
    case account, accounts, addAccount, setPassword, removeAccount
    case policy, setState, setAccountOctets, setAccountMessages, setUsage, mailOctets, inactive,
        firstAccount
    case firstAccountOfAll, renameAccount
    case domainSetting, putDomainSetting, removeDomainSetting, setAliasOf, setDomainOctets
    case setDomainMessages, standIns, aliasCount
    case aliasTargets, aliases, addTarget, removeTarget, removeAlias, lastPlace, renameTargets
    case senders, mayUse, addSender, removeSender, removeSenders, renameSenders
    case putRename, renames, removeRename
    case secrets, saltOf, setSalt, setKeys, refreshKeys, setCram
    case appPasswords, lastAppPassword, addAppPassword, removeAppPassword, noteAppPassword
    case removeAppPasswords, renameAppPasswords
    case bans, addBan, removeBan, secret, addSecret

    var sql: StaticString {
        switch self {
        case .hasDomain: "SELECT 1 FROM domains WHERE name=?1"
        case .domains: "SELECT name FROM domains"
        case .addDomain: "INSERT INTO domains VALUES(?1)"
        case .removeDomain: "DELETE FROM domains WHERE name=?1"
        case .accountCount: "SELECT count(*) FROM accounts WHERE domain=?1"
        case .account: "SELECT created, hash, state FROM accounts WHERE domain=?1 AND local=?2"
        case .accounts:
            """
            SELECT domain, local, created, state, quota_octets, quota_messages, used_octets,
              used_messages, used_mailboxes FROM accounts ORDER BY domain, local
            """
        case .addAccount:
            "INSERT INTO accounts(domain, local, created, hash) VALUES(?1, ?2, ?3, ?4)"
        case .setPassword: "UPDATE accounts SET hash=?3 WHERE domain=?1 AND local=?2"
        case .removeAccount: "DELETE FROM accounts WHERE domain=?1 AND local=?2"
        case .policy:
            """
            SELECT state, quota_octets, quota_messages, used_octets, used_messages,
              used_mailboxes FROM accounts WHERE domain=?1 AND local=?2
            """
        case .setState: "UPDATE accounts SET state=?3 WHERE domain=?1 AND local=?2"
        case .setAccountOctets: "UPDATE accounts SET quota_octets=?3 WHERE domain=?1 AND local=?2"
        case .setAccountMessages:
            "UPDATE accounts SET quota_messages=?3 WHERE domain=?1 AND local=?2"
        case .setUsage:
            """
            UPDATE accounts SET used_octets=?3, used_messages=?4, used_mailboxes=?5
              WHERE domain=?1 AND local=?2
            """
        case .mailOctets: "SELECT total(used_octets) FROM accounts"
        case .inactive: "SELECT domain, local FROM accounts WHERE state<>0"
        case .firstAccount:
            """
            SELECT domain, local FROM accounts WHERE domain=?1 AND state<>2
              ORDER BY created, local LIMIT 1
            """
        case .firstAccountOfAll:
            """
            SELECT domain, local FROM accounts WHERE state<>2
              ORDER BY created, domain, local LIMIT 1
            """
        case .renameAccount:
            "UPDATE accounts SET domain=?3, local=?4 WHERE domain=?1 AND local=?2"
        default: addressSQL
        }
    }

    private var addressSQL: StaticString {
        switch self {
        case .domainSetting:
            "SELECT alias_of, quota_octets, quota_messages FROM domain_settings WHERE name=?1"
        case .putDomainSetting: "INSERT OR IGNORE INTO domain_settings(name) VALUES(?1)"
        case .removeDomainSetting: "DELETE FROM domain_settings WHERE name=?1"
        case .setAliasOf: "UPDATE domain_settings SET alias_of=?2 WHERE name=?1"
        case .setDomainOctets: "UPDATE domain_settings SET quota_octets=?2 WHERE name=?1"
        case .setDomainMessages: "UPDATE domain_settings SET quota_messages=?2 WHERE name=?1"
        case .standIns: "SELECT count(*) FROM domain_settings WHERE alias_of=?1"
        case .aliasCount: "SELECT count(DISTINCT local) FROM aliases WHERE domain=?1"
        case .aliasTargets:
            """
            SELECT target_domain, target_local FROM aliases WHERE domain=?1 AND local=?2
              ORDER BY place
            """
        case .aliases:
            """
            SELECT domain, local, target_domain, target_local FROM aliases
              ORDER BY domain, local, place
            """
        case .addTarget: "INSERT INTO aliases VALUES(?1, ?2, ?3, ?4, ?5)"
        case .removeTarget:
            """
            DELETE FROM aliases
              WHERE domain=?1 AND local=?2 AND target_domain=?3 AND target_local=?4
            """
        case .removeAlias: "DELETE FROM aliases WHERE domain=?1 AND local=?2"
        case .lastPlace: "SELECT max(place) FROM aliases WHERE domain=?1 AND local=?2"
        case .renameTargets:
            """
            UPDATE aliases SET target_domain=?3, target_local=?4
              WHERE target_domain=?1 AND target_local=?2
            """
        case .senders:
            "SELECT sender_domain, sender_local FROM senders WHERE domain=?1 AND local=?2"
        case .mayUse:
            """
            SELECT 1 FROM senders WHERE domain=?1 AND local=?2 AND sender_domain=?3
              AND sender_local IN (?4, ?5, zeroblob(0)) LIMIT 1
            """
        case .addSender: "INSERT OR IGNORE INTO senders VALUES(?1, ?2, ?3, ?4)"
        case .removeSender:
            """
            DELETE FROM senders
              WHERE domain=?1 AND local=?2 AND sender_domain=?3 AND sender_local=?4
            """
        case .removeSenders: "DELETE FROM senders WHERE domain=?1 AND local=?2"
        case .renameSenders: "UPDATE senders SET domain=?3, local=?4 WHERE domain=?1 AND local=?2"
        case .putRename: "INSERT INTO renames VALUES(?1, ?2, ?3, ?4)"
        case .renames: "SELECT domain, local, new_domain, new_local FROM renames"
        case .removeRename: "DELETE FROM renames WHERE domain=?1 AND local=?2"
        default: accessSQL
        }
    }

    private var accessSQL: StaticString {
        switch self {
        case .secrets:
            """
            SELECT hash, scram_salt, scram_iterations, scram_sha1, scram_sha256, cram_md5
              FROM accounts WHERE domain=?1 AND local=?2
            """
        case .saltOf:
            "SELECT scram_salt, scram_iterations FROM accounts WHERE domain=?1 AND local=?2"
        case .setSalt:
            """
            UPDATE accounts SET scram_salt=?3, scram_iterations=?4
              WHERE domain=?1 AND local=?2 AND scram_salt IS NULL
            """
        case .setKeys:
            """
            UPDATE accounts SET scram_sha1=?3, scram_sha256=?4, cram_md5=NULL
              WHERE domain=?1 AND local=?2
            """
        case .refreshKeys:
            """
            UPDATE accounts SET hash=?4, scram_sha1=coalesce(?5, scram_sha1),
              scram_sha256=coalesce(?6, scram_sha256) WHERE domain=?1 AND local=?2 AND hash=?3
            """
        case .setCram: "UPDATE accounts SET cram_md5=?3 WHERE domain=?1 AND local=?2"
        case .appPasswords:
            """
            SELECT id, name, scopes, created, expires, used, scram_sha1, scram_sha256
              FROM app_passwords WHERE domain=?1 AND local=?2 ORDER BY id
            """
        case .lastAppPassword:
            "SELECT max(id), count(*) FROM app_passwords WHERE domain=?1 AND local=?2"
        case .addAppPassword:
            "INSERT INTO app_passwords VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)"
        case .removeAppPassword: "DELETE FROM app_passwords WHERE domain=?1 AND local=?2 AND id=?3"
        case .noteAppPassword:
            "UPDATE app_passwords SET used=?4 WHERE domain=?1 AND local=?2 AND id=?3"
        case .removeAppPasswords: "DELETE FROM app_passwords WHERE domain=?1 AND local=?2"
        case .renameAppPasswords:
            "UPDATE app_passwords SET domain=?3, local=?4 WHERE domain=?1 AND local=?2"
        case .bans: "SELECT network, since, until FROM bans ORDER BY network"
        case .addBan: "INSERT OR REPLACE INTO bans VALUES(?1, ?2, ?3)"
        case .removeBan: "DELETE FROM bans WHERE network=?1"
        case .secret: "SELECT value FROM secrets WHERE name=?1"
        default: "INSERT OR IGNORE INTO secrets VALUES(?1, ?2)"
        }
    }
}
