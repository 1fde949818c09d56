// A fetch request, read without generated structs: the second request of the data path.
import NIOCore
import Primitives
import Replication

/// The content of a fetch request.
struct FetchRequestView {
    private(set) var clusterID: String?
    private(set) var replicaID: NodeID = -1
    private(set) var replicaEpoch: Int64 = -1
    private(set) var maxWaitMilliseconds: Int32 = 0
    private(set) var minBytes: Int32 = 0
    private(set) var maxBytes: Int32 = Int32.max
    private(set) var isolationLevel: Int8 = 0
    private(set) var sessionID: Int32 = 0
    private(set) var sessionEpoch: Int32 = -1
    private(set) var rackID = ""
    private(set) var partitions: [(key: FetchSessionKey, position: FetchPosition)] = []
    private(set) var forgotten: [FetchSessionKey] = []

    init(_ body: ByteBuffer, version: Int16) throws(FrameCursorError) {
        let flexible = version >= 12
        var cursor = FrameCursor(body.readableBytesSpan)
        if version <= 14 { replicaID = try cursor.int32("replicaId") }
        maxWaitMilliseconds = try cursor.int32("maxWaitMs")
        minBytes = try cursor.int32("minBytes")
        maxBytes = try cursor.int32("maxBytes")
        isolationLevel = try cursor.int8("isolationLevel")
        if version >= 7 {
            sessionID = try cursor.int32("sessionId")
            sessionEpoch = try cursor.int32("sessionEpoch")
        }
        try readTopics(&cursor, body, version: version, flexible: flexible)
        if version >= 7 { try readForgotten(&cursor, body, version: version, flexible: flexible) }
        if version >= 11, let range = try cursor.string("rackId", flexible: flexible) { rackID = body.text(at: range) }
        if flexible { try readTags(&cursor, body, version: version) }
        guard cursor.remaining == 0 else { throw FrameCursorError(field: "end of request", offset: cursor.position) }
    }

    private mutating func readTopics(
        _ cursor: inout FrameCursor, _ body: ByteBuffer, version: Int16, flexible: Bool
    ) throws(FrameCursorError) {
        let count = try cursor.count("topics", flexible: flexible, minimumElementSize: flexible ? 3 : 6) ?? 0
        for _ in 0..<count {
            let (id, name) = try Self.readTopicName(&cursor, body, version: version, flexible: flexible)
            let partitionCount = try cursor.count("topics.partitions", flexible: flexible, minimumElementSize: 16) ?? 0
            for _ in 0..<partitionCount {
                let index = try cursor.int32("topics.partitions.partition")
                let epoch = version >= 9 ? try cursor.int32("topics.partitions.currentLeaderEpoch") : -1
                let offset = try cursor.int64("topics.partitions.fetchOffset")
                let lastFetchedEpoch = version >= 12 ? try cursor.int32("topics.partitions.lastFetchedEpoch") : -1
                let logStart = version >= 5 ? try cursor.int64("topics.partitions.logStartOffset") : -1
                let maxBytes = try cursor.int32("topics.partitions.partitionMaxBytes")
                if flexible { try cursor.skipTags() }
                partitions.append(
                    (
                        FetchSessionKey(topicID: id, topicName: name, partition: index),
                        FetchPosition(
                            fetchOffset: offset, maxBytes: maxBytes, currentLeaderEpoch: epoch, lastFetchedEpoch: lastFetchedEpoch,
                            logStartOffset: logStart)
                    ))
            }
            if flexible { try cursor.skipTags() }
        }
    }

    private mutating func readForgotten(
        _ cursor: inout FrameCursor, _ body: ByteBuffer, version: Int16, flexible: Bool
    ) throws(FrameCursorError) {
        let count = try cursor.count("forgottenTopicsData", flexible: flexible, minimumElementSize: flexible ? 3 : 6) ?? 0
        for _ in 0..<count {
            let (id, name) = try Self.readTopicName(&cursor, body, version: version, flexible: flexible)
            let partitionCount = try cursor.count("forgottenTopicsData.partitions", flexible: flexible, minimumElementSize: 4) ?? 0
            for _ in 0..<partitionCount {
                let index = try cursor.int32("forgottenTopicsData.partitions")
                forgotten.append(FetchSessionKey(topicID: id, topicName: name, partition: index))
            }
            if flexible { try cursor.skipTags() }
        }
    }

    private mutating func readTags(_ cursor: inout FrameCursor, _ body: ByteBuffer, version: Int16) throws(FrameCursorError) {
        var cluster: String?
        var replica: (id: NodeID, epoch: Int64)?
        try cursor.tags { (tag, start, size) throws(FrameCursorError) in
            var field = FrameCursor(body.readableBytesSpan, at: start)
            switch tag {
            case 0:
                if let range = try field.string("clusterId", flexible: true) { cluster = body.text(at: range) }
            case 1 where version >= 15:
                replica = (try field.int32("replicaState.replicaId"), try field.int64("replicaState.replicaEpoch"))
            default: break
            }
        }
        clusterID = cluster
        if let replica { (replicaID, replicaEpoch) = replica }
    }

    private static func readTopicName(
        _ cursor: inout FrameCursor, _ body: ByteBuffer, version: Int16, flexible: Bool
    ) throws(FrameCursorError) -> (TopicID, String) {
        if version >= 13 { return (try cursor.uuid("topics.topicId"), "") }
        guard let range = try cursor.string("topics.topic", flexible: flexible) else {
            throw FrameCursorError(field: "topics.topic", offset: cursor.position)
        }
        return (.zero, body.text(at: range))
    }
}

extension ByteBuffer {
    /// The text at a range relative to the reader index; broken UTF-8 is repaired, as such a name matches no topic anyway.
    func text(at range: Range<Int>) -> String {
        getString(at: readerIndex + range.lowerBound, length: range.count) ?? ""
    }
}
