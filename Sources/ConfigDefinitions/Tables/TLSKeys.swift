// TLS.

extension ConfigTable {
    static let tlsKeys: [ConfigDefinition] = [
        .boolean("ssl.allow.dn.changes", false, .low, support: .anyCertificateChange),
        .boolean("ssl.allow.san.changes", false, .low, support: .anyCertificateChange),
        .list("ssl.cipher.suites", [], .anyList, .medium, mode: .perBroker),
        .string(
            "ssl.client.auth", "none", .oneOf(["required", "requested", "none"]), .medium, mode: .perBroker,
            doc: "Whether clients must show a certificate."),
        .list("ssl.enabled.protocols", ["TLSv1.2", "TLSv1.3"], .anyList, .medium, mode: .perBroker),
        .string("ssl.endpoint.identification.algorithm", "https", .any, .low, mode: .perBroker),
        .className("ssl.engine.factory.class", nil, .low, mode: .perBroker, support: .noPlugins),
        .password("ssl.key.password", .medium, mode: .perBroker),
        .string("ssl.keymanager.algorithm", "SunX509", .any, .medium, mode: .perBroker, support: .noPlugins),
        .password("ssl.keystore.certificate.chain", .medium, mode: .perBroker),
        .password("ssl.keystore.key", .medium, mode: .perBroker),
        .string("ssl.keystore.location", nil, .any, .medium, mode: .perBroker, doc: "File of the key store."),
        .password("ssl.keystore.password", .medium, mode: .perBroker),
        .string("ssl.keystore.type", "JKS", .any, .medium, mode: .perBroker),
        .string("ssl.principal.mapping.rules", "DEFAULT", .any, .low),
        .string("ssl.protocol", "TLSv1.3", .any, .medium, mode: .perBroker, support: .enabledProtocols),
        .string("ssl.provider", nil, .any, .medium, mode: .perBroker, support: .noPlugins),
        .string("ssl.secure.random.implementation", nil, .any, .low, mode: .perBroker, support: .noPlugins),
        .string("ssl.trustmanager.algorithm", "PKIX", .any, .medium, mode: .perBroker, support: .noPlugins),
        .password("ssl.truststore.certificates", .medium, mode: .perBroker),
        .string("ssl.truststore.location", nil, .any, .medium, mode: .perBroker, doc: "File of the trust store."),
        .password("ssl.truststore.password", .medium, mode: .perBroker),
        .string("ssl.truststore.type", "JKS", .any, .medium, mode: .perBroker),
    ]
}
