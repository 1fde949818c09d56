// Descriptions of whole resources: what DescribeConfigs answers, and what `config describe` prints.
import Collections

/// One key with the value in force and where that comes from.
public struct ConfigEntry: Sendable, Equatable {
    public var name: String
    public var type: ConfigType
    public var value: ConfigValue?
    public var source: ConfigSource
    public var isReadOnly: Bool
    public var isSensitive: Bool
    /// All mentions of the value, the one in force first.
    public var synonyms: [ConfigSynonym]
    public var documentation: String

    public init(
        name: String, type: ConfigType, value: ConfigValue?, source: ConfigSource, isReadOnly: Bool, isSensitive: Bool,
        synonyms: [ConfigSynonym], documentation: String
    ) {
        self.name = name
        self.type = type
        self.value = value
        self.source = source
        self.isReadOnly = isReadOnly
        self.isSensitive = isSensitive
        self.synonyms = synonyms
        self.documentation = documentation
    }

    /// What may be shown: nil when there is no value or it is sensitive.
    public var text: String? { isSensitive ? nil : value?.text }

    /// Whether nobody set the value.
    public var isDefault: Bool { source == .defaultConfig }
}

/// Describes resources from layers and overrides. Values that do not parse count as absent.
public enum ConfigDescription {
    /// All keys of a topic: overrides first, then what the broker says for topics, then defaults. Internal keys only when set.
    public static func topic(
        overrides: OrderedDictionary<String, String>, layers: BrokerConfigLayers
    ) -> OrderedDictionary<String, ConfigEntry> {
        var entries: OrderedDictionary<String, ConfigEntry> = [:]
        for definition in ConfigTable.topic.definitions {
            let override = overrides[definition.name].flatMap { try? definition.parseStored($0) }
            if definition.isInternal && override == nil { continue }
            entries[definition.name] = entry(
                definition, override: override, overrideSource: .dynamicTopic,
                inherited: TopicConfiguration.inherited(definition, layers: layers), layers: layers)
        }
        return entries
    }

    /// All keys of a group.
    public static func group(
        overrides: OrderedDictionary<String, String>, layers: BrokerConfigLayers
    ) -> OrderedDictionary<String, ConfigEntry> {
        var entries: OrderedDictionary<String, ConfigEntry> = [:]
        for definition in ConfigTable.group.definitions {
            var inherited = definition.synonym.flatMap { layers.value($0) } ?? definition.defaultValue
            // The broker key is a list of assignors, the group's a single one: the first is the default.
            if definition.type != .list, case .list(let elements) = inherited { inherited = elements.first.map(ConfigValue.string) }
            entries[definition.name] = entry(
                definition, override: overrides[definition.name].flatMap { try? definition.parse($0) }, overrideSource: .group,
                inherited: inherited, layers: layers)
        }
        return entries
    }

    /// The keys of a client metrics subscription.
    public static func clientMetrics(overrides: OrderedDictionary<String, String>) -> OrderedDictionary<String, ConfigEntry> {
        var entries: OrderedDictionary<String, ConfigEntry> = [:]
        for definition in ConfigTable.clientMetrics.definitions {
            var described = entry(
                definition, override: overrides[definition.name].flatMap { try? definition.parse($0) },
                overrideSource: .clientMetrics, inherited: definition.defaultValue, layers: BrokerConfigLayers())
            described.synonyms.removeAll { $0.source != .clientMetrics }
            entries[definition.name] = described
        }
        return entries
    }

    /// All keys of a broker, with the keys that only the layers know (plugins', listeners') after the known ones.
    public static func broker(layers: BrokerConfigLayers) -> OrderedDictionary<String, ConfigEntry> {
        var entries: OrderedDictionary<String, ConfigEntry> = [:]
        for definition in ConfigTable.broker.definitions {
            let given = layers.given(definition)
            if definition.isInternal && given == nil { continue }
            entries[definition.name] = brokerEntry(definition.name, value: given ?? definition.defaultValue, layers: layers)
        }
        for layer in [layers.dynamicBroker, layers.dynamicDefault, layers.fixed] {
            for (key, text) in layer where entries[key] == nil {
                let definition = brokerDefinition(key)
                let value = definition.flatMap { try? $0.parseStored(text) } ?? .string(text)
                entries[key] = brokerEntry(key, value: value, layers: layers)
            }
        }
        return entries
    }

    /// What is set for all brokers at once: the BROKER resource with an empty name.
    public static func brokerDefaults(layers: BrokerConfigLayers) -> OrderedDictionary<String, ConfigEntry> {
        var entries: OrderedDictionary<String, ConfigEntry> = [:]
        for (key, text) in layers.dynamicDefault {
            let value = brokerDefinition(key).flatMap { try? $0.parseStored(text) } ?? .string(text)
            var entry = brokerEntry(key, value: value, layers: layers)
            entry.synonyms.removeAll { $0.source != .dynamicDefaultBroker }
            entry.source = .dynamicDefaultBroker
            entries[key] = entry
        }
        return entries
    }

    private static func brokerDefinition(_ key: String) -> ConfigDefinition? {
        ConfigTable.broker[key] ?? ConfigTable.dynamicBroker[key] ?? ConfigTable.martlet[key]
            ?? ListenerPrefix.base(of: key).flatMap { ConfigTable.broker[$0] }
    }

    private static func brokerEntry(_ name: String, value: ConfigValue?, layers: BrokerConfigLayers) -> ConfigEntry {
        let definition = brokerDefinition(name)
        let isSensitive = definition?.isSensitive ?? true
        let synonyms = layers.mentions(of: BrokerSynonyms.names(name), startingAt: name, isSensitive: isSensitive)
        let isDynamic = ConfigTable.broker[name]?.isDynamic ?? (ConfigTable.dynamicBroker[name] != nil)
        return ConfigEntry(
            name: name, type: definition?.type ?? .unknown, value: value, source: synonyms.first?.source ?? .defaultConfig,
            isReadOnly: !isDynamic, isSensitive: isSensitive, synonyms: synonyms, documentation: definition?.documentation ?? "")
    }

    private static func entry(
        _ definition: ConfigDefinition, override: ConfigValue?, overrideSource: ConfigSource, inherited: ConfigValue?,
        layers: BrokerConfigLayers
    ) -> ConfigEntry {
        var synonyms: [ConfigSynonym] = []
        if let override {
            synonyms.append(
                ConfigSynonym(name: definition.name, value: definition.isSensitive ? nil : override.text, source: overrideSource))
        }
        if let key = definition.synonym {
            synonyms += layers.mentions(of: BrokerSynonyms.names(key), startingAt: key, isSensitive: definition.isSensitive)
        } else if overrideSource == .group, let text = definition.defaultText {
            synonyms.append(ConfigSynonym(name: definition.name, value: text, source: .defaultConfig))
        }
        return ConfigEntry(
            name: definition.name, type: definition.type, value: override ?? inherited,
            source: synonyms.first?.source ?? .defaultConfig, isReadOnly: false, isSensitive: definition.isSensitive, synonyms: synonyms,
            documentation: definition.documentation)
    }
}
