// `martlet link`: mirrors of other clusters' topics, at the same offsets.
import ArgumentParser
import Collections
import Linking
import MartletClient
import Mirroring
import Primitives

struct LinkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "link", abstract: "Mirror topics of another cluster at the same offsets; take over from it, and give back.",
        discussion: """
            Links belong to the cluster that mirrors. Both commands here go to that cluster (-b):

              martlet link create dr --bootstrap source1:9092,source2:9092
              martlet link mirror dr orders payments
            """,
        subcommands: [
            LinkCreateCommand.self, LinkListCommand.self, LinkDescribeCommand.self, LinkConfigCommand.self, LinkDeleteCommand.self,
            LinkMirrorCommand.self, LinkMirrorsCommand.self, LinkPauseCommand.self, LinkResumeCommand.self, LinkPromoteCommand.self,
            LinkFailoverCommand.self, LinkReverseCommand.self, LinkReverseAndPauseCommand.self, LinkRestoreCommand.self,
            LinkUnfenceCommand.self,
            LinkAsynchronousCommand.self, LinkVerifyCommand.self, LinkDriftCommand.self,
        ])
}

struct LinkCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a link to a source cluster.",
        discussion: """
            Settings may be MirrorMaker 2's as well: --config takes one of its files (mm2.properties), and what each setting became is shown.

            Settings:

            """ + LinkSettings.table.map { "  \($0.key)  \($0.meaning)" }.joined(separator: "\n"))

    @Argument(help: "The link's name.")
    var name: String

    @Option(
        help: ArgumentHelp(
            "Brokers of the other cluster to begin with; not where it connects to this one (connection.mode=INBOUND).",
            valueName: "host:port,…"))
    var bootstrap: String?

    @OptionGroup var options: LinkSettingOptions

    @Flag(help: "Check everything, the way to the source too, and make nothing.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let given = try options.read(bootstrap: bootstrap)
        do throws(LinkSettingError) {
            _ = try LinkSettings(given.settings)
        } catch {
            let isMissing = error.key == "bootstrap.servers" && (given.settings["bootstrap.servers"] ?? "").isEmpty
            throw CommandFailure(isMissing ? "say which cluster: --bootstrap" : "\(error)")
        }
        var answer = try await cluster.withAdmin { admin in
            try await admin.links(
                .createLink, ["name": .string(name), "configuration": given.settings.json, "validateOnly": .bool(dryRun)])
        }
        let id = answer["sourceClusterId"]?.stringValue ?? ""
        let lead = id.isEmpty ? "waits for the other cluster to connect" : "leads to cluster \(id)"
        let sentence = dryRun ? "Link '\(name)' can be made; it \(lead)." : "Link '\(name)' \(lead)."
        if let translation = given.translation, var object = answer.objectValue {
            object["translated"] = translation.json
            answer = .object(object)
        }
        output.show(answer, [given.translation?.table.text, sentence].compactMap { $0 }.joined(separator: "\n\n"))
    }
}

struct LinkListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List links.")

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let view = try await cluster.withAdmin { try await LinkView($0) }
        var table = TextTable("LINK", "SOURCE CLUSTER", "BOOTSTRAP SERVERS", ">MIRRORS", "STATE")
        for link in view.links {
            table.add(
                link.name, link.sourceClusterID, link.configuration["bootstrap.servers"] ?? "",
                "\(view.mirrors.count { $0.link == link.name })", link.json["state"]?.stringValue ?? "")
        }
        output.show(.array(view.links.map(\.json)), view.links.isEmpty ? "There are no links." : table.text)
    }
}

