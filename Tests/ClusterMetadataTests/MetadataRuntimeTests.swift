// The whole shell on a scratch disk: format, start, change, stop, kill, start again.
import ClusterMetadata
import Consensus
import Controlling
import Foundation
import Glibc
import KafkaMessages
import KafkaRecords
import KafkaWire
import Logging
import NIOCore
import Primitives
import RecordBatches
import Storage
import Synchronization
import Testing

@testable import Runtime

@Suite("Metadata runtime", .serialized)
struct MetadataRuntimeTests {
    private static let clusterID = "test-cluster-000000000A"
    private static let endpoint = Voter.Endpoint(name: "CONTROLLER", host: "127.0.0.1", port: 9093)

    /// One run of a node's metadata.
    private final class Node {
        let runtime: MetadataRuntime
        let directories: LogDirectories
        let local: LocalNode
        private(set) var epoch: Int64 = -1

        init(
            _ path: String, isStatic: Bool = true, previousEpoch: Int64 = -1, id: NodeID = 1,
            clusterID: String = MetadataRuntimeTests.clusterID,
            _ change: (inout MetadataRuntimeConfiguration) -> Void = { _ in }
        ) throws {
            directories = try LogDirectories(LogDirectoriesConfiguration(paths: [path]))
            let properties = try #require(directories.directories[0].properties)
            let directoryID = try #require(properties.directoryID)
            let voters = isStatic ? VoterSet([Voter(id: id, endpoints: [MetadataRuntimeTests.endpoint])]) : nil
            var configuration = MetadataRuntimeConfiguration(
                log: MetadataLogConfiguration(directory: path),
                quorum: QuorumConfiguration(
                    localID: id, localDirectoryID: directoryID, localEndpoints: [MetadataRuntimeTests.endpoint], staticVoters: voters),
                controller: ControllerConfiguration(nodeID: id, clusterID: clusterID))
            change(&configuration)
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            runtime = try MetadataRuntime(configuration, directories: directories, logger: logger)
            local = LocalNode(
                id: id, clusterID: clusterID,
                brokerEndpoints: [NodeEndpoint(name: "PLAINTEXT", host: "127.0.0.1", port: 9092, securityProtocol: 0)],
                controllerEndpoints: [NodeEndpoint(name: "CONTROLLER", host: "127.0.0.1", port: 9093, securityProtocol: 0)],
                logDirectories: [directoryID], previousBrokerEpoch: previousEpoch)
        }

        func start() throws {
            try runtime.activate(registering: local.controllerRegistration)
            epoch = try runtime.registerBroker(local)
            try runtime.unfenceBroker(local.id, epoch: epoch)
        }

        func create(_ names: [String], partitions: Int32 = 1) throws {
            var request = CreateTopicsRequest()
            request.topics = names.map { name in
                var topic = CreateTopicsRequest.CreatableTopic()
                topic.name = name
                topic.numPartitions = partitions
                topic.replicationFactor = 1
                return topic
            }
            let final = request
            let response = try runtime.submitAndWait(at: { (controller, _) throws(RequestFailure) in try controller.createTopics(final) })
            #expect(response.topics.allSatisfy { $0.errorCode == .none })
        }

        func stop() throws {
            try runtime.stopBroker(local.id, epoch: epoch)
            kill()
        }

        /// Only gives the files back: nothing is written about stopping.
        func kill() {
            runtime.close()
            try? directories.close([], brokerEpoch: epoch, clean: false)
        }
    }

    private static func format(_ path: String, _ change: (inout MetadataFormat) -> Void = { _ in }) throws -> MetadataFormat.Report {
        var format = MetadataFormat(nodeID: 1, clusterID: clusterID, directories: [path])
        change(&format)
        return try format.run()
    }

