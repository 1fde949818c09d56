// The security of a whole node, made before anything listens or connects: listeners, what the node shows of itself to others, the
// authorizer, the audit log.
import Authentication
import ClusterMetadata
import Configuration
import Logging
import NIOCore
import Network
import Primitives
import Runtime
import Synchronization
import TransportSecurity

/// A node's security. Thread-safe.
final class NodeSecurity: Sendable {
    let audit: AuditLog
    /// Nil when everybody may do everything.
    let authorizer: Authorizer?
    private let listeners: [String: ListenerSecurity]
    private let outgoing: [String: TLSClientContext]
    private let tokens: NodeTokens
    private let settings: SecuritySettings
    private let credentials: MetadataCredentials
    private let logger: Logger

    init(_ settings: SecuritySettings, auditLogger: Logger, logger: Logger) throws(BrokerStartFailure) {
        self.settings = settings
        self.logger = logger
        audit = try AuditLog(path: settings.auditLogFile, logger: auditLogger)
        authorizer = settings.authorizer.map { [audit] in Authorizer($0, audit: audit) }
        let credentials = MetadataCredentials(secret: settings.delegationTokenSecret)
        self.credentials = credentials
        var listeners: [String: ListenerSecurity] = [:]
        for (name, listener) in settings.listeners where listener.securityProtocol != .plaintext {
            listeners[name] = try ListenerSecurity(name: name, listener, settings, credentials, audit: audit, logger: logger)
        }
        self.listeners = listeners
        var outgoing: [String: TLSClientContext] = [:]
        for (name, settings) in settings.outgoing {
            guard let tls = settings.tls else { continue }
            do throws(TLSFailure) {
                outgoing[name] = try TLSClientContext(tls)
            } catch {
                throw BrokerStartFailure("connections to listener \(name) of other nodes cannot be secured: \(error)")
            }
        }
        self.outgoing = outgoing
        tokens = try NodeTokens(settings.outgoing, logger: logger)
    }

    /// What delegation tokens are signed with; nil when there are none.
    var tokenSecret: DelegationTokenSecret? { credentials.secret }

    /// The security of a listener; nil for plaintext, where nobody is asked who they are.
    func listener(_ name: String) -> ListenerSecurity? { listeners[name] }

    /// TLS by listener, for the network.
    var tls: [String: TLSServerContext] { listeners.compactMapValues(\.tls) }

    /// What this node connects to that listener of other nodes with.
    func peerOptions(clientID: String, listener name: String) -> PeerOptions {
        var options = PeerOptions(clientID: clientID)
        options.tls = outgoing[name]
        if settings.outgoing[name]?.token != nil {
            options.credentials = { [tokens] in tokens.credentials(name) }
        } else if let credentials = settings.outgoing[name]?.credentials {
            options.credentials = { credentials }
        }
        return options
    }

    /// Begins to keep tokens and the keys of tokens up to date.
    func start(on eventLoop: any EventLoop, _ background: BackgroundWork) {
        tokens.start(on: eventLoop)
        for listener in listeners.values { listener.verificationKeys?.start(on: eventLoop, background) }
    }

    /// Follows the metadata: access control entries and credentials.
    func follow(_ metadata: MetadataRuntime) {
        metadata.subscribe { [weak self] publication in
            guard let self else { return }
            let security = publication.image.security
            credentials.update(security, tokensChanged: publication.changes.delegationTokens)
            authorizer?.update(
                security, hasChanges: publication.changes.accessControlEntries, isLoaded: publication.image.features.metadataVersion != nil)
        }
    }

    /// Goes over to the settings that dynamic configuration left.
    func update(_ settings: SecuritySettings) {
        for (name, listener) in settings.listeners { listeners[name]?.update(listener) }
        for (name, outgoing) in settings.outgoing {
            if let tls = outgoing.tls, let context = self.outgoing[name] { reload(context, name, tls) }
        }
        tokens.update(settings.outgoing)
    }

    /// Reads files again that changed.
    func refresh() {
        for listener in listeners.values { listener.refresh() }
        for (name, context) in outgoing { reload(context, name, nil) }
        tokens.refresh()
    }

    private func reload(_ context: TLSClientContext, _ name: String, _ settings: TLSSettings?) {
        do throws(TLSFailure) {
            if try context.reload(settings) {
                logger.notice("new keys and certificates are in use", metadata: ["connections": "\(name)"])
            }
        } catch {
            logger.error("keys and certificates stay as they were", metadata: ["connections": "\(name)", "reason": "\(error)"])
        }
    }
}