struct LinkDescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show a link with its settings, what it synchronises, and its mirror topics.")

    @Argument(help: "The link's name.")
    var name: String

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let view = try await cluster.withAdmin { try await LinkView($0, withProgress: true) }
        let link = try view.link(name)
        let page = view.report.page(name) ?? .object([])
        let connections = (page["connections"]?.arrayValue ?? []).map(LinkConnectionView.init)
        let other = link.sourceClusterID.isEmpty ? connections.lazy.flatMap(\.clusters).first ?? "" : link.sourceClusterID
        var lines = [other.isEmpty ? "Link \(link.name)" : "Link \(link.name) to cluster \(other)"]
        for (key, value) in link.configuration { lines.append("  \(key)=\(value)") }
        let synchronizations = page["synchronizations"]?.arrayValue ?? []
        if !synchronizations.isEmpty { lines.append("\n" + LinkSynchronization.table(synchronizations).text) }
        let mirrors = view.mirrors.filter { $0.link == name }
        if !connections.isEmpty { lines.append("\n" + LinkConnectionView.table(connections).text) }
        let traffic = (page["traffic"]?.arrayValue ?? []).map(LinkTrafficView.init)
        if traffic.contains(where: \.isCompressed) { lines.append("\n" + LinkTrafficView.table(traffic).text) }
        if !mirrors.isEmpty { lines.append("\n" + LinkView.table(mirrors).text) }
        output.show(page, lines.joined(separator: "\n"))
    }
}

struct LinkConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Change a link's settings; they take effect at once.",
        discussion: "Settings:\n" + LinkSettings.table.map { "  \($0.key)  \($0.meaning)" }.joined(separator: "\n"))

    @Argument(help: "The link's name.")
    var name: String

    @Argument(help: "key=value, several if need be.")
    var settings: [Assignment] = []

    @Option(
        name: [.customShort("c"), .customLong("config")],
        help: ArgumentHelp("A file of settings, such as passwords, which everybody sees in arguments.", valueName: "file"),
        completion: .file())
    var config: String?

    @Option(help: "A setting to take back to its default; several if need be.")
    var delete: [String] = []

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if settings.isEmpty, delete.isEmpty, config == nil {
            throw ValidationError("Say what to change: key=value, --config file, or --delete key.")
        }
    }

    func run() async throws {
        var entries = OrderedDictionary<String, MirrorEntry>()
        if let config { for entry in try LinkSettingOptions.entries(of: config) { entries[entry.key] = entry } }
        for setting in settings { entries[setting.name] = MirrorEntry(key: setting.name, value: setting.value, line: 0) }
        let given = try LinkSettingOptions.read(Array(entries.values), place: config)
        let changes = given.settings
        if !changes.isEmpty || !delete.isEmpty {
            _ = try await cluster.withAdmin { admin in
                try await admin.links(.alterLink, ["name": .string(name), "set": changes.json, "remove": .strings(delete)])
            }
        }
        let names = Array(changes.keys) + delete
        let sentence = names.isEmpty ? "Nothing changes for link '\(name)'." : "Changed \(names.joined(separator: ", ")) of link '\(name)'."
        output.show(
            ["link": .string(name), "changed": .strings(names)],
            [given.translation?.table.text, sentence].compactMap { $0 }.joined(separator: "\n\n"))
    }
}

struct LinkDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Take a link away; topics stay.")

    @Argument(help: "The link's name.")
    var name: String

    @Flag(help: "Also with mirror topics that still mirror: they become writable as they are.")
    var force = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        _ = try await cluster.withAdmin { admin in
            try await admin.links(.deleteLink, ["name": .string(name), "force": .bool(force)])
        }
        output.show(["link": .string(name)], "Link '\(name)' is gone.")
    }
}

extension AdminClient {
    /// Asks the cluster about links; a cluster that is no Martlet's is told apart.
    func links(_ operation: LinkOperation, _ body: JSONValue) async throws -> JSONValue {
        do throws(KafkaError) {
            return try await manageLinks(operation, body)
        } catch {
            throw CommandFailure(
                error.kind == .unsupportedVersion
                    ? "this cluster's brokers have no links: they are not Martlet's, or of a version without them" : error.explanation)
        }
    }
}

extension OrderedDictionary<String, String> {
    var json: JSONValue { .object(map { ($0.key, .string($0.value)) }) }
}
