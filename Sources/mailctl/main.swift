// SPDX-License-Identifier: Apache-2.0
//
// mailctl: checks the configuration, manages domains and accounts, looks after the daemons.

import Glibc

/// Runs one command line and says how the process should end.
func runCommandLine(_ words: [String]) -> ExitCode {
    do throws(Failure) {
        let (command, invocation) = try CommandLineParser.parse(words)
        if invocation.has("version") { return HelpCommands.version(invocation) }
        guard let command, !invocation.has("help") else {
            var asked = invocation
            asked.arguments = command?.path ?? invocation.arguments
            return try HelpCommands.help(asked)
        }
        return try command.run(invocation)
    } catch {
        let color = Terminal.hasColor(2, "auto")
        Terminal.error((color ? "\u{1B}[31merror:\u{1B}[0m " : "error: ") + error.message)
        for hint in error.hints { Terminal.error("  \(hint)") }
        return error.code
    }
}

signal(SIGPIPE, SIG_IGN)
exit(runCommandLine(Array(CommandLine.arguments.dropFirst())).rawValue)
