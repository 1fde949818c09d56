// BROKER_LOGGER resources (KIP-412): the levels of this process's loggers, under the names that Kafka has for levels.
import ClusterMetadata
import Collections
import ConfigDefinitions
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import Observability
import Primitives

extension Logger.Level {
    /// Kafka's names, in the order of its messages.
    static let kafkaNames = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"]

    init?(kafkaName: String) {
        switch kafkaName {
        case "TRACE": self = .trace
        case "DEBUG": self = .debug
        case "INFO": self = .info
        case "WARN": self = .warning
        case "ERROR": self = .error
        case "FATAL": self = .critical
        default: return nil
        }
    }

    var kafkaName: String {
        switch self {
        case .trace: "TRACE"
        case .debug: "DEBUG"
        case .info: "INFO"
        case .notice, .warning: "WARN"
        case .error: "ERROR"
        case .critical: "FATAL"
        }
    }
}

extension BrokerServices {
    /// Why a BROKER resource is not for this node to change; nil when it is, and for other kinds of resources.
    func foreignBroker(_ type: Int8, _ name: String) -> RequestFailure? {
        guard type == ConfigResource.Kind.broker.rawValue, !name.isEmpty else { return nil }
        guard let id = NodeID(name) else { return RequestFailure(.invalidRequest, "Node id must be an integer, but it is: \(name)") }
        return id == nodeID ? nil : RequestFailure(.invalidRequest, "Unexpected broker id, expected \(nodeID), but received \(name)")
    }

    /// Every logger with its level in force.
    func loggerEntries() -> OrderedDictionary<String, ConfigEntry> {
        var entries: OrderedDictionary<String, ConfigEntry> = [:]
        for (name, level) in log.levels {
            entries[name] = ConfigEntry(
                name: name, type: .string, value: .string(level.kafkaName), source: .dynamicBrokerLogger, isReadOnly: false,
                isSensitive: false, synonyms: [], documentation: "The level from which on messages are logged.")
        }
        return entries
    }

    /// Sets levels, or gives loggers back the root's. Nothing is changed unless all of it can be.
    func alterLoggers(_ resource: IncrementalAlterConfigsRequest.AlterConfigsResource, validateOnly: Bool) throws(RequestFailure) {
        guard let id = NodeID(resource.resourceName) else {
            throw RequestFailure(.invalidRequest, "Node id must be an integer, but it is: \(resource.resourceName)")
        }
        guard id == nodeID else {
            throw RequestFailure(.invalidRequest, "Unexpected node id. Expected \(nodeID), but received \(id)")
        }
        var changes: OrderedDictionary<String, Logger.Level?> = [:]
        for config in resource.configs {
            if changes.keys.contains(config.name) { throw RequestFailure(.invalidRequest, "Error due to duplicate config keys") }
            changes[config.name] = .some(try levelChange(config))
        }
        guard !validateOnly else { return }
        for (name, level) in changes {
            log.setLevel(level, of: name)
            logger.warning(
                "the level of a logger was changed", metadata: ["logger": "\(name)", "level": "\(level?.kafkaName ?? "root's")"])
        }
    }

    /// The level to set; nil to take the logger's own away.
    private func levelChange(_ config: IncrementalAlterConfigsRequest.AlterableConfig) throws(RequestFailure) -> Logger.Level? {
        guard config.configOperation == 0 || config.configOperation == 1 else {
            let name = [2: "APPEND", 3: "SUBTRACT"][config.configOperation]
            throw RequestFailure(
                .invalidRequest,
                (name.map { "\($0) operation" } ?? "Unknown operation type \(config.configOperation)")
                    + " is not allowed for the BROKER_LOGGER resource")
        }
        if config.configOperation == 0, config.value == nil {
            throw RequestFailure(.invalidRequest, "Null value not supported for : \(config.name)")
        }
        guard log.levels.contains(where: { $0.name == config.name }) else {
            throw RequestFailure(.invalidConfig, "Logger \(config.name) does not exist!")
        }
        guard config.configOperation == 0 else {
            if config.name != StructuredLog.root { return nil }
            throw RequestFailure(.invalidRequest, "Removing the log level of the \(config.name) logger is not allowed")
        }
        guard let level = Logger.Level(kafkaName: config.value ?? "") else {
            throw RequestFailure(
                .invalidConfig,
                "Cannot set the log level of \(config.name) to \(config.value ?? "") as it is not a supported log level. "
                    + "Valid log levels are \(Logger.Level.kafkaNames.joined(separator: ", "))")
        }
        return level
    }
}
