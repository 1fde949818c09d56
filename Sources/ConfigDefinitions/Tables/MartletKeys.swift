// Martlet's own keys, for what Kafka has no key for. Few on purpose; all begin with `martlet.`.

extension ConfigTable {
    /// Martlet's own keys of a broker.
    public static let martlet = ConfigTable(.broker, [martletKeys])

    private static let martletKeys: [ConfigDefinition] = [
        .list(
            "martlet.admin.listeners", ["127.0.0.1:9644"], .anyList, .medium,
            doc: "Addresses that serve health and metrics over HTTP, as host:port; empty for none."),
        .long(
            "martlet.disk.headroom.bytes", 4_194_304, .atLeast(0), .low,
            doc: "Bytes set aside in each of log.dirs so that deletion works on a full disk."),
        .string(
            "martlet.log.level", "info", .oneOf(["trace", "debug", "info", "notice", "warning", "error", "critical"]), .low,
            doc: "The least important messages of the node's own log that are written."),
    ]
}
