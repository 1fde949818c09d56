// From sources to a configuration: merge by precedence (defaults < file < environment < overrides), check everything, report all
// mistakes at once.
import Collections
import ConfigDefinitions
import Primitives

/// A configuration and what the operator should know about it.
public struct LoadedConfiguration: Sendable {
    public var configuration: BrokerConfiguration
    /// Keys without effect, unknown keys and the like; to be logged once.
    public var warnings: [ConfigurationMistake]
}

/// Loads configurations.
public enum ConfigurationLoader {
    /// Loads a file (nil for none), the environment and overrides of the form `key=value`.
    ///
    /// - Parameters:
    ///   - hostName: the name that listeners without a host are advertised under.
    ///   - includingSecurity: whether TLS and SASL are read and have to be right. Without them the configuration is good for formatting
    ///     directories, as in Kafka, whose storage tool needs neither key stores nor logins, but not for serving.
    public static func load(
        file: String?, environment: [String: String] = ProcessSurroundings.environment(), overrides: [String] = [],
        hostName: String = ProcessSurroundings.hostName(), includingSecurity: Bool = true
    ) throws(ConfigurationMistakes) -> LoadedConfiguration {
        var sources: [SourceContent] = []
        if let file {
            let content = ConfigurationFile.read(file)
            // Everything that would be missed is in it.
            if content.isUnreadable { throw ConfigurationMistakes(errors: content.mistakes, warnings: []) }
            sources.append(content)
        }
        var fromEnvironment = SourceContent()
        fromEnvironment.entries = EnvironmentSource.entries(environment)
        sources.append(fromEnvironment)
        sources.append(OverrideSource.parse(overrides))
        return try load(sources: sources, hostName: hostName, includingSecurity: includingSecurity)
    }

    /// Loads from sources already read; later ones win.
    public static func load(
        sources: [SourceContent], hostName: String, includingSecurity: Bool = true
    ) throws(ConfigurationMistakes) -> LoadedConfiguration {
        var reader = ConfigurationReader(sources: sources)
        let configuration = reader.build(hostName: hostName, includingSecurity: includingSecurity)
        let errors = reader.mistakes.filter { $0.severity == .error }
        let warnings = reader.mistakes.filter { $0.severity == .warning }
        if !errors.isEmpty { throw ConfigurationMistakes(errors: errors, warnings: warnings) }
        return LoadedConfiguration(configuration: configuration, warnings: warnings)
    }
}

extension ConfigurationReader {
    /// Builds the typed configuration; it is only good when no errors have been added.
    fileprivate mutating func build(hostName: String, includingSecurity: Bool) -> BrokerConfiguration {
        let nodeID = Int32(clamping: integer("node.id"))
        let roles = readRoles()
        let voters = list("controller.quorum.voters").compactMap(QuorumVoter.init)
        let bootstrapServers = list("controller.quorum.bootstrap.servers").compactMap(HostAndPort.init)
        let listeners = readListeners(roles: roles, nodeID: nodeID, voters: voters, hostName: hostName)
        let layers = BrokerConfigLayers(fixed: texts)
        checkQuorum(roles, nodeID, voters, bootstrapServers)
        checkValues(layers)
        let network = readNetwork(listeners.listeners)
        let directories = readDirectories()
        let security =
            includingSecurity ? readSecurity(listeners.listeners, outgoing: outgoingListeners(listeners, roles)) : SecuritySettings()
        return BrokerConfiguration(
            nodeID: nodeID, processRoles: roles, rack: string("broker.rack"), listeners: listeners.listeners,
            advertisedListeners: listeners.advertised, advertisedControllerListeners: listeners.advertisedControllers,
            controllerListenerNames: listeners.controllerNames, interBrokerListenerName: listeners.interBrokerName,
            controllerQuorumVoters: voters, controllerQuorumBootstrapServers: bootstrapServers, cluster: readCluster(),
            quorum: readQuorum(),
            adminListeners: readAdminListeners(), logLevel: string("martlet.log.level") ?? "info", network: network,
            storage: readStorage(directories), cleaner: readCleaner(), metadataLog: readMetadataLog(directories),
            topics: readTopics(layers), groups: readGroups(), offsets: readOffsets(), transactions: readTransactions(),
            shareGroups: readShareGroups(), security: security, quotas: readQuotas(), layers: layers)
    }

    private func readRoles() -> ProcessRoles {
        var roles: ProcessRoles = []
        for role in list("process.roles") { roles.insert(role == "broker" ? .broker : .controller) }
        return roles
    }

