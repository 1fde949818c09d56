// The simulated world itself: what time, network and disk promise to those who live in it.
import Consensus
import KafkaMessages
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Simulation

@Suite("The simulated world")
struct WorldTests {
    @Test("Events run in the order of their times, and one seed gives one order")
    func schedulerIsOrdered() {
        func order(_ seed: UInt64) -> [Int] {
            let scheduler = Scheduler(seed: seed)
            var order: [Int] = []
            for number in 0..<50 { scheduler.at(Int64(number % 5)) { order.append(number) } }
            while scheduler.step() {}
            return order
        }
        let first = order(1)
        #expect(first.map { $0 % 5 } == first.map { $0 % 5 }.sorted())
        #expect(first == order(1))
        #expect(first != order(2))
    }

    private struct Pair {
        let scheduler = Scheduler(seed: 7)
        let network: SimulatedNetwork
        let client: Host
        let server: Host

        init() {
            network = SimulatedNetwork(scheduler: scheduler, trace: Trace(isRecording: false), seed: 8)
            client = network.addHost(id: 1, dataCenter: 0)
            server = network.addHost(id: 2, dataCenter: 0)
            for host in [client, server] {
                host.isRunning = true
                host.incarnation = 1
            }
        }

        func request(_ number: Int32) -> SimulatedRequest {
            var message = AddRaftVoterRequest()
            message.voterId = number
            return .quorum(.addRaftVoter(message))
        }

        func number(_ request: SimulatedRequest) -> Int32 {
            guard case .quorum(.addRaftVoter(let message)) = request else { return -1 }
            return message.voterId
        }
    }

    @Test("A connection delivers in order, and answers in the order of the requests")
    func connectionsKeepOrder() {
        let pair = Pair()
        var received: [Int32] = []
        var paths: [ReplyPath] = []
        var answered: [Int32] = []
        pair.server.receive = { request, path in
            received.append(pair.number(request))
            paths.append(path)
        }
        for number in 0..<20 {
            pair.scheduler.at(Int64(number)) {
                pair.network.send(pair.request(Int32(number)), from: pair.client, to: pair.server, timeout: .seconds(5)) { result in
                    if case .success = result { answered.append(Int32(number)) }
                }
            }
        }
        pair.scheduler.at(.seconds(1)) {
            for path in paths.reversed() { pair.network.reply(.quorum(.apiVersions(ApiVersionsResponse())), to: path) }
        }
        while pair.scheduler.step() {}
        #expect(received == Array(0..<20))
        #expect(answered == Array(0..<20))
    }

    @Test("What a partition holds back arrives when it heals, even after its sender has given up")
    func partitionsHoldBack() {
        let pair = Pair()
        var received: [VirtualTime] = []
        var failures = 0
        pair.server.receive = { _, _ in received.append(pair.scheduler.now) }
        pair.network.block(from: pair.client, to: pair.server)
        pair.network.send(pair.request(1), from: pair.client, to: pair.server, timeout: .seconds(1)) { result in
            if case .failure(.timedOut) = result { failures += 1 }
        }
        pair.scheduler.at(.seconds(3)) { pair.network.heal() }
        while pair.scheduler.step() {}
        #expect(failures == 1)
        #expect(received.count == 1 && received[0] > .seconds(3))
    }

    @Test("A process that ends is noticed, a machine without power is not")
    func endsAreNoticed() {
        for hasPower in [true, false] {
            let pair = Pair()
            var failures: [VirtualTime] = []
            pair.server.receive = { _, _ in }
            pair.network.send(pair.request(1), from: pair.client, to: pair.server, timeout: .seconds(2)) { _ in
                failures.append(pair.scheduler.now)
            }
            pair.scheduler.at(.milliseconds(100)) {
                pair.server.hasPower = hasPower
                pair.server.isRunning = false
                pair.network.processStopped(pair.server)
            }
            while pair.scheduler.step() {}
            #expect(failures.count == 1)
            #expect((failures[0] < .milliseconds(500)) == hasPower)
        }
    }

    private func batch(_ offset: Offset, epoch: LeaderEpoch) -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: offset, baseTimestamp: 0)
        builder.partitionLeaderEpoch = epoch
        builder.append(timestamp: 0, key: nil, value: ByteBuffer(integer: UInt64(offset)))
        return builder.buildUncompressed()
    }

    @Test("A loss of power leaves all that was synced and some prefix of the rest", arguments: 1...50 as ClosedRange<UInt64>)
    func powerLossLeavesAPrefix(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var disk = QuorumDisk()
        for offset in 0..<10 as Range<Offset> { try disk.append(batch(offset, epoch: 1)) }
        disk.synced(upTo: 6)
        disk.powerLost(&random, keepingTorn: false)
        #expect((6...10).contains(disk.endOffset))
        for offset in 0..<disk.endOffset { #expect(disk.value(at: offset) == UInt64(offset)) }
    }

    @Test("A disk takes no batch that does not follow the one before")
    func disksAreStrict() throws {
        var disk = QuorumDisk()
        try disk.append(batch(0, epoch: 2))
        #expect(throws: DiskError.self) { try disk.append(batch(2, epoch: 2)) }
        #expect(throws: DiskError.self) { try disk.append(batch(1, epoch: 1)) }
        try disk.append(batch(1, epoch: 3))
        try disk.truncate(to: 1)
        #expect(disk.endOffset == 1)
    }
}
