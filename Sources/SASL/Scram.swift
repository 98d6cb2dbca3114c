// SPDX-License-Identifier: Apache-2.0
//
// SCRAM: RFC 5802 §5 to §7, with SHA-256 RFC 7677, bound to the TLS connection by tls-exporter
// (RFC 9266) or tls-server-end-point (RFC 5929). Names and passwords are compared as the octets
// that they are: for ASCII that is what SASLprep would make of them.

import Bytes

/// What a client says to prove that it knows the password.
package struct ScramProof: Equatable, Sendable {
    package var isSHA256: Bool
    package var authorizationID: [UInt8]
    package var name: [UInt8]
    /// RFC 5802 §3: AuthMessage.
    package var message: [UInt8]
    package var proof: [UInt8]

    package init(
        isSHA256: Bool, authorizationID: [UInt8], name: [UInt8], message: [UInt8], proof: [UInt8]
    ) {
        self.isSHA256 = isSHA256
        self.authorizationID = authorizationID
        self.name = name
        self.message = message
        self.proof = proof
    }
}

struct ScramExchange: Sendable {
    private static let nonceLimit = 256
    private static let messageLimit = 2_048
    private static let attributeLimit = 16

    private enum State {
        case first
        case asked
        case final
        case proving
        case ending
    }

    let isSHA256: Bool
    let isPlus: Bool
    let nonce: [UInt8]
    let bindings: ChannelBindings
    let offersBinding: Bool
    private var state = State.first
    /// `p=tls-exporter,,`, as the client wrote it.
    private var header: [UInt8] = []
    private var binding: [UInt8] = []
    private var authorizationID: [UInt8] = []
    private var name: [UInt8] = []
    private var firstBare: [UInt8] = []
    private var bothNonces: [UInt8] = []
    private var serverFirst: [UInt8] = []

    init(
        isSHA256: Bool, isPlus: Bool, nonce: [UInt8], bindings: ChannelBindings,
        offersBinding: Bool
    ) {
        self.isSHA256 = isSHA256
        self.isPlus = isPlus
        self.nonce = nonce
        self.bindings = bindings
        self.offersBinding = offersBinding
    }

    mutating func received(_ line: Span<UInt8>) throws(SASLError) -> Step {
        let message = try decoding(line)
        guard message.count <= Self.messageLimit else { throw .tooLong }
        switch state {
        case .first: return try clientFirst(message)
        case .final: return try clientFinal(message)
        case .ending:
            // RFC 5802 §5: nothing more is to be said.
            guard message.isEmpty else { throw .malformed }
            return .succeeded
        case .asked, .proving: preconditionFailure("a line before the store's answer")
        }
    }

    private mutating func clientFirst(_ message: [UInt8]) throws(SASLError) -> Step {
        guard String(validating: message, as: UTF8.self) != nil, !message.contains(0) else {
            throw .malformed
        }
        let fields = message.split(separator: 0x2C, omittingEmptySubsequences: false)
        guard (4...Self.attributeLimit).contains(fields.count) else { throw .malformed }
        try bind(fields[0])
        // GNU SASL writes `a=` for nobody in particular.
        if !fields[1].isEmpty, !fields[1].elementsEqual("a=".utf8) {
            authorizationID = try Self.name(fields[1], "a=")
        }
        // `m=` would be an extension that we would have to know (RFC 5802 §5.1).
        name = try Self.name(fields[2], "n=")
        guard fields[3].starts(with: "r=".utf8) else { throw .malformed }
        let clientNonce = fields[3].dropFirst(2)
        guard (1...Self.nonceLimit).contains(clientNonce.count),
            clientNonce.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw .malformed }
        header = Array(message[..<fields[2].startIndex])
        firstBare = Array(message[fields[2].startIndex...])
        bothNonces = Array(clientNonce) + nonce
        state = .asked
        return .ask(.scramParameters(isSHA256: isSHA256, name: name))
    }

    /// The first field: whether the client binds the exchange to the channel (RFC 5802 §6).
    private mutating func bind(_ flag: ArraySlice<UInt8>) throws(SASLError) {
        if flag.starts(with: "p=".utf8) {
            guard isPlus, let data = bindings.data(flag.dropFirst(2)) else { throw .malformed }
            binding = data
        } else if flag.elementsEqual("n".utf8) {
            guard !isPlus else { throw .malformed }
        } else {
            // `y`: it could, and saw no -PLUS. If there was one, somebody took it away.
            guard flag.elementsEqual("y".utf8), !isPlus, !offersBinding else { throw .malformed }
        }
    }

    private static func name(
        _ field: ArraySlice<UInt8>, _ attribute: String
    ) throws(SASLError) -> [UInt8] {
        guard field.starts(with: attribute.utf8) else { throw .malformed }
        var name: [UInt8] = []
        var rest = field.dropFirst(2)
        while let octet = rest.popFirst() {
            guard octet == 0x3D else {
                name.append(octet)
                continue
            }
            if rest.starts(with: "2C".utf8) {
                name.append(0x2C)
            } else if rest.starts(with: "3D".utf8) {
                name.append(0x3D)
            } else {
                throw .malformed
            }
            rest = rest.dropFirst(2)
        }
        guard !name.isEmpty else { throw .malformed }
        guard name.count <= SASLLimits.identity else { throw .tooLong }
        return name
    }

    mutating func parameters(salt: [UInt8], iterations: UInt32) -> Step {
        serverFirst =
            Array("r=") + bothNonces + Array(",s=") + Base64.encode(salt.span)
            + Array(",i=\(iterations)")
        state = .final
        return .challenge(Base64.encode(serverFirst.span))
    }

    private mutating func clientFinal(_ message: [UInt8]) throws(SASLError) -> Step {
        let fields = message.split(separator: 0x2C, omittingEmptySubsequences: false)
        guard (3...Self.attributeLimit).contains(fields.count), let last = fields.last,
            fields[0].starts(with: "c=".utf8), last.starts(with: "p=".utf8),
            fields[1].elementsEqual(Array("r=") + bothNonces)
        else { throw .malformed }
        let (bound, proof) = (Array(fields[0].dropFirst(2)), Array(last.dropFirst(2)))
        let input: [UInt8]
        let octets: [UInt8]
        do throws(Base64Error) {
            input = try Base64.decode(bound.span, limit: Self.messageLimit)
            octets = try Base64.decode(proof.span, limit: 64)
        } catch {
            throw .encoding
        }
        // Somebody between us and the client would have another channel.
        guard input == header + binding else { throw .malformed }
        guard octets.count == (isSHA256 ? 32 : 20) else { throw .malformed }
        state = .proving
        let withoutProof = message[..<(last.startIndex - 1)]
        let comma: [UInt8] = [0x2C]
        return .ask(
            .scramProof(
                ScramProof(
                    isSHA256: isSHA256, authorizationID: authorizationID, name: name,
                    message: firstBare + comma + serverFirst + comma + withoutProof,
                    proof: octets)))
    }

    mutating func proven(_ signature: [UInt8]) -> Step {
        state = .ending
        let text = Array("v=") + Base64.encode(signature.span)
        return .challenge(Base64.encode(text.span))
    }
}
