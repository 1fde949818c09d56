// `martlet bench end-to-end`: how long a record takes from the producer to the consumer.
import ArgumentParser
import MartletClient
import NIOCore
import Primitives

struct BenchEndToEndCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "end-to-end", abstract: "Write at a rate, read at the same time, and measure how long records take.",
        discussion: "Latency is from when a record was due at the rate asked for, so that what waits behind a stall is counted too.")

    @Option(name: .shortAndLong, help: "Records a second.")
    var rate = 1000.0

    @Option(help: "Seconds to write for.")
    var seconds = 10.0

    @OptionGroup var target: BenchTopicOptions
    @OptionGroup var producing: ProducerOptions
    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try BenchLimits.check(records: nil, seconds: seconds, rate: rate)
    }

    func run() async throws {
        try await target.prepare(cluster)
        Interruption.watch()
        var configuration = ConsumerConfiguration(try cluster.clientConfiguration())
        configuration.offsetReset = .latest
        let consumer = try KafkaConsumer(configuration)
        let producer = try KafkaProducer(try producing.configuration(cluster))
        defer { producer.abort() }
        let counter = BenchCounter()
        let total = Int(rate * seconds)
        var elapsed = 0.0
        try await cluster.explaining {
            let partitions = try await consumer.partitions(of: target.topic)
            try await consumer.assign(partitions)
            try consumer.seekToEnd(partitions)
            for partition in partitions { _ = try await consumer.position(partition) }
            // Records of this run are told apart from those of another one by a number of its own.
            let run = UInt64.random(in: .min ... .max)
            async let read: Void = read(consumer, run: run, total: total, counter)
            let clock = BenchClock(limitSeconds: nil)
            try await write(producer, run: run, total: total, counter)
            try await read
            elapsed = clock.seconds
        }
        try await consumer.close()
        let counts = counter.counts
        if counts.records < total, !Interruption.isWanted {
            Terminal.complain("only \(counts.records) of \(total) records arrived")
        }
        let report = BenchReport(name: "end-to-end", topic: target.topic, counts: counts, seconds: elapsed)
        output.show(report.json, report.text)
        if counts.records < total, !Interruption.isWanted { throw ExitCode.failure }
    }

    private func write(_ producer: KafkaProducer, run: UInt64, total: Int, _ counter: BenchCounter) async throws {
        var payload = BenchPayload(size: target.size - 16)
        var pace = Pace(perSecond: rate)
        var clock = BenchClock(limitSeconds: nil)
        for _ in 0..<total {
            if Interruption.isWanted { break }
            let due = pace.nextDue
            try await pace.wait()
            var value = ByteBuffer()
            value.reserveCapacity(target.size)
            value.writeInteger(run)
            value.writeInteger(due)
            value.writeImmutableBuffer(payload.next())
            let record = ProducerRecord(topic: target.topic, keyBytes: nil, valueBytes: value)
            if try !producer.tryEnqueue(record) { try await producer.enqueue(record) }
            clock.show(counter, of: total)
        }
        try await producer.flush()
        clock.finish()
    }

    private func read(_ consumer: KafkaConsumer, run: UInt64, total: Int, _ counter: BenchCounter) async throws {
        var lastArrival = SystemClock.monotonicMilliseconds()
        let patience = Int64((seconds + cluster.timeout) * 1000)
        while counter.totals.records < total, SystemClock.monotonicMilliseconds() - lastArrival < patience, !Interruption.isWanted {
            let records = try await consumer.poll(maximumRecords: 5000, timeout: .milliseconds(200))
            let now = SystemClock.monotonicNanoseconds()
            if !records.isEmpty { lastArrival = now / 1_000_000 }
            counter.update { counts in
                for record in records {
                    guard var value = record.value, value.readInteger(as: UInt64.self) == run, let due: Int64 = value.readInteger() else {
                        continue
                    }
                    counts.records += 1
                    counts.bytes += value.readableBytes + 16
                    counts.latencies.add(now - due)
                }
            }
        }
    }
}
