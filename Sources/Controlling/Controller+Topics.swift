// DeleteTopics and CreatePartitions.
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    /// Decides a DeleteTopics request: topics by name, by id, or (from version 6) either.
    ///
    /// - Parameters:
    ///   - apiVersion: the request's; errors differ with it.
    ///   - allowance: asked before so many partitions are deleted; what it throws is the topic's failure (KIP-599).
    /// - Throws: `RequestFailure` where deletion is switched off, or for too many topics at once.
    public func deleteTopics(
        _ request: DeleteTopicsRequest, apiVersion: Int16, allowance: (Int) throws(RequestFailure) -> Void = { _ in }
    ) throws(RequestFailure) -> ControllerResult<DeleteTopicsResponse> {
        if layers.value("delete.topic.enable")?.boolean == false {
            throw apiVersion < 3
                ? RequestFailure(.invalidRequest, "This version does not support topic deletion.")
                : RequestFailure(.topicDeletionDisabled)
        }
        var response = DeleteTopicsResponse()
        func respond(_ name: String?, _ id: TopicID, _ failure: RequestFailure? = nil) {
            var result = DeleteTopicsResponse.DeletableTopicResult()
            result.name = name
            result.topicId = id
            result.errorCode = failure?.code ?? .none
            result.errorMessage = failure?.description
            response.responses.append(result)
        }
        var names = Tally<String>()
        var ids = Tally<TopicID>()
        for name in request.topicNames { names.add(name) }
        for topic in request.topics {
            switch (topic.name, topic.topicId) {
            case (nil, .zero): respond(nil, .zero, RequestFailure(.invalidRequest, "Neither topic name nor id were specified."))
            case (nil, let id): ids.add(id)
            case (let name?, .zero): names.add(name)
            case (let name?, let id):
                respond(name, id, RequestFailure(.invalidRequest, "You may not specify both topic name and topic id."))
            }
        }
        for name in names.repeated { respond(name, .zero, RequestFailure(.invalidRequest, "Duplicate topic name.")) }
        for id in ids.repeated { respond(nil, id, RequestFailure(.invalidRequest, "Duplicate topic id.")) }
        var doomed: OrderedDictionary<TopicID, TopicImage> = [:]
        for id in ids.single {
            guard let topic = image.topics.topic(id: id) else {
                respond(nil, id, RequestFailure(.unknownTopicId))
                continue
            }
            doomed[id] = topic
        }
        for name in names.single {
            guard let topic = image.topics.topic(named: name) else {
                respond(name, .zero, RequestFailure(.unknownTopicOrPartition))
                continue
            }
            if ids.repeated.contains(topic.id) || doomed.removeValue(forKey: topic.id) != nil {
                respond(
                    name, topic.id,
                    RequestFailure(.invalidRequest, "The provided topic name maps to an ID that was already supplied."))
            } else {
                doomed[topic.id] = topic
            }
        }
        try ControllerConfiguration.checkRecordCount(doomed.count)
        var records: [VersionedRecord] = []
        for topic in doomed.values {
            do throws(RequestFailure) {
                try allowance(topic.partitions.count)
            } catch {
                respond(topic.name, topic.id, error)
                continue
            }
            var record = RemoveTopicRecord()
            record.topicId = topic.id
            records.append(VersionedRecord(.removeTopic(record)))
            respond(topic.name, topic.id)
        }
        return ControllerResult(response, records: records)
    }

    /// Decides a CreatePartitions request: more partitions for topics that exist.
    ///
    /// - Parameter allowance: asked before so many partitions are created; what it throws is the topic's failure (KIP-599).
    public mutating func createPartitions(
        _ request: CreatePartitionsRequest, allowance: (Int) throws(RequestFailure) -> Void = { _ in }
    ) -> ControllerResult<CreatePartitionsResponse> {
        var response = CreatePartitionsResponse()
        var records: [VersionedRecord] = []
        func respond(_ name: String, _ failure: RequestFailure?) {
            var result = CreatePartitionsResponse.CreatePartitionsTopicResult()
            result.name = name
            result.errorCode = failure?.code ?? .none
            result.errorMessage = failure?.description
            response.results.append(result)
        }
        var names = Tally<String>()
        for topic in request.topics { names.add(topic.name) }
        for name in names.repeated { respond(name, RequestFailure(.invalidRequest, "Duplicate topic name.")) }
        for topic in request.topics where !names.repeated.contains(topic.name) {
            do throws(RequestFailure) {
                let limit = ControllerConfiguration.maximumPartitionsPerRequest - records.count
                records += try createPartitions(topic, limit: limit, allowance)
                respond(topic.name, nil)
            } catch {
                respond(topic.name, error)
            }
        }
        return ControllerResult(response, records: request.validateOnly ? [] : records)
    }

    /// - Parameter limit: no more partitions than that, for those of all topics are written as one batch.
    private mutating func createPartitions(
        _ request: CreatePartitionsRequest.CreatePartitionsTopic, limit: Int, _ allowance: (Int) throws(RequestFailure) -> Void
    ) throws(RequestFailure) -> [VersionedRecord] {
        guard let topic = image.topics.topic(named: request.name), let first = topic.partitions.first else {
            throw RequestFailure(.unknownTopicOrPartition)
        }
        let existing = topic.partitions.count
        if Int(request.count) == existing {
            throw RequestFailure(.invalidPartitions, "Topic already has \(existing) partition(s).")
        }
        if Int(request.count) < existing {
            throw RequestFailure(
                .invalidPartitions,
                "The topic \(request.name) currently has \(existing) partition(s); \(request.count) would not be an increase.")
        }
        let additional = Int(request.count) - existing
        if additional > limit {
            throw RequestFailure(.policyViolation, "Excessively large number of partitions per request.")
        }
        if request.assignments == nil { try allowance(additional) }
        var partitions: [PartitionImage] = []
        if let assignments = request.assignments {
            if assignments.count != additional {
                throw RequestFailure(
                    .invalidReplicaAssignment,
                    "Attempted to add \(additional) additional partition(s), but only \(assignments.count) assignment(s) were specified.")
            }
            try allowance(additional)
            for assignment in assignments {
                try checkManualAssignment(assignment.brokerIds, replicationFactor: first.replicas.count)
                partitions.append(try manuallyAssigned(assignment.brokerIds, index: Int32(existing + partitions.count)))
            }
        } else {
            partitions = try place(count: additional, from: Int32(existing), replicationFactor: first.replicas.count)
        }
        return partitions.map {
            VersionedRecord(.partition($0.record(topicID: topic.id, version: version)), version: version.partitionRecordVersion)
        }
    }
}

/// Tells what was given once from what was given more often.
struct Tally<Element: Hashable> {
    private var counts: OrderedDictionary<Element, Int> = [:]

    mutating func add(_ element: Element) { counts[element, default: 0] += 1 }

    var single: [Element] { counts.filter { $0.value == 1 }.map(\.key) }

    var repeated: OrderedSet<Element> { OrderedSet(counts.filter { $0.value > 1 }.map(\.key)) }
}
