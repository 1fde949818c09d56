// Values that Kafka let through before 4.0 and refuses now. Whoever brings a node or a cluster over has them in files and in the
// metadata log, where they keep their meaning; what is set anew has to keep the rules of today.

/// The lower bounds that Kafka raised in 4.0.
enum FormerMinimums {
    /// What Kafka 3.9 asked for, by key.
    private static let byKey: [String: Int64] = ["log.segment.bytes": 14, "metadata.log.segment.bytes": 12, "segment.bytes": 14]

    static func of(_ key: String) -> Int64? { byKey[key] }
}

extension ConfigDefinition {
    /// As `parse`, with the bounds of Kafka 3.9 where they were lower: for values that are in force already.
    public func parseStored(_ text: String) throws(ConfigError) -> ConfigValue {
        do throws(ConfigError) {
            return try parse(text)
        } catch {
            guard let minimum = FormerMinimums.of(name), case .atLeast = validator,
                let value = try? ConfigValue(parsing: text, as: type, key: name), let number = value.integer, number >= minimum
            else { throw error }
            return value
        }
    }
}
