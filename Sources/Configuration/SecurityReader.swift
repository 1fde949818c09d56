// Security out of the merged settings: for each listener what `listener.name.NAME.KEY` says, else what KEY says, with the rules of
// Kafka's channel builders.
import Authentication
import Authorization
import ConfigDefinitions

extension ConfigurationReader {
    static let standardAuthorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

    /// Reads all keys about security; mistakes are added.
    ///
    /// - Parameter outgoing: the listeners of other nodes that this node connects to, with what they speak.
    mutating func readSecurity(_ listeners: [Listener], outgoing: [String: SecurityProtocol]) -> SecuritySettings {
        var security = SecuritySettings()
        security.failedAuthenticationDelayMilliseconds = integer("connection.failed.authentication.delay.ms")
        security.maximumTokenBytes = size("sasl.server.max.receive.size")
        security.auditLogFile = string("martlet.audit.log.file").flatMap { $0.isEmpty ? nil : $0 }
        security.authorizer = readAuthorizer()
        security.delegationTokenSecret = DelegationTokenSecret(string("delegation.token.secret.key"))
        for listener in listeners {
            var settings = ListenerSecuritySettings(listener.securityProtocol)
            if listener.securityProtocol.hasSasl { settings.sasl = readSasl(listener.name) }
            if listener.securityProtocol.hasTLS {
                settings.tls = readTLS(listener.name, isServer: true)
                settings.principalMapping = readMapping(listener.name)
            }
            security.listeners[listener.name] = settings
        }
        for (name, securityProtocol) in outgoing.sorted(by: { $0.key < $1.key }) {
            security.outgoing[name] = readOutgoing(name, securityProtocol)
        }
        return security
    }

    /// The listeners of other nodes that a node with these roles connects to.
    func outgoingListeners(_ settings: ListenerSettings, _ roles: ProcessRoles) -> [String: SecurityProtocol] {
        var result: [String: SecurityProtocol] = [:]
        let protocols = settings.protocols
        if let controller = settings.controllerNames.first { result[controller] = protocols[controller] ?? .plaintext }
        if roles.contains(.broker) { result[settings.interBrokerName] = protocols[settings.interBrokerName] ?? .plaintext }
        return result
    }

    private mutating func readAuthorizer() -> AccessRules? {
        let name = string("authorizer.class.name") ?? ""
        guard !name.isEmpty else {
            for key in ["super.users", "allow.everyone.if.no.acl.found"] where isSet(key) && string(key) != "" {
                warn(key, "has no effect without authorizer.class.name=\(Self.standardAuthorizer)")
            }
            return nil
        }
        require(
            name == Self.standardAuthorizer, "authorizer.class.name",
            "'\(name)' cannot be used here; the authorizer there is is called \(Self.standardAuthorizer)")
        var rules = AccessRules(allowsEveryoneWithoutEntries: boolean("allow.everyone.if.no.acl.found"))
        switch AccessRules.superUsers(string("super.users") ?? "") {
        case .success(let users): rules.superUsers = users
        case .failure(let failure): error("super.users", "'\(failure.text)' is not of the form User:name; several are separated by ;")
        }
        return rules
    }

    // MARK: SASL

    private mutating func readSasl(_ listener: String) -> SaslListenerSettings {
        let key = keyInForce(listener, "sasl.enabled.mechanisms")
        let names = value(key)?.list ?? []
        var mechanisms: [SaslCredentials.Mechanism] = []
        for name in names {
            if let mechanism = SaslCredentials.Mechanism(name: name) {
                mechanisms.append(mechanism)
            } else {
                error(
                    key,
                    "listener \(listener) is to offer \(name), but only \(SaslCredentials.Mechanism.names.joined(separator: ", ")) are spoken"
                )
            }
        }
        require(!names.isEmpty, key, "listener \(listener) needs at least one mechanism")
        var sasl = SaslListenerSettings(
            mechanisms: mechanisms, plainUsers: [:], plainUsersFile: string("martlet.sasl.plain.users.file"),
            maximumReauthenticationMilliseconds: [:])
        if sasl.plainUsersFile == "" { sasl.plainUsersFile = nil }
        for mechanism in mechanisms {
            let reauthentication = value(keyInForce(listener, "connections.max.reauth.ms", mechanism))?.integer ?? 0
            if reauthentication > 0 { sasl.maximumReauthenticationMilliseconds[mechanism] = reauthentication }
        }
        if mechanisms.contains(.plain) {
            sasl.plainUsers = readJAAS(listener, .plain)?.plainUsers ?? [:]
            if sasl.plainUsers.isEmpty, sasl.plainUsersFile == nil {
                error(
                    "listener.name.\(listener.lowercased()).plain.sasl.jaas.config",
                    "must be set so that somebody can log in by PLAIN, or martlet.sasl.plain.users.file")
            }
        }
        if mechanisms.contains(.oauthBearer) { sasl.oauthBearer = readOAuthBearer(listener) }
        return sasl
    }

