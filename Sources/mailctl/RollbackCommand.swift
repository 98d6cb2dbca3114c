// SPDX-License-Identifier: Apache-2.0
//
// `mailctl store rollback`: the directory as the release before knew it, after an upgrade that is
// to be taken back. Works on the files, with msgstored stopped. docs/store.md, "Versions".

import Config
import Glibc
import Store

enum RollbackCommand {
    static let command = Command(
        path: ["store", "rollback"],
        options: [
            Option(name: "force", value: nil, doc: "Go back even if something is lost by it."),
            Option(name: "dry-run", value: nil, doc: "Only say what would be lost."),
        ],
        summary: "Go back to the files that the last upgrade kept",
        detail: [
            """
            For going back to the release before: stop the daemons, run this, install the earlier \
            release, start it. Puts directory.sqlite.before-v<n> in the place of directory.sqlite, \
            which stays beside it as directory.sqlite.after-v<n>. What was added or changed in the \
            directory since the upgrade is named; it is lost with that, so --force is needed then. \
            No mail is lost: indexes are made again, and mail of accounts made since stays on \
            disk and is theirs again when they are added again.
            """
        ],
        examples: [
            "systemctl stop smtpd imapd pop3d msgstored && mailctl store rollback --dry-run"
        ],
        run: run)

    private static func run(_ invocation: Invocation) throws(Failure) -> ExitCode {
        let suite = try ConfigFiles.suite(invocation)
        let state = suite.server.stateDirectory
        let rollback = try prepare(suite)
        guard let rollback else {
            throw Failure(
                .noInput, "\(state) has no file of an earlier version",
                hints: [
                    "the directory was not migrated: the release before reads it as it is",
                    "indexes need nothing; they are made again",
                ])
        }
        let plan = rollback.plan
        if !invocation.json { tell(plan, invocation) }
        let isLoss = !plan.losses.isEmpty || plan.hasUnstoredMail
        let isDry = invocation.has("dry-run")
        guard isDry || !isLoss || invocation.has("force") else {
            throw Failure(
                .permission,
                plan.hasUnstoredMail
                    ? "msgstored did not end in order: mail is in the delivery log only"
                    : "that would be lost",
                hints: plan.hasUnstoredMail
                    ? ["start and stop msgstored of this release once, then run this again"]
                    : ["if that is what you want:  mailctl store rollback --force"])
        }
        if !isDry {
            do {
                try rollback.carryOut()
            } catch {
                throw Failure(.inputOutput, "not rolled back: \(error)")
            }
        }
        if invocation.json {
            Terminal.out(json(plan, isDone: !isDry).text)
        } else if !isDry {
            invocation.say(
                """
                \(state)/directory.sqlite has version \(plan.keptVersion) again.
                  next:  install the earlier release and start it
                  undo:  mv \(state)/\(plan.putAside) \(state)/directory.sqlite
                """)
        }
        return isDry && isLoss ? .problems : .ok
    }

    private static func prepare(_ suite: Suite) throws(Failure) -> StoreRollback? {
        do {
            return try StoreRollback.prepare(
                stateDirectory: suite.server.stateDirectory,
                maildirRoot: suite.msgstored.maildirRoot)
        } catch .inUse {
            throw Failure(
                .tryAgain, "msgstored is running",
                hints: ["systemctl stop smtpd imapd pop3d msgstored"])
        } catch .file(let what, let code) where code == EACCES || code == EPERM {
            throw Failure(
                .permission, "\(what): not permitted", hints: ["run it again with sudo"])
        } catch {
            throw Failure(.inputOutput, "\(suite.server.stateDirectory): \(error)")
        }
    }

    private static func tell(_ plan: RollbackPlan, _ invocation: Invocation) {
        invocation.say(
            "From version \(plan.version) of the directory back to version \(plan.keptVersion).")
        if plan.hasUnstoredMail { invocation.say("Mail in the delivery log is not stored yet.") }
        for loss in plan.losses {
            invocation.say("Lost: \(loss.names.count) \(loss.kind)")
            for name in loss.names.prefix(20) {
                invocation.say("  \(Shown.text(Array(name.utf8)))")
            }
            if loss.names.count > 20 {
                invocation.say("  and \(loss.names.count - 20) more (--json has them all)")
            }
        }
    }

    private static func json(_ plan: RollbackPlan, isDone: Bool) -> JSON {
        .object([
            ("rolled_back", .boolean(isDone)), ("version", .integer(Int(plan.version))),
            ("kept_version", .integer(Int(plan.keptVersion))),
            ("unstored_mail", .boolean(plan.hasUnstoredMail)),
            (
                "lost",
                .object(
                    plan.losses.map { loss in
                        (loss.kind, .array(loss.names.map { .string($0) }))
                    })
            ),
            ("put_aside", .string(plan.putAside)),
        ])
    }
}
