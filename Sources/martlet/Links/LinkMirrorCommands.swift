// `martlet link mirror`, `pause`, `promote` and the other verbs of mirror topics.
import ArgumentParser
import Linking
import MartletClient
import Primitives

struct LinkMirrorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mirror", abstract: "Mirror topics of a link's source.",
        discussion: "A mirror has the source's partitions, settings and offsets, and takes no records from clients while it mirrors.")

    @Argument(help: "The link's name.")
    var link: String

    @Argument(help: "Topics of the source.")
    var topics: [String]

    @Option(help: "Replicas of the mirror topics; without it what mirror.replication.factor of the link says, or else the cluster.")
    var replicationFactor: Int?

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let replicationFactor, replicationFactor < 1 { throw ValidationError("--replication-factor is at least 1.") }
    }

    func run() async throws {
        let answer = try await cluster.withAdmin { admin in
            try await admin.links(
                .createMirrors,
                ["link": .string(link), "topics": .strings(topics), "replicationFactor": .integer(Int64(replicationFactor ?? -1))])
        }
        let names = answer["topics"]?.arrayValue?.compactMap(\.stringValue) ?? []
        output.show(answer, "Link '\(link)' mirrors to \(names.joined(separator: ", ")).")
    }
}

struct LinkMirrorsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mirrors", abstract: "List mirror topics with their states and lags.")

    @Argument(help: "Only of this link.")
    var link: String?

    @Option(help: "Only mirrors in this state, such as FAILED; several if need be.")
    var state: [String] = []

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let view = try await cluster.withAdmin { try await LinkView($0, withProgress: true) }
        if let link { _ = try view.link(link) }
        let mirrors = view.mirrors.filter { (link == nil || $0.link == link) && (state.isEmpty || state.contains($0.state)) }
        output.show(
            .array(mirrors.map(\.json)), mirrors.isEmpty ? "There are no such mirror topics." : LinkView.table(mirrors).text)
    }
}

/// Which mirror topics a verb is for.
struct MirrorSelection: ParsableArguments {
    @Argument(help: "The link's name.")
    var link: String

    @Argument(help: "Mirror topics.")
    var topics: [String] = []

    @Option(help: "Mirror topics whose names begin so; several if need be.")
    var prefix: [String] = []

    @Flag(help: "All mirror topics of the link.")
    var all = false

    @Flag(help: "Say what would be done and what would be lost, and do nothing.")
    var dryRun = false

    func validate() throws {
        if all, !topics.isEmpty || !prefix.isEmpty { throw ValidationError("--all and names exclude each other.") }
    }

    /// The topics' names; nil for all.
    func names(_ admin: AdminClient) async throws -> [String]? {
        if all { return nil }
        if prefix.isEmpty { return topics }
        let known = try await LinkView(admin).mirrors.filter { mirror in
            mirror.link == link && prefix.contains { mirror.topic.hasPrefix($0) }
        }
        return topics + known.map(\.topic).filter { !topics.contains($0) }
    }

    var isEmpty: Bool { !all && topics.isEmpty && prefix.isEmpty }

    func requireSome() throws {
        if isEmpty { throw ValidationError("Say which mirror topics: by name, by --prefix, or --all.") }
    }
}

/// Carries a verb out and shows what became of each topic.
struct MirrorVerbRun {
    var verb: MirrorVerb
    var selection: MirrorSelection
    var cluster: ClusterOptions
    var output: OutputOptions
    /// The state to wait for; nil for none.
    var awaited: MirrorState?

    func run() async throws {
        try await cluster.withAdmin { admin in
            let names = try await selection.names(admin)
            var body: JSONObject = JSONObject([
                ("link", .string(selection.link)), ("verb", .string(verb.rawValue)), ("dryRun", .bool(selection.dryRun)),
            ])
            if let names { body.append("topics", .strings(names)) }
            let answer = try await admin.links(.changeMirrors, .object(body))
            let changes = answer["topics"]?.arrayValue ?? []
            let refused = changes.filter { $0["refusal"]?.stringValue != nil }
            let changed = changes.filter { $0["refusal"]?.stringValue == nil }.compactMap { $0["topic"]?.stringValue }
            var states: [LinkView.Mirror] = []
            if let awaited, !selection.dryRun, !changed.isEmpty { states = try await wait(for: awaited, changed, admin) }
            show(changes, states)
            if !refused.isEmpty { throw ExitCode.failure }
            if let awaited, let late = states.first(where: { $0.state != awaited.rawValue }) {
                let reason = late.reason.isEmpty ? "" : ": \(late.reason)"
                if late.state == MirrorState.failed.rawValue { throw CommandFailure("'\(late.topic)' has failed\(reason)") }
                throw CommandFailure(
                    "'\(late.topic)' is \(late.state) still\(reason). It goes on by itself; `martlet link mirrors` shows how far it is")
            }
        }
    }

