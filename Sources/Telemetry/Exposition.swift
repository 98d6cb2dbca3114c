// SPDX-License-Identifier: Apache-2.0
//
// The Prometheus text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).

struct Exposition {
    private(set) var octets: [UInt8] = []

    /// `# HELP` and `# TYPE`.
    mutating func begin(_ name: String, help: String, type: String) {
        octets.append(contentsOf: "# HELP \(name) ".utf8)
        for octet in help.utf8 {
            switch octet {
            case 0x5C: octets.append(contentsOf: [0x5C, 0x5C])
            case 0x0A: octets.append(contentsOf: [0x5C, 0x6E])
            default: octets.append(octet)
            }
        }
        octets.append(contentsOf: "\n# TYPE \(name) \(type)\n".utf8)
    }

    /// One line: `name{label="value"} 1`.
    mutating func sample(
        _ name: String, labels: [String] = [], values: [String] = [], value: String
    ) {
        octets.append(contentsOf: name.utf8)
        if !labels.isEmpty {
            octets.append(0x7B)
            for (index, label) in labels.enumerated() {
                if index > 0 { octets.append(0x2C) }
                octets.append(contentsOf: label.utf8)
                octets.append(contentsOf: [0x3D, 0x22])
                for octet in values[index].utf8 {
                    switch octet {
                    case 0x22, 0x5C: octets.append(contentsOf: [0x5C, octet])
                    case 0x0A: octets.append(contentsOf: [0x5C, 0x6E])
                    default: octets.append(octet)
                    }
                }
                octets.append(0x22)
            }
            octets.append(0x7D)
        }
        octets.append(0x20)
        octets.append(contentsOf: value.utf8)
        octets.append(0x0A)
    }

    /// `3`, `0.25`, `+Inf`.
    static func number(_ value: Double) -> String {
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return String(value)
    }
}
