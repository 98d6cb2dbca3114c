// SPDX-License-Identifier: Apache-2.0
//
// What people and programs see of mailctl, and what they are asked: results on standard output,
// everything else on standard error; passwords without echo.

import Glibc

enum Terminal {
    static var isInputTerminal: Bool { isatty(0) == 1 }

    static func out(_ text: String) { write(text + "\n", to: 1) }
    static func error(_ text: String) { write(text + "\n", to: 2) }
    /// Without an end of line.
    static func outPart(_ text: String) { write(text, to: 1) }
    static func errorPart(_ text: String) { write(text, to: 2) }

    /// Whether colours may be used on `descriptor`.
    static func hasColor(_ descriptor: Int32, _ wish: String) -> Bool {
        switch wish {
        case "always": return true
        case "never": return false
        default:
            return isatty(descriptor) == 1 && (Environment.value("NO_COLOR") ?? "").isEmpty
                && Environment.value("TERM") != "dumb"
        }
    }

    private static func write(_ text: String, to descriptor: Int32) {
        let octets = Array(text.utf8)
        var start = 0
        while start < octets.count {
            let count = unsafe octets.withUnsafeBytes { buffer in
                unsafe Glibc.write(
                    descriptor, buffer.baseAddress?.advanced(by: start), octets.count - start)
            }
            if count < 0 && errno == EINTR { continue }
            // A reader that went away (mailctl ... | head) is no error.
            guard count > 0 else { return }
            start += count
        }
    }

    /// One line of standard input without its end; nil at its end.
    static func readLine(limit: Int = 65_536) -> [UInt8]? {
        var line: [UInt8] = []
        while line.count < limit {
            var octet: UInt8 = 0
            let count = unsafe read(0, &octet, 1)
            if count < 0 && errno == EINTR { continue }
            guard count == 1 else { return line.isEmpty ? nil : line }
            if octet == 0x0A { break }
            line.append(octet)
        }
        if line.last == 0x0D { line.removeLast() }
        return line
    }

    /// Asks on the terminal; what is typed is not shown.
    static func readSecret(_ prompt: String) -> [UInt8]? {
        write(prompt, to: 2)
        var settings = termios()
        guard unsafe tcgetattr(0, &settings) == 0 else { return readLine(limit: 2048) }
        var silent = settings
        silent.c_lflag &= ~tcflag_t(ECHO)
        unsafe tcsetattr(0, TCSAFLUSH, &silent)
        let line = readLine(limit: 2048)
        unsafe tcsetattr(0, TCSAFLUSH, &settings)
        write("\n", to: 2)
        return line
    }

    /// True after `y` or `yes`.
    static func confirm(_ question: String) -> Bool {
        write("\(question) [y/N] ", to: 2)
        guard let line = readLine(limit: 64) else { return false }
        return ["y", "yes"].contains(String(decoding: line, as: UTF8.self).lowercased())
    }

    /// Columns aligned; numbers (columns in `right`) to the right.
    static func table(_ rows: [[String]], right: Set<Int> = []) -> String {
        var widths: [Int] = []
        for row in rows {
            for (index, cell) in row.enumerated() {
                if index == widths.count { widths.append(0) }
                widths[index] = max(widths[index], cell.unicodeScalars.count)
            }
        }
        return rows.map { row in
            var line = ""
            for (index, cell) in row.enumerated() {
                let gap = String(
                    repeating: " ", count: widths[index] - cell.unicodeScalars.count)
                if index > 0 { line += "  " }
                line += right.contains(index) ? gap + cell : cell + gap
            }
            while line.hasSuffix(" ") { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }
}

enum Environment {
    static func value(_ name: String) -> String? {
        guard let text = unsafe getenv(name) else { return nil }
        return unsafe String(cString: text)
    }

    /// All of it.
    static var all: [String: String] {
        var result: [String: String] = [:]
        var entry = unsafe environ
        while let text = unsafe entry.pointee {
            let line = unsafe String(cString: text)
            if let equals = line.firstIndex(of: "=") {
                result[String(line[..<equals])] = String(line[line.index(after: equals)...])
            }
            unsafe entry = entry.advanced(by: 1)
        }
        return result
    }
}

func errorText(_ number: Int32) -> String {
    guard let text = unsafe strerror(number) else { return "error \(number)" }
    return unsafe String(cString: text)
}