    private mutating func checkQuorum(
        _ roles: ProcessRoles, _ nodeID: Int32, _ voters: [QuorumVoter], _ bootstrapServers: [HostAndPort]
    ) {
        guard areSound("controller.quorum.voters", "controller.quorum.bootstrap.servers", "node.id"), !roles.isEmpty else { return }
        let key = "controller.quorum.voters"
        if voters.isEmpty && bootstrapServers.isEmpty {
            error(key, "must be set, or controller.quorum.bootstrap.servers: this node alone is \(nodeID)@localhost:9093")
        }
        let ids = voters.map(\.id)
        if roles.contains(.controller), isSet("node.id"), !ids.isEmpty, !ids.contains(nodeID) {
            error(key, "must name this node: node.id is \(nodeID), the voters are \(ids.map(String.init).joined(separator: ", "))")
        }
        if roles == .broker {
            require(!ids.contains(nodeID), key, "names node \(nodeID), which is only a broker")
        }
        require(Set(ids).count == ids.count, key, "names a voter twice")
    }

    /// Kafka's rules over several keys.
    private mutating func checkValues(_ layers: BrokerConfigLayers) {
        if areSound("node.id", "broker.id"), isSet("node.id") {
            require(integer("node.id") == integer("broker.id"), "broker.id", "must be the same as node.id (\(integer("node.id")))")
        }
        let defaults = TopicConfiguration(layers: layers)
        if let key = ["log.roll.ms"].first(where: isSet), areSound(key) {
            require(defaults.segmentMilliseconds >= 1, key, "must be at least 1")
        }
        if isSet("log.roll.jitter.ms"), areSound("log.roll.jitter.ms") {
            require(defaults.segmentJitterMilliseconds >= 0, "log.roll.jitter.ms", "must be at least 0")
        }
        if let key = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"].first(where: isSet), areSound(key) {
            require(
                defaults.retentionMilliseconds == -1 || defaults.retentionMilliseconds >= 1, key,
                "must be -1 for no limit, or at least 1")
        }
        if areSound("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms") {
            require(
                defaults.minCompactionLagMilliseconds <= defaults.maxCompactionLagMilliseconds, "log.cleaner.min.compaction.lag.ms",
                "must not be greater than log.cleaner.max.compaction.lag.ms (\(defaults.maxCompactionLagMilliseconds))")
        }
        if areSound("queued.max.request.bytes", "socket.request.max.bytes") {
            let queued = integer("queued.max.request.bytes")
            require(
                queued <= 0 || queued >= integer("socket.request.max.bytes"), "queued.max.request.bytes",
                "must be at least socket.request.max.bytes (\(integer("socket.request.max.bytes"))), or no request of that size could be read"
            )
        }
        if areSound("group.min.session.timeout.ms", "group.max.session.timeout.ms") {
            require(
                integer("group.min.session.timeout.ms") <= integer("group.max.session.timeout.ms"), "group.min.session.timeout.ms",
                "must not be greater than group.max.session.timeout.ms (\(integer("group.max.session.timeout.ms")))")
        }
        checkReplicaTimes()
    }

    private mutating func checkReplicaTimes() {
        let wait = "replica.fetch.wait.max.ms"
        guard areSound(wait, "replica.socket.timeout.ms", "replica.lag.time.max.ms") else { return }
        require(
            integer(wait) <= integer("replica.socket.timeout.ms"), wait, "must not be greater than replica.socket.timeout.ms")
        require(integer(wait) <= integer("replica.lag.time.max.ms"), wait, "must not be greater than replica.lag.time.max.ms")
    }

    private mutating func readDirectories() -> [String] {
        let key = isSet("log.dirs") ? "log.dirs" : "log.dir"
        let directories = list(key)
        if areSound(key) { require(!directories.isEmpty, key, "must name at least one directory") }
        var seen: Set<String> = []
        for directory in directories where !seen.insert(Self.withoutTrailingSlashes(directory)).inserted {
            error(key, "\(directory) is named more than once")
        }
        return directories
    }

    private static func withoutTrailingSlashes(_ path: String) -> String {
        var rest = path[...]
        while rest.count > 1, rest.last == "/" { rest.removeLast() }
        return String(rest)
    }

    private mutating func readAdminListeners() -> [HostAndPort] {
        let key = "martlet.admin.listeners"
        return list(key).compactMap { text in
            guard let (host, port) = HostAndPort.split(text), (0...65535).contains(port) else {
                error(key, "'\(text)' is not of the form host:port")
                return nil
            }
            return HostAndPort(host: host, port: port)
        }
    }
}
