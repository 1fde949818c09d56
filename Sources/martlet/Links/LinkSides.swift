// Both ends of a link as a command reaches them: this cluster by -b, the source by what the link says of it. Secrets of the link stay with
// the brokers, so a source that wants a login needs a file with it.
import ArgumentParser
import Collections
import Configuration
import Linking
import MartletClient
import Primitives

/// How a command comes to a link's source.
struct LinkSourceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Brokers of the source, where their addresses are other ones here.", valueName: "host:port"))
    var sourceBootstrapServer: String?

    @Option(
        help: ArgumentHelp(
            "Client properties for the source: what the link does not show, such as passwords.", valueName: "file"),
        completion: .file())
    var sourceCommandConfig: String?

    /// The settings of a client of the source.
    func clientConfiguration(_ link: LinkView.Link, _ cluster: ClusterOptions) throws -> ClientConfiguration {
        var properties = link.configuration
        if let sourceCommandConfig {
            let content = ConfigurationFile.read(sourceCommandConfig)
            if let mistake = content.mistakes.first(where: { $0.severity == .error }) {
                throw CommandFailure("--source-command-config: \(mistake)")
            }
            for entry in content.entries { properties[entry.key] = entry.value }
        }
        let servers = sourceBootstrapServer ?? properties["bootstrap.servers"] ?? ""
        guard !servers.isEmpty else {
            throw CommandFailure(
                "link '\(link.name)' is connected to by its source (connection.mode=INBOUND); --source-bootstrap-server names the source as it is "
                    + "reached from here")
        }
        var configuration = try cluster.clientConfiguration()
        do throws(KafkaError) {
            let named = try ClientConfiguration(bootstrapServers: servers)
            configuration.bootstrapServers = named.bootstrapServers
            configuration.security = try ClientSecurity { properties[$0] }
        } catch {
            let hint = sourceCommandConfig == nil ? "; --source-command-config names a file with what the link does not show" : ""
            throw CommandFailure("the source of link '\(link.name)' cannot be used: \(error.explanation)\(hint)")
        }
        return configuration
    }
}

/// A link with admin clients of both ends.
struct LinkSides {
    var link: LinkView.Link
    var settings: LinkSettings
    var mirrors: [LinkView.Mirror]
    var here: AdminClient
    var source: AdminClient

    /// Runs with both ends open, and makes sure that the source is the link's.
    static func with<Value>(
        _ name: String, _ cluster: ClusterOptions, _ options: LinkSourceOptions, _ body: (LinkSides) async throws -> Value
    ) async throws -> Value {
        try await cluster.withAdmin { here in
            let view = try await LinkView(here)
            let link = try view.link(name)
            let settings: LinkSettings
            do throws(LinkSettingError) {
                settings = try LinkSettings(link.configuration)
            } catch {
                throw CommandFailure("link '\(name)' has a setting that this version does not know: \(error)")
            }
            let source = AdminClient(try options.clientConfiguration(link, cluster))
            defer { source.close() }
            try await check(source, link)
            let mirrors = view.mirrors.filter { $0.link == name }
            return try await body(LinkSides(link: link, settings: settings, mirrors: mirrors, here: here, source: source))
        }
    }

    private static func check(_ source: AdminClient, _ link: LinkView.Link) async throws {
        let id: String?
        do throws(KafkaError) {
            _ = try await source.cluster.connection(to: .bootstrap)
            id = try await source.describeCluster().clusterID
        } catch {
            throw CommandFailure(
                "the source of link '\(link.name)' cannot be reached: \(error.explanation). --source-bootstrap-server names it as it is "
                    + "reached from here")
        }
        if let id, !link.sourceClusterID.isEmpty, id != link.sourceClusterID {
            throw CommandFailure("this leads to cluster \(id), and the source of link '\(link.name)' is \(link.sourceClusterID)")
        }
    }

    /// Mirror topics by their names here; all of the link for none, but for those that are not there yet or, once they were writable, any more.
    func mirrors(named names: [String]) async throws -> [LinkView.Mirror] {
        guard !names.isEmpty else {
            let there = Set(try await here.listTopics().map(\.name))
            return mirrors.filter { mirror in
                mirror.state != MirrorState.pendingMirror.rawValue
                    && (mirror.state != MirrorState.stopped.rawValue || there.contains(mirror.topic))
            }
        }
        return try names.map { name in
            guard let mirror = mirrors.first(where: { $0.topic == name }) else {
                throw CommandFailure("'\(name)' is no mirror topic of link '\(link.name)'; `martlet link mirrors \(link.name)` lists them")
            }
            return mirror
        }
    }

    /// Whether the source knows links: one of Apache Kafka's does not.
    func isSourceMartlet() async throws(KafkaError) -> Bool {
        do throws(KafkaError) {
            _ = try await source.manageLinks(.describe, .object([]))
            return true
        } catch {
            if error.kind == .unsupportedVersion || error.codeName == "UNSUPPORTED_VERSION" { return false }
            throw error
        }
    }
}
