// Martlet's own keys, for what Kafka has no key for. Few on purpose; all begin with `martlet.`.

extension ConfigTable {
    /// Martlet's own keys of a broker.
    public static let martlet = ConfigTable(.broker, [martletKeys, authorizerKeys, clientKeys])

    private static let martletKeys: [ConfigDefinition] = [
        .list(
            "martlet.admin.listeners", ["127.0.0.1:9644"], .anyList, .medium,
            doc: "Addresses that serve health and metrics over HTTP, as host:port; empty for none."),
        .string(
            "martlet.audit.log.file", nil, .any, .low,
            doc: "File for the audit log, one line of JSON for each denial, login and administrative act; the node's own log when not set."),
        .long(
            "martlet.disk.headroom.bytes", 4_194_304, .atLeast(0), .low,
            doc: "Bytes set aside in each of log.dirs so that deletion works on a full disk."),
        .string(
            "martlet.log.level", "info", .oneOf(["trace", "debug", "info", "notice", "warning", "error", "critical"]), .low,
            doc: "The least important messages of the node's own log that are written."),
        .password(
            "martlet.sasl.client.password", .medium,
            doc: "What this node logs in with at other nodes, where no JAAS entry says it; better in a file or the environment."),
        .string("martlet.sasl.client.password.file", nil, .any, .medium, doc: "File whose first line is martlet.sasl.client.password."),
        .string(
            "martlet.sasl.client.username", nil, .any, .medium,
            doc: "The user that this node logs in as at other nodes, where no JAAS entry says it."),
        .string(
            "martlet.sasl.plain.users.file", nil, .any, .medium,
            doc: "File with the users of PLAIN on every listener, one user:password a line; read again when it changes."),
    ]

    // Keys of Kafka's authorizer, which Kafka's own table does not have either.
    private static let authorizerKeys: [ConfigDefinition] = [
        .boolean(
            "allow.everyone.if.no.acl.found", false, .medium,
            doc: "Whether everybody may use a resource that no access control entry is about."),
        .string("super.users", "", .any, .medium, doc: "Who may do everything, as User:a;User:b."),
    ]

    // Keys of Kafka's clients that a node needs where it is one.
    private static let clientKeys: [ConfigDefinition] = [
        .boolean(
            "sasl.oauthbearer.header.urlencode", false, .low,
            doc: "Whether id, secret and scope are encoded as in forms for the token endpoint (RFC 6749 section 2.3.1).")
    ]
}
