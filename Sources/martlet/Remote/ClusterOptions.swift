// Which cluster a command speaks to, and what people are told when that does not work.
import ArgumentParser
import Configuration
import Glibc
import MartletClient
import Primitives

/// `--bootstrap-server` and what goes with it.
struct ClusterOptions: ParsableArguments {
    static let environmentVariable = "MARTLET_BOOTSTRAP_SERVER"

    @Option(
        name: [.customShort("b"), .long],
        help: ArgumentHelp(
            "Brokers to begin with, separated by commas (default: $MARTLET_BOOTSTRAP_SERVER, or 127.0.0.1:9092).", valueName: "host:port"))
    var bootstrapServer: String?

    @Option(
        help: ArgumentHelp(
            "Client properties with security.protocol, sasl.* and ssl.* (default: $MARTLET_COMMAND_CONFIG).", valueName: "file"),
        completion: .file())
    var commandConfig: String?

    @Option(help: "Seconds to go on trying before giving up.")
    var timeout = 15.0

    func validate() throws {
        guard timeout > 0, timeout <= 86_400 else { throw ValidationError("--timeout is a number of seconds from above 0 to 86400.") }
    }

    var servers: String {
        if let bootstrapServer { return bootstrapServer }
        if let variable = getenv(Self.environmentVariable), variable.pointee != 0 { return String(cString: variable) }
        return "127.0.0.1:9092"
    }

    /// The settings that all clients of the command line share.
    func clientConfiguration() throws -> ClientConfiguration {
        var configuration: ClientConfiguration
        do throws(KafkaError) {
            configuration = try ClientConfiguration(bootstrapServers: servers)
        } catch {
            throw ValidationError("--bootstrap-server: \(error)")
        }
        configuration.clientID = "martlet-cli"
        configuration.security = try security()
        configuration.operationTimeout = .milliseconds(Int64(timeout * 1000))
        configuration.requestTimeout = .milliseconds(Int64(min(timeout, 30) * 1000))
        configuration.connectTimeout = .milliseconds(Int64(min(timeout, 5) * 1000))
        return configuration
    }

    static let configurationVariable = "MARTLET_COMMAND_CONFIG"

    /// What the properties of `--command-config` say; plaintext without.
    private func security() throws -> ClientSecurity {
        var path = commandConfig
        if path == nil, let variable = getenv(Self.configurationVariable), variable.pointee != 0 { path = String(cString: variable) }
        guard let path else { return .none }
        let content = ConfigurationFile.read(path)
        if let mistake = content.mistakes.first(where: { $0.severity == .error }) { throw CommandFailure("--command-config: \(mistake)") }
        var properties: [String: String] = [:]
        for entry in content.entries { properties[entry.key] = entry.value }
        do throws(KafkaError) {
            return try ClientSecurity { properties[$0] }
        } catch {
            throw CommandFailure("--command-config \(path): \(error)")
        }
    }

    /// Runs with an admin client, which is closed in the end.
    func withAdmin<Value>(_ body: (AdminClient) async throws -> Value) async throws -> Value {
        let admin = AdminClient(try clientConfiguration())
        defer { admin.close() }
        return try await explaining {
            // Once, without trying again: whoever sits at a terminal wants to know at once that nobody is there.
            _ = try await admin.cluster.connection(to: .bootstrap)
            return try await body(admin)
        }
    }

