// SPDX-License-Identifier: Apache-2.0
//
// How mailctl ends when it cannot do what it was asked: a sentence, what to do, an exit code of
// sysexits.h.

enum ExitCode: Int32 {
    case ok = 0
    /// Checked or tried, and something is wrong.
    case problems = 1
    case usage = 64
    case badData = 65
    case noInput = 66
    case noSuchAccount = 67
    case noSuchDomain = 68
    case unavailable = 69
    case software = 70
    case cannotCreate = 73
    case inputOutput = 74
    case tryAgain = 75
    case remoteProtocol = 76
    case permission = 77
    case configuration = 78
}

struct Failure: Error {
    var code: ExitCode
    var message: String
    /// Each on a line of its own; commands that can be pasted.
    var hints: [String] = []

    init(_ code: ExitCode, _ message: String, hints: [String] = []) {
        self.code = code
        self.message = message
        self.hints = hints
    }

    /// Of a system call.
    static func system(_ what: String, _ number: Int32, _ code: ExitCode = .inputOutput) -> Failure
    {
        Failure(number == 13 || number == 1 ? .permission : code, "\(what): \(errorText(number))")
    }
}
