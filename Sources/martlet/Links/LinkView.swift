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
        var problem = ""
        /// Whether the source waits for the mirror, by the partition that is worst off; empty where that was not asked for.
        var synchronous = ""
        /// Whether the other cluster is to mirror it once it is writable, or does.
        var reversal = MirrorReversal.none
    }

    var links: [Link] = []
    var mirrors: [Mirror] = []
    var fences: [JSONValue] = []
    /// What it was read from.
    let report: LinkReport

    init(_ admin: AdminClient, withProgress: Bool = false) async throws {
        let answer = try await admin.links(.describe, .object([]))
        let answers = withProgress ? try await admin.linkProgress() : []
        report = LinkReport(described: answer, answers: answers)
        for value in report.links {
            var configuration: OrderedDictionary<String, String> = [:]
            for member in value["configuration"]?.objectValue?.members ?? [] { configuration[member.name] = member.value.stringValue }
            links.append(
                Link(
                    name: value["name"]?.stringValue ?? "", sourceClusterID: value["sourceClusterId"]?.stringValue ?? "",
                    configuration: configuration, json: value))
        }
        fences = answer["fences"]?.arrayValue ?? []
        mirrors = report.mirrors.map(Self.mirror)
    }

    private static func mirror(_ value: JSONValue) -> Mirror {
        func text(_ name: String) -> String { value[name]?.stringValue ?? "" }
        var mirror = Mirror(
            topic: text("topic"), link: text("link"), sourceTopic: text("sourceTopic"), state: text("state"), reason: text("reason"),
            json: value)
        mirror.lag = value["lag"]?.integerValue
        let problems = (value["partitions"]?.arrayValue ?? []).compactMap { $0["problem"]?.stringValue }
        mirror.problem = problems.last { !$0.isEmpty } ?? ""
        mirror.synchronous = text("synchronous")
        mirror.reversal = MirrorReversal(rawValue: text("reversal")) ?? .none
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
