// The `ssl.*` keys, which are the same for brokers and for clients, into settings.

/// A key whose value cannot be used.
public struct SecuritySettingError: Error, Sendable, Equatable, CustomStringConvertible {
    public let key: String
    /// Why; holds no secret.
    public let reason: String

    public init(key: String, reason: String) {
        self.key = key
        self.reason = reason
    }

    public var description: String { "\(key) \(reason)" }
}

extension TLSSettings {
    /// Reads the keys. A value that is empty counts as not given.
    ///
    /// - Parameter value: the text of a key such as `ssl.keystore.location`, nil when nobody gave it.
    public init(_ value: (String) -> String?) throws(SecuritySettingError) {
        func given(_ key: String) -> String? { value(key).flatMap { $0.isEmpty ? nil : $0 } }
        func list(_ key: String) -> [String]? {
            given(key).map { $0.split(separator: ",").map { String($0.filter { $0 != " " }) }.filter { !$0.isEmpty } }
        }
        self.init()
        keyStore = try Self.keyStore(given)
        trustStore = try Self.trustStore(given)
        if let text = given("ssl.client.auth") {
            guard let parsed = ClientAuthentication(rawValue: text) else {
                throw SecuritySettingError(key: "ssl.client.auth", reason: "must be none, requested or required")
            }
            clientAuthentication = parsed
        }
        if let names = list("ssl.enabled.protocols") {
            for name in names where !Self.knownProtocols.contains(name) {
                throw SecuritySettingError(
                    key: "ssl.enabled.protocols", reason: "has '\(name)'; only \(Self.knownProtocols.joined(separator: " and ")) are spoken"
                )
            }
            if names.isEmpty { throw SecuritySettingError(key: "ssl.enabled.protocols", reason: "must not be empty") }
            protocols = names
        }
        cipherSuites = list("ssl.cipher.suites") ?? []
        if let algorithm = value("ssl.endpoint.identification.algorithm") {
            guard algorithm.isEmpty || algorithm.lowercased() == "https" else {
                throw SecuritySettingError(key: "ssl.endpoint.identification.algorithm", reason: "must be https, or empty for none")
            }
            verifiesHostName = !algorithm.isEmpty
        }
    }

    private static func keyStore(_ given: (String) -> String?) throws(SecuritySettingError) -> TLSStore? {
        let location = given("ssl.keystore.location")
        let key = given("ssl.keystore.key")
        let chain = given("ssl.keystore.certificate.chain")
        guard location != nil || key != nil || chain != nil else { return nil }
        let kind = try kind("ssl.keystore.type", given, isInline: key != nil || chain != nil, location)
        if key != nil || chain != nil {
            guard location == nil else {
                throw SecuritySettingError(
                    key: "ssl.keystore.location",
                    reason: "must not be set together with ssl.keystore.key and ssl.keystore.certificate.chain")
            }
            guard key != nil, chain != nil else {
                throw SecuritySettingError(
                    key: key == nil ? "ssl.keystore.key" : "ssl.keystore.certificate.chain", reason: "is missing; both are needed")
            }
        }
        return TLSStore(
            kind: kind, location: location, password: given("ssl.keystore.password"), key: key, certificates: chain,
            keyPassword: given("ssl.key.password"))
    }

    private static func trustStore(_ given: (String) -> String?) throws(SecuritySettingError) -> TLSStore? {
        let location = given("ssl.truststore.location")
        let certificates = given("ssl.truststore.certificates")
        guard location != nil || certificates != nil else { return nil }
        let kind = try kind("ssl.truststore.type", given, isInline: certificates != nil, location)
        if certificates != nil, location != nil {
            throw SecuritySettingError(
                key: "ssl.truststore.location", reason: "must not be set together with ssl.truststore.certificates")
        }
        return TLSStore(kind: kind, location: location, password: given("ssl.truststore.password"), certificates: certificates)
    }

    private static func kind(
        _ key: String, _ given: (String) -> String?, isInline: Bool, _ location: String?
    ) throws(SecuritySettingError) -> TLSStore.Kind {
        guard let text = given(key) else {
            // Kafka's default is JKS, which is Java's own; what is not said is told from the file's name.
            if isInline { return .pem }
            let name = location?.lowercased() ?? ""
            if name.hasSuffix(".p12") || name.hasSuffix(".pfx") || name.hasSuffix(".pkcs12") { return .pkcs12 }
            if name.hasSuffix(".jks") { throw Self.javaStore(key) }
            return .pem
        }
        if text.uppercased() == "JKS" { throw Self.javaStore(key) }
        guard let kind = TLSStore.Kind(rawValue: text.uppercased()) else {
            throw SecuritySettingError(key: key, reason: "must be PEM or PKCS12")
        }
        if isInline, kind != .pem {
            throw SecuritySettingError(key: key, reason: "must be PEM for keys and certificates in the configuration")
        }
        return kind
    }

    private static func javaStore(_ key: String) -> SecuritySettingError {
        SecuritySettingError(
            key: key,
            reason:
                "is JKS, a format of Java's own that is not read here; convert the store with 'keytool -importkeystore -srckeystore OLD "
                + "-destkeystore NEW.p12 -deststoretype PKCS12' and set \(key)=PKCS12")
    }
}
