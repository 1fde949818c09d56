// Where a token of one's own comes from, by the keys that brokers and clients have in common.
import Testing

@testable import Authentication

@Suite("Where tokens come from")
struct TokenOriginTests {
    private static let url = ["sasl.oauthbearer.token.endpoint.url": "https://idp.example/token?x=1"]
    private static let client = [
        "sasl.oauthbearer.client.credentials.client.id": "app", "sasl.oauthbearer.client.credentials.client.secret": "secret",
    ]

    private func origin(_ keys: [String: String], jaas: String? = nil) throws -> TokenOrigin {
        try TokenOrigin(try jaas.map { try JAASConfiguration.parse("OAuthBearerLoginModule required \($0);") }) { keys[$0] }
    }

    @Test("Files, and endpoints with Kafka's defaults")
    func origins() throws {
        #expect(try origin(["sasl.oauthbearer.token.endpoint.url": " file:///run/token "]) == .file("/run/token"))
        let expected = TokenEndpointSettings(
            address: WebAddress(isSecured: true, host: "idp.example", port: 443, target: "/token?x=1"),
            grant: try #require(ClientCredentialsGrant(clientID: "app", clientSecret: "secret")))
        #expect(try origin(Self.url.merging(Self.client) { $1 }) == .endpoint(expected))
        #expect(expected.retry.backoffMilliseconds == 100 && expected.retry.maximumBackoffMilliseconds == 10_000)
        #expect(expected.refresh.windowFactor == 0.8 && expected.refresh.windowJitter == 0.05)
        #expect(expected.refresh.minimumPeriodSeconds == 60 && expected.refresh.bufferSeconds == 300)
    }

    @Test("Options of the JAAS entry stand for keys that are not given; TLS is the entry's")
    func jaas() throws {
        let text = #"clientId="app" clientSecret="other" scope="s1 s2" ssl.truststore.type="PEM" ssl.truststore.location="/ca.pem""#
        guard case .endpoint(let settings) = try origin(Self.url, jaas: text) else { throw TestFailure() }
        #expect(settings.grant == ClientCredentialsGrant(clientID: "app", clientSecret: "other", scope: "s1 s2"))
        #expect(settings.tls.trustStore?.location == "/ca.pem")
        let keys = Self.client.merging(["sasl.oauthbearer.scope": "s3", "sasl.oauthbearer.header.urlencode": "TRUE"]) { $1 }
        guard case .endpoint(let other) = try origin(Self.url.merging(keys) { $1 }, jaas: text) else { throw TestFailure() }
        #expect(other.grant == ClientCredentialsGrant(clientID: "app", clientSecret: "secret", scope: "s3", isEncoded: true))
        let standIn = try TokenOrigin(nil, standIn: ("node", "word")) { Self.url[$0] }
        guard case .endpoint(let third) = standIn else { throw TestFailure() }
        #expect(third.grant == ClientCredentialsGrant(clientID: "node", clientSecret: "word"))
    }

    @Test("Times")
    func times() throws {
        let keys = [
            "sasl.login.connect.timeout.ms": "1500", "sasl.login.read.timeout.ms": "2500", "sasl.login.retry.backoff.ms": "5",
            "sasl.login.retry.backoff.max.ms": "50", "sasl.login.refresh.window.factor": "0.6", "sasl.login.refresh.window.jitter": "0",
            "sasl.login.refresh.min.period.seconds": "7", "sasl.login.refresh.buffer.seconds": "8",
        ]
        guard case .endpoint(let settings) = try origin(Self.url.merging(Self.client) { $1 }.merging(keys) { $1 }) else {
            throw TestFailure()
        }
        #expect(settings.connectTimeoutMilliseconds == 1500 && settings.readTimeoutMilliseconds == 2500)
        #expect(settings.retry.backoffMilliseconds == 5 && settings.retry.maximumBackoffMilliseconds == 50)
        #expect(settings.refresh.windowFactor == 0.6 && settings.refresh.windowJitter == 0)
        #expect(settings.refresh.minimumPeriodSeconds == 7 && settings.refresh.bufferSeconds == 8)
    }

    @Test(
        "Mistakes are named, and secrets are not",
        arguments: [
            ("sasl.oauthbearer.token.endpoint.url", "", "must be set"),
            ("sasl.oauthbearer.token.endpoint.url", "ldap://x/y", "only file, http and https"),
            ("sasl.oauthbearer.token.endpoint.url", "https://a:b@idp/token", "has a user or a password in it"),
            ("sasl.oauthbearer.client.credentials.client.id", " ", "must be set"),
            ("sasl.oauthbearer.client.credentials.client.secret", " ", "must be set"),
            ("sasl.oauthbearer.header.urlencode", "yes", "true or false"),
            ("sasl.login.connect.timeout.ms", "0", "from 1 to"),
            ("sasl.login.retry.backoff.max.ms", "50", "must not be less than"),
            ("sasl.login.refresh.window.factor", "0.4", "from 0.5 to 1"),
            ("sasl.login.refresh.window.jitter", "nan", "from 0.0 to 0.25"),
            ("sasl.login.refresh.min.period.seconds", "901", "from 0 to 900"),
            ("sasl.login.refresh.buffer.seconds", "x", "from 0 to 3600"),
        ])
    func mistakes(_ key: String, _ value: String, _ expected: String) throws {
        let keys = Self.url.merging(Self.client) { $1 }.merging([key: value]) { $1 }
        let error = try #require(throws: SecuritySettingError.self) { try origin(keys) }
        #expect(error.key == key && error.reason.contains(expected) && !error.reason.contains("secret"), "\(error)")
    }
}

private struct TestFailure: Error {}
