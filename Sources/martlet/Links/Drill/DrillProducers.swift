// Producers of a drill: one lane for each partition that writes at a steady rate, writes again what was not acknowledged, and goes over to
// the other cluster when it is told to, or when it is refused.
import Linking
import MartletClient
import NIOCore
import Primitives
import RecordBatches
import Synchronization

/// The values of a drill's records.
enum DrillValue {
    static func write(run: UInt64, lane: Int32, number: Int32, size: Int) -> ByteBuffer {
        var value = ByteBuffer()
        value.reserveCapacity(size)
        value.writeInteger(run)
        value.writeInteger(lane)
        value.writeInteger(number)
        value.writeRepeatingByte(UInt8(ascii: "."), count: max(0, size - value.readableBytes))
        return value
    }

    /// Lane and number; nil of what is not of this run.
    static func read(_ value: ByteBuffer?, run: UInt64) -> (lane: Int, number: Int)? {
        guard var value, value.readInteger(as: UInt64.self) == run, let lane: Int32 = value.readInteger(),
            let number: Int32 = value.readInteger()
        else { return nil }
        return (Int(lane), Int(number))
    }
}

final class DrillProducers: Sendable {
    /// How often each lane writes.
    private static let defaultTickMilliseconds: Int64 = 10
    /// Between attempts of a lane that is refused.
    private static let pauseMilliseconds: Int64 = 5

    private struct State {
        var target: DrillSide
        /// Whether lanes go over by themselves when they are refused.
        var followsRefusals = false
        var producers: [KafkaProducer?] = [nil, nil]
        var isStopped = false
        var task: Task<Void, Never>?
    }

    let lanes: [TopicPartition]
    let run = UInt64.random(in: 1 ... .max)
    let ledger = DrillLedger()
    private let clients: [ClientConfiguration]
    private let recordsPerTick: Int
    private let tickMilliseconds: Int64
    private let size: Int
    private let headers: RecordHeaders
    private let state: Mutex<State>

    /// - Parameters:
    ///   - lanes: a producer for each partition.
    ///   - clients: of the source and of the cluster here.
    ///   - headers: of every record.
    init(
        lanes: [TopicPartition], clients: [ClientConfiguration], rate: Int, size: Int, target: DrillSide,
        headers: RecordHeaders = RecordHeaders()
    ) {
        self.clients = clients
        self.lanes = lanes
        self.size = size
        self.headers = headers
        let perTick = rate * Int(Self.defaultTickMilliseconds) / 1000 / lanes.count
        recordsPerTick = max(1, perTick)
        // So many lanes that less than a record a tick is left for each write less often.
        tickMilliseconds = perTick > 0 ? Self.defaultTickMilliseconds : Int64(1000 * lanes.count / max(1, rate))
        state = Mutex(State(target: target))
    }

    func start() {
        let task = Task { [self] in
            await withTaskGroup(of: Void.self) { group in
                for lane in 0..<Int32(lanes.count) { group.addTask { await self.write(lane) } }
            }
        }
        state.withLock { $0.task = task }
    }

    /// Where lanes write from now on.
    func goOver(to side: DrillSide) { state.withLock { $0.target = side } }

    /// From now on lanes that are refused try the other cluster.
    func followRefusals(_ follows: Bool) { state.withLock { $0.followsRefusals = follows } }

    /// Waits until every lane has been answered about its last records, and closes all.
    func stop() async {
        let task = state.withLock { state in
            state.isStopped = true
            return state.task
        }
        await task?.value
        let producers = state.withLock { state in
            defer { state.producers = [nil, nil] }
            return state.producers
        }
        for producer in producers { producer?.abort() }
    }

    // MARK: Lanes

