// OAUTHBEARER in a configuration: what a listener needs before it takes tokens, and what must not be taken for granted.
import Authentication
import Testing

@testable import Configuration

@Suite("OAUTHBEARER settings")
struct OAuthBearerSettingsTests {
    private static let base = """
        node.id=1
        process.roles=broker,controller
        listeners=CLIENTS://:9092,CONTROLLER://:9093
        listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
        controller.listener.names=CONTROLLER
        inter.broker.listener.name=CLIENTS
        sasl.mechanism.inter.broker.protocol=PLAIN
        martlet.sasl.client.username=node
        martlet.sasl.client.password=secret
        controller.quorum.voters=1@localhost:9093
        log.dirs=/var/lib/martlet
        listener.name.clients.sasl.enabled.mechanisms=OAUTHBEARER

        """
    private static let url = "sasl.oauthbearer.jwks.endpoint.url=file:///etc/jwks.json\n"
    private static let origin = "sasl.oauthbearer.expected.audience=kafka\nsasl.oauthbearer.expected.issuer=https://issuer.example\n"

    private func settings(_ text: String) throws -> OAuthBearerSettings? {
        try load(Self.base + text).configuration.security.listeners["CLIENTS"]?.sasl?.oauthBearer
    }

    @Test("Defaults, and keys of one listener and mechanism")
    func values() throws {
        var expected = OAuthBearerSettings(
            keySet: .file("/etc/jwks.json"), tls: TLSSettings(),
            validator: TokenValidator(expectedAudience: ["kafka"], expectedIssuer: "https://issuer.example"),
            refreshMilliseconds: 3_600_000, retryBackoffMilliseconds: 100, maximumRetryBackoffMilliseconds: 10_000)
        #expect(try settings(Self.url + Self.origin) == expected)
        expected.keySet = .web(WebAddress(isSecured: true, host: "idp", port: 443, target: "/certs"))
        expected.tls = TLSSettings(trustStore: TLSStore(kind: .pem, location: "/etc/ca.pem"))
        expected.validator.expectedAudience = ["a", "b"]
        expected.validator.clockSkewSeconds = 5
        expected.validator.scopeClaimName = "scp"
        expected.validator.subClaimName = "azp"
        expected.refreshMilliseconds = 60_000
        expected.retryBackoffMilliseconds = 50
        expected.maximumRetryBackoffMilliseconds = 2000
        let text = """
            listener.name.clients.sasl.oauthbearer.jwks.endpoint.url=https://idp/certs
            listener.name.clients.oauthbearer.sasl.oauthbearer.expected.audience=a, b
            listener.name.clients.sasl.oauthbearer.expected.audience=c
            sasl.oauthbearer.clock.skew.seconds=5
            sasl.oauthbearer.scope.claim.name=scp
            sasl.oauthbearer.sub.claim.name=azp
            sasl.oauthbearer.jwks.endpoint.refresh.ms=60000
            sasl.oauthbearer.jwks.endpoint.retry.backoff.ms=50
            sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms=2000
            listener.name.clients.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required ssl.truststore.type=PEM ssl.truststore.location="/etc/ca.pem";

            """
        #expect(try settings(text + Self.url + Self.origin) == expected)
        #expect(try load(Self.base + text + Self.url + Self.origin).warnings.isEmpty)
    }

