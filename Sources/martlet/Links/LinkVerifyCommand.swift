// `martlet link verify`: whether mirrors hold what their sources hold, by reading both.
import ArgumentParser
import Linking
import MartletClient
import Primitives

struct LinkVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Compare mirror topics with their sources, record for record.",
        discussion: """
            Reads what both sides have of each partition and compares offsets, counts and checksums of the batches; of compacted topics the
            records that are left, by offset, key and value. Ends with status 1 when something differs, and names the first difference.

              martlet link verify dr
              martlet link verify dr orders --from 1000000 --json
              martlet link verify dr --sample 1% --rate 10000000 --every 60
            """)

    @Argument(help: "The link's name.")
    var link: String

    @Argument(help: "Mirror topics; all of the link when none is named.")
    var topics: [String] = []

    @Flag(help: "All mirror topics of the link.")
    var all = false

    @Option(help: "The first offset of each partition to compare.")
    var from: Int64?

    @Option(help: "The offset before which to stop.")
    var to: Int64?

    @Option(help: ArgumentHelp("Compare this share of the offsets, chosen at random, and the end of each partition.", valueName: "N%"))
    var sample: Percentage?

    @Option(help: "Number that the choice of --sample follows from; the same one chooses the same.")
    var seed: UInt64?

    @Flag(help: "Compare record by record, also topics that are not compacted, such as those that were compacted once.")
    var records = false

    @Option(help: "Partitions to compare at a time.")
    var parallel = 4

    @Option(help: ArgumentHelp("Read at most so many bytes a second, of both sides together.", valueName: "bytes"))
    var rate: Int64?

    @Option(help: ArgumentHelp("Begin again every so many seconds, until something differs or Ctrl-C.", valueName: "seconds"))
    var every: Double?

    @Option(
        help: ArgumentHelp("Keys of a compacted partition to remember at a time; more of them take further passes.", visibility: .hidden))
    var keys = RecordComparison.defaultLimit

    @OptionGroup var sourceOptions: LinkSourceOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if all, !topics.isEmpty { throw ValidationError("--all and names exclude each other.") }
        if let from, from < 0 { throw ValidationError("--from is not negative.") }
        if let to, to < (from ?? 0) { throw ValidationError("--to is not before --from.") }
        guard (1...64).contains(parallel) else { throw ValidationError("--parallel is from 1 to 64.") }
        if let rate, rate < 1 { throw ValidationError("--rate is at least 1.") }
        if let every, !(0.1...86_400).contains(every) { throw ValidationError("--every is from 0.1 to 86400 seconds.") }
        if keys < 1 { throw ValidationError("--keys is at least 1.") }
    }

    func run() async throws {
        Interruption.watch()
        guard let every else { return try show(try await compareOnce()) }
        while !Interruption.isWanted {
            let began = SystemClock.monotonicMilliseconds()
            do {
                let round = try await compareOnce()
                if round.differs || Interruption.isWanted { return try show(round) }
                try? show(round)
            } catch let failure as CommandFailure {
                // A cluster that is away says nothing of what it holds: tried again.
                Terminal.complain("Error: \(failure)")
            }
            while SystemClock.monotonicMilliseconds() < began + Int64(every * 1000), !Interruption.isWanted {
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// One comparison from beginning to end.
    private struct Round {
        var topics: [TopicResult]
        var bytes: Int64
        var seconds: Double
        var plan: ComparisonPlan

        /// Whether something was found that is not the same; not whether everything could be read.
        var differs: Bool { topics.contains(where: \.differs) }
    }

    private func compareOnce() async throws -> Round {
        let plan = ComparisonPlan(
            from: from, to: to, share: sample?.share ?? 1, seed: seed ?? UInt64.random(in: 0...0xffff_ffff), comparesRecords: records,
            keyLimit: keys)
        return try await LinkSides.with(link, cluster, sourceOptions) { sides in
            let mirrors = try await sides.mirrors(named: topics)
            let progress = ComparisonProgress(isShown: true, bytesPerSecond: rate)
            defer { progress.finish() }
            var results: [TopicResult] = []
            for mirror in mirrors where !Interruption.isWanted {
                let comparison = TopicComparison(
                    topic: mirror.topic, sourceTopic: mirror.sourceTopic, isWritable: mirror.state == MirrorState.stopped.rawValue,
                    here: sides.here, source: sides.source, plan: plan, progress: progress)
                results.append(await result(comparison, mirror))
            }
            return Round(topics: results, bytes: progress.bytes, seconds: progress.seconds, plan: plan)
        }
    }

    private func result(_ comparison: TopicComparison, _ mirror: LinkView.Mirror) async -> TopicResult {
        var result = TopicResult(topic: mirror.topic, sourceTopic: mirror.sourceTopic, state: mirror.state)
        do {
            let (own, source, mode, ends) = try await comparison.partitions()
            if own != source {
                result.partitionsDiffer = "\(source) partition\(source == 1 ? "" : "s") at the source, \(own) here"
            }
            comparison.progress.expect(offsets: ends.reduce(0) { $0 + Int64($1.common.count) })
            result.partitions = await compare(comparison, ends, mode)
        } catch let error as KafkaError {
            result.problem = error.explanation
        } catch {
            result.problem = "\(error)"
        }
        return result
    }

    /// Some partitions at a time.
    private func compare(_ comparison: TopicComparison, _ ends: [PartitionEnds], _ mode: ComparisonMode) async -> [PartitionVerdict] {
        await withTaskGroup(of: PartitionVerdict.self) { group in
            var verdicts: [PartitionVerdict] = []
            for (number, end) in ends.enumerated() {
                if number >= parallel, let verdict = await group.next() { verdicts.append(verdict) }
                group.addTask { await comparison.compare(Int32(number), end, mode) }
            }
            for await verdict in group { verdicts.append(verdict) }
            return verdicts.sorted { $0.partition < $1.partition }
        }
    }

    // MARK: Showing

    /// What became of one topic.
    struct TopicResult {
        var topic: String
        var sourceTopic: String
        var state: String
        var partitions: [PartitionVerdict] = []
        /// How many partitions either side has, when these are not as many.
        var partitionsDiffer: String?
        /// Why the topic could not be compared.
        var problem: String?

        var differs: Bool { partitionsDiffer != nil || partitions.contains { $0.counts.differences > 0 } }
        var isSame: Bool { !differs && problem == nil && partitions.allSatisfy { $0.problem == nil } }

        /// A word or two about it.
        var outcome: String {
            if isSame { return "same" }
            if !differs { return "not compared" }
            let count = partitions.count { $0.counts.differences > 0 }
            return count == 0 ? "differs" : "\(count) differ\(count == 1 ? "s" : "")"
        }

        func sum(_ field: (PartitionVerdict) -> Int) -> Int { partitions.reduce(0) { $0 + field($1) } }

        var json: JSONValue {
            [
                "topic": .string(topic), "sourceTopic": .string(sourceTopic), "state": .string(state), "same": .bool(isSame),
                "problem": .optional(partitionsDiffer ?? problem), "partitions": .array(partitions.map(\.json)),
            ]
        }

        /// What differs, a line each.
        var complaints: [String] {
            var lines = [partitionsDiffer, problem].compactMap { $0 }.map { "\(topic): \($0)" }
            for partition in partitions where !partition.isSame {
                let name = "\(topic)-\(partition.partition)"
                if let first = partition.counts.first {
                    let unit = partition.mode == .batches ? "batch" : "record"
                    let more = partition.counts.differences - 1
                    let remark = more > 0 ? "; \(more) more difference\(more == 1 ? "" : "s") (\(unit) by \(unit))" : ""
                    lines.append("\(name): \(first.text)\(remark)")
                }
                if let problem = partition.problem { lines.append("\(name): not compared to the end: \(problem)") }
            }
            return lines
        }
    }

    /// Ends the command with status 1 when not everything is the same, with 130 when it was interrupted.
    private func show(_ round: Round) throws {
        let (results, plan) = (round.topics, round.plan)
        var table = TextTable("TOPIC", ">PARTITIONS", ">RECORDS", ">BYTES", "COMPARED", "RESULT")
        for result in results {
            table.add(
                result.topic, "\(result.partitions.count)", "\(result.sum(\.counts.records))", "\(result.sum(\.counts.bytes))",
                result.partitions.first?.mode.rawValue ?? "",
                result.outcome)
        }
        var lines = results.isEmpty ? ["The link has no mirror topics."] : [table.text]
        let complaints = results.flatMap(\.complaints)
        if !complaints.isEmpty { lines += [""] + complaints }
        if plan.share < 1 {
            let percent = (plan.share * 1000).rounded() / 10
            lines.append("\nAbout \(percent) % of the offsets were compared (--seed \(plan.seed)).")
        }
        let members: [(String, JSONValue)] = [
            ("link", .string(link)), ("same", .bool(results.allSatisfy(\.isSame))), ("topics", .array(results.map(\.json))),
            ("bytesRead", .integer(round.bytes)), ("seconds", .number((round.seconds * 1000).rounded() / 1000)),
            ("sample", plan.share < 1 ? .number(plan.share) : .null), ("seed", plan.share < 1 ? .whole(plan.seed) : .null),
        ]
        output.show(.object(members), lines.joined(separator: "\n"))
        if Interruption.isSignalled { throw ExitCode(130) }
        if results.contains(where: { !$0.isSame }) { throw ExitCode.failure }
    }
}

/// `5%` or `5`.
struct Percentage: ExpressibleByArgument {
    var share: Double

    init?(argument: String) {
        let text = argument.last == "%" ? String(argument.dropLast()) : argument
        guard let number = Double(text), number > 0, number <= 100 else { return nil }
        share = number / 100
    }
}
