// What a listener demands of those who connect: who can log in and with what, and how long that holds. Shared by its connections.
import Authentication
import Authorization
import Configuration
import Logging
import Primitives
import Synchronization
import TransportSecurity

/// The security of one listener. Thread-safe.
final class ListenerSecurity: Sendable {
    private struct State {
        var settings: ListenerSecuritySettings
        var fileUsers: [String: String] = [:]
        /// What of the users' file was read last, so that it is only read again when it changed.
        var fileText = ""
    }

    let name: String
    let audit: AuditLog
    /// How long the answer to a failed login is held back.
    let failureDelayMilliseconds: Int64
    /// `sasl.server.max.receive.size`: bound of frames before the login.
    let maximumTokenBytes: Int
    /// Nil without TLS.
    let tls: TLSServerContext?
    /// Nil when OAUTHBEARER is not on offer.
    let verificationKeys: VerificationKeys?
    private let credentials: MetadataCredentials
    private let state: Mutex<State>
    private let logger: Logger

    init(
        name: String, _ settings: ListenerSecuritySettings, _ security: SecuritySettings, _ credentials: MetadataCredentials,
        audit: AuditLog, logger: Logger
    ) throws(BrokerStartFailure) {
        self.name = name
        self.audit = audit
        self.logger = logger
        self.credentials = credentials
        failureDelayMilliseconds = security.failedAuthenticationDelayMilliseconds
        maximumTokenBytes = security.maximumTokenBytes
        state = Mutex(State(settings: settings))
        verificationKeys = try settings.sasl?.oauthBearer.map { (oauthBearer) throws(BrokerStartFailure) in
            try VerificationKeys(listener: name, oauthBearer, logger: logger)
        }
        do throws(TLSFailure) {
            tls = try settings.tls.map { (settings) throws(TLSFailure) in try TLSServerContext(settings) }
        } catch {
            throw BrokerStartFailure("listener \(name) cannot speak TLS: \(error)")
        }
        if let problem = readUsers() { throw BrokerStartFailure("martlet.sasl.plain.users.file: \(problem)") }
    }

    var settings: ListenerSecuritySettings { state.withLock { $0.settings } }

    /// PLAIN's password of a user.
    func password(of user: String) -> String? {
        state.withLock { $0.settings.sasl?.plainUsers[user] ?? $0.fileUsers[user] }
    }

    func keys(of user: String, _ mechanism: ScramMechanism) -> ScramKeys? { credentials.keys(of: user, mechanism) }

    func delegationToken(_ id: String, _ mechanism: ScramMechanism) -> DelegationTokenLogin? {
        credentials.delegationToken(id, mechanism, now: SystemClock.now())
    }

    /// What a token of OAUTHBEARER says, if it is good now.
    func accessToken(_ token: String) -> Result<AccessToken, TokenFailure> {
        guard let keys = verificationKeys?.current, let validator = settings.sasl?.oauthBearer?.validator else {
            return .failure(.noKeySet)
        }
        do throws(TokenFailure) {
            return .success(try validator.validate(token, keys, now: SystemClock.now()))
        } catch {
            if case .unknownKey = error { verificationKeys?.missed() }
            return .failure(error)
        }
    }

    /// Goes over to other settings; keys and certificates that cannot be read leave those in use.
    func update(_ settings: ListenerSecuritySettings) {
        state.withLock { state in
            // The protocol is settled at the start.
            guard settings.securityProtocol == state.settings.securityProtocol else { return }
            state.settings = settings
        }
        refresh(settings.tls)
    }

    /// Reads files again that changed.
    func refresh() {
        refresh(nil)
        verificationKeys?.refresh()
        if let problem = readUsers() {
            logger.error("the users of PLAIN stay as they were", metadata: ["listener": "\(name)", "reason": "\(problem)"])
        }
    }

    private func refresh(_ settings: TLSSettings?) {
        guard let tls else { return }
        do throws(TLSFailure) {
            if try tls.reload(settings) {
                logger.notice(
                    "new keys and certificates are in use",
                    metadata: ["listener": "\(name)", "files": "\(tls.files.joined(separator: " "))"])
            }
        } catch {
            logger.error("keys and certificates stay as they were", metadata: ["listener": "\(name)", "reason": "\(error)"])
        }
    }

    /// Returns what is wrong with the file of users, if anything.
    private func readUsers() -> String? {
        guard let sasl = settings.sasl, sasl.mechanisms.contains(.plain), let path = sasl.plainUsersFile else { return nil }
        switch ConfigurationFile.text(path) {
        case .failure(let failure): return "\(path) \(failure.reason)"
        case .success(let text):
            guard text != state.withLock({ $0.fileText }) else { return nil }
            do throws(PasswordFileError) {
                let users = try PasswordFile.parse(text)
                state.withLock { state in
                    state.fileUsers = users
                    state.fileText = text
                }
                return nil
            } catch {
                return "\(path): \(error)"
            }
        }
    }
}