    @Test("Where this node's own token comes from: keys of one listener, the JAAS entry, Martlet's own keys for a login")
    func ownToken() throws {
        func origin(_ text: String) throws -> TokenOrigin? {
            let base = Self.base.replacing("inter.broker.protocol=PLAIN", with: "inter.broker.protocol=OAUTHBEARER")
            let loaded = try load(base + Self.url + Self.origin + text)
            #expect(loaded.warnings.isEmpty, "\(loaded.warnings)")
            return loaded.configuration.security.outgoing["CLIENTS"]?.token
        }
        #expect(try origin("sasl.oauthbearer.token.endpoint.url=file:///run/token\n") == .file("/run/token"))
        let endpoint = "sasl.oauthbearer.token.endpoint.url=http://idp:8080/token\n"
        let address = WebAddress(isSecured: false, host: "idp", port: 8080, target: "/token")
        var expected = TokenEndpointSettings(
            address: address, grant: try #require(ClientCredentialsGrant(clientID: "node", clientSecret: "secret")))
        #expect(try origin(endpoint) == .endpoint(expected))
        expected.grant = try #require(
            ClientCredentialsGrant(clientID: "own", clientSecret: "word", scope: "kafka", isEncoded: true))
        expected.refresh.bufferSeconds = 5
        expected.retry.backoffMilliseconds = 20
        expected.tls.trustStore = TLSStore(kind: .pem, location: "/etc/ca.pem")
        let jaas =
            "listener.name.clients.oauthbearer.sasl.jaas.config=a.OAuthBearerLoginModule required clientId=own clientSecret=word "
            + "scope=other ssl.truststore.type=PEM ssl.truststore.location=\"/etc/ca.pem\";\n"
        let keys = """
            listener.name.clients.sasl.oauthbearer.scope=kafka
            sasl.oauthbearer.scope=unused
            listener.name.clients.oauthbearer.sasl.oauthbearer.header.urlencode=true
            sasl.login.refresh.buffer.seconds=5
            listener.name.clients.oauthbearer.sasl.login.retry.backoff.ms=20

            """
        #expect(try origin(endpoint + jaas + keys) == .endpoint(expected))
    }

    @Test("Without the issuer's keys, or without a word on whose tokens are meant, a node does not start")
    func demands() throws {
        #expect(errors(Self.base + Self.origin).count == 1)
        #expect(errors(Self.base + Self.origin)[0].contains("sasl.oauthbearer.jwks.endpoint.url: must be set"))
        let both = errors(Self.base + Self.url)
        #expect(both.count == 2 && both[0].contains("expected.audience") && both[1].contains("expected.issuer"))
        let open = try load(
            Self.base + Self.url + "sasl.oauthbearer.allow.unverified.audience=true\nsasl.oauthbearer.allow.unverified.issuer=true\n")
        #expect(open.warnings.count == 2)
        let validator = open.configuration.security.listeners["CLIENTS"]?.sasl?.oauthBearer?.validator
        #expect(validator?.expectedAudience == [] && validator?.expectedIssuer == nil)
    }

    @Test(
        "Mistakes are named",
        arguments: [
            ("sasl.oauthbearer.jwks.endpoint.url=ftp://x/y\n", "only file, http and https"),
            ("sasl.oauthbearer.jwks.endpoint.url=jwks.json\n", "names no protocol"),
            ("sasl.oauthbearer.jwks.endpoint.refresh.ms=0\n", "at least 1"),
            ("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms=-1\n", "at least 0"),
            ("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms=50\n", "must not be less than"),
            ("sasl.oauthbearer.sub.claim.name=\n", "must name a claim"),
            ("listener.name.clients.oauthbearer.sasl.jaas.config=a.PlainLoginModule required;\n", "OAuthBearerLoginModule is needed"),
            (
                "listener.name.clients.oauthbearer.sasl.jaas.config=a.OAuthBearerLoginModule required unsecuredValidatorScopeClaimName=\"x\";\n",
                "tokens without a signature are not taken"
            ),
            ("sasl.mechanism.inter.broker.protocol=OAUTHBEARER\n", "sasl.oauthbearer.token.endpoint.url: must be set"),
            (
                """
                sasl.mechanism.inter.broker.protocol=OAUTHBEARER
                sasl.oauthbearer.token.endpoint.url=https://idp/token
                sasl.login.refresh.window.factor=2

                """, "sasl.login.refresh.window.factor: must be a number from 0.5 to 1.0"
            ),
            (
                """
                sasl.mechanism.inter.broker.protocol=OAUTHBEARER
                sasl.oauthbearer.token.endpoint.url=https://idp/token
                martlet.sasl.client.username=
                sasl.oauthbearer.client.credentials.client.id=

                """, "sasl.oauthbearer.client.credentials.client.id: must be set so that https://idp/token gives out a token"
            ),
        ])
    func mistakes(_ text: String, _ expected: String) {
        let found = errors(Self.base + Self.url + Self.origin + text)
        #expect(found.count == 1 && found[0].contains(expected), "\(found)")
    }
}
