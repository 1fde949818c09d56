// Where a token of one's own comes from, under the names that brokers and clients have in common: `sasl.oauthbearer.token.endpoint.url` and
// what belongs to it (KIP-768, KIP-1139).

/// Where the token is that this side logs in with at others.
public enum TokenOrigin: Sendable, Hashable {
    /// Something else keeps it fresh.
    case file(String)
    case endpoint(TokenEndpointSettings)
}

/// An endpoint that gives out tokens, and how it is asked.
public struct TokenEndpointSettings: Sendable, Hashable {
    public var address: WebAddress
    public var grant: ClientCredentialsGrant
    /// For https: `ssl.*` of the JAAS entry, as in Kafka.
    public var tls: TLSSettings
    /// `sasl.login.connect.timeout.ms`; Kafka waits for ever by default.
    public var connectTimeoutMilliseconds: Int64 = 10_000
    /// `sasl.login.read.timeout.ms`: until the whole answer is there; Kafka waits for ever by default.
    public var readTimeoutMilliseconds: Int64 = 10_000
    public var retry = LoginRetry()
    public var refresh = TokenRefresh()

    public init(address: WebAddress, grant: ClientCredentialsGrant, tls: TLSSettings = TLSSettings()) {
        self.address = address
        self.grant = grant
        self.tls = tls
    }
}

extension TokenOrigin {
    public static let addressKey = "sasl.oauthbearer.token.endpoint.url"

    /// Reads the keys. A value that is blank counts as not given.
    ///
    /// - Parameters:
    ///   - entry: the JAAS entry, whose options `clientId`, `clientSecret` and `scope` stand for keys that are not given.
    ///   - standIn: an id and a secret where neither has them.
    ///   - value: the text of a key, nil when nobody gave it.
    public init(
        _ entry: JAASEntry?, standIn: (id: String?, secret: String?) = (nil, nil), _ value: (String) -> String?
    ) throws(SecuritySettingError) {
        func present(_ text: String?) -> String? { text.map(trimmed).flatMap { $0.isEmpty ? nil : $0 } }
        func given(_ key: String) -> String? { present(value(key)) }
        func option(_ name: String) -> String? { present(entry?.option(name)) }
        guard let text = given(Self.addressKey) else {
            throw SecuritySettingError(
                key: Self.addressKey, reason: "must be set: a token to log in with comes from an endpoint (https:, http:) or a file (file:)"
            )
        }
        let address: WebAddress
        do throws(AddressError) {
            switch try KeySetAddress(parsing: text) {
            case .file(let path):
                self = .file(path)
                return
            case .web(let web): address = web
            }
        } catch {
            throw SecuritySettingError(key: Self.addressKey, reason: "\(error)")
        }
        let idKey = "sasl.oauthbearer.client.credentials.client.id"
        let secretKey = "sasl.oauthbearer.client.credentials.client.secret"
        guard let id = given(idKey) ?? option("clientId") ?? present(standIn.id) else {
            throw SecuritySettingError(key: idKey, reason: "must be set so that \(address) gives out a token")
        }
        guard let secret = given(secretKey) ?? option("clientSecret") ?? present(standIn.secret),
            let grant = ClientCredentialsGrant(
                clientID: id, clientSecret: secret, scope: given("sasl.oauthbearer.scope") ?? option("scope"),
                isEncoded: try Self.boolean("sasl.oauthbearer.header.urlencode", given))
        else { throw SecuritySettingError(key: secretKey, reason: "must be set so that \(address) gives out a token") }
        var settings = TokenEndpointSettings(address: address, grant: grant, tls: try TLSSettings { option($0) })
        try settings.readTimes(given)
        self = .endpoint(settings)
    }

    private static func boolean(_ key: String, _ given: (String) -> String?) throws(SecuritySettingError) -> Bool {
        switch given(key)?.lowercased() {
        case nil, "false": return false
        case "true": return true
        default: throw SecuritySettingError(key: key, reason: "must be true or false")
        }
    }
}

extension TokenEndpointSettings {
    private static let hour: Int64 = 3_600_000

    fileprivate mutating func readTimes(_ given: (String) -> String?) throws(SecuritySettingError) {
        func number(_ key: String, _ range: ClosedRange<Int64>, _ standard: Int64) throws(SecuritySettingError) -> Int64 {
            guard let text = given(key) else { return standard }
            guard let number = Int64(text), range.contains(number) else {
                throw SecuritySettingError(key: key, reason: "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return number
        }
        func part(_ key: String, _ range: ClosedRange<Double>, _ standard: Double) throws(SecuritySettingError) -> Double {
            guard let text = given(key) else { return standard }
            guard let number = Double(text), range.contains(number) else {
                throw SecuritySettingError(key: key, reason: "must be a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return number
        }
        connectTimeoutMilliseconds = try number("sasl.login.connect.timeout.ms", 1...Self.hour, connectTimeoutMilliseconds)
        readTimeoutMilliseconds = try number("sasl.login.read.timeout.ms", 1...Self.hour, readTimeoutMilliseconds)
        retry.backoffMilliseconds = try number("sasl.login.retry.backoff.ms", 0...Self.hour, retry.backoffMilliseconds)
        let maximumKey = "sasl.login.retry.backoff.max.ms"
        retry.maximumBackoffMilliseconds = try number(maximumKey, 0...Self.hour, retry.maximumBackoffMilliseconds)
        guard retry.maximumBackoffMilliseconds >= retry.backoffMilliseconds else {
            throw SecuritySettingError(key: maximumKey, reason: "must not be less than sasl.login.retry.backoff.ms")
        }
        refresh.windowFactor = try part("sasl.login.refresh.window.factor", 0.5...1, refresh.windowFactor)
        refresh.windowJitter = try part("sasl.login.refresh.window.jitter", 0...0.25, refresh.windowJitter)
        refresh.minimumPeriodSeconds = try number("sasl.login.refresh.min.period.seconds", 0...900, refresh.minimumPeriodSeconds)
        refresh.bufferSeconds = try number("sasl.login.refresh.buffer.seconds", 0...3600, refresh.bufferSeconds)
    }
}
