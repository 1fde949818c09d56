// TLS.

extension ConfigTable {
    static let tlsKeys: [ConfigDefinition] = [
        .boolean("ssl.allow.dn.changes", false, .low, support: .anyCertificateChange),
        .boolean("ssl.allow.san.changes", false, .low, support: .anyCertificateChange),
        .list(
            "ssl.cipher.suites", [], .anyList, .medium, mode: .perBroker,
            doc: "Cipher suites of TLS 1.2 that may be used; the usual ones when empty."),
        .string(
            "ssl.client.auth", "none", .oneOf(["required", "requested", "none"]), .medium, mode: .perBroker,
            doc: "Whether clients must show a certificate."),
        .list(
            "ssl.enabled.protocols", ["TLSv1.2", "TLSv1.3"], .anyList, .medium, mode: .perBroker, doc: "Versions of TLS that are spoken."),
        .string(
            "ssl.endpoint.identification.algorithm", "https", .any, .low, mode: .perBroker,
            doc: "Whether the name connected to must be in the certificate: https, or empty for no."),
        .className("ssl.engine.factory.class", nil, .low, mode: .perBroker, support: .noPlugins),
        .password("ssl.key.password", .medium, mode: .perBroker, doc: "Password of the private key."),
        .string("ssl.keymanager.algorithm", "SunX509", .any, .medium, mode: .perBroker, support: .noPlugins),
        .password(
            "ssl.keystore.certificate.chain", .medium, mode: .perBroker, doc: "The certificate and those of who signed it, in PEM form."),
        .password("ssl.keystore.key", .medium, mode: .perBroker, doc: "The private key in PEM form."),
        .string("ssl.keystore.location", nil, .any, .medium, mode: .perBroker, doc: "File of the key store."),
        .password("ssl.keystore.password", .medium, mode: .perBroker, doc: "Password of the key store."),
        .string("ssl.keystore.type", "JKS", .any, .medium, mode: .perBroker, doc: "PEM or PKCS12; told by the file's name when not set."),
        .string("ssl.principal.mapping.rules", "DEFAULT", .any, .low, doc: "How the subject of a certificate becomes a user's name."),
        .string("ssl.protocol", "TLSv1.3", .any, .medium, mode: .perBroker, support: .enabledProtocols),
        .string("ssl.provider", nil, .any, .medium, mode: .perBroker, support: .noPlugins),
        .string("ssl.secure.random.implementation", nil, .any, .low, mode: .perBroker, support: .noPlugins),
        .string("ssl.trustmanager.algorithm", "PKIX", .any, .medium, mode: .perBroker, support: .noPlugins),
        .password(
            "ssl.truststore.certificates", .medium, mode: .perBroker, doc: "Certificates of those who are trusted to sign, in PEM form."),
        .string("ssl.truststore.location", nil, .any, .medium, mode: .perBroker, doc: "File of the trust store."),
        .password("ssl.truststore.password", .medium, mode: .perBroker, doc: "Password of the trust store."),
        .string("ssl.truststore.type", "JKS", .any, .medium, mode: .perBroker, doc: "PEM or PKCS12; told by the file's name when not set."),
    ]
}
