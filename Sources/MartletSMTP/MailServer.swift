// SPDX-License-Identifier: Apache-2.0
//
// The SMTP server of this suite inside another program: the same sessions, on the same loops, as in
// smtpd, with the program's own code where smtpd has msgstored. RFC 5321, RFC 6409. docs/library.md
// is the manual.

import Glibc
import Network
import SMTPServer
import Serving
import Settings
import Synchronization
import Telemetry
import Transport

/// An SMTP server that hands its mail to the program it is part of.
///
/// ```swift
/// let server = MailServer(
///     hostname: "mx.example.org",
///     listeners: [.smtp(), .submission()],
///     certificate: Certificate(chainFile: "fullchain.pem", keyFile: "privkey.pem"),
///     delivery: myAgent,
///     authentication: myProvider)
/// try await server.run()
/// ```
///
/// It has threads of its own: one event loop per core, and some that the program's code runs on. It
/// takes no signal, changes nothing of the process and writes nothing but log lines to stderr and,
/// for the time that they need, long messages to `temporaryDirectory`.
public final class MailServer: Sendable {
    /// Why a server cannot start or change.
    public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
        /// For people.
        public let description: String
    }

    private struct Running {
        var fleet: Fleet
        var sockets: Sockets
        var suite: Suite
    }

    private enum Phase {
        case idle, starting
        case running(Running)
        case stopping(Running)
        case stopped
    }

    private struct State {
        var phase = Phase.idle
        var waiters: [CheckedContinuation<Void, Never>] = []

        var running: Running? {
            if case .running(let running) = phase { running } else { nil }
        }
    }

    private let hostname: String
    private let listeners: [Listener]
    private let certificate: Certificate?
    private let limits: Limits
    private let proxies: [String]
    private let parts: Parts
    private let registry = Metrics()
    private let state = Mutex(State())

    /// A server that does nothing yet.
    ///
    /// - Parameters:
    ///   - hostname: for the greeting, EHLO and `Received`: the name that DNS knows.
    ///   - listeners: at least one.
    ///   - certificate: without it there is no TLS, and so neither AUTH nor submission.
    ///   - delivery: takes the messages.
    ///   - authentication: says who may log in; without it there is no AUTH.
    ///   - filters: asked first, in this order.
    ///   - limits: see `Limits`.
    ///   - proxies: load balancers whose PROXY header is believed; addresses and CIDR blocks.
    ///   - handlerTimeout: for one call of the agent, the provider or the filters together. Longer
    ///     than clients wait (RFC 5321 §4.5.3.2.6: ten minutes) makes no sense.
    ///   - executor: where the agent, the provider and the filters run; nil: on 32 threads of the
    ///     library's own, where they may block.
    ///   - temporaryDirectory: for messages of more than 256 KiB.
    public init(
        hostname: String, listeners: [Listener], certificate: Certificate? = nil,
        delivery: any DeliveryAgent, authentication: (any AuthProvider)? = nil,
        filters: [any Filter] = [], limits: Limits = Limits(), proxies: [String] = [],
        handlerTimeout: Duration = .seconds(240), executor: (any TaskExecutor)? = nil,
        temporaryDirectory: String = "/tmp"
    ) {
        self.hostname = hostname
        self.listeners = listeners
        self.certificate = certificate
        self.limits = limits
        self.proxies = proxies
        parts = Parts(
            agent: delivery, provider: authentication, filters: filters,
            executor: executor ?? HandlerThreads.shared, patience: handlerTimeout,
            directory: temporaryDirectory)
    }

    // MARK: Life

    /// Starts, and returns when the server has stopped: after `stop`, or because the task that
    /// called this was cancelled, which is the same as `stop()`.
    public func run() async throws {
        try start()
        await withTaskCancellationHandler {
            await stopped()
        } onCancel: {
            beginStop(within: .seconds(30))
        }
    }

    /// Opens the listeners. When this returns, clients can connect.
    ///
    /// - Throws: something cannot be: an address in use, a certificate that is none. Nothing is
    ///   open then, and `start` can be called again.
    public func start() throws(ConfigurationError) {
        let suite = try makeSuite()
        let isFirst = state.withLock { state in
            guard case .idle = state.phase else { return false }
            state.phase = .starting
            return true
        }
        guard isFirst else {
            throw ConfigurationError(description: "the server was started already")
        }
        let running: Running
        do throws(ConfigurationError) {
            running = try launch(suite)
        } catch {
            state.withLock { $0.phase = .idle }
            throw error
        }
        state.withLock { $0.phase = .running(running) }
    }

    /// Accepts no more, lets messages under way end and tells the other clients to come again
    /// (`421`). Returns when all of them are gone.
    ///
    /// - Parameter patience: after this, connections are closed and calls of the program's code are
    ///   cancelled and not waited for.
    public func stop(within patience: Duration = .seconds(30)) async {
        beginStop(within: patience)
        await stopped()
    }

    /// The port that a listener has, if it is open.
    public func port(of listener: String) -> Int? {
        let running = state.withLock { $0.running }
        guard let (_, open) = running?.sockets.open.first(where: { $0.key.name == listener })
        else { return nil }
        return open.first.map { Int($0.localPort) }
    }

    /// Reads the certificate's files again. Sessions that have begun keep the old one.
    ///
    /// - Throws: the files cannot be used; the old certificate stays.
    public func reloadCertificate() throws(ConfigurationError) {
        try change { _ in }
    }

    /// New limits, for sessions that begin from now on.
    public func update(_ limits: Limits) throws(ConfigurationError) {
        if let mistake = limits.mistake { throw ConfigurationError(description: mistake) }
        try change { suite in limits.apply(to: &suite) }
    }

    // MARK: What it says

    /// Counters and gauges in Prometheus' text format; docs/metrics.md explains those of smtpd.
    public func metrics() -> String {
        String(decoding: registry.exposition(), as: UTF8.self)
    }

    /// How much the library says of what it does.
    public enum LogLevel: Sendable {
        /// Something is broken here.
        case error
        /// Refused logins and abuse, which fail2ban reads; handlers that failed.
        case warning
        /// Every session, message and refusal.
        case info
        /// For those who work on the library.
        case debug
    }

    /// Where log lines of all servers of this process go. Before the first call: `info`, to stderr.
    ///
    /// - Parameters:
    ///   - json: one JSON object per line, not `key=value`.
    ///   - writer: takes a line with its end; called on many threads, and must not block. Nil:
    ///     stderr.
    public static func log(
        _ level: LogLevel, json: Bool = false, to writer: (@Sendable (String) -> Void)? = nil
    ) {
        let chosen: Telemetry.LogLevel =
            switch level {
            case .error: .error
            case .warning: .warn
            case .info: .info
            case .debug: .debug
            }
        var lines: Log.Writer?
        if let writer {
            lines = { all in
                for line in all { writer(String(decoding: line, as: UTF8.self)) }
            }
        }
        Log.start(
            program: "smtpd", format: json ? .json : .text, level: chosen, lines: lines)
    }
}

