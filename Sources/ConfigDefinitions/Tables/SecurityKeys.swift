// SASL, principals and delegation tokens.

extension ConfigTable {
    static let securityKeys: [ConfigDefinition] = [
        .long(
            "connections.max.reauth.ms", 0, .any, .medium,
            doc: "Milliseconds after which a client has to log in again (KIP-368); 0 for never."),
        .long(
            "delegation.token.expiry.check.interval.ms", 3_600_000, .atLeast(1), .low,
            doc: "How often the controller takes delegation tokens away that have expired."),
        .long(
            "delegation.token.expiry.time.ms", 86_400_000, .atLeast(1), .medium,
            doc: "How long a delegation token is good before it has to be renewed."),
        .long(
            "delegation.token.max.lifetime.ms", 604_800_000, .atLeast(1), .medium,
            doc: "How long a delegation token can be good, however often it is renewed."),
        .password(
            "delegation.token.secret.key", .medium,
            doc: "Secret that delegation tokens are signed with, the same on all nodes; without it there are none."),
        .className(
            "principal.builder.class", "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", .medium,
            mode: .perBroker,
            support: .refused("principals are always built as Kafka's default builder builds them"),
            doc: "The class that derives a principal from a connection."),
        .className("sasl.client.callback.handler.class", nil, .medium, support: .noPlugins),
        .list(
            "sasl.enabled.mechanisms", ["GSSAPI"], .anyList, .medium, mode: .perBroker, doc: "SASL mechanisms on offer."),
        .password("sasl.jaas.config", .medium, mode: .perBroker, doc: "JAAS entries of a listener's mechanism."),
        .string("sasl.kerberos.kinit.cmd", "/usr/bin/kinit", .any, .medium, mode: .perBroker, support: .noKerberos),
        .long("sasl.kerberos.min.time.before.relogin", 60_000, .any, .medium, mode: .perBroker, support: .noKerberos),
        .list("sasl.kerberos.principal.to.local.rules", ["DEFAULT"], .anyList, .medium, mode: .perBroker, support: .noKerberos),
        .string("sasl.kerberos.service.name", nil, .any, .medium, mode: .perBroker, support: .noKerberos),
        .double("sasl.kerberos.ticket.renew.jitter", 0.05, .any, .medium, mode: .perBroker, support: .noKerberos),
        .double("sasl.kerberos.ticket.renew.window.factor", 0.8, .any, .medium, mode: .perBroker, support: .noKerberos),
        .className("sasl.login.callback.handler.class", nil, .medium, support: .noPlugins),
        .className("sasl.login.class", nil, .medium, support: .noPlugins),
        .int(
            "sasl.login.connect.timeout.ms", nil, .any, .low,
            doc: "Milliseconds that connecting to a token endpoint may take; 10 s when not set."),
        .int(
            "sasl.login.read.timeout.ms", nil, .any, .low,
            doc: "Milliseconds that a token endpoint's answer may take; 10 s when not set."),
        .short(
            "sasl.login.refresh.buffer.seconds", 300, .any, .medium, mode: .perBroker,
            doc: "A node's own token is replaced at least this long before it ends."),
        .short(
            "sasl.login.refresh.min.period.seconds", 60, .any, .medium, mode: .perBroker,
            doc: "A node's own token is replaced no sooner than this."),
        .double(
            "sasl.login.refresh.window.factor", 0.8, .any, .medium, mode: .perBroker,
            doc: "The part of its life after which a node's own token is replaced, 0.5 to 1."),
        .double(
            "sasl.login.refresh.window.jitter", 0.05, .any, .medium, mode: .perBroker,
            doc: "Up to this part of its life later, at random, 0 to 0.25."),
        .long(
            "sasl.login.retry.backoff.max.ms", 10_000, .any, .low,
            doc: "The longest time in milliseconds until a token endpoint that gave no token is asked again."),
        .long(
            "sasl.login.retry.backoff.ms", 100, .any, .low,
            doc: "Milliseconds until a token endpoint that gave no token is asked again; doubled each time."),
        .string(
            "sasl.mechanism.inter.broker.protocol", "GSSAPI", .any, .medium, mode: .perBroker,
            doc: "SASL mechanism between brokers."),
        .className("sasl.server.callback.handler.class", nil, .medium, support: .noPlugins),
        .int("sasl.server.max.receive.size", 524_288, .any, .medium, doc: "Bytes that a message may have before the client has logged in."),
        .string("security.providers", nil, .any, .low, support: .noPlugins),
    ]

