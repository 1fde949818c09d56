// `martlet bench produce|consume|end-to-end`: measures any Kafka cluster from the client's side.
import ArgumentParser
import MartletClient
import NIOCore
import Primitives

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure a cluster's throughput and latency.",
        subcommands: [BenchProduceCommand.self, BenchConsumeCommand.self, BenchEndToEndCommand.self])
}

/// The topic and the records of a benchmark.
struct BenchTopicOptions: ParsableArguments {
    @Argument(help: "The topic; made with --partitions partitions when it does not exist.")
    var topic = "martlet-bench"

    @Option(help: "Partitions of the topic if it has to be made.")
    var partitions: Int32 = 1

    @Option(name: .shortAndLong, help: "Bytes of each record's value.")
    var size = 1024

    func validate() throws {
        if size < 16 || size > 64 << 20 { throw ValidationError("--size is from 16 to 67108864 bytes.") }
        if partitions < 1 { throw ValidationError("--partitions is at least 1.") }
    }

    func prepare(_ cluster: ClusterOptions) async throws {
        try await cluster.withAdmin { admin in
            let outcome = try await admin.createTopics([NewTopic(topic, partitions: partitions)]).first
            if let error = outcome?.error, error.codeName != "TOPIC_ALREADY_EXISTS" { throw error }
        }
    }
}

/// What a run may be asked for, so that no sum of it overflows.
enum BenchLimits {
    static func check(records: Int?, seconds: Double?, rate: Double?) throws {
        if let records, records < 1 { throw ValidationError("--records is at least 1.") }
        if let seconds, !(1e-3...1e7).contains(seconds) { throw ValidationError("--seconds is from 0.001 to 10000000.") }
        if let rate, !(1e-3...1e9).contains(rate) { throw ValidationError("--rate is from 0.001 to 1000000000 records a second.") }
    }
}

/// Values that do not compress to nothing and cost nothing to make.
struct BenchPayload {
    private let pool: ByteBuffer
    private let size: Int
    private var random = SeededRandom(seed: 1)

    init(size: Int) {
        self.size = size
        var random = SeededRandom(seed: 42)
        let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789 {}:,\"".utf8)
        var pool = ByteBuffer()
        pool.reserveCapacity(size + 65_536)
        for _ in 0..<size + 65_536 { pool.writeInteger(letters[Int(random.next() % UInt64(letters.count))]) }
        self.pool = pool
    }

    mutating func next() -> ByteBuffer {
        pool.getSlice(at: Int(random.next() & 65_535), length: size) ?? pool
    }
}

struct BenchProduceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "produce", abstract: "Write as fast as the cluster takes it, or at a rate.",
        discussion: "Latency is that of a batch, from its first record to its acknowledgement, counted for each of its records.")

    @Option(name: [.customShort("n"), .long], help: "Records to write.")
    var records: Int?

    @Option(help: "Seconds to write for; 10 if neither this nor --records is given.")
    var seconds: Double?

    @Option(name: .shortAndLong, help: "At most this many records a second.")
    var rate: Double?

    @OptionGroup var target: BenchTopicOptions
    @OptionGroup var producing: ProducerOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try BenchLimits.check(records: records, seconds: seconds, rate: rate)
    }

    func run() async throws {
        try await target.prepare(cluster)
        Interruption.watch()
        let counter = BenchCounter()
        let valueSize = target.size
        var configuration = try producing.configuration(cluster)
        configuration.onBatch = { delivery in
            counter.update { counts in
                if let error = delivery.error {
                    counts.error = counts.error ?? error
                    return
                }
                counts.records += delivery.recordCount
                counts.bytes += delivery.recordCount * valueSize
                counts.wireBytes += delivery.bytes
                counts.latencies.add(delivery.latencyNanoseconds, times: delivery.recordCount)
            }
        }
        let producer = try KafkaProducer(configuration)
        defer { producer.abort() }
        var clock = BenchClock(limitSeconds: seconds ?? (records == nil ? 10 : nil))
        try await cluster.explaining {
            var payload = BenchPayload(size: valueSize)
            var pace = Pace(perSecond: rate)
            var sent = 0
            while sent < records ?? .max {
                if sent & 63 == 0 || rate != nil {
                    clock.show(counter, of: records)
                    if clock.isOver || counter.totals.error != nil { break }
                }
                try await pace.wait()
                let record = ProducerRecord(topic: target.topic, keyBytes: nil, valueBytes: payload.next())
                if try !producer.tryEnqueue(record) { try await producer.enqueue(record) }
                sent += 1
            }
            try await producer.flush()
        }
        clock.finish()
        if let error = counter.totals.error { throw CommandFailure(cluster.explanation(of: error)) }
        let report = BenchReport(name: "produce", topic: target.topic, counts: counter.counts, seconds: clock.seconds)
        output.show(report.json, report.text)
    }
}