    /// Turns the library's errors into sentences with a remedy.
    func explaining<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as KafkaError {
            throw CommandFailure(explanation(of: error))
        }
    }

    func explanation(of error: KafkaError) -> String {
        switch error.kind {
        case .authenticationFailed:
            "\(error.explanation); --command-config names the file with what to log in with"
        // Connecting includes asking for the broker's versions, so another protocol shows here.
        case .connectionFailed where error.explanation.contains("did not answer"):
            "\(servers) takes connections and does not answer: \(error.explanation). A port that speaks TLS, or another protocol than "
                + "Kafka's, does that, and a broker in trouble; --timeout gives it longer"
        case .connectionFailed
        where error.explanation.contains("was closed by") || error.explanation.contains("unreadable")
            || error.explanation.contains("Kafka listener"),
            .protocolViolation:
            "\(servers) does not speak Kafka's protocol: \(error.explanation). A port that speaks TLS (--command-config), or another "
                + "protocol, does that"
        case .connectionFailed where error.explanation.contains("onnection refused"):
            "no broker listens on \(servers); start one with `martlet dev`, or name the cluster with --bootstrap-server (-b)"
        case .connectionFailed where error.explanation.contains("is not part of the cluster"):
            "\(error.explanation); `martlet cluster describe` shows the brokers"
        case .connectionFailed:
            "\(servers) cannot be reached: \(error.explanation). Name the cluster with --bootstrap-server (-b)"
        case .disconnected:
            "the connection to \(servers) ended: \(error.explanation). A listener that wants a login or TLS (--command-config) does that, and "
                + "a port that speaks another protocol than Kafka's"
        case .timedOut:
            "\(servers) does not answer in time: \(error.explanation). --timeout gives it longer"
        default: error.withRemedy
        }
    }
}

extension KafkaError {
    /// What a broker said, and what to do about it where that is known.
    var withRemedy: String {
        switch codeName {
        case "UNKNOWN_TOPIC_OR_PARTITION": "\(self) `martlet topic list` shows the topics that exist"
        case "GROUP_ID_NOT_FOUND": "\(self) `martlet group list` shows the groups that exist"
        case "MESSAGE_TOO_LARGE":
            "\(self). A larger --batch-size lets the command send it, and max.message.bytes of the topic lets the broker take it"
        case "NON_EMPTY_GROUP": "\(self) `martlet group describe` shows its members; stop them first"
        default: "\(self)"
        }
    }
}

extension OutputOptions {
    /// Shows what became of each item; the process ends with status 1 when one failed.
    ///
    /// - Parameters:
    ///   - item: the item's name in JSON, such as `topic`.
    ///   - members: what JSON says of an item that went well.
    ///   - text: what people read of it.
    func report<Item, Value>(
        _ outcomes: [Outcome<Item, Value>], _ item: String, members: (Value) -> [(String, JSONValue)] = { _ in [] },
        text: (Item, Value) -> String
    ) throws {
        var results: [JSONValue] = []
        var failed = false
        for outcome in outcomes {
            let name: (String, JSONValue) = (item, .string("\(outcome.item)"))
            switch outcome.result {
            case .success(let value):
                results.append(.object([name] + members(value)))
                if !json { Terminal.print(text(outcome.item, value)) }
            case .failure(let error):
                failed = true
                results.append(.object([name, ("error", .string(error.codeName)), ("message", .string(error.explanation))]))
                if !json { Terminal.complain("Error: \(error.withRemedy)") }
            }
        }
        if json { Terminal.print(JSONValue.array(results).text(indentation: 2)) }
        if failed { throw ExitCode.failure }
    }
}

extension AdminClient {
    /// A broker that is not there is told at once; the library waits for it to come back.
    func checkBrokers(_ ids: [Int32]) async throws {
        let known = try await describeCluster().brokers.map(\.id)
        guard let missing = ids.first(where: { !known.contains($0) }) else { return }
        let names = known.sorted().map { "\($0)" }.joined(separator: ", ")
        throw CommandFailure("there is no broker \(missing) at the moment; the cluster has \(names)")
    }
}

/// A question before something is lost, when a person is there to answer it.
enum Confirmation {
    static func ask(_ question: String, unless assumed: Bool) throws {
        guard !assumed, isatty(STDIN_FILENO) == 1 else { return }
        Terminal.write("\(question) [y/N] ", to: STDERR_FILENO)
        guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
            throw CommandFailure("nothing was changed")
        }
    }
}

/// `name=value` as an argument.
struct Assignment: ExpressibleByArgument {
    var name: String
    var value: String

    init?(argument: String) {
        guard let sign = argument.firstIndex(of: "="), sign != argument.startIndex else { return nil }
        name = String(argument[..<sign])
        value = String(argument[argument.index(after: sign)...])
    }
}
