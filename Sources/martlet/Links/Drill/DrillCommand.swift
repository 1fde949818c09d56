// `martlet drill`: rehearses taking over and giving back, with real clients at work, and measures what it costs.
import ArgumentParser
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
            """,
        subcommands: [DrillSwitchoverCommand.self, DrillFailoverCommand.self, DrillFailbackCommand.self])
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

    @OptionGroup var sourceOptions: LinkSourceOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

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
        let report = try await LinkSides.with(link, cluster, sourceOptions) { sides in
            try await DrillRun(kind, sides, self, back).run()
        }
        output.show(report.json, report.text)
        if let path = self.report { try report.write(to: path) }
        if !report.isPassed { throw ExitCode.failure }
    }
}

/// What is rehearsed.
enum DrillKind: String, Sendable {
    case switchover
    case failover
    case failback
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
