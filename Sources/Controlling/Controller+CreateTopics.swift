// CreateTopics: names, configuration, where the replicas go.
import ClusterMetadata
import ConfigDefinitions
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    /// Decides a CreateTopics request. Topics that succeed are created together; each failure is in its topic's result.
    ///
    /// - Parameter allowance: asked before so many partitions are created; what it throws is the topic's failure (KIP-599).
    /// - Throws: `RequestFailure` when the request as a whole is refused.
    public mutating func createTopics(
        _ request: CreateTopicsRequest, allowance: (Int) throws(RequestFailure) -> Void = { _ in }
    ) throws(RequestFailure) -> ControllerResult<CreateTopicsResponse> {
        try checkPartitionCount(request)
        var response = CreateTopicsResponse()
        var records: [VersionedRecord] = []
        var seen: OrderedSet<String> = []
        var duplicates: OrderedSet<String> = []
        for topic in request.topics where !seen.append(topic.name).inserted { duplicates.append(topic.name) }
        // Names that this very request takes: two of them must not collide in metrics either.
        var newMetricNames: OrderedDictionary<String, String> = [:]
        for topic in request.topics where !duplicates.contains(topic.name) {
            do throws(RequestFailure) {
                try checkName(of: topic, newMetricNames: &newMetricNames)
                let (result, topicRecords) = try createTopic(topic, allowance)
                guard records.count + topicRecords.count <= ControllerConfiguration.maximumRecordsPerRequest + request.topics.count else {
                    throw RequestFailure(.policyViolation, "Excessively large number of records per request.")
                }
                records += topicRecords
                response.topics.append(result)
            } catch {
                response.topics.append(Self.failed(topic.name, error))
            }
        }
        for name in duplicates { response.topics.append(Self.failed(name, RequestFailure(.invalidRequest, "Duplicate topic name."))) }
        return ControllerResult(response, records: request.validateOnly ? [] : records)
    }

    private static func failed(_ name: String, _ failure: RequestFailure) -> CreateTopicsResponse.CreatableTopicResult {
        var result = CreateTopicsResponse.CreatableTopicResult()
        result.name = name
        result.errorCode = failure.code
        result.errorMessage = failure.description
        return result
    }

    private func checkPartitionCount(_ request: CreateTopicsRequest) throws(RequestFailure) {
        var total = 0
        for topic in request.topics {
            if !topic.assignments.isEmpty {
                total += topic.assignments.count
            } else if topic.numPartitions == -1 {
                total += Int(defaultPartitionCount)
            } else if topic.numPartitions > 0 {
                total += Int(topic.numPartitions)
            }
            if total > ControllerConfiguration.maximumPartitionsPerRequest {
                throw RequestFailure(.policyViolation, "Excessively large number of partitions per request.")
            }
        }
    }

    var defaultPartitionCount: Int32 { Int32(clamping: layers.value("num.partitions")?.integer ?? 1) }
    var defaultReplicationFactor: Int16 { Int16(clamping: layers.value("default.replication.factor")?.integer ?? 1) }

    private func checkName(
        of topic: CreateTopicsRequest.CreatableTopic, newMetricNames: inout OrderedDictionary<String, String>
    ) throws(RequestFailure) {
        if topic.name == TopicName.clusterMetadata {
            throw RequestFailure(.invalidRequest, "Creation of internal topic \(topic.name) is prohibited.")
        }
        if let problem = TopicName.problem(with: topic.name) { throw RequestFailure(.invalidTopicException, problem) }
        if image.topics.topic(named: topic.name) != nil {
            throw RequestFailure(.topicAlreadyExists, "Topic '\(topic.name)' already exists.")
        }
        let metricName = topic.name.split(separator: ".", omittingEmptySubsequences: false).joined(separator: "_")
        if let other = image.topics.topicColliding(with: topic.name) ?? newMetricNames[metricName] {
            throw RequestFailure(.invalidTopicException, "Topic '\(topic.name)' collides with existing topic: \(other)")
        }
        newMetricNames[metricName] = topic.name
    }

    private mutating func createTopic(
        _ topic: CreateTopicsRequest.CreatableTopic, _ allowance: (Int) throws(RequestFailure) -> Void
    ) throws(RequestFailure) -> (CreateTopicsResponse.CreatableTopicResult, [VersionedRecord]) {
        let overrides = try checkedConfigurations(of: topic)
        let partitions = topic.assignments.isEmpty ? try placed(topic) : try assigned(topic)
        try allowance(partitions.count)
        let id = KafkaUUID.random(using: &random)
        var record = TopicRecord()
        record.name = topic.name
        record.topicId = id
        var records = [VersionedRecord(.topic(record))]
        // As in Kafka, configuration stands between the topic and its partitions.
        for (name, value) in overrides {
            var record = ConfigRecord()
            record.resourceType = ConfigResource.Kind.topic.rawValue
            record.resourceName = topic.name
            record.name = name
            record.value = value
            records.append(VersionedRecord(.config(record)))
        }
        for partition in partitions {
            let record = partition.record(topicID: id, version: version)
            records.append(VersionedRecord(.partition(record), version: version.partitionRecordVersion))
        }
        var result = CreateTopicsResponse.CreatableTopicResult()
        result.name = topic.name
        result.topicId = id
        result.errorMessage = nil
        result.numPartitions = Int32(partitions.count)
        result.replicationFactor = Int16(partitions.first?.replicas.count ?? 0)
        result.configs = ConfigDescription.topic(overrides: overrides, layers: layers).values.map { entry in
            var config = CreateTopicsResponse.CreatableTopicConfigs()
            config.name = entry.name
            config.value = entry.text
            config.readOnly = entry.isReadOnly
            config.configSource = entry.source.rawValue
            config.isSensitive = entry.isSensitive
            return config
        }
        return (result, records)
    }

    private func checkedConfigurations(
        of topic: CreateTopicsRequest.CreatableTopic
    ) throws(RequestFailure) -> OrderedDictionary<String, String> {
        let nulls = topic.configs.filter { $0.value == nil }.map(\.name)
        if !nulls.isEmpty {
            throw RequestFailure(.invalidConfig, "Null value not supported for topic configs: \(nulls.joined(separator: ","))")
        }
        var overrides: OrderedDictionary<String, String> = [:]
        for config in topic.configs { overrides[config.name] = config.value }
        if !overrides.isEmpty { try validate(overrides, of: ConfigResource(.topic, topic.name)) }
        return overrides
    }

    /// Partitions as the request assigns them to brokers.
    private func assigned(_ topic: CreateTopicsRequest.CreatableTopic) throws(RequestFailure) -> [PartitionImage] {
        if topic.replicationFactor != -1 {
            throw RequestFailure(
                .invalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
        }
        if topic.numPartitions != -1 {
            throw RequestFailure(.invalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
        }
        var partitions: OrderedDictionary<Int32, PartitionImage> = [:]
        var replicationFactor: Int?
        for assignment in topic.assignments {
            if partitions[assignment.partitionIndex] != nil {
                throw RequestFailure(
                    .invalidReplicaAssignment,
                    "Found multiple manual partition assignments for partition \(assignment.partitionIndex)")
            }
            try checkManualAssignment(assignment.brokerIds, replicationFactor: replicationFactor)
            replicationFactor = assignment.brokerIds.count
            partitions[assignment.partitionIndex] = try manuallyAssigned(assignment.brokerIds, index: assignment.partitionIndex)
        }
        for index in 0..<Int32(partitions.count) where partitions[index] == nil {
            throw RequestFailure(.invalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
        }
        return partitions.values.sorted { $0.index < $1.index }
    }

    /// Partitions where the placement puts them.
    private mutating func placed(_ topic: CreateTopicsRequest.CreatableTopic) throws(RequestFailure) -> [PartitionImage] {
        if topic.replicationFactor < -1 || topic.replicationFactor == 0 {
            throw RequestFailure(
                .invalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
        }
        if topic.numPartitions < -1 || topic.numPartitions == 0 {
            throw RequestFailure(.invalidPartitions, "Number of partitions was set to an invalid non-positive value.")
        }
        let count = topic.numPartitions == -1 ? defaultPartitionCount : topic.numPartitions
        let replicationFactor = topic.replicationFactor == -1 ? defaultReplicationFactor : topic.replicationFactor
        do throws(RequestFailure) {
            return try place(count: Int(count), from: 0, replicationFactor: Int(replicationFactor))
        } catch {
            throw RequestFailure(
                error.code, "Unable to replicate the partition \(replicationFactor) time(s): \(error.description)")
        }
    }
}

extension Controller {
    /// Places new partitions on usable brokers.
    mutating func place(count: Int, from firstIndex: Int32, replicationFactor: Int) throws(RequestFailure) -> [PartitionImage] {
        let brokers = image.cluster.brokers.values.filter { $0.hasUncordonedDirectory && !isShuttingDown($0) }.map {
            UsableBroker(id: $0.id, rack: $0.rack, isFenced: $0.isFenced)
        }
        var placer = StripedReplicaPlacer(brokers: brokers, random: &random)
        let placements = try placer.place(partitions: count, replicationFactor: replicationFactor, random: &random)
        var partitions: [PartitionImage] = []
        partitions.reserveCapacity(count)
        for replicas in placements {
            let isr = replicas.filter(image.cluster.isActive)
            guard !isr.isEmpty else {
                throw RequestFailure(.invalidReplicationFactor, "All brokers are currently fenced or in controlled shutdown.")
            }
            partitions.append(newPartition(index: firstIndex + Int32(partitions.count), replicas: replicas, isr: isr))
        }
        return partitions
    }

    func manuallyAssigned(_ replicas: [NodeID], index: Int32) throws(RequestFailure) -> PartitionImage {
        let isr = replicas.filter(image.cluster.isActive)
        guard !isr.isEmpty else {
            throw RequestFailure(
                .invalidReplicaAssignment,
                "All brokers specified in the manual partition assignment for partition \(index) are fenced or in controlled shutdown.")
        }
        return newPartition(index: index, replicas: replicas, isr: isr)
    }

    private func newPartition(index: Int32, replicas: [NodeID], isr: [NodeID]) -> PartitionImage {
        PartitionImage(index: index, replicas: replicas, directories: replicas.map(defaultDirectory), isr: isr, leader: isr[0])
    }

    /// The directory of a new replica: known when its broker has just one, else left to the broker (KIP-858).
    func defaultDirectory(of broker: NodeID) -> KafkaUUID {
        guard version.supportsDirectoryAssignment else { return DirectoryID.migrating }
        guard let registration = image.cluster.broker(broker) else { return DirectoryID.unassigned }
        let directories = registration.logDirectories
        if directories.isEmpty { return DirectoryID.migrating }
        return directories.count == 1 ? directories[0] : DirectoryID.unassigned
    }

    func checkManualAssignment(_ replicas: [NodeID], replicationFactor: Int?) throws(RequestFailure) {
        func refuse(_ reason: String) -> RequestFailure {
            RequestFailure(.invalidReplicaAssignment, "The manual partition assignment \(reason)")
        }
        if replicas.isEmpty { throw refuse("includes an empty replica list.") }
        var previous: NodeID?
        for broker in replicas.sorted() {
            guard let registration = image.cluster.broker(broker) else {
                throw refuse("includes broker \(broker), but no such broker is registered.")
            }
            if !registration.hasUncordonedDirectory {
                throw refuse("includes broker \(broker), but all its log directories are cordoned.")
            }
            if broker == previous { throw refuse("includes the broker \(broker) more than once.") }
            previous = broker
        }
        if let replicationFactor, replicas.count != replicationFactor {
            throw refuse(
                "includes a partition with \(replicas.count) replica(s), but this is not consistent with previous partitions, which have "
                    + "\(replicationFactor) replica(s).")
        }
    }
}
