// TLS.

extension ConfigTable {
    static let tlsKeys: [ConfigDefinition] = [
        .boolean("ssl.allow.dn.changes", false, .low, support: .noTLS),
        .boolean("ssl.allow.san.changes", false, .low, support: .noTLS),
        .list("ssl.cipher.suites", [], .anyList, .medium, mode: .perBroker, support: .noTLS),
        .string(
            "ssl.client.auth", "none", .oneOf(["required", "requested", "none"]), .medium, mode: .perBroker, support: .noTLS,
            doc: "Whether clients must show a certificate."),
        .list("ssl.enabled.protocols", ["TLSv1.2", "TLSv1.3"], .anyList, .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.endpoint.identification.algorithm", "https", .any, .low, mode: .perBroker, support: .noTLS),
        .className("ssl.engine.factory.class", nil, .low, mode: .perBroker, support: .noTLS),
        .password("ssl.key.password", .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.keymanager.algorithm", "SunX509", .any, .medium, mode: .perBroker, support: .noTLS),
        .password("ssl.keystore.certificate.chain", .medium, mode: .perBroker, support: .noTLS),
        .password("ssl.keystore.key", .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.keystore.location", nil, .any, .medium, mode: .perBroker, support: .noTLS, doc: "File of the key store."),
        .password("ssl.keystore.password", .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.keystore.type", "JKS", .any, .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.principal.mapping.rules", "DEFAULT", .any, .low, support: .noTLS),
        .string("ssl.protocol", "TLSv1.3", .any, .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.provider", nil, .any, .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.secure.random.implementation", nil, .any, .low, mode: .perBroker, support: .noTLS),
        .string("ssl.trustmanager.algorithm", "PKIX", .any, .medium, mode: .perBroker, support: .noTLS),
        .password("ssl.truststore.certificates", .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.truststore.location", nil, .any, .medium, mode: .perBroker, support: .noTLS, doc: "File of the trust store."),
        .password("ssl.truststore.password", .medium, mode: .perBroker, support: .noTLS),
        .string("ssl.truststore.type", "JKS", .any, .medium, mode: .perBroker, support: .noTLS),
    ]
}
