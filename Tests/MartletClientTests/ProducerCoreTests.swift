// The producer's core against a model of a broker, over a network that loses requests and answers and leaders that move.
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Synchronization
import Testing

@testable import MartletClient

/// What a broker checks of an idempotent producer (KIP-98), per partition.
private struct ModelLog {
    struct Entry {
        var epoch: Int16
        var first: Int32
        var last: Int32
        var offset: Offset
    }

    var records: [String] = []
    var recent: [Entry] = []
    /// What the topic takes in one batch.
    var largest = Int32.max

    mutating func append(_ batch: RecordBatch) throws -> BatchOutcome {
        let header = batch.header
        if header.recordCount > largest { return .refused(.messageTooLarge, nil) }
        if let duplicate = recent.first(where: {
            $0.epoch == header.producerEpoch && $0.first == header.baseSequence && $0.last == header.lastSequence
        }) {
            return .written(baseOffset: duplicate.offset, logAppendTime: -1)
        }
        if let last = recent.last {
            if header.producerEpoch < last.epoch { return .refused(.invalidProducerEpoch, nil) }
            let expected = header.producerEpoch == last.epoch ? RecordBatchHeader.sequence(last.last, plus: 1) : 0
            if header.baseSequence != expected { return .refused(.outOfOrderSequenceNumber, nil) }
        }
        let offset = Offset(records.count)
        records += try batch.allRecords().map { String(buffer: $0.value ?? ByteBuffer()) }
        recent.append(Entry(epoch: header.producerEpoch, first: header.baseSequence, last: header.lastSequence, offset: offset))
        if recent.count > 5 { recent.removeFirst() }
        return .written(baseOffset: offset, logAppendTime: -1)
    }
}

@Suite("Producer core")
struct ProducerCoreTests {
    private struct Delayed {
        var at: Int64
        var requestID: UInt64
        var outcomes: [TopicPartition: BatchOutcome]
    }

    private struct Run {
        var logs: [TopicPartition: ModelLog] = [:]
        var sent: [TopicPartition: [String]] = [:]
        var delivered: [String: Offset] = [:]
        var failed: Set<String> = []
    }

    private final class Fates: Sendable {
        let results = Mutex<[(String, Result<RecordMetadata, KafkaError>)]>([])
    }

    /// Runs a producer against the model until everything is settled.
    private func run(seed: UInt64, deliveryTimeout: Int64, lossPercent: Int, largest: Int32 = .max) throws -> Run {
        var random = SeededRandom(seed: seed)
        var settings = ProducerCore.Settings()
        settings.batchSize = 200
        settings.deliveryTimeoutMilliseconds = deliveryTimeout
        settings.lingerMilliseconds = 2
        settings.backoff = Backoff(initial: .milliseconds(5), maximum: .milliseconds(20))
        var core = ProducerCore(settings: settings, seed: seed)
        core.assign(producerID: 9, epoch: 0)
        var run = Run()
        let fates = Fates()
        var delayed: [Delayed] = []
        var now: Int64 = 0
        var leader: NodeID = 1
        var next = 0
        func settle(_ finished: [FinishedBatch]) {
            for item in finished {
                for (index, timestamp, handler) in item.batch.deliveries {
                    handler(
                        item.result.map {
                            RecordMetadata(
                                topic: "t", partition: item.batch.partition.partition,
                                offset: $0.baseOffset < 0 ? -1 : $0.baseOffset + Int64(index), timestamp: timestamp)
                        })
                }
            }
        }
        while next < 300 || !core.isEmpty {
            now += 1
            #expect(now < 200_000, "the producer comes to an end")
            if now >= 200_000 { break }
            for _ in 0..<Int.random(in: 0...4, using: &random) where next < 300 {
                let partition = TopicPartition("t", Int32.random(in: 0...2, using: &random))
                let value = "\(partition.partition):\(next)"
                let record = ProducerRecord(topic: "t", value: value)
                let handler: DeliveryHandler = { result in fates.results.withLock { $0.append((value, result)) } }
                _ = core.append(
                    record, to: partition, size: 40, timestamp: now, nowNanoseconds: now * 1_000_000, delivery: handler)
                run.sent[partition, default: []].append(value)
                next += 1
            }
            if Int.random(in: 0..<100, using: &random) == 0 { leader = 3 - leader }
            settle(core.expire(now: now, reason: nil))
            for (id, partition, builder) in core.closeReadyBatches(now: now) {
                core.store(try builder.build(), of: id, in: partition)
            }
            let plan = core.drain(now: now, leader: { _ in leader }, isConnected: { _ in true })
            for request in plan.requests {
                var outcomes: [TopicPartition: BatchOutcome] = [:]
                let isLost = Int.random(in: 0..<100, using: &random) < lossPercent
                for (partition, bytes) in request.batches {
                    if isLost { continue }
                    if Int.random(in: 0..<100, using: &random) < 5 {
                        outcomes[partition] = .refused(.notLeaderOrFollower, nil)
                    } else {
                        outcomes[partition] = try run.logs[partition, default: ModelLog(largest: largest)].append(try RecordBatch(bytes))
                    }
                }
                if Int.random(in: 0..<100, using: &random) < lossPercent { outcomes = [:] }
                delayed.append(Delayed(at: now + Int64.random(in: 1...6, using: &random), requestID: request.requestID, outcomes: outcomes))
            }
            for answer in delayed where answer.at <= now {
                let lost = KafkaError(.disconnected, "lost", isRetriable: true)
                settle(core.complete(requestID: answer.requestID, now: now) { answer.outcomes[$0] ?? .lost(lost) }.finished)
            }
            delayed.removeAll { $0.at <= now }
        }
        #expect(core.bufferedBytes == 0)
        for (value, result) in fates.results.withLock({ $0 }) {
            switch result {
            case .success(let metadata): run.delivered[value] = metadata.offset
            case .failure: run.failed.insert(value)
            }
        }
        return run
    }