    private func write(_ lane: Int32) async {
        var next: Int32 = 0
        var unwritten: [Int32] = []
        var due = SystemClock.monotonicMilliseconds()
        while true {
            let (target, isStopped) = state.withLock { ($0.target, $0.isStopped) }
            if unwritten.isEmpty {
                // What was begun is brought to its end, so that nothing is left in doubt.
                if isStopped { return }
                unwritten = (0..<Int32(recordsPerTick)).map { next + $0 }
                next += Int32(recordsPerTick)
            }
            unwritten = await attempt(unwritten, lane, target)
            if !unwritten.isEmpty {
                if isStopped { return }
                goOver(from: target)
                try? await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
                continue
            }
            due += tickMilliseconds
            let now = SystemClock.monotonicMilliseconds()
            // After a stall the rate is the same again; what was missed is not made up for.
            due = max(due, now - tickMilliseconds)
            if due > now { try? await Task.sleep(for: .milliseconds(due - now)) }
        }
    }

    /// Writes records once; returns those that were not acknowledged.
    private func attempt(_ numbers: [Int32], _ lane: Int32, _ target: DrillSide) async -> [Int32] {
        let failures = DrillFailures()
        let producer: KafkaProducer
        do throws(KafkaError) {
            producer = try self.producer(target)
            let group = DrillWait(numbers.count)
            for (index, number) in numbers.enumerated() {
                let value = DrillValue.write(run: run, lane: lane, number: number, size: size)
                let record = ProducerRecord(
                    topic: lanes[Int(lane)].topic, partition: lanes[Int(lane)].partition, keyBytes: nil, valueBytes: value, headers: headers
                )
                do throws(KafkaError) {
                    try await producer.enqueue(record) { [ledger] result in
                        switch result {
                        case .success(let written):
                            ledger.acknowledged(
                                DrillWrite(
                                    lane: lane, number: number, side: target, offset: written.offset,
                                    at: SystemClock.monotonicNanoseconds()))
                        case .failure(let error):
                            ledger.failed("\(error)")
                            failures.add(number)
                        }
                        group.leave()
                    }
                } catch {
                    ledger.failed("\(error)")
                    for rest in numbers[index...] {
                        failures.add(rest)
                        group.leave()
                    }
                    break
                }
            }
            await group.wait()
        } catch {
            ledger.failed("\(error)")
            return numbers
        }
        let left = failures.numbers.sorted()
        if !left.isEmpty { drop(producer, of: target) }
        return left
    }

    private func goOver(from side: DrillSide) {
        state.withLock { state in
            if state.followsRefusals, state.target == side { state.target = side.other }
        }
    }

    /// The producer for a cluster, made anew after a failure: what an idempotent one has given up leaves a gap in its sequence numbers.
    private func producer(_ side: DrillSide) throws(KafkaError) -> KafkaProducer {
        if let known = state.withLock({ $0.producers[side.rawValue] }) { return known }
        var configuration = ProducerConfiguration(clients[side.rawValue])
        configuration.linger = .zero
        configuration.deliveryTimeout = .seconds(5)
        configuration.maximumBlockTime = .seconds(5)
        configuration.allowTopicCreation = false
        let made = try KafkaProducer(configuration)
        let (kept, surplus) = state.withLock { state -> (KafkaProducer, KafkaProducer?) in
            if let known = state.producers[side.rawValue] { return (known, made) }
            state.producers[side.rawValue] = made
            return (made, nil)
        }
        surplus?.abort()
        return kept
    }

    private func drop(_ producer: KafkaProducer, of side: DrillSide) {
        let isDropped = state.withLock { state in
            guard state.producers[side.rawValue] === producer else { return false }
            state.producers[side.rawValue] = nil
            return true
        }
        // Other lanes may have records under way with it, which are brought to their end.
        if isDropped { Task { try? await producer.close() } }
    }
}

/// Records of an attempt that were not acknowledged.
private final class DrillFailures: Sendable {
    private let state = Mutex<[Int32]>([])

    func add(_ number: Int32) { state.withLock { $0.append(number) } }

    var numbers: [Int32] { state.withLock { $0 } }
}

/// Waits for a number of events.
private final class DrillWait: Sendable {
    private let state: Mutex<(left: Int, waiter: CheckedContinuation<Void, Never>?)>

    init(_ count: Int) { state = Mutex((count, nil)) }

    func leave() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.left -= 1
            guard state.left == 0 else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state -> Bool in
                if state.left == 0 { return true }
                state.waiter = continuation
                return false
            }
            if isOver { continuation.resume() }
        }
    }
}
