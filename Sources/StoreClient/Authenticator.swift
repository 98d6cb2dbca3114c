// SPDX-License-Identifier: Apache-2.0
//
// Logging in, the same for smtpd, imapd and pop3d: the exchange of a mechanism, the questions to
// the store, and the time that a refusal takes. RFC 4422.

import Crypto
import Mail
import SASL
import Transport
import Wire

/// What a client asked for, and what is known of it.
package struct LoginAttempt {
    package var mechanism: Mechanism
    /// Base64, as it came with the command.
    package var initial: [UInt8]?
    package var client: LoginClient
    package var hostname: [UInt8]
    package var bindings: ChannelBindings
    /// A -PLUS mechanism was on offer.
    package var offersBinding: Bool
    /// Whom its verified certificate names; empty: there is none.
    package var certificateName: [UInt8]

    package init(
        mechanism: Mechanism, initial: [UInt8]?, client: LoginClient, hostname: [UInt8] = [],
        bindings: ChannelBindings = ChannelBindings(), offersBinding: Bool = false,
        certificateName: [UInt8] = []
    ) {
        self.mechanism = mechanism
        self.initial = initial
        self.client = client
        self.hostname = hostname
        self.bindings = bindings
        self.offersBinding = offersBinding
        self.certificateName = certificateName
    }
}

package enum LoginOutcome<Login> {
    case succeeded(Login)
    /// Its time has been waited for already. `name` as the client gave it.
    case refused(LoginRefusalReason, name: [UInt8])
    /// Not the client's fault: never counted against it.
    case unavailable(name: [UInt8])
    case malformed(SASLError)
}

extension LoginOutcome {
    package func map<Other>(_ body: (Login) -> Other) -> LoginOutcome<Other> {
        switch self {
        case .succeeded(let login): .succeeded(body(login))
        case .refused(let reason, let name): .refused(reason, name: name)
        case .unavailable(let name): .unavailable(name: name)
        case .malformed(let error): .malformed(error)
        }
    }
}

/// A login as the store knows it.
package struct StoreLogin {
    package var handle: SessionHandle
    package var account: EmailAddress
}

extension LoginRefusalReason {
    /// For logs and metrics. fail2ban looks for `bad-password`.
    package var text: String {
        switch self {
        case .badCredentials: "bad-password"
        case .banned: "banned"
        case .throttled: "throttled"
        case .disabled: "disabled"
        case .expired: "expired"
        }
    }
}

/// What a question of an exchange leads to.
private enum Answered {
    case next(Step)
    case over(LoginOutcome<StoreLogin>)
}

/// Who can be asked about logins: a store, or another program's code in its place.
package protocol LoginDoor: AnyObject {
    var now: MonotonicInstant { get }

    func pause(_ duration: Duration) async

    /// - Throws: `.unavailable` if there is no answer.
    func ask(_ request: Request) async throws(StoreFailure) -> Reply

    /// As `ask`, for something whose answer nobody needs.
    func tell(_ request: Request)
}

extension StoreLink: LoginDoor {}

extension LoginDoor {
    /// A name and a password that came without an exchange.
    package func logIn(_ response: PlainResponse, _ client: LoginClient) async -> LoginOutcome<
        StoreLogin
    > {
        let began = now
        let name = response.authenticationID
        guard response.authorizationID.count <= WireLimit.identity,
            (1...WireLimit.identity).contains(name.count),
            (1...WireLimit.password).contains(response.password.count)
        else { return await refused(LoginRefusal(.badCredentials, delay: 1_000), name, began) }
        let request = Request.authenticate(
            Credentials(
                authorizationID: response.authorizationID, authenticationID: name,
                password: response.password, remote: client.remote, session: client.session,
                service: client.service))
        return await outcome(of: request, name, began)
    }