    private func wait(for state: MirrorState, _ topics: [String], _ admin: AdminClient) async throws -> [LinkView.Mirror] {
        let deadline = SystemClock.monotonicMilliseconds() + Int64(cluster.timeout * 1000)
        while true {
            let mirrors = try await LinkView(admin).mirrors.filter { topics.contains($0.topic) }
            // One that has failed comes to nothing else by itself.
            let isOver = mirrors.allSatisfy { $0.state == state.rawValue || $0.state == MirrorState.failed.rawValue }
            if isOver || SystemClock.monotonicMilliseconds() > deadline { return mirrors }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private func show(_ changes: [JSONValue], _ states: [LinkView.Mirror]) {
        var table = TextTable("TOPIC", "WAS", selection.dryRun ? "WOULD BE" : "IS", ">LAG", "")
        var results: [JSONValue] = []
        for change in changes {
            let topic = change["topic"]?.stringValue ?? ""
            let refusal = change["refusal"]?.stringValue
            let now = states.first { $0.topic == topic }?.state ?? change["target"]?.stringValue ?? change["state"]?.stringValue ?? ""
            let lag = change["lag"]?.integerValue
            let was = change["state"]?.stringValue ?? ""
            table.add(topic, was, refusal == nil ? now : "", lag.map { "\($0)" } ?? "?", refusal ?? remark(lag))
            var object = change.objectValue ?? JSONObject()
            if refusal == nil, !selection.dryRun { object["state"] = .string(now) }
            results.append(.object(object))
        }
        output.show(.array(results), changes.isEmpty ? "The link has no mirror topics." : table.text)
    }

    private func remark(_ lag: Int64?) -> String {
        guard verb == .failover else { return "" }
        guard let lag else { return "what the source had is not known" }
        return lag == 0 ? "" : "at least \(lag) record\(lag == 1 ? "" : "s") of the source are not here"
    }
}

struct LinkPauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Stop fetching: of some mirror topics, or of the whole link.")

    @OptionGroup var selection: MirrorSelection
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        guard selection.isEmpty else {
            return try await MirrorVerbRun(verb: .pause, selection: selection, cluster: cluster, output: output, awaited: .paused).run()
        }
        try await LinkPausing.set("true", selection.link, cluster)
        output.show(["link": .string(selection.link), "state": "LINK_PAUSED"], "Link '\(selection.link)' is paused.")
    }
}

struct LinkResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Go on fetching after a pause or a failure that was mended.")

    @OptionGroup var selection: MirrorSelection
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        guard selection.isEmpty else {
            return try await MirrorVerbRun(verb: .resume, selection: selection, cluster: cluster, output: output, awaited: .active).run()
        }
        try await LinkPausing.set("false", selection.link, cluster)
        output.show(["link": .string(selection.link), "state": "ACTIVE"], "Link '\(selection.link)' goes on.")
    }
}

/// The pause of a whole link is a setting of it.
enum LinkPausing {
    static func set(_ value: String, _ link: String, _ cluster: ClusterOptions) async throws {
        _ = try await cluster.withAdmin { admin in
            try await admin.links(
                .alterLink, ["name": .string(link), "set": ["cluster.link.paused": .string(value)], "remove": .array([])])
        }
    }
}

struct LinkPromoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote", abstract: "Take over as planned: fence the source, fetch what is left, become writable. Nothing is lost.")

    @OptionGroup var selection: MirrorSelection
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try selection.requireSome() }

    func run() async throws {
        try await MirrorVerbRun(verb: .promote, selection: selection, cluster: cluster, output: output, awaited: .stopped).run()
    }
}

struct LinkFailoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover", abstract: "Take over at once, because the source is gone: what has not been fetched is not here.")

    @OptionGroup var selection: MirrorSelection
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try selection.requireSome() }

    func run() async throws {
        try await MirrorVerbRun(verb: .failover, selection: selection, cluster: cluster, output: output, awaited: .stopped).run()
    }
}

struct LinkRestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Make topics that were written to here mirrors of the cluster that took over, from where both agree.",
        discussion: """
            What this cluster has and the other has not is cut off; it is kept in files mirror-cut.* in the data directories, and the
            nodes' logs say how much it was. Nothing else is copied again.
            """)

    @Argument(help: "The link's name; it leads to the cluster that took over.")
    var link: String

    @Argument(help: "Topics of this cluster, which are there too.")
    var topics: [String]

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let count = "\(topics.count) topic\(topics.count == 1 ? "" : "s")"
        try Confirmation.ask("Cut \(count) back to where they agree with the source of link '\(link)'?", unless: yes)
        let answer = try await cluster.withAdmin { admin in
            try await admin.links(.createMirrors, ["link": .string(link), "topics": .strings(topics), "restore": true])
        }
        let names = answer["topics"]?.arrayValue?.compactMap(\.stringValue) ?? []
        output.show(
            answer, "Link '\(link)' takes back \(names.joined(separator: ", ")); `martlet link mirrors \(link)` shows how far it is.")
    }
}

struct LinkUnfenceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unfence", abstract: "Let clients write again to topics that another cluster was to take over.")

    @Argument(help: "Topics of this cluster.")
    var topics: [String]

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        _ = try await cluster.withAdmin { admin in try await admin.links(.unfence, ["topics": .strings(topics)]) }
        output.show(["topics": .strings(topics)], "Clients may write to \(topics.joined(separator: ", ")) again.")
    }
}