struct BenchConsumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consume", abstract: "Read a topic from its beginning as fast as the cluster gives it.")

    @Argument(help: "The topic.")
    var topic = "martlet-bench"

    @Option(name: [.customShort("n"), .long], help: "Records to read; all that are there now when not given.")
    var records: Int?

    @Option(help: "Seconds to read for at most.")
    var seconds: Double?

    @Flag(help: "Unpack every record instead of counting what batches say.")
    var decode = false

    @Option(help: "Most bytes of one partition in a response.")
    var partitionBytes = 1 << 20

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try BenchLimits.check(records: records, seconds: seconds, rate: nil)
        if partitionBytes < 1 || partitionBytes > 1 << 30 { throw ValidationError("--partition-bytes is from 1 to 1073741824.") }
    }

    func run() async throws {
        var configuration = ConsumerConfiguration(try cluster.clientConfiguration())
        configuration.offsetReset = .earliest
        configuration.partitionMaximumBytes = partitionBytes
        let consumer = try KafkaConsumer(configuration)
        let counter = BenchCounter()
        var clock = BenchClock(limitSeconds: seconds)
        try await cluster.explaining {
            _ = try await consumer.cluster.connection(to: .bootstrap)
            let admin = AdminClient(cluster: consumer.cluster)
            let partitions = try await admin.partitions(of: [topic])
            let starts = try await OffsetPlace.beginning.resolve(partitions, admin)
            var open = try await consumer.endOffsets(partitions).filter { $0.value > starts[$0.key] ?? 0 }
            let total = open.reduce(0) { $0 + Int($1.value - (starts[$1.key] ?? 0)) }
            try await consumer.assign(open.keys.sorted())
            Interruption.watch()
            clock = BenchClock(limitSeconds: seconds)
            while !open.isEmpty, !clock.isOver, counter.totals.records < records ?? .max {
                guard let batch = try await consumer.nextBatch(timeout: .milliseconds(200)) else { continue }
                try count(batch, counter)
                if batch.nextOffset >= open[batch.partition] ?? .max { open[batch.partition] = nil }
                clock.show(counter, of: records ?? total)
            }
        }
        clock.finish()
        let report = BenchReport(name: "consume", topic: topic, counts: counter.counts, seconds: clock.seconds)
        try await consumer.close()
        output.show(report.json, report.text)
    }

    private func count(_ batch: ConsumerBatch, _ counter: BenchCounter) throws {
        guard decode else {
            return counter.update { counts in
                counts.records += batch.storedRecordCount
                counts.bytes += batch.storedBytes
                counts.wireBytes += batch.storedBytes
            }
        }
        let records = try batch.records()
        let bytes = records.reduce(0) { $0 + ($1.key?.readableBytes ?? 0) + ($1.value?.readableBytes ?? 0) }
        counter.update { counts in
            counts.records += records.count
            counts.bytes += bytes
            counts.wireBytes += batch.storedBytes
        }
    }
}
