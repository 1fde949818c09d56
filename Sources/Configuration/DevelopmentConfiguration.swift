// The configuration of `martlet dev` and `make run`: one node on this machine, nothing to decide.
import Primitives

extension BrokerConfiguration {
    /// A node that is broker and controller, on 127.0.0.1 only, with groups that start without delay.
    ///
    /// - Parameters:
    ///   - port: for clients; the controller listens on the next one. 0 lets the system choose both.
    ///   - dataDirectory: holds partitions and metadata.
    ///   - adminPort: for health and metrics; nil serves none.
    ///   - overrides: more settings, `key=value`; they win.
    /// - Throws: what is wrong with the overrides.
    public static func development(
        port: Int, dataDirectory: String, adminPort: Int?, overrides: [String] = []
    ) throws(ConfigurationMistakes) -> BrokerConfiguration {
        try ConfigurationLoader.development(
            port: port, dataDirectory: dataDirectory, adminPort: adminPort, overrides: overrides
        ).configuration
    }
}

extension ConfigurationLoader {
    /// The same as ``BrokerConfiguration/development(port:dataDirectory:adminPort:overrides:)``, with what is to be said about overrides.
    public static func development(
        port: Int, dataDirectory: String, adminPort: Int?, overrides: [String] = []
    ) throws(ConfigurationMistakes) -> LoadedConfiguration {
        let controllerPort = port == 0 ? 0 : port == 65535 ? port - 1 : port + 1
        let settings = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://127.0.0.1:\(port),CONTROLLER://127.0.0.1:\(controllerPort)"),
            ("controller.listener.names", "CONTROLLER"),
            // The voter's entry needs a port that exists; with port 0 only this node ever looks at it.
            ("controller.quorum.voters", "1@127.0.0.1:\(max(controllerPort, 1))"),
            ("log.dirs", dataDirectory),
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("share.coordinator.state.topic.min.isr", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("martlet.admin.listeners", adminPort.map { "127.0.0.1:\($0)" } ?? ""),
        ]
        var defaults = SourceContent()
        defaults.entries = settings.map { SourceEntry(key: $0.0, value: $0.1, origin: .nowhere) }
        return try ConfigurationLoader.load(sources: [defaults, OverrideSource.parse(overrides)], hostName: "127.0.0.1")
    }
}
