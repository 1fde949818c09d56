// `martlet consume TOPIC…`: prints records, alone or as a member of a group.
import ArgumentParser
import MartletClient
import Primitives

enum IsolationOption: String, CaseIterable, ExpressibleByArgument {
    case uncommitted = "read_uncommitted"
    case committed = "read_committed"
}

struct ConsumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consume", abstract: "Print the records of topics.",
        discussion: """
            Without a group it reads all partitions from --from on (the end, when not given) and waits for more. With --group it takes part
            in the group, goes on where the group is, and commits what it has printed.

              martlet consume orders --from beginning --count 10
              martlet consume orders --from 2026-11-21T08:00Z --until-end --json
              martlet consume orders --group billing --format '%p %o %k: %v\\n'

            Ctrl-C ends it in an orderly way: the group is left, what was printed is committed, and the process ends with status 0.
            """)

    @Argument(help: "Names of topics.")
    var topics: [String]

    @Option(name: .shortAndLong, parsing: .unconditional, help: ArgumentHelp("Where to begin: \(OffsetPlace.help).", valueName: "place"))
    var from: OffsetPlace?

    @Option(name: [.customShort("n"), .long], help: "Stop after so many records.")
    var count: Int?

    @Flag(name: [.customShort("e"), .long], help: "Stop at what is the end now, instead of waiting for more.")
    var untilEnd = false

    @Option(name: .shortAndLong, help: "Take part in this group.")
    var group: String?

    @Option(name: .shortAndLong, help: "Only this partition. May be given several times.")
    var partition: [Int32] = []

    @Option(help: ArgumentHelp("How to print a record: \(RecordFormat.help).", valueName: "format"))
    var format: String?

    @Option(help: "read_uncommitted, or read_committed to leave out what was not or not yet committed.")
    var isolation = IsolationOption.uncommitted

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if topics.isEmpty { throw ValidationError("Name a topic.") }
        if let count, count < 1 { throw ValidationError("--count is at least 1.") }
        if group != nil, !partition.isEmpty {
            throw ValidationError("A group decides itself who reads which partition; leave --partition out.")
        }
        if group != nil, untilEnd { throw ValidationError("--until-end is for reading without a group.") }
        if group != nil, let from, from != .beginning, from != .end {
            throw ValidationError("With --group, --from is beginning or end, for partitions that the group has no offset of.")
        }
        if output.json, format != nil { throw ValidationError("--json and --format exclude each other.") }
        if let format { do { _ = try RecordFormat(format) } catch { throw ValidationError("--format: \(error)") } }
    }

    func run() async throws {
        let format = try RecordFormat(self.format ?? "%v\n")
        try await cluster.explaining {
            var configuration = ConsumerConfiguration(try cluster.clientConfiguration(), group: group)
            configuration.offsetReset = from == .beginning ? .earliest : group == nil ? .earliest : .latest
            configuration.isolation = isolation == .committed ? .readCommitted : .readUncommitted
            let consumer = try KafkaConsumer(configuration)
            do {
                _ = try await consumer.cluster.connection(to: .bootstrap)
                let ends = try await begin(consumer)
                Interruption.watch()
                let count = try await read(consumer, ends, format)
                if Interruption.isSignalled { Terminal.complain("\(count) record\(count == 1 ? "" : "s") read.") }
                try Terminal.checkOutput()
            } catch {
                // What could not be printed does not count as read.
                try? await consumer.close(confirmingLastPoll: false)
                throw error
            }
            try await consumer.close()
        }
    }

    /// Says what to read. Returns where to stop, by partition, if that is known.
    private func begin(_ consumer: KafkaConsumer) async throws -> [TopicPartition: Offset]? {
        if group != nil {
            // A member would wait for a topic that does not exist; a person would not know what for.
            _ = try await AdminClient(cluster: consumer.cluster).partitions(of: topics)
            try await consumer.subscribe(topics)
            return nil
        }
        let admin = AdminClient(cluster: consumer.cluster)
        let partitions = try await admin.partitions(of: topics, only: partition)
        let starts = try await (from ?? .end).resolve(partitions, admin)
        try await consumer.assign(partitions)
        for (partition, offset) in starts { try consumer.seek(partition, to: offset) }
        guard untilEnd else { return nil }
        return try await consumer.endOffsets(partitions).filter { $0.value > starts[$0.key] ?? 0 }
    }

    /// Returns how many records were printed.
    private func read(_ consumer: KafkaConsumer, _ ends: [TopicPartition: Offset]?, _ format: RecordFormat) async throws -> Int {
        var open = ends ?? [:]
        if ends != nil, open.isEmpty { return 0 }
        var buffer = OutputBuffer()
        defer { buffer.flush() }
        let wanted = count ?? .max
        var left = wanted
        var outage = Outage()
        while left > 0 {
            let records = try await consumer.poll(maximumRecords: min(left, 2000), timeout: .milliseconds(200))
            for record in records {
                if let end = ends?[record.topicPartition], record.offset >= end { continue }
                if output.json { buffer.line(RecordFormat.json(record).text()) } else { format.write(record, to: &buffer) }
                left -= 1
            }
            buffer.flush()
            if records.isEmpty { Terminal.checkReader() }
            try outage.look(consumer.cluster.obstacle, patience: ends == nil ? nil : cluster.timeout)
            // A group is left, and what was printed is committed, when the consumer is closed after this.
            if Interruption.isWanted { break }
            guard ends != nil else { continue }
            // Positions rather than records: what ends a partition may be a transaction's marker.
            for (partition, end) in open where try await consumer.position(partition) >= end { open[partition] = nil }
            if open.isEmpty { break }
        }
        return wanted - left
    }
}

/// Tells whoever waits for records that no broker can be reached, once for each time.
private struct Outage {
    private var began: Int64?

    /// - Parameter patience: seconds after which the outage is the end; nil where records may come at any time.
    mutating func look(_ obstacle: KafkaError?, patience: Double?) throws {
        let now = SystemClock.monotonicMilliseconds()
        switch (obstacle, began) {
        case (let error?, nil):
            began = now
            Terminal.complain("Waiting: \(error.explanation)")
        case (let error?, let began?):
            if let patience, Double(now - began) > patience * 1000 { throw error }
        case (nil, .some):
            began = nil
            Terminal.complain("Connected again.")
        case (nil, nil): break
        }
    }
}