    @Test("With time enough every record is written once, in order, whatever is lost", arguments: 0..<24)
    func exactlyOnce(seed: Int) throws {
        let run = try run(seed: UInt64(seed), deliveryTimeout: 150_000, lossPercent: seed % 4 * 10)
        #expect(run.failed.isEmpty)
        for (partition, sent) in run.sent {
            let isWhole = run.logs[partition]?.records == sent
            #expect(isWhole)
            for value in sent {
                guard let offset = run.delivered[value] else {
                    Issue.record("\(value) was never settled")
                    continue
                }
                if offset >= 0 { #expect(run.logs[partition]?.records[Int(offset)] == value) }
            }
        }
    }

    @Test("A batch that is too large is cut until it fits, and every record is still written once, in order", arguments: 0..<24)
    func tooLarge(seed: Int) throws {
        let run = try run(seed: UInt64(seed) + 2000, deliveryTimeout: 150_000, lossPercent: seed % 4 * 10, largest: Int32(1 + seed % 4))
        #expect(run.failed.isEmpty)
        for (partition, sent) in run.sent {
            let isWhole = run.logs[partition]?.records == sent
            #expect(isWhole)
            for value in sent {
                let offset = try #require(run.delivered[value], "\(value) was never settled")
                if offset >= 0 { #expect(run.logs[partition]?.records[Int(offset)] == value) }
            }
        }
    }

    @Test("When records are given up, the others are still written at most once and those acknowledged are there", arguments: 0..<24)
    func givingUp(seed: Int) throws {
        let run = try run(seed: UInt64(seed) + 1000, deliveryTimeout: 40, lossPercent: 35)
        for (partition, sent) in run.sent {
            let records = run.logs[partition]?.records ?? []
            #expect(Set(records).count == records.count, "no record twice")
            #expect(Set(records).isSubset(of: Set(sent)))
            for value in sent where run.delivered[value] != nil { #expect(records.contains(value)) }
            for value in sent { #expect(run.delivered[value] != nil || run.failed.contains(value)) }
        }
    }

    @Test("Batches are filled to their size and wait no longer than the linger time")
    func batching() throws {
        var settings = ProducerCore.Settings()
        settings.batchSize = 1000
        settings.lingerMilliseconds = 10
        settings.isIdempotent = false
        var core = ProducerCore(settings: settings, seed: 1)
        let partition = TopicPartition("t", 0)
        func append(_ now: Int64) -> ProducerCore.AppendResult {
            core.append(
                ProducerRecord(topic: "t", value: "x"), to: partition, size: 100, timestamp: 0, nowNanoseconds: now * 1_000_000,
                delivery: nil)
        }
        guard case .appended(false, true) = append(0) else { throw KafkaError(.timedOut, "a first record is not ready") }
        #expect(core.closeReadyBatches(now: 9).isEmpty)
        let lingered = core.closeReadyBatches(now: 10)
        #expect(lingered.map(\.builder.count) == [1])
        var isReady = false
        for _ in 0..<10 { if case .appended(true, _) = append(11) { isReady = true } }
        #expect(isReady)
        #expect(core.closeReadyBatches(now: 11).map(\.builder.count) == [10])
    }

    @Test("Buffer memory is bounded")
    func memory() {
        var settings = ProducerCore.Settings()
        settings.bufferMemory = 1000
        var core = ProducerCore(settings: settings, seed: 1)
        var taken = 0
        for _ in 0..<20 {
            if case .appended = core.append(
                ProducerRecord(topic: "t", value: "x"), to: TopicPartition("t", 0), size: 300, timestamp: 0, nowNanoseconds: 0,
                delivery: nil)
            {
                taken += 1
            }
        }
        #expect(taken == 3)
        _ = core.failWaiting(.closed)
        #expect(core.bufferedBytes == 0)
    }
}
