// Settings from environment variables, by the rule of Kafka's container images: KAFKA_LOG_DIRS is log.dirs.

/// Reads settings out of an environment.
public enum EnvironmentSource {
    /// Variables of Kafka's images and start scripts that are no settings.
    private static let notSettings: Set<String> = [
        "KAFKA_VERSION", "KAFKA_HOME", "KAFKA_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_GC_LOG_OPTS", "KAFKA_DEBUG",
        "KAFKA_CLUSTER_ID", "KAFKA_KRAFT_CLUSTER_ID", "KAFKA_MODE", "KAFKA_TOOLS_LOG4J_LOGLEVEL", "KAFKA_ADVERTISED_HOST_COMMAND",
        // Of the command line and of the project's own tests.
        "MARTLET_BOOTSTRAP_SERVER", "MARTLET_COMMAND_CONFIG", "MARTLET_PASSWORD", "MARTLET_BINARY", "MARTLET_SHARED", "MARTLET_KAFKA",
        "MARTLET_KAFKA_SOURCE",
    ]
    private static let notSettingsPrefixes = [
        "KAFKA_JMX_", "KAFKA_LOG4J_", "KAFKA_TOOLS_", "KAFKA_SERVICE_", "KAFKA_PORT_", "MARTLET_SUITES_",
    ]

    /// The settings in `environment`, ordered by variable. `KAFKA_CFG_` works like `KAFKA_` (other images use it), `MARTLET_` gives
    /// the keys that begin with `martlet.`.
    public static func entries(_ environment: [String: String]) -> [SourceEntry] {
        environment.sorted { $0.key < $1.key }.compactMap { variable, value in
            key(of: variable, value: value).map { SourceEntry(key: $0, value: value, origin: .environment(variable: variable)) }
        }
    }

    /// The key that `variable` sets; nil when it sets none.
    static func key(of variable: String, value: String) -> String? {
        if notSettings.contains(variable) || notSettingsPrefixes.contains(where: variable.hasPrefix) { return nil }
        // Kubernetes puts KAFKA_PORT=tcp://10.0.0.1:9092 into every container next to a service named kafka.
        if variable == "KAFKA_PORT" && value.hasPrefix("tcp://") { return nil }
        if variable.hasPrefix("MARTLET_") { return dotted(variable[...]) }
        for prefix in ["KAFKA_CFG_", "KAFKA_"] where variable.hasPrefix(prefix) {
            let rest = variable.dropFirst(prefix.count)
            return rest.isEmpty ? nil : dotted(rest)
        }
        return nil
    }

    /// One underscore is a dot, two are an underscore, three a dash; letters become small.
    private static func dotted(_ name: Substring) -> String {
        var result = ""
        var underscores = 0
        func flush() {
            result += String(repeating: "-", count: underscores / 3)
            if underscores % 3 == 2 { result += "_" }
            if underscores % 3 == 1 { result += "." }
            underscores = 0
        }
        for character in name.lowercased() {
            if character == "_" {
                underscores += 1
            } else {
                flush()
                result.append(character)
            }
        }
        flush()
        return result
    }
}

/// Settings from `--override key=value`, repeated as often as needed.
public enum OverrideSource {
    /// The settings in `overrides`, and a mistake for each text without an equals sign.
    public static func parse(_ overrides: [String]) -> SourceContent {
        var content = SourceContent()
        for text in overrides {
            guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
                content.mistakes.append(
                    ConfigurationMistake(.error, .override(text), key: "", "an override has the form key=value"))
                continue
            }
            let key = String(text[..<equals]).trimmingBlanks
            content.entries.append(
                SourceEntry(key: key, value: String(text[text.index(after: equals)...]), origin: .override("\(key)=...")))
        }
        return content
    }
}

extension String {
    /// Without the blanks at both ends.
    var trimmingBlanks: String {
        guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(self[first...last])
    }
}
