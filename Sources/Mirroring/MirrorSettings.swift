// Looking up one flow's settings in the file, in MirrorMaker 2's order of precedence, and what each value may be.
import OrderedCollections

/// The settings of one flow, while the file is being read.
struct MirrorSettings {
    let source: String
    let target: String
    private let file: MirrorFileContent
    /// What MirrorMaker's connectors would be given (`MirrorMakerConfig.connectorBaseConfig`), each with the key it stands under.
    private var connector: OrderedDictionary<String, MirrorEntry> = [:]
    private(set) var mistakes: [MirrorMistake] = []

    init(_ file: MirrorFileContent, source: String, target: String) {
        (self.file, self.source, self.target) = (file, source, target)
        for entry in file.entries.values where MirrorKeys.isConnectorKey(entry.key) { connector[entry.key] = entry }
        for (side, alias) in [("source", source), ("target", target)] {
            for (key, entry) in file.clusterProperties(alias) {
                connector["\(side).\(MirrorKeys.isRoleKey(key) ? "" : "cluster.")\(key)"] = entry
            }
        }
        for (key, entry) in file.entries(below: "\(source)->\(target).") { connector[key] = entry }
    }

    /// All settings of the connectors.
    var connectorEntries: OrderedDictionary<String, MirrorEntry> { connector }

    /// A setting of the connectors: the flow's, or else the one for all flows.
    func entry(_ key: String) -> MirrorEntry? { connector[key] }

    /// A setting of MirrorMaker's workers, which belong to the target cluster (`MirrorMakerConfig.workerConfig`).
    private func workerEntry(_ key: String) -> MirrorEntry? {
        file.entries["\(source)->\(target).\(key)"] ?? file.entries["\(target).\(key)"] ?? file.entries[key]
    }

    /// All settings of the workers that the file has.
    var workerEntries: OrderedDictionary<String, MirrorEntry> {
        var found: OrderedDictionary<String, MirrorEntry> = [:]
        for key in MirrorKeys.workerKeys { found[key] = workerEntry(key) }
        return found
    }

    // MARK: Values

    mutating func fail(_ entry: MirrorEntry, _ message: String) {
        mistakes.append(MirrorMistake(severity: .error, line: entry.line, key: entry.key, message: message))
    }

    mutating func warn(_ entry: MirrorEntry, _ message: String) {
        mistakes.append(MirrorMistake(severity: .warning, line: entry.line, key: entry.key, message: message))
    }

    mutating func boolean(_ key: String, _ standard: Bool, ofWorker: Bool = false) -> Bool {
        guard let entry = ofWorker ? workerEntry(key) : entry(key) else { return standard }
        switch entry.value.lowercased() {
        case "true": return true
        case "false": return false
        default:
            fail(entry, "'\(entry.value)' is neither true nor false")
            return standard
        }
    }

    mutating func integer(_ key: String, _ standard: Int64, _ range: ClosedRange<Int64>, ofWorker: Bool = false) -> Int64 {
        guard let entry = ofWorker ? workerEntry(key) : entry(key) else { return standard }
        guard let number = Int64(entry.value), range.contains(number) else {
            fail(entry, "'\(entry.value)' is no number from \(range.lowerBound) to \(range.upperBound); the default is \(standard)")
            return standard
        }
        return number
    }

    /// -1 is the target's own default.
    mutating func replicationFactor(_ key: String, _ standard: Int16, ofWorker: Bool = false) -> Int16 {
        let number = integer(key, Int64(standard), -1...Int64(Int16.max), ofWorker: ofWorker)
        if number == 0, let entry = ofWorker ? workerEntry(key) : entry(key) { fail(entry, "a topic has at least one replica") }
        return Int16(number)
    }

    /// `NAME.enabled` and `NAME.interval.seconds`; nil for off.
    mutating func interval(_ name: String, enabled: Bool = true, seconds: Int64) -> Int64? {
        let isOn = boolean("\(name).enabled", enabled)
        let length = integer("\(name).interval.seconds", seconds, 0...(10 * 365 * 86_400))
        return isOn ? max(length, 0) : nil
    }

    mutating func string(_ key: String, _ standard: String, ofWorker: Bool = false) -> String {
        (ofWorker ? workerEntry(key) : entry(key))?.value ?? standard
    }

    mutating func choice(_ key: String, _ standard: String, _ values: [String], ofWorker: Bool = false) -> String {
        guard let entry = ofWorker ? workerEntry(key) : entry(key) else { return standard }
        guard values.contains(entry.value.lowercased()) else {
            fail(entry, "'\(entry.value)' is not one of \(values.joined(separator: ", "))")
            return standard
        }
        return entry.value.lowercased()
    }

    mutating func patterns(_ key: String, _ standard: String) -> NamePatterns? {
        let entry = entry(key)
        do {
            return try NamePatterns(entry?.value ?? standard)
        } catch {
            if let entry {
                fail(
                    entry,
                    "'\(entry.value)' is no list of names and regular expressions that can be used here: \(error); patterns are matched in "
                        + "linear time, without look-ahead and back references")
            }
            return nil
        }
    }

    /// Classes cannot be loaded: only Kafka's own are known, by their full or their short names.
    mutating func knownClass(_ key: String, _ names: [String], remedy: String) -> String {
        guard let entry = entry(key) else { return names[0] }
        let short = entry.value.split(separator: ".").last.map(String.init) ?? ""
        guard names.contains(short) else {
            fail(
                entry,
                "'\(entry.value)' cannot be loaded: Java classes are not run here. Known: \(names.joined(separator: ", ")). \(remedy)")
            return names[0]
        }
        return short
    }

    // MARK: Clients

    /// What one kind of client is given (`MirrorConnectorConfig.sourceConsumerConfig` and its likes).
    ///
    /// - Parameters:
    ///   - side: `source` or `target`.
    ///   - role: `consumer`, `producer` or `admin`.
    func client(_ side: String, _ role: String) -> ClientProperties {
        var properties: ClientProperties = [:]
        for (key, entry) in connector {
            if let name = key.dropping("\(side).cluster."), MirrorKeys.isClientKey(name) { properties[name] = entry.value }
        }
        for prefix in ["\(role).", "\(side).\(role)."] {
            for (key, entry) in connector {
                if let name = key.dropping(prefix) { properties[name] = entry.value }
            }
        }
        return properties
    }
}

extension String {
    /// What follows a prefix; nil when it is not there, or nothing follows.
    func dropping(_ prefix: String) -> String? {
        hasPrefix(prefix) && utf8.count > prefix.utf8.count ? String(dropFirst(prefix.count)) : nil
    }
}
