// The merged settings while a configuration is being built: values by key, where each came from, and what is wrong so far.
import Collections
import ConfigDefinitions

/// Settings by key with the strongest source on top, and the mistakes found on the way.
struct ConfigurationReader {
    /// The texts in force, in the order of their sources.
    private(set) var texts: OrderedDictionary<String, String> = [:]
    private var origins: [String: ConfigurationOrigin] = [:]
    private var values: [String: ConfigValue] = [:]
    /// Keys whose value is wrong: rules that look at several keys leave them alone, so that one slip makes one mistake.
    private var failed: Set<String> = []
    private(set) var mistakes: [ConfigurationMistake] = []

    /// Later sources win over earlier ones.
    init(sources: [SourceContent]) {
        for source in sources {
            mistakes += source.mistakes
            var seen: [String: ConfigurationOrigin] = [:]
            for entry in source.entries {
                if let first = seen[entry.key] {
                    warn(entry.key, "is set twice, first at \(first); the last one counts", at: entry.origin)
                }
                seen[entry.key] = entry.origin
                texts[entry.key] = entry.value
                origins[entry.key] = entry.origin
            }
        }
        synchroniseBrokerID()
        for (key, text) in texts { check(key, text) }
        for table in [ConfigTable.broker, ConfigTable.martlet] {
            for definition in table.definitions where definition.isRequired && texts[definition.name] == nil {
                error(definition.name, "must be set: \(Self.requirement(definition.name))")
            }
        }
    }

    /// Why a required key is required.
    private static func requirement(_ key: String) -> String {
        switch key {
        case "node.id": "every node of a cluster has an id of its own, such as 1"
        case "process.roles": "broker,controller for a node that is both"
        default: "the names of the listeners that serve the controller, such as CONTROLLER"
        }
    }

    /// `broker.id` is the old name of `node.id`: either gives both.
    private mutating func synchroniseBrokerID() {
        switch (texts["node.id"], texts["broker.id"]) {
        case (let id?, nil): texts["broker.id"] = id
        case (nil, let id?):
            texts["node.id"] = id
            origins["node.id"] = origins["broker.id"]
        default: break
        }
    }

    private mutating func check(_ key: String, _ text: String) {
        if let definition = ConfigTable.broker[key] ?? ConfigTable.martlet[key] {
            do {
                let value = try definition.parseStored(text)
                values[key] = value
                reportFormer(definition, text)
                reportSupport(definition, value)
            } catch {
                failed.insert(key)
                self.error(key, error.reason)
            }
        } else if let (listener, rest) = ListenerPrefix.split(key) {
            checkListenerKey(key, text, listener, rest)
        } else {
            reportUnknown(key)
        }
    }

    /// Warns of a value that Kafka 3.9 took and Kafka 4 refuses.
    private mutating func reportFormer(_ definition: ConfigDefinition, _ text: String) {
        do throws(ConfigError) {
            _ = try definition.parse(text)
        } catch {
            warn(definition.name, "is below what Kafka 4 allows, and is honoured as Kafka 3.9 did; \(error.reason)")
        }
    }

    private mutating func reportSupport(_ definition: ConfigDefinition, _ value: ConfigValue) {
        switch definition.support {
        case .supported: return
        case .acceptedWithoutEffect(let reason): warn(definition.name, "is accepted without effect: \(reason)")
        case .refused(let reason):
            // The default, and nothing at all, ask for what happens anyway.
            if value != definition.defaultValue && !value.text.isEmpty { error(definition.name, "is refused: \(reason)") }
        }
    }

    private mutating func checkListenerKey(_ key: String, _ text: String, _ listener: String, _ rest: String) {
        let base = ListenerPrefix.base(of: key) ?? rest
        guard let definition = ConfigTable.broker[base] ?? (base.hasPrefix("sasl.") ? ConfigTable.martlet[base] : nil) else {
            let nearest = ConfigTable.broker.nearest(to: base).map { "listener.name.\(listener).\($0)" }
            return report(unknown: key, nearest: nearest)
        }
        do {
            let value = try definition.parse(text)
            if base == "max.connections" || base == "max.connection.creation.rate" || base.hasPrefix("ssl.") || base.hasPrefix("sasl.")
                || base == "connections.max.reauth.ms"
            {
                values[key] = value
                if let reason = definition.support.reason { warn(key, "is accepted without effect: \(reason)") }
            } else if let reason = definition.support.reason {
                warn(key, "is accepted without effect: \(reason)")
            } else {
                warn(key, "is accepted without effect: \(base) cannot be set for one listener")
            }
        } catch {
            self.error(key, error.reason)
        }
    }

