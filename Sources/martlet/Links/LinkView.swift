// Links and mirrors as commands show them: what the coordinator knows, and how far the mirrors' leaders are.
import Collections
import Linking
import MartletClient
import Primitives

/// What a cluster says of its links.
struct LinkView {
    struct Link {
        var name: String
        var sourceClusterID: String
        var configuration: OrderedDictionary<String, String>
        var json: JSONValue

        var isPaused: Bool { configuration["cluster.link.paused"] == "true" }
    }

    struct Mirror {
        var topic: String
        var link: String
        var sourceTopic: String
        /// The recorded state, or LINK_PAUSED.
        var state: String
        var reason: String
        var json: JSONValue
        /// Records that are missing, over all partitions that are known; nil while one has never heard of its source.
        var lag: Int64?
        var partitions = 0
        var problem = ""
        /// Whether the source waits for the mirror, by the partition that is worst off; empty where that was not asked for.
        var synchronous = ""
        /// Whether the other cluster is to mirror it once it is writable, or does.
        var reversal = MirrorReversal.none
    }

    var links: [Link] = []
    var mirrors: [Mirror] = []
    var fences: [JSONValue] = []
    /// What links keep in step beside the data, as the brokers say that do it.
    var synchronizations: [LinkSynchronization] = []
    /// Of links whose connections one side opens for the other.
    var connections: [LinkConnectionView] = []
    /// What came over links, by link and broker.
    var traffic: [LinkTrafficView] = []

    init(_ admin: AdminClient, withProgress: Bool = false) async throws {
        let answer = try await admin.links(.describe, .object([]))
        for value in answer["links"]?.arrayValue ?? [] {
            var configuration: OrderedDictionary<String, String> = [:]
            for member in value["configuration"]?.objectValue?.members ?? [] { configuration[member.name] = member.value.stringValue }
            links.append(
                Link(
                    name: value["name"]?.stringValue ?? "", sourceClusterID: value["sourceClusterId"]?.stringValue ?? "",
                    configuration: configuration, json: value))
        }
        fences = answer["fences"]?.arrayValue ?? []
        let answers = withProgress ? try await admin.linkProgress() : []
        connections = answers.flatMap { LinkConnectionView.all($0.progress["connections"], of: $0.broker) }
        traffic = answers.flatMap { LinkTrafficView.all($0.progress["traffic"], of: $0.broker) }
        synchronizations = LinkSynchronization.all(answers.map(\.progress))
        let progress = answers.flatMap { $0.progress["partitions"]?.arrayValue ?? [] }
        for value in answer["mirrors"]?.arrayValue ?? [] { mirrors.append(mirror(value, progress)) }
    }

    private func mirror(_ value: JSONValue, _ progress: [JSONValue]) -> Mirror {
        var mirror = Mirror(
            topic: value["topic"]?.stringValue ?? "", link: value["link"]?.stringValue ?? "",
            sourceTopic: value["sourceTopic"]?.stringValue ?? "", state: value["state"]?.stringValue ?? "",
            reason: value["reason"]?.stringValue ?? "", json: value)
        if MirrorState(rawValue: mirror.state)?.fetches == true, links.first(where: { $0.name == mirror.link })?.isPaused == true {
            mirror.state = "LINK_PAUSED"
        }
        let partitions = progress.filter { $0["topic"]?.stringValue == mirror.topic }
        mirror.partitions = partitions.count
        var lag: Int64? = partitions.isEmpty ? nil : 0
        for partition in partitions {
            let source = partition["sourceEndOffset"]?.integerValue ?? -1
            let own = partition["logEndOffset"]?.integerValue ?? 0
            lag = source < 0 ? nil : lag.map { $0 + max(0, source - own) }
            if let problem = partition["problem"]?.stringValue, !problem.isEmpty { mirror.problem = problem }
        }
        mirror.lag = lag
        mirror.reversal = value["reversal"]?.stringValue.flatMap { MirrorReversal(rawValue: $0) } ?? .none
        let known = partitions.map { $0["synchronous"]?.stringValue ?? "" }
        mirror.synchronous = ["asynchronous", "degraded", "synchronous"].first(where: known.contains) ?? ""
        if var object = value.objectValue {
            object["state"] = .string(mirror.state)
            object["lag"] = lag.map { .integer($0) } ?? .null
            object["synchronous"] = .string(mirror.synchronous)
            object["partitions"] = .array(partitions)
            mirror.json = .object(object)
        }
        return mirror
    }

    func link(_ name: String) throws -> Link {
        guard let link = links.first(where: { $0.name == name }) else {
            let known = links.isEmpty ? "there are none" : "there is " + links.map(\.name).joined(separator: ", ")
            throw CommandFailure("there is no link '\(name)'; \(known)")
        }
        return link
    }

    static func table(_ mirrors: [Mirror]) -> TextTable {
        let isSynchronous = mirrors.contains { !$0.synchronous.isEmpty }
        var table =
            isSynchronous
            ? TextTable("TOPIC", "LINK", "SOURCE TOPIC", "STATE", ">LAG", "ACKS", "REASON")
            : TextTable("TOPIC", "LINK", "SOURCE TOPIC", "STATE", ">LAG", "REASON")
        for mirror in mirrors {
            let reason = mirror.reason.isEmpty ? mirror.problem : mirror.reason
            let lag = mirror.lag.map { "\($0)" } ?? "?"
            if isSynchronous {
                table.add(mirror.topic, mirror.link, mirror.sourceTopic, mirror.state, lag, mirror.synchronous, reason)
            } else {
                table.add(mirror.topic, mirror.link, mirror.sourceTopic, mirror.state, lag, reason)
            }
        }
        return table
    }
}
