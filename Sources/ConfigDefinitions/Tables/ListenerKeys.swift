// Where a node listens, whom it lets in and how much it takes at once.

extension ConfigTable {
    static let listenerKeys: [ConfigDefinition] = [
        .list(
            "advertised.listeners", nil, .nonEmptyList, .high,
            doc:
                "Addresses that clients and other brokers are told to connect to, one per listener; the listeners themselves when not given."
        ),
        .int(
            "connection.failed.authentication.delay.ms", 100, .atLeast(0), .low, doc: "How long the answer to a failed login is held back."),
        .long("connections.max.idle.ms", 600_000, .any, .medium, doc: "A connection without requests for this long is closed."),
        .list(
            "controller.listener.names", nil, .nonEmptyList, .high,
            doc: "Names of the listeners that serve the controller; the first is the one brokers and voters use.", required: true),
        .string("inter.broker.listener.name", nil, .any, .medium, doc: "Name of the listener that brokers use among themselves."),
        .string(
            "listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL", .any, .low,
            mode: .perBroker,
            doc: "The security protocol of each listener name, as NAME:PROTOCOL."),
        .list(
            "listeners", ["PLAINTEXT://:9092"], .nonEmptyList, .high, mode: .perBroker,
            doc: "Addresses to listen on, as NAME://host:port; an empty host means all interfaces."),
        .int(
            "max.connection.creation.rate", .max, .atLeast(0), .medium, mode: .clusterWide,
            doc: "New connections per second that the broker takes; with listener.name.NAME. before it, that one listener takes."),
        .int("max.connections", .max, .atLeast(0), .medium, mode: .clusterWide, doc: "Open connections that the broker takes."),
        .int(
            "max.connections.per.ip", .max, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Open connections that the broker takes from one address."),
        .string(
            "max.connections.per.ip.overrides", "", .any, .medium, mode: .clusterWide,
            doc: "Exceptions to max.connections.per.ip, as host:count."),
        .int(
            "num.network.threads", 3, .atLeast(1), .high, mode: .clusterWide,
            doc: "Event loops that serve connections; as many as processors when not set."),
        .long(
            "queued.max.request.bytes", -1, .any, .medium,
            doc: "Bytes of requests being worked on before no more are read; -1 for no bound beyond Martlet's own."),
        .int(
            "queued.max.requests", 500, .atLeast(1), .high,
            support: .acceptedWithoutEffect("what waits is bounded in bytes, by queued.max.request.bytes"),
            doc: "Requests that may wait before no more are read."),
        .string(
            "security.inter.broker.protocol", "PLAINTEXT", .oneOf(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), .medium,
            doc: "Security protocol between brokers when inter.broker.listener.name is not given."),
        .int("socket.listen.backlog.size", 50, .atLeast(1), .medium, doc: "Connections that may wait to be accepted; 1024 when not set."),
        .int(
            "socket.receive.buffer.bytes", 102_400, .any, .high,
            doc: "Receive buffer of a connection's socket; -1, or not set, leaves it to the system."),
        .int("socket.request.max.bytes", 104_857_600, .atLeast(1), .high, doc: "Largest request taken."),
        .int(
            "socket.send.buffer.bytes", 102_400, .any, .high,
            doc: "Send buffer of a connection's socket; -1, or not set, leaves it to the system."),
    ]
}