    static let oauthKeys: [ConfigDefinition] = [
        .boolean(
            "sasl.oauthbearer.allow.unverified.audience", false, .medium,
            doc: "Takes tokens for any audience at a listener without sasl.oauthbearer.expected.audience."),
        .boolean(
            "sasl.oauthbearer.allow.unverified.issuer", false, .medium,
            doc: "Takes tokens of any issuer at a listener without sasl.oauthbearer.expected.issuer."),
        .string("sasl.oauthbearer.assertion.algorithm", "RS256", .oneOfIgnoringCase(["ES256", "RS256"]), .medium, support: .noAssertions),
        .string("sasl.oauthbearer.assertion.claim.aud", nil, .any, .medium, support: .noAssertions),
        .int("sasl.oauthbearer.assertion.claim.exp.seconds", 300, .between(0, 86_400), .low, support: .noAssertions),
        .string("sasl.oauthbearer.assertion.claim.iss", nil, .any, .medium, support: .noAssertions),
        .boolean("sasl.oauthbearer.assertion.claim.jti.include", false, .medium, support: .noAssertions),
        .int("sasl.oauthbearer.assertion.claim.nbf.seconds", 60, .between(0, 3600), .low, support: .noAssertions),
        .string("sasl.oauthbearer.assertion.claim.sub", nil, .any, .medium, support: .noAssertions),
        .string("sasl.oauthbearer.assertion.file", nil, .any, .medium, support: .noAssertions),
        .string("sasl.oauthbearer.assertion.private.key.file", nil, .any, .medium, support: .noAssertions),
        .password("sasl.oauthbearer.assertion.private.key.passphrase", .medium, support: .noAssertions),
        .string("sasl.oauthbearer.assertion.template.file", nil, .any, .medium, support: .noAssertions),
        .string(
            "sasl.oauthbearer.client.credentials.client.id", nil, .any, .medium,
            doc: "The id with which the token endpoint is asked for a node's own token."),
        .password(
            "sasl.oauthbearer.client.credentials.client.secret", .medium,
            doc: "The secret with which the token endpoint is asked for a node's own token."),
        .int(
            "sasl.oauthbearer.clock.skew.seconds", 30, .any, .low,
            doc: "Seconds that the identity provider's clock may be off when a token's times are looked at."),
        .list(
            "sasl.oauthbearer.expected.audience", [], .anyList, .high,
            doc: "A token must be for one of these (claim aud)."),
        .string(
            "sasl.oauthbearer.expected.issuer", nil, .any, .high,
            doc: "A token must be issued by this one (claim iss)."),
        .long(
            "sasl.oauthbearer.jwks.endpoint.refresh.ms", 3_600_000, .any, .low,
            doc: "Milliseconds between two readings of a JWKS by HTTP; a file is read again when it changes."),
        .long(
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", 10_000, .any, .low,
            doc: "The longest time in milliseconds until a JWKS that could not be read is asked for again."),
        .long(
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", 100, .any, .low,
            doc: "Milliseconds until a JWKS that could not be read is asked for again; doubled each time."),
        .string(
            "sasl.oauthbearer.jwks.endpoint.url", nil, .any, .medium,
            doc: "Where the keys are that tokens are signed by (JWKS): a file, http or https address."),
        .className(
            "sasl.oauthbearer.jwt.retriever.class", "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", .medium,
            support: .noPlugins),
        .className(
            "sasl.oauthbearer.jwt.validator.class", "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", .medium,
            support: .noPlugins),
        .string(
            "sasl.oauthbearer.scope", nil, .any, .medium,
            doc: "The scope that the token endpoint is asked for."),
        .string(
            "sasl.oauthbearer.scope.claim.name", "scope", .any, .low,
            doc: "The claim with a token's scopes."),
        .string(
            "sasl.oauthbearer.sub.claim.name", "sub", .any, .low,
            doc: "The claim with the user's name."),
        .string(
            "sasl.oauthbearer.token.endpoint.url", nil, .any, .medium,
            doc: "Where the token is that this node logs in with at others: an endpoint (https, http) or a file."),
    ]
}
