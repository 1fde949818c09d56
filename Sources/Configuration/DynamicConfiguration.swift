// Dynamic configuration on top of what a node was started with: the same typed settings, read again with the new layers.
import ConfigDefinitions

extension BrokerConfiguration {
    /// This with dynamic layers in force. `self` has to be what the node was started with.
    ///
    /// Identity, listeners and directories stay as they are until a restart; values that do not parse, and keys that are not dynamic,
    /// are passed over.
    public func applying(_ layers: BrokerConfigLayers) -> BrokerConfiguration {
        var merged = SourceContent()
        var dynamic = layers.dynamicDefault
        for (key, text) in layers.dynamicBroker { dynamic[key] = text }
        merged.entries = self.layers.fixed.map { SourceEntry(key: $0.key, value: $0.value, origin: .nowhere) }
        for key in dynamic.keys {
            guard ConfigTable.broker[key]?.isDynamic == true || ListenerPrefix.split(key) != nil else { continue }
            // The layer below shows through where the one above holds nonsense.
            let text = ConfigTable.broker[key] == nil ? dynamic[key] : layers.givenText(key)
            if let text { merged.entries.append(SourceEntry(key: key, value: text, origin: .nowhere)) }
        }
        var reader = ConfigurationReader(sources: [merged])
        var result = self
        result.layers.dynamicDefault = layers.dynamicDefault
        result.layers.dynamicBroker = layers.dynamicBroker
        result.network = reader.readNetwork(listeners)
        result.storage = reader.readStorage(storage.logDirectories)
        result.cleaner = reader.readCleaner()
        result.cleaner.isEnabled = cleaner.isEnabled
        result.topics = reader.readTopics(result.layers)
        result.groups = reader.readGroups()
        result.offsets = reader.readOffsets()
        result.transactions = reader.readTransactions()
        result.shareGroups = reader.readShareGroups()
        let errorsBefore = reader.errorCount
        let security = reader.readSecurity(listeners, outgoing: self.security.outgoing.mapValues(\.securityProtocol))
        // Half of a change of keys and certificates must not leave a listener without either.
        if reader.errorCount == errorsBefore { result.security = security }
        return result
    }

    /// What is stored as dynamic configuration without being in force, and why: left over from another version, or from Kafka.
    public static func withoutEffect(_ layers: BrokerConfigLayers) -> [ConfigurationMistake] {
        var mistakes: [ConfigurationMistake] = []
        for (isPerBroker, values) in [(false, layers.dynamicDefault), (true, layers.dynamicBroker)] {
            for (key, text) in values {
                if let reason = reasonWithoutEffect(key, text, isPerBroker: isPerBroker) {
                    mistakes.append(ConfigurationMistake(.warning, .nowhere, key: key, reason))
                }
            }
        }
        return mistakes
    }

    private static func reasonWithoutEffect(_ key: String, _ text: String, isPerBroker: Bool) -> String? {
        do throws(ConfigError) {
            try ConfigRules.validateDynamicBroker([key: text], changed: [], isPerBroker: isPerBroker)
            try ConfigRules.validateDynamicBrokerChange([key])
        } catch {
            return "has no effect as dynamic configuration: \(error.reason)"
        }
        if key == "num.network.threads" { return "takes effect when this node is started again" }
        return ConfigTable.broker[key]?.support.reason.map { "is accepted without effect: \($0)" }
    }
}
