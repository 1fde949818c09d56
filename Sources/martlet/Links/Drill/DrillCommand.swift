// `martlet drill`: rehearses taking over and giving back, with real clients at work, and measures what it costs.
import ArgumentParser
import Glibc
import Linking
import MartletClient
import Primitives

struct DrillCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drill", abstract: "Rehearse a change of clusters over a link, and measure what it costs.",
        discussion: """
            Makes a topic on the source, mirrors it over the link, has producers and a consumer work on it, changes clusters, and removes the
            topic again. No other topic is touched. Says how long nothing could be written (RTO), which acknowledged records are lost (RPO)
            and what is there twice. The command goes to the cluster that mirrors (-b).

              martlet drill switchover --link dr --report drill-2026-11
              martlet drill failover --link dr --rate 5000 --seconds 30

            With --topics it is about mirror topics that are there: it says what would be done, and with --for-real does it.

              martlet drill switchover --link dr --topics 'orders,eu.*'
              martlet drill switchover --link dr --topics 'orders,eu.*' --for-real --report drill-2026-11
            """,
        subcommands: [DrillSwitchoverCommand.self, DrillFailoverCommand.self, DrillFailbackCommand.self])
}

/// A drill on topics that are there, in place of one of its own.
struct RealDrillOptions: ParsableArguments {
    @Option(help: "Mirror topics of the link, separated by commas; NAME* means all that begin so.")
    var topics: String?

    @Flag(help: "Change clusters with the topics named by --topics. Without it the drill only says what would be done.")
    var forReal = false

    @Flag(name: .shortAndLong, help: "Do not ask for the link's name before that.")
    var yes = false

    @Flag(
        help: "Write records of the drill's own to the topics, with the header martlet-drill, and read them. Without it nothing is written."
    )
    var probe = false

    @Flag(help: "Of a source that is not Martlet's: its producers have been stopped.")
    var producersStopped = false

    func validate() throws {
        if let topics {
            if DrillSelection(topics).patterns.isEmpty { throw ValidationError("--topics names no topic.") }
        } else if forReal || probe || producersStopped {
            throw ValidationError("--for-real, --probe and --producers-stopped need --topics: the names of mirror topics.")
        }
    }
}

/// What all drills can be told.
struct DrillOptions: ParsableArguments {
    @Option(help: "The link's name.")
    var link: String

    @Option(help: "Partitions of the topic; each has a producer.")
    var partitions: Int32 = 3

    @Option(name: .shortAndLong, help: "Records a second, over all partitions.")
    var rate = 1000

    @Option(name: .shortAndLong, help: "Bytes of each record's value.")
    var size = 200

    @Option(help: "Seconds of work before, between and after the changes.")
    var seconds = 5.0

    @Option(help: ArgumentHelp("Also write what was found to FILE.md and FILE.json.", valueName: "FILE"), completion: .file())
    var report: String?

    @OptionGroup var real: RealDrillOptions
    @OptionGroup var sourceOptions: LinkSourceOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    /// Of real topics, whose ends are asked for many times a second.
    static let maximumPartitions = 2_000
    /// Records of a whole drill, at most: what is kept of each is 32 bytes.
    private static let maximumRecords = 5_000_000.0

    func validate() throws {
        guard (1...64).contains(partitions) else { throw ValidationError("--partitions is from 1 to 64.") }
        guard (Int(partitions)...1_000_000).contains(rate) else {
            throw ValidationError("--rate is from the number of partitions to 1000000 records a second.")
        }
        guard (24...1 << 20).contains(size) else { throw ValidationError("--size is from 24 to 1048576 bytes.") }
        guard (0.1...3600).contains(seconds) else { throw ValidationError("--seconds is from 0.1 to 3600.") }
        guard Double(rate) * seconds * 4 <= Self.maximumRecords else {
            throw ValidationError("--rate times --seconds is at most \(Int(Self.maximumRecords / 4)) records.")
        }
    }

    /// Runs a drill and shows what it found.
    func run(_ kind: DrillKind, back: DrillReturnOptions? = nil) async throws {
        Interruption.watch()
        let document: (any DrillDocument)? = try await LinkSides.with(link, cluster, sourceOptions) { sides in
            if let topics = real.topics { return try await run(kind, DrillSelection(topics), sides, back) }
            return try await DrillRun(kind, sides, self, back).run()
        }
        guard let report = document else { return }
        output.show(report.json, report.text)
        if let path = self.report { try report.write(to: path) }
        if !report.isPassed { throw ExitCode.failure }
    }
}