    mutating func readJAAS(_ listener: String, _ mechanism: SaslCredentials.Mechanism) -> JAASEntry? {
        let key = "listener.name.\(listener.lowercased()).\(mechanism.name.lowercased()).sasl.jaas.config"
        guard let text = texts[key], !text.isEmpty else { return nil }
        do throws(JAASError) {
            let entry = try JAASConfiguration.parse(text)
            let module =
                switch mechanism {
                case .plain: "PlainLoginModule"
                case .scram: "ScramLoginModule"
                case .oauthBearer: "OAuthBearerLoginModule"
                }
            require(entry.loginModule.hasSuffix(module), key, "names \(entry.loginModule), where a \(module) is needed")
            return entry
        } catch {
            self.error(key, "\(error)")
            return nil
        }
    }

    private mutating func readOutgoing(_ listener: String, _ securityProtocol: SecurityProtocol) -> OutgoingSecuritySettings {
        var settings = OutgoingSecuritySettings(securityProtocol: securityProtocol)
        if securityProtocol.hasTLS { settings.tls = readTLS(listener, isServer: false) }
        guard securityProtocol.hasSasl else { return settings }
        let isController = list("controller.listener.names").contains { $0.uppercased() == listener }
        let key = isController ? "sasl.mechanism.controller.protocol" : "sasl.mechanism.inter.broker.protocol"
        let name = string(key) ?? ""
        guard let mechanism = SaslCredentials.Mechanism(name: name) else {
            let known = SaslCredentials.Mechanism.names.joined(separator: ", ")
            error(key, "is \(name), which is not spoken here; this node has to log in at listener \(listener) by one of \(known)")
            return settings
        }
        if mechanism == .oauthBearer {
            settings.token = readTokenOrigin(listener)
            return settings
        }
        let entry = readJAAS(listener, mechanism)
        let user = entry?.option("username") ?? string("martlet.sasl.client.username") ?? ""
        let password = entry?.option("password") ?? readClientPassword() ?? ""
        if user.isEmpty || password.isEmpty {
            error(
                "listener.name.\(listener.lowercased()).\(mechanism.name.lowercased()).sasl.jaas.config",
                "must have username and password, or martlet.sasl.client.username and .password be set: this node logs in with them at "
                    + "listener \(listener) of others")
            return settings
        }
        settings.credentials = SaslCredentials(mechanism: mechanism, user: user, password: password)
        return settings
    }

    mutating func readClientPassword() -> String? {
        if let password = string("martlet.sasl.client.password"), !password.isEmpty { return password }
        let key = "martlet.sasl.client.password.file"
        guard let path = string(key), !path.isEmpty else { return nil }
        switch ConfigurationFile.text(path) {
        case .failure(let failure):
            error(key, failure.reason)
            return nil
        case .success(let text):
            let line = text.split(whereSeparator: \.isNewline).first
            if line == nil { error(key, "names a file that is empty") }
            return line.map(String.init)
        }
    }

    // MARK: TLS

    private mutating func readTLS(_ listener: String, isServer: Bool) -> TLSSettings? {
        do throws(SecuritySettingError) {
            let settings = try TLSSettings { key in
                // What nobody set is left to TLSSettings, which knows more than Kafka's table: the kind of a store by its name.
                let key = keyInForce(listener, key)
                return isSet(key) ? value(key)?.text : nil
            }
            if isServer, settings.keyStore == nil {
                throw SecuritySettingError(
                    key: "ssl.keystore.location", reason: "must be set: listener \(listener) needs a key and a certificate")
            }
            if isServer, settings.clientAuthentication == .required, settings.trustStore == nil {
                throw SecuritySettingError(
                    key: "ssl.truststore.location",
                    reason: "must be set: listener \(listener) demands certificates of clients and has to know whom to trust")
            }
            return settings
        } catch {
            self.error(keyInForce(listener, error.key), error.reason)
            return nil
        }
    }

    private mutating func readMapping(_ listener: String) -> PrincipalMappingRules {
        let key = keyInForce(listener, "ssl.principal.mapping.rules")
        do throws(PrincipalMappingError) {
            return try PrincipalMappingRules(value(key)?.text ?? "DEFAULT")
        } catch {
            self.error(key, "\(error)")
            return .standard
        }
    }

    // MARK: keys

    /// The most specific key that was set: of listener and mechanism, of the listener, or the plain one.
    func keyInForce(_ listener: String, _ key: String, _ mechanism: SaslCredentials.Mechanism? = nil) -> String {
        let prefix = "listener.name.\(listener.lowercased())."
        if let mechanism, isSet("\(prefix)\(mechanism.name.lowercased()).\(key)") {
            return "\(prefix)\(mechanism.name.lowercased()).\(key)"
        }
        return isSet(prefix + key) ? prefix + key : key
    }
}

extension SecurityProtocol {
    public var hasSasl: Bool { self == .saslPlaintext || self == .saslSSL }
    public var hasTLS: Bool { self == .ssl || self == .saslSSL }
}