    private mutating func reportUnknown(_ key: String) {
        switch RemovedKeys.verdict(key) {
        case .refused(let reason): return error(key, reason)
        case .ignored(let reason): return warn(key, "has no effect: \(reason)")
        case nil: break
        }
        if ConfigTable.dynamicBroker[key] != nil {
            return warn(key, "has no effect in a file: it is dynamic configuration only")
        }
        if let topicKey = ConfigTable.topic[key] {
            guard let synonym = topicKey.synonym else {
                return warn(key, "has no effect for a broker: it is a topic's key")
            }
            return error(key, "is a topic's key; the broker's default for topics is \(synonym)")
        }
        if key.hasPrefix(Self.ownPrefix) { return reportUnknownOwn(key) }
        report(unknown: key, nearest: ConfigTable.broker.nearest(to: key))
    }

    private static let ownPrefix = "martlet."

    /// No plugin has keys under Martlet's own prefix, so an unknown one is a mistake; only a variable may have another purpose.
    private mutating func reportUnknownOwn(_ key: String) {
        var message = "is not a known key"
        var nearest = ConfigTable.martlet.nearest(to: key)
        var severity = ConfigurationMistake.Severity.error
        if nearest == nil {
            let names = ConfigTable.martlet.definitions.map(\.name).filter { $0.hasPrefix(Self.ownPrefix) }
            // `martlet.admin.port` means something of `martlet.admin`.
            let family = key.split(separator: ".").prefix(2).joined(separator: ".") + "."
            nearest = names.first { $0.hasPrefix(family) } ?? ConfigTable.martlet.similar(to: key)
            message += "; Martlet's own are \(names.joined(separator: ", "))"
        }
        if case .environment(let variable) = origin(key) {
            let kafkaKey = String(key.dropFirst(Self.ownPrefix.count))
            if ConfigTable.broker[kafkaKey] != nil {
                message = "is not a known key; \(kafkaKey) is set by KAFKA_\(variable.dropFirst("MARTLET_".count))"
                nearest = nil
            } else if ConfigTable.martlet.nearest(to: key) == nil {
                severity = .warning
                message += "; the variable has no effect"
            }
        }
        mistakes.append(ConfigurationMistake(severity, origin(key), key: key, message, nearestKey: nearest))
    }

    /// Close to a known key it is a slip and an error; otherwise it may be meant for a plugin, and Kafka lets it pass, too.
    private mutating func report(unknown key: String, nearest: String?) {
        if let nearest {
            mistakes.append(ConfigurationMistake(.error, origin(key), key: key, "is not a known key", nearestKey: nearest))
        } else {
            let message = "is not a known key; it is kept but has no effect"
            let similar = key.hasPrefix("listener.name.") ? nil : ConfigTable.broker.similar(to: key)
            mistakes.append(ConfigurationMistake(.warning, origin(key), key: key, message, nearestKey: similar))
        }
    }
}

extension ConfigurationReader {
    /// Where `key` was set.
    func origin(_ key: String) -> ConfigurationOrigin { origins[key] ?? .nowhere }

    /// How many mistakes stand in the way of starting.
    var errorCount: Int { mistakes.count { $0.severity == .error } }

    /// Whether anyone set `key`.
    func isSet(_ key: String) -> Bool { texts[key] != nil }

    /// Whether none of `keys` is already known to be wrong.
    func areSound(_ keys: String...) -> Bool { failed.isDisjoint(with: keys) }

    mutating func error(_ key: String, _ message: String) {
        mistakes.append(ConfigurationMistake(.error, origin(key), key: key, message))
    }

    mutating func warn(_ key: String, _ message: String, at place: ConfigurationOrigin? = nil) {
        mistakes.append(ConfigurationMistake(.warning, place ?? origin(key), key: key, message))
    }

    /// Adds an error unless `condition` holds.
    mutating func require(_ condition: Bool, _ key: String, _ message: String) {
        if !condition { error(key, message) }
    }

    /// The value in force, the default included.
    func value(_ key: String) -> ConfigValue? {
        values[key] ?? ConfigTable.broker[key]?.defaultValue ?? ConfigTable.martlet[key]?.defaultValue
    }

    func integer(_ key: String) -> Int64 { value(key)?.integer ?? 0 }

    func size(_ key: String) -> Int { Int(clamping: integer(key)) }

    func boolean(_ key: String) -> Bool { value(key)?.boolean ?? false }

    func list(_ key: String) -> [String] { value(key)?.list ?? [] }

    func string(_ key: String) -> String? { value(key)?.string }
}