    /// Runs an exchange to its end.
    ///
    /// - Parameter answer: sends a challenge and reads the line that answers it; nil if that was
    ///   too long.
    package func logIn<E: Error>(
        _ attempt: LoginAttempt, answer: ([UInt8]) async throws(E) -> [UInt8]?
    ) async throws(E) -> LoginOutcome<StoreLogin> {
        var exchange = Exchange(
            attempt.mechanism, nonce: Self.nonce(), hostname: attempt.hostname,
            bindings: attempt.bindings, offersBinding: attempt.offersBinding)
        var login: StoreLogin?
        var refusal: LoginOutcome<StoreLogin>?
        do throws(E) {
            var step: Step
            do throws(SASLError) {
                if let initial = attempt.initial {
                    step = try exchange.begin(initial: initial.span)
                } else {
                    step = exchange.begin()
                }
            } catch {
                return .malformed(error)
            }
            while true {
                switch step {
                case .challenge(let challenge):
                    guard let line = try await answer(challenge) else {
                        forget(login)
                        return refusal ?? .malformed(.tooLong)
                    }
                    do throws(SASLError) {
                        step = try exchange.received(line.span)
                    } catch {
                        forget(login)
                        return refusal ?? .malformed(error)
                    }
                case .succeeded:
                    guard let login else { preconditionFailure("success without a login") }
                    return .succeeded(login)
                case .refused:
                    guard let refusal else { preconditionFailure("refusal without a reason") }
                    return refusal
                case .ask(let question):
                    let answered = await ask(question, attempt, &exchange, &login)
                    switch answered {
                    case .next(let next): step = next
                    case .over(let outcome):
                        guard case .token = question, case .refused = outcome else {
                            return outcome
                        }
                        refusal = outcome
                        step = exchange.rejected()
                    }
                }
            }
        } catch {
            forget(login)
            throw error
        }
    }

    private func ask(
        _ question: Question, _ attempt: LoginAttempt, _ exchange: inout Exchange,
        _ login: inout StoreLogin?
    ) async -> Answered {
        let began = now
        let request: Attempt
        let name: [UInt8]
        switch question {
        case .password(let response):
            let outcome = await logIn(response, attempt.client)
            guard case .succeeded(let made) = outcome else { return .over(outcome) }
            login = made
            return .next(exchange.accepted())
        case .scramParameters(let isSHA256, let wanted):
            (request, name) = (.scramParameters(hash: isSHA256 ? 2 : 1, name: wanted), wanted)
        case .scramProof(let proof):
            request = .scramProof(
                hash: proof.isSHA256 ? 2 : 1, authorizationID: proof.authorizationID,
                name: proof.name, message: proof.message, proof: proof.proof)
            name = proof.name
        case .cramMD5(let response):
            request = .cramMD5(
                name: response.name, challenge: response.challenge, digest: response.digest)
            name = response.name
        case .external(let authorizationID):
            name = attempt.certificateName
            request = .external(authorizationID: authorizationID, name: name)
        case .token(let response):
            (request, name) = (.token(name: response.name, token: response.token), response.name)
        }
        do throws(StoreFailure) {
            switch try await self.ask(.attempt(request, attempt.client)) {
            case .access(.scramParameters(let salt, let iterations)):
                return .next(exchange.scramParameters(salt: salt, iterations: iterations))
            case .access(.proven(let handle, let account, let signature)):
                login = StoreLogin(handle: handle, account: account)
                return .next(exchange.scramProven(signature: signature))
            case .authenticated(let handle, let account):
                login = StoreLogin(handle: handle, account: account)
                return .next(exchange.accepted())
            case .access(.refused(let refusal)):
                return .over(await refused(refusal, name, began))
            default: return .over(.unavailable(name: name))
            }
        } catch {
            return .over(await self.outcome(of: error, name, began))
        }
    }

    private func outcome(
        of request: Request, _ name: [UInt8], _ began: MonotonicInstant
    ) async -> LoginOutcome<StoreLogin> {
        do throws(StoreFailure) {
            switch try await ask(request) {
            case .authenticated(let handle, let account):
                return .succeeded(StoreLogin(handle: handle, account: account))
            case .access(.refused(let refusal)): return await refused(refusal, name, began)
            default: return .unavailable(name: name)
            }
        } catch {
            return await outcome(of: error, name, began)
        }
    }

    private func outcome(
        of failure: StoreFailure, _ name: [UInt8], _ began: MonotonicInstant
    ) async -> LoginOutcome<StoreLogin> {
        guard failure == .badCredentials else { return .unavailable(name: name) }
        return await refused(LoginRefusal(.badCredentials, delay: 1_000), name, began)
    }

    /// Every refusal comes a fixed time after the question: what was checked cannot be told from it.
    private func refused(
        _ refusal: LoginRefusal, _ name: [UInt8], _ began: MonotonicInstant
    ) async -> LoginOutcome<StoreLogin> {
        let rest = Duration.milliseconds(Int64(refusal.delay)) - began.duration(to: now)
        if rest > .zero { await pause(rest) }
        return .refused(refusal.reason, name: name)
    }

    private func forget(_ login: StoreLogin?) {
        if let login { tell(.logout(login.handle)) }
    }

    /// 24 letters and digits: 142 bits.
    private static func nonce() -> [UInt8] {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
        var nonce: [UInt8] = []
        while nonce.count < 24 {
            for octet in RandomOctets.make(32) where nonce.count < 24 && octet < 248 {
                nonce.append(letters[Int(octet) % letters.count])
            }
        }
        return nonce
    }
}
