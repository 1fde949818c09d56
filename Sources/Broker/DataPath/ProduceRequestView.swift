// A produce request, read in place: what it names and where its records lie. The whole request is checked before anything is appended.
import NIOCore
import Primitives
import Storage

/// One partition's share of a produce request, and later its outcome.
struct ProducePartition {
    var index: Int32
    /// Where the records lie in the frame; nil for null.
    var records: Range<Int>?
    /// Whether the records' producer numbers its batches, so that what is sent again is told from what is new.
    var isIdempotent = false
    /// What the share has to show if its records are a transaction's.
    var verification = TransactionVerification.ongoing
    var result = ProduceResult()
}

/// One topic of a produce request.
struct ProduceTopic {
    /// Where the name lies in the frame (versions up to 12).
    var name: Range<Int>
    /// The id (from version 13).
    var id: TopicID
    /// The topic's partitions in `ProduceRequestView.partitions`.
    var partitions: Range<Int>
}

/// The content of a produce request. Each connection keeps some and fills them anew, so that small requests allocate nothing.
struct ProduceRequestView {
    private(set) var transactionalID: Range<Int>?
    private(set) var acks: Int16 = 0
    private(set) var timeoutMilliseconds: Int32 = 0
    private(set) var topics: [ProduceTopic] = []
    var partitions: [ProducePartition] = []
    /// Shares whose records are not on all replicas in sync yet.
    var waits: [ProduceWait] = []

    /// Reads the body that begins at the frame's reader index. Ranges are relative to that index.
    mutating func read(_ body: ByteBuffer, version: Int16) throws(FrameCursorError) {
        topics.removeAll(keepingCapacity: true)
        partitions.removeAll(keepingCapacity: true)
        if !waits.isEmpty { waits = [] }
        let flexible = version >= 9
        var cursor = FrameCursor(body.readableBytesSpan)
        transactionalID = try cursor.string("transactionalId", flexible: flexible)
        acks = try cursor.int16("acks")
        timeoutMilliseconds = try cursor.int32("timeoutMs")
        let topicCount = try cursor.count("topicData", flexible: flexible, minimumElementSize: flexible ? 3 : 6) ?? 0
        for _ in 0..<topicCount {
            try readTopic(&cursor, version: version, flexible: flexible)
        }
        if flexible { try cursor.skipTags() }
        guard cursor.remaining == 0 else { throw FrameCursorError(field: "end of request", offset: cursor.position) }
    }

    /// Takes out of the body what the answer needs, so that a request that waits for replicas does not hold the memory that its records
    /// came in: the next request finds it free again. Returns what takes the body's place.
    mutating func detachNames(from body: ByteBuffer) -> ByteBuffer {
        var names = ByteBuffer()
        for index in topics.indices where !topics[index].name.isEmpty {
            let name = topics[index].name
            let start = names.writerIndex
            if let slice = body.getSlice(at: body.readerIndex + name.lowerBound, length: name.count) { names.writeImmutableBuffer(slice) }
            topics[index].name = start..<names.writerIndex
        }
        transactionalID = nil
        for index in partitions.indices { partitions[index].records = nil }
        return names
    }

    private mutating func readTopic(_ cursor: inout FrameCursor, version: Int16, flexible: Bool) throws(FrameCursorError) {
        var name = 0..<0
        var id = TopicID.zero
        if version >= 13 {
            id = try cursor.uuid("topicData.topicId")
        } else {
            guard let range = try cursor.string("topicData.name", flexible: flexible) else {
                throw FrameCursorError(field: "topicData.name", offset: cursor.position)
            }
            name = range
        }
        let first = partitions.count
        let count = try cursor.count("topicData.partitionData", flexible: flexible, minimumElementSize: flexible ? 6 : 8) ?? 0
        for _ in 0..<count {
            let index = try cursor.int32("topicData.partitionData.index")
            let records = try cursor.bytes("topicData.partitionData.records", flexible: flexible)
            if flexible { try cursor.skipTags() }
            partitions.append(ProducePartition(index: index, records: records))
        }
        if flexible { try cursor.skipTags() }
        topics.append(ProduceTopic(name: name, id: id, partitions: first..<partitions.count))
    }
}