// MARK: - Inside

extension MailServer {
    /// For writing long messages to their files.
    private static let workers = Workers(count: 4, name: "smtp-work")

    private func makeSuite() throws(ConfigurationError) -> Suite {
        func fail(_ reason: String) -> ConfigurationError {
            ConfigurationError(description: reason)
        }
        if let mistake = limits.mistake { throw fail(mistake) }
        guard !listeners.isEmpty else { throw fail("there is no listener") }
        guard !hostname.isEmpty, hostname.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw fail("\"\(hostname)\" is no host name")
        }
        guard Set(listeners.map(\.name)).count == listeners.count else {
            throw fail("two listeners have the same name")
        }
        for block in limits.exempt + proxies where AddressBlock(block) == nil {
            throw fail("\"\(block)\" is no address and no CIDR block")
        }
        for listener in listeners {
            guard (0...65_535).contains(listener.port) else {
                throw fail("\(listener.port) is no port")
            }
            guard listener.mode == .smtp || (certificate != nil && parts.provider != nil) else {
                throw fail("\(listener.name): submission needs a certificate and a provider")
            }
        }
        var suite = Suite()
        suite.smtpd.hostname = hostname
        suite.smtpd.listeners = listeners.map(\.settings)
        suite.smtpd.allowedRelays = []
        suite.smtpd.tls = certificate?.settings ?? TLSSettings()
        suite.smtpd.auth.enabled = parts.provider != nil
        suite.server.auth.methods = ["plain", "login"]
        suite.server.trustedProxies = proxies
        limits.apply(to: &suite)
        try check(suite)
        return suite
    }

    private func check(_ suite: Suite) throws(ConfigurationError) {
        do throws(TLSContextError) {
            _ = try TLSContext.server(suite.smtpd.tls, session: "smtpd", isStrict: true)
        } catch {
            throw ConfigurationError(description: error.description)
        }
    }

    private func launch(_ suite: Suite) throws(ConfigurationError) -> Running {
        let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        var sockets = Sockets(passed: nil)
        let open: [ListenerSocket]
        do throws(Sockets.Failure) {
            open = try sockets.change(to: suite.smtpd.listeners, runDirectory: "").added
        } catch {
            throw ConfigurationError(description: "\(error.listener): \(error.reason)")
        }
        do throws(ConnectionError) {
            let fleet = try Fleet(
                makeProgram(), suite, loops: min(8, cores), workers: Self.workers,
                listening: open, usesCallersThread: false)
            return Running(fleet: fleet, sockets: sockets, suite: suite)
        } catch {
            throw ConfigurationError(description: error.description)
        }
    }

    private func makeProgram() -> Program {
        let (parts, registry) = (parts, registry)
        let (census, rates, metrics) = (Census(), Rates(), SMTPMetrics(registry))
        return Program(
            name: "smtpd", listeners: { $0.smtpd.listeners },
            makeService: { context, suite in
                SMTPService(
                    context: context, suite: suite, census: census, rates: rates,
                    metrics: metrics, registry: registry, backend: AgentBackend(context, parts))
            })
    }

    private func change(_ body: (inout Suite) -> Void) throws(ConfigurationError) {
        guard let running = state.withLock({ $0.running }) else {
            throw ConfigurationError(description: "the server does not run")
        }
        var suite = running.suite
        body(&suite)
        try check(suite)
        let changed = suite
        state.withLock { state in
            guard case .running(var running) = state.phase else { return }
            running.suite = changed
            state.phase = .running(running)
        }
        running.fleet.reload(changed, added: [], removed: []) { _ in }
    }

    private func stopped() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                switch state.phase {
                case .idle, .stopped: return true
                case .starting, .running, .stopping:
                    state.waiters.append(continuation)
                    return false
                }
            }
            if isOver { continuation.resume() }
        }
    }

    private func beginStop(within patience: Duration) {
        let fleet = state.withLock { state -> Fleet? in
            guard case .running(let running) = state.phase else { return nil }
            state.phase = .stopping(running)
            return running.fleet
        }
        guard let fleet else { return }
        fleet.drain { [weak self] context in
            // Each loop's sweep of calls looks once more and ends.
            context.after(.milliseconds(300)) { self?.ended() }
        }
        fleet.first.submit { [weak self, weak fleet] context in
            context.after(patience) {
                fleet?.killConnections()
                fleet?.each { context in
                    let service = context.state?.service as? SMTPService
                    (service?.backend as? AgentBackend)?.giveUp()
                } done: { _, _ in
                }
            }
            context.after(patience + .seconds(3)) { self?.ended() }
        }
    }

    /// Nobody is there any more.
    private func ended() {
        let (running, waiters) = state.withLock {
            state -> (Running?, [CheckedContinuation<Void, Never>]) in
            guard case .stopping(let running) = state.phase else { return (nil, []) }
            state.phase = .stopped
            defer { state.waiters = [] }
            return (running, state.waiters)
        }
        running?.fleet.stop()
        for waiter in waiters { waiter.resume() }
    }
}
