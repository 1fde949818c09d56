// SASL, principals and delegation tokens.

extension ConfigTable {
    static let securityKeys: [ConfigDefinition] = [
        .long("connections.max.reauth.ms", 0, .any, .medium, support: .noSASL),
        .long("delegation.token.expiry.check.interval.ms", 3_600_000, .atLeast(1), .low, support: .noDelegationTokens),
        .long("delegation.token.expiry.time.ms", 86_400_000, .atLeast(1), .medium, support: .noDelegationTokens),
        .long("delegation.token.max.lifetime.ms", 604_800_000, .atLeast(1), .medium, support: .noDelegationTokens),
        .password(
            "delegation.token.secret.key", .medium, support: .noDelegationTokens, doc: "Secret that delegation tokens are signed with."),
        .className(
            "principal.builder.class", "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", .medium,
            mode: .perBroker,
            support: .acceptedWithoutEffect("there is no authorizer yet that principals would matter to"),
            doc: "The class that derives a principal from a connection."),
        .className("sasl.client.callback.handler.class", nil, .medium, support: .noSASL),
        .list(
            "sasl.enabled.mechanisms", ["GSSAPI"], .anyList, .medium, mode: .perBroker, support: .noSASL, doc: "SASL mechanisms on offer."),
        .password("sasl.jaas.config", .medium, mode: .perBroker, support: .noSASL, doc: "JAAS entries of a listener's mechanism."),
        .string("sasl.kerberos.kinit.cmd", "/usr/bin/kinit", .any, .medium, mode: .perBroker, support: .noSASL),
        .long("sasl.kerberos.min.time.before.relogin", 60_000, .any, .medium, mode: .perBroker, support: .noSASL),
        .list("sasl.kerberos.principal.to.local.rules", ["DEFAULT"], .anyList, .medium, mode: .perBroker, support: .noSASL),
        .string("sasl.kerberos.service.name", nil, .any, .medium, mode: .perBroker, support: .noSASL),
        .double("sasl.kerberos.ticket.renew.jitter", 0.05, .any, .medium, mode: .perBroker, support: .noSASL),
        .double("sasl.kerberos.ticket.renew.window.factor", 0.8, .any, .medium, mode: .perBroker, support: .noSASL),
        .className("sasl.login.callback.handler.class", nil, .medium, support: .noSASL),
        .className("sasl.login.class", nil, .medium, support: .noSASL),
        .int("sasl.login.connect.timeout.ms", nil, .any, .low, support: .noSASL),
        .int("sasl.login.read.timeout.ms", nil, .any, .low, support: .noSASL),
        .short("sasl.login.refresh.buffer.seconds", 300, .any, .medium, mode: .perBroker, support: .noSASL),
        .short("sasl.login.refresh.min.period.seconds", 60, .any, .medium, mode: .perBroker, support: .noSASL),
        .double("sasl.login.refresh.window.factor", 0.8, .any, .medium, mode: .perBroker, support: .noSASL),
        .double("sasl.login.refresh.window.jitter", 0.05, .any, .medium, mode: .perBroker, support: .noSASL),
        .long("sasl.login.retry.backoff.max.ms", 10_000, .any, .low, support: .noSASL),
        .long("sasl.login.retry.backoff.ms", 100, .any, .low, support: .noSASL),
        .string(
            "sasl.mechanism.inter.broker.protocol", "GSSAPI", .any, .medium, mode: .perBroker, support: .noSASL,
            doc: "SASL mechanism between brokers."),
        .className("sasl.server.callback.handler.class", nil, .medium, support: .noSASL),
        .int("sasl.server.max.receive.size", 524_288, .any, .medium, support: .noSASL),
        .string("security.providers", nil, .any, .low, support: .noTLS),
    ]

    static let oauthKeys: [ConfigDefinition] = [
        .boolean("sasl.oauthbearer.allow.unverified.audience", false, .medium, support: .noSASL),
        .boolean("sasl.oauthbearer.allow.unverified.issuer", false, .medium, support: .noSASL),
        .string("sasl.oauthbearer.assertion.algorithm", "RS256", .oneOfIgnoringCase(["ES256", "RS256"]), .medium, support: .noSASL),
        .string("sasl.oauthbearer.assertion.claim.aud", nil, .any, .medium, support: .noSASL),
        .int("sasl.oauthbearer.assertion.claim.exp.seconds", 300, .between(0, 86_400), .low, support: .noSASL),
        .string("sasl.oauthbearer.assertion.claim.iss", nil, .any, .medium, support: .noSASL),
        .boolean("sasl.oauthbearer.assertion.claim.jti.include", false, .medium, support: .noSASL),
        .int("sasl.oauthbearer.assertion.claim.nbf.seconds", 60, .between(0, 3600), .low, support: .noSASL),
        .string("sasl.oauthbearer.assertion.claim.sub", nil, .any, .medium, support: .noSASL),
        .string("sasl.oauthbearer.assertion.file", nil, .any, .medium, support: .noSASL),
        .string("sasl.oauthbearer.assertion.private.key.file", nil, .any, .medium, support: .noSASL),
        .password("sasl.oauthbearer.assertion.private.key.passphrase", .medium, support: .noSASL),
        .string("sasl.oauthbearer.assertion.template.file", nil, .any, .medium, support: .noSASL),
        .string("sasl.oauthbearer.client.credentials.client.id", nil, .any, .medium, support: .noSASL),
        .password("sasl.oauthbearer.client.credentials.client.secret", .medium, support: .noSASL),
        .int("sasl.oauthbearer.clock.skew.seconds", 30, .any, .low, support: .noSASL),
        .list("sasl.oauthbearer.expected.audience", [], .anyList, .high, support: .noSASL),
        .string("sasl.oauthbearer.expected.issuer", nil, .any, .high, support: .noSASL),
        .long("sasl.oauthbearer.jwks.endpoint.refresh.ms", 3_600_000, .any, .low, support: .noSASL),
        .long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", 10_000, .any, .low, support: .noSASL),
        .long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", 100, .any, .low, support: .noSASL),
        .string("sasl.oauthbearer.jwks.endpoint.url", nil, .any, .medium, support: .noSASL),
        .className(
            "sasl.oauthbearer.jwt.retriever.class", "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", .medium,
            support: .noSASL),
        .className(
            "sasl.oauthbearer.jwt.validator.class", "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", .medium,
            support: .noSASL),
        .string("sasl.oauthbearer.scope", nil, .any, .medium, support: .noSASL),
        .string("sasl.oauthbearer.scope.claim.name", "scope", .any, .low, support: .noSASL),
        .string("sasl.oauthbearer.sub.claim.name", "sub", .any, .low, support: .noSASL),
        .string("sasl.oauthbearer.token.endpoint.url", nil, .any, .medium, support: .noSASL),
    ]
}