extension DrillOptions {
    /// A drill on real topics; nil where nothing was to be done.
    private func run(
        _ kind: DrillKind, _ selection: DrillSelection, _ sides: LinkSides, _ back: DrillReturnOptions?
    ) async throws -> RealDrillReport? {
        try await checkReal(sides)
        let plan = try await sides.plan(kind, selection, hasNoProducers: real.producersStopped)
        guard plan.partitions.count <= Self.maximumPartitions else {
            throw CommandFailure(
                "the topics have \(plan.partitions.count) partitions, and a drill watches \(Self.maximumPartitions) at most; name fewer topics"
            )
        }
        guard real.forReal else {
            output.show(
                plan.json, plan.table.text + (plan.isPossible && !plan.isDone ? "\n\nNothing was changed; --for-real does it." : ""))
            if !plan.isPossible { throw ExitCode.failure }
            return nil
        }
        guard plan.isPossible else {
            Terminal.complain(plan.table.text)
            throw CommandFailure("nothing was changed, because not all topics can take part")
        }
        if plan.isDone {
            output.show(plan.json, plan.table.text + "\n\nThere is nothing left to do.")
            return nil
        }
        if real.probe { try await checkProbes(sides, plan) }
        try confirm(plan)
        return try await RealDrillRun(plan, sides, self, back).run()
    }

    private func checkReal(_ sides: LinkSides) async throws {
        guard sides.settings.topicPrefix.isEmpty else {
            throw CommandFailure("link '\(link)' has a cluster.link.prefix, with which clients cannot go over and back")
        }
        if sides.settings.isPaused { throw CommandFailure("link '\(link)' is paused; `martlet link resume \(link)`") }
    }

    /// Records without keys cannot be written to a compacted topic, and with keys they would stay for ever.
    private func checkProbes(_ sides: LinkSides, _ plan: RealDrillPlan) async throws {
        for outcome in try await sides.here.describeConfigs(plan.items.map { .topic($0.standing.topic) }) {
            let entries = try outcome.result.get()
            if entries.first(where: { $0.name == "cleanup.policy" })?.value?.contains("compact") == true {
                throw CommandFailure("'\(outcome.item.name)' is compacted, so the drill cannot write to it; leave out --probe to watch it")
            }
        }
    }

    private func confirm(_ plan: RealDrillPlan) throws {
        if real.yes { return }
        Terminal.complain(plan.table.text)
        guard isatty(STDIN_FILENO) == 1 else {
            throw CommandFailure("nothing was changed: nobody is there to confirm; --yes says that this is meant")
        }
        Terminal.write("\nThis changes clusters for real. Type the link's name to go on: ", to: STDERR_FILENO)
        guard readLine() == link else { throw CommandFailure("nothing was changed") }
    }
}

struct DrillSwitchoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "switchover", abstract: "Rehearse taking over as planned: promote, with producers that go over when they are refused.")

    @OptionGroup var options: DrillOptions

    func run() async throws { try await options.run(.switchover) }
}

struct DrillFailoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover",
        abstract: "Rehearse taking over at once: fail over while producers write to the source, which is then left.")

    @OptionGroup var options: DrillOptions

    func run() async throws { try await options.run(.failover) }
}

/// How the old source comes to the cluster that has taken over.
struct DrillReturnOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Brokers of the mirroring cluster as the source's brokers reach them (default: those of -b).", valueName: "host:port,…"))
    var returnBootstrapServer: String?

    @Option(
        help: ArgumentHelp("Properties of the link back: security.protocol, sasl.* and ssl.*.", valueName: "file"), completion: .file())
    var returnConfig: String?
}

struct DrillFailbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failback",
        abstract: "Rehearse going over and back: switch over, make the old source a mirror by a link back, and promote that.",
        discussion: "The link back is made on the source, for the topic of the drill only, and removed afterwards.")

    @OptionGroup var options: DrillOptions
    @OptionGroup var back: DrillReturnOptions

    func run() async throws { try await options.run(.failback, back: back) }
}
