// The properties files and `key=value` arguments of Kafka's tools, and the clients that are made from them.
import Configuration
import MartletClient
import Primitives

/// Java properties under Kafka's names.
struct ToolProperties {
    private(set) var values: [String: String] = [:]

    subscript(key: String) -> String? {
        get { values[key] }
        set { values[key] = newValue }
    }

    init() {}

    /// Reads a file; nothing for nil.
    init(file path: String?) throws(ToolExit) {
        guard let path else { return }
        let content = ConfigurationFile.read(path)
        if content.isUnreadable { throw .saying("java.nio.file.NoSuchFileException: \(path)") }
        for entry in content.entries { values[entry.key] = entry.value }
    }

    /// Adds `key=value`; a key alone has an empty value.
    mutating func add(_ pairs: [String]) {
        for pair in pairs {
            let sign = pair.firstIndex(of: "=")
            values[String(pair[..<(sign ?? pair.endIndex)])] = sign.map { String(pair[pair.index(after: $0)...]) } ?? ""
        }
    }

    func isTrue(_ key: String) -> Bool? { values[key].map { $0.lowercased() == "true" } }

    func integer(_ key: String) throws(ToolExit) -> Int? {
        guard let text = values[key] else { return nil }
        guard let number = Int(text) else {
            throw .saying(
                "org.apache.kafka.common.config.ConfigException: Invalid value \(text) for configuration \(key): Not a number of type LONG")
        }
        return number
    }

    func milliseconds(_ key: String) throws(ToolExit) -> Duration? { try integer(key).map { .milliseconds($0) } }

    /// What all clients share.
    ///
    /// - Parameter clientID: unless the properties have one.
    func client(_ servers: String, clientID: String = "adminclient-1") throws -> ClientConfiguration {
        var configuration: ClientConfiguration
        do throws(KafkaError) {
            configuration = try ClientConfiguration(bootstrapServers: servers)
            configuration.security = try ClientSecurity { values[$0] }
        } catch {
            throw ToolExit.saying("org.apache.kafka.common.config.ConfigException: \(error.message)")
        }
        configuration.clientID = values["client.id"] ?? clientID
        if let timeout = try milliseconds("request.timeout.ms") { configuration.requestTimeout = timeout }
        if let timeout = try milliseconds("default.api.timeout.ms") { configuration.operationTimeout = timeout }
        if let pause = try milliseconds("retry.backoff.ms") { configuration.retryBackoff = pause }
        if let age = try milliseconds("metadata.max.age.ms") { configuration.metadataMaximumAge = age }
        return configuration
    }
}

/// An admin client as tools open it.
enum ToolAdmin {
    /// Runs with an admin client, which is closed in the end.
    ///
    /// - Parameters:
    ///   - options: with `bootstrap-server` and `command-config`.
    ///   - timeout: for each operation, unless that of the properties.
    // Not optimised: the compiler (6.3.1) crashes over the copies of this function that it makes for some bodies.
    @_optimize(none)
    static func with<Value>(
        _ options: ToolOptions, timeout: Duration? = nil, _ body: (AdminClient) async throws -> Value
    ) async throws -> Value {
        let properties = try ToolProperties(file: options.value("command-config"))
        var configuration = try properties.client(options.value("bootstrap-server") ?? properties["bootstrap.servers"] ?? "")
        if let timeout { configuration.operationTimeout = timeout }
        let admin = AdminClient(configuration)
        defer { admin.close() }
        return try await body(admin)
    }
}

/// Columns as Java's `%-20s` makes them.
enum JavaFormat {
    static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// Cells with their least widths, separated by blanks.
    static func row(_ cells: [(String, Int)]) -> String {
        cells.map { padded($0.0, $0.1) }.joined(separator: " ")
    }
}

/// The pattern of topics that Kafka's tools take: a regular expression in which a comma is an alternative.
struct TopicPattern {
    private let pattern: LinearPattern

    init(_ text: String) throws(ToolExit) {
        var alternatives = text.split(separator: ",").map { String($0).filter { $0 != " " } }.joined(separator: "|")
        if let first = alternatives.first, first == "\"" || first == "'" { alternatives.removeFirst() }
        if let last = alternatives.last, last == "\"" || last == "'" { alternatives.removeLast() }
        do throws(LinearPatternError) {
            pattern = try LinearPattern(alternatives)
        } catch {
            throw .saying("\(text) is an invalid regex.")
        }
    }

    func matches(_ topic: String) -> Bool { pattern.matchesWhole(topic) }
}