    @Test func formatsAsKafkaDoes() throws {
        let scratch = try ScratchDirectory()
        let report = try Self.format(scratch.path)
        #expect(report.formatted == [scratch.path])
        #expect(
            report.featureLevels == [
                "metadata.version": 27, "eligible.leader.replicas.version": 1, "group.version": 1, "kraft.version": 0,
                "share.version": 0, "streams.version": 0, "transaction.version": 2,
            ])
        let properties = try String(contentsOfFile: "\(scratch.path)/meta.properties", encoding: .utf8)
        #expect(properties.contains("version=1\n") && properties.contains("cluster.id=\(Self.clusterID)"))
        #expect(properties.contains("node.id=1") && properties.contains("directory.id="))
        var records: [String] = []
        var controls = 0
        _ = try MetadataSnapshotFile.read("\(scratch.path)/bootstrap.checkpoint") { _ in
            controls += 1
        } data: { record, version, _ in
            if case .featureLevel(let level) = record { records.append("\(level.name)=\(level.featureLevel) v\(version)") }
        }
        #expect(controls == 2)
        #expect(
            records == [
                "metadata.version=27 v0", "eligible.leader.replicas.version=1 v0", "group.version=1 v0", "transaction.version=2 v0",
            ])
        #expect(throws: MetadataStorageError.self) { try Self.format(scratch.path) }
        #expect(try Self.format(scratch.path) { $0.ignoresFormatted = true }.skipped == [scratch.path])
        #expect(throws: MetadataStorageError.self) {
            try Self.format(scratch.path) {
                $0.ignoresFormatted = true
                $0.clusterID = "other-cluster-00000000A"
            }
        }
    }

    /// What Kafka itself wrote for the same options, batch by batch; timestamps and ids aside.
    @Test(.enabled(if: Shared.isThere)) func formatIsThatOfTheFixtures() throws {
        let fixture = try Fixture("cluster3")
        let scratch = try ScratchDirectory()
        let kafka = "\(fixture.path)/node1/log"
        var voters: [Voter] = []
        _ = try MetadataSnapshotFile.read("\(kafka)/__cluster_metadata-0/\(SnapshotID.bootstrap.fileName)") {
            (control) throws(MetadataStorageError) in
            if case .voters(let record) = control, let set = try? VoterSet(record) { voters = Array(set.voters.values) }
        } data: { _, _, _ in
        }
        #expect(voters.count == 3)
        _ = try Self.format(scratch.path) {
            $0.releaseVersion = .version39
            $0.quorum = .initialControllers(voters)
        }
        for file in ["bootstrap.checkpoint", "__cluster_metadata-0/\(SnapshotID.bootstrap.fileName)"] {
            let expected = try Self.withoutTimes("\(kafka)/\(file)")
            #expect(try Self.withoutTimes("\(scratch.path)/\(file)") == expected, "\(file)")
            #expect(expected.count >= 2)
        }
        let properties = try #require(try MetaProperties(path: "\(scratch.path)/meta.properties"))
        #expect(properties.directoryID == voters[0].directoryID)
    }

    /// Every batch's header fields that do not depend on the clock, and its records but for the snapshot header's timestamp.
    private static func withoutTimes(_ path: String) throws -> [String] {
        let bytes = ByteBuffer(bytes: try Data(contentsOf: URL(fileURLWithPath: path)))
        var batches = RecordBatchIterator(bytes)
        var lines: [String] = []
        while let batch = try batches.next() {
            let header = batch.header
            lines.append(
                "\(header.baseOffset) \(header.batchLength) \(header.partitionLeaderEpoch) \(header.attributes.rawValue) \(header.recordCount)"
                    + " \(header.producerId) \(header.producerEpoch) \(header.baseSequence) \(header.lastOffsetDelta)")
            for record in try batch.allRecords() {
                let type = record.key.flatMap { $0.getInteger(at: $0.readerIndex + 2, as: Int16.self) }
                let value = type == 3 ? "header" : record.value.map { "\(Array($0.readableBytesView))" } ?? "nil"
                lines.append("\(record.offset) \(record.key.map { "\(Array($0.readableBytesView))" } ?? "nil") \(value)")
            }
        }
        return lines
    }

    @Test(arguments: [true, false]) func livesThroughRestarts(isStatic: Bool) throws {
        let scratch = try ScratchDirectory()
        _ = try Self.format(scratch.path) { if !isStatic { $0.quorum = .standalone([Self.endpoint]) } }
        var node = try Node(scratch.path, isStatic: isStatic)
        #expect(!node.runtime.isActive)
        try node.start()
        #expect(node.runtime.isActive && node.runtime.kraftVersion == (isStatic ? 0 : 1))
        try node.create(["a", "b"], partitions: 2)
        let epoch = node.epoch
        let before = node.runtime.image
        try node.stop()
        node = try Node(scratch.path, isStatic: isStatic, previousEpoch: epoch)
        #expect(node.runtime.image.topics.all.allSatisfy { $0.partitions.allSatisfy { $0.leader == -1 && $0.leaderEpoch == 1 } })
        try node.start()
        let after = node.runtime.image
        #expect(after.topics.all.map(\.id) == before.topics.all.map(\.id))
        #expect(after.topics.all.allSatisfy { $0.partitions.allSatisfy { $0.leader == 1 && $0.leaderEpoch == 2 && !$0.isRecovering } })
        #expect(after.cluster.isActive(1) && after.provenance.epoch == before.provenance.epoch + 1)
        // Killed: the image is the same, and the node leads again.
        let last = node.runtime.image
        node.kill()
        node = try Node(scratch.path, isStatic: isStatic)
        #expect(node.runtime.image.hasSameContents(as: last))
        try node.start()
        #expect(node.runtime.image.topics.all.allSatisfy { $0.partitions.allSatisfy { $0.leader == 1 && !$0.isRecovering } })
        node.kill()
    }

    /// A full disk: requests fail with an error that clients retry, deletions go on in the space set aside, and with space again
    /// everything does.
    @Test func fullDiskRefusesAndRecovers() throws {
        let scratch = try ScratchDirectory()
        let mount = Process()
        mount.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        mount.arguments = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", scratch.path]
        mount.standardError = FileHandle.nullDevice
        try mount.run()
        mount.waitUntilExit()
        // Needs the right to mount; without it there is nothing to fill that would not be everybody's.
        guard mount.terminationStatus == 0 else { return }
        defer { umount2(scratch.path, 2) }
        _ = try Self.format(scratch.path)
        let node = try Node(scratch.path)
        try node.start()
        try node.create(["doomed", "kept"])
        let filler = "\(scratch.path)/filler"
        let descriptor = open(filler, O_WRONLY | O_CREAT, 0o600)
        var block = [UInt8](repeating: 1, count: 1 << 16)
        while write(descriptor, &block, block.count) > 0 {}
        close(descriptor)

        let image = node.runtime.image
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = "too-much"
        topic.numPartitions = 9_000
        topic.replicationFactor = 1
        var creation = CreateTopicsRequest()
        creation.topics = [topic]
        let huge = creation
        // More than what is set aside: refused once the reserve is used up, and none of it stays.
        var refusals = 0
        for _ in 0..<4 {
            do throws(RequestFailure) {
                _ = try node.runtime.submitAndWait(at: { (controller, _) throws(RequestFailure) in try controller.createTopics(huge) })
                break
            } catch {
                #expect(error.code == .kafkaStorageError)
                refusals += 1
            }
        }
        if refusals > 0 { #expect(node.runtime.image.hasSameContents(as: image)) }
        var doomed = DeleteTopicsRequest()
        doomed.topicNames = ["doomed"]
        let deletion = doomed
        let response = try node.runtime.submitAndWait(at: { (controller, _) throws(RequestFailure) in
            try controller.deleteTopics(deletion, apiVersion: 5)
        })
        #expect(response.responses.map(\.errorCode) == [.none])
        try FileManager.default.removeItem(atPath: filler)
        try node.create(["again"])
        let last = node.runtime.image
        node.kill()
        let restarted = try Node(scratch.path)
        #expect(restarted.runtime.image.hasSameContents(as: last))
        restarted.kill()
    }

    /// A log that fails for good: everybody is told, nobody waits for ever.
    @Test func failedLogRefusesEverything() throws {
        let scratch = try ScratchDirectory()
        _ = try Self.format(scratch.path)
        let node = try Node(scratch.path)
        try node.start()
        let image = node.runtime.image
        node.runtime.close()
        for _ in 0..<3 {
            #expect(throws: RequestFailure.self) { try node.create(["never"]) }
        }
        #expect(node.runtime.image === image && !node.runtime.isActive)
    }

    /// The disk goes while answers wait for the commit: every one of them comes, and says so.
    @Test func answersThatWaitForAFailedCommitCome() async throws {
        let scratch = try ScratchDirectory()
        _ = try Self.format(scratch.path)
        let node = try Node(scratch.path)
        try node.start()
        let image = node.runtime.image
        let entered = DispatchSemaphore(value: 0)
        let go = DispatchSemaphore(value: 0)
        node.runtime.submit({ (_) throws(RequestFailure) in
            entered.signal()
            go.wait()
            return ControllerResult(())
        }) { _ in }
        entered.wait()
        let metadataLog = "\(scratch.path)/__cluster_metadata-0"
        let codes = Mutex<[ErrorCode?]>([])
        let all = DispatchSemaphore(value: 0)
        for index in 0..<5 {
            var topic = CreateTopicsRequest.CreatableTopic()
            topic.name = "t\(index)"
            topic.numPartitions = 1
            topic.replicationFactor = 1
            var request = CreateTopicsRequest()
            request.topics = [topic]
            let creation = request
            node.runtime.submit({ (controller) throws(RequestFailure) in
                if index == 4 { try? FileManager.default.removeItem(atPath: metadataLog) }
                return try controller.createTopics(creation)
            }) { outcome in
                var code: ErrorCode?
                if case .failure(let failure) = outcome { code = failure.code }
                codes.withLock { $0.append(code) }
                all.signal()
            }
        }
        go.signal()
        for _ in 0..<5 { #expect(all.wait(timeout: .now() + 20) == .success) }
        #expect(codes.withLock { $0 } == Array(repeating: .kafkaStorageError, count: 5))
        #expect(node.runtime.image === image && !node.runtime.isActive)
        node.kill()
    }

    /// Kafka, too, starts from its defaults where the file with the first records is gone.
    @Test func startsWithoutBootstrapFile() throws {
        let scratch = try ScratchDirectory()
        _ = try Self.format(scratch.path)
        try FileManager.default.removeItem(atPath: "\(scratch.path)/bootstrap.checkpoint")
        let node = try Node(scratch.path)
        try node.start()
        #expect(node.runtime.image.features.metadataVersion == .defaultForNewClusters)
        #expect(node.runtime.image.features.levels.isEmpty)
        node.kill()
    }

    @Test func publishesInOrderBeforeItAnswers() throws {
        let scratch = try ScratchDirectory()
        _ = try Self.format(scratch.path)
        let node = try Node(scratch.path)
        let seen = Mutex<[MetadataPublication]>([])
        node.runtime.subscribe { publication in seen.withLock { $0.append(publication) } }
        try node.start()
        try node.create(["one"])
        #expect(seen.withLock { $0.last?.image.topics.topic(named: "one") } != nil)
        try node.create(["two"])
        let offsets = seen.withLock { $0.map(\.image.provenance.offset) }
        #expect(offsets == offsets.sorted() && Set(offsets).count == offsets.count)
        #expect(seen.withLock { $0.last?.changes.createdTopics.map(\.name) } == ["two"])
        #expect(node.runtime.image === seen.withLock { $0.last?.image })
        // Whoever comes late is told everything at once.
        let late = Mutex<MetadataPublication?>(nil)
        node.runtime.subscribe { publication in late.withLock { $0 = publication } }
        #expect(late.withLock { $0?.changes.createdTopics.count } == 2)
        node.kill()
        #expect(throws: RequestFailure.self) {
            try node.runtime.submitAndWait(at: { (controller, _) throws(RequestFailure) in
                try controller.createTopics(CreateTopicsRequest())
            })
        }
    }

    @Test func snapshotsCarryTheLog() throws {
        let scratch = try ScratchDirectory()
        _ = try Self.format(scratch.path)
        func small(_ configuration: inout MetadataRuntimeConfiguration) {
            configuration.log.maximumBytesBetweenSnapshots = 4000
            configuration.log.segmentBytes = 4096
            configuration.log.retentionBytes = 8000
        }
        var node = try Node(scratch.path, small)
        try node.start()
        for index in 0..<120 { try node.create(["topic-\(index)"], partitions: 3) }
        node.kill()
        let partition = "\(scratch.path)/__cluster_metadata-0"
        let names = try FileManager.default.contentsOfDirectory(atPath: partition)
        #expect(names.contains { SnapshotID(fileName: $0) != nil })
        let image = node.runtime.image
        node = try Node(scratch.path, small)
        #expect(node.runtime.image.provenance.offset >= image.provenance.offset)
        #expect(node.runtime.image.hasSameContents(as: image))
        let (log, _) = (node.runtime, partition)
        #expect(log.image.topics.count == 120)
        let starts = names.compactMap { $0.hasSuffix(".log") ? Int($0.prefix(20)) : nil }
        #expect((starts.min() ?? 0) > 0, "the head of the log was removed")
        node.kill()
    }

    /// Directories that Kafka left behind are taken over: same topics, leaders on this node, epochs going on.
    @Test(.enabled(if: Shared.isThere), arguments: ["clean-single", "killed-single", "metadata-trimmed", "torn-metadata"])
    func takesOverFromKafka(_ name: String) throws {
        let fixture = try Fixture(name)
        let path = "\(fixture.path)/log"
        let properties = try #require(try MetaProperties(path: "\(path)/meta.properties"))
        let node = try Node(path, clusterID: try #require(properties.clusterID))
        let before = node.runtime.image
        try node.start()
        let after = node.runtime.image
        #expect(after.topics.count == before.topics.count && after.topics.count > 10)
        #expect(after.provenance.epoch == before.provenance.epoch + 1)
        for topic in after.topics.all {
            for partition in topic.partitions {
                let earlier = try #require(before.topics.partition(TopicIDPartition(topic.id, partition.index)))
                #expect(partition.leader == 1 && partition.isr == [1])
                // Kafka: one epoch for losing the leader, unless it was lost already, and one for getting it back.
                #expect(partition.leaderEpoch == earlier.leaderEpoch + (earlier.hasLeader ? 2 : 1))
            }
        }
        node.kill()
        let again = try Node(path, clusterID: try #require(properties.clusterID))
        #expect(again.runtime.image.hasSameContents(as: after))
        again.kill()
    }

    @Test func tenThousandPartitionsLoadQuickly() throws {
        let scratch = try ScratchDirectory()
        _ = try Self.format(scratch.path)
        var node = try Node(scratch.path)
        try node.start()
        for round in 0..<10 { try node.create((0..<100).map { "topic-\(round)-\($0)" }, partitions: 10) }
        let epoch = node.epoch
        try node.stop()
        let began = SystemClock.monotonicMilliseconds()
        node = try Node(scratch.path, previousEpoch: epoch)
        let loaded = SystemClock.monotonicMilliseconds()
        try node.start()
        let started = SystemClock.monotonicMilliseconds()
        #expect(node.runtime.image.topics.partitionCount == 10_000)
        #expect(node.runtime.image.topics.all.allSatisfy { $0.partitions.allSatisfy { $0.leader == 1 } })
        print("metadata of 10,000 partitions: loaded in \(loaded - began) ms, active in \(started - loaded) ms (debug build)")
        node.kill()
    }
}
