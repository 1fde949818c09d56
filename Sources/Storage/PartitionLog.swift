// One partition's log: segments, indexes, producers, epochs and the offsets that bound what may be read.
import NIOCore
import Primitives
import RecordBatches

/// A partition's directory, opened.
///
/// Not thread-safe: it belongs behind its owner's `Mutex`, and is sendable only so that it can be put there. What may block for long
/// is split so that it runs outside of the lock (`beginFlush`, `FlushWork.run`, `finishFlush`; `beginScrub`, `ScrubWork.run`,
/// `finishScrub`).
///
/// An idle partition costs about 1 KiB and no descriptor: segments and indexes open when somebody reads or writes.
public final class PartitionLog: @unchecked Sendable {
    public let topicPartition: TopicPartition
    /// `KafkaUUID.zero` for a log of unknown topic.
    public let topicID: TopicID
    /// The data directory that holds the partition.
    public let logDirectory: LogDirectory
    /// The partition's directory.
    public internal(set) var path: String
    public internal(set) var logStartOffset: Offset
    public internal(set) var logEndOffset: Offset
    public internal(set) var highWatermark: Offset
    /// From where on transactions that have ended do not count.
    public internal(set) var stableLimit = StableLimit.none
    /// Everything below it is flushed; a recovery starts here.
    public internal(set) var recoveryPoint: Offset
    /// Takes effect from the next append, roll and retention on.
    public var configuration: LogConfiguration {
        didSet { validation = Self.validation(for: configuration) }
    }
    /// What opening the log found.
    public internal(set) var loadReport = LogLoadReport()

    /// Ascending; the last one is the active one. Never empty while the log is open.
    var segmentList: [LogSegment]
    var producers: ProducerStates
    var epochs: LeaderEpochs
    var verifications = TransactionVerifications()
    /// Offsets of the snapshot files, ascending.
    var snapshotOffsets: [Offset]
    /// What the producers have seen; a snapshot is taken up to here.
    var producersEndOffset: Offset
    /// Whether transactions were seen here: then a segment without `.txnindex` is looked through before read_committed may trust it.
    var hasTransactions = false
    var isClosed = false
    var deletedFiles: [DeletedFiles] = []
    var lastFlush: Timestamp
    var directoryNeedsSync = false
    var validation: RecordBatchValidation
    var recentBatches = RecentBatches()
    var readHints = ReadHints()
    var limitCache: (offset: Offset, place: LogPlace)?
    var scrubState = ScrubState()
    /// The cleaning under way.
    var cleaning: CleaningControl?
    /// While a copy is made, no record may go that the copy needs to tell what is deleted: neither tombstones nor markers.
    public private(set) var isCleaningPaused = false
    /// Grows whenever compaction replaces segments: places in files noted before do not count any more.
    var segmentGeneration = 0

    init(
        topicPartition: TopicPartition, topicID: TopicID, logDirectory: LogDirectory, path: String, configuration: LogConfiguration,
        state: LoadedState, now: Timestamp
    ) {
        precondition(!state.segments.isEmpty, "a log has at least one segment")
        self.topicPartition = topicPartition
        self.topicID = topicID
        self.logDirectory = logDirectory
        self.path = path
        self.configuration = configuration
        segmentList = state.segments
        producers = state.producers
        epochs = state.epochs
        snapshotOffsets = state.snapshotOffsets
        producersEndOffset = state.logEndOffset
        logStartOffset = state.logStartOffset
        logEndOffset = state.logEndOffset
        highWatermark = min(max(state.highWatermark, state.logStartOffset), state.logEndOffset)
        recoveryPoint = min(max(state.recoveryPoint, state.logStartOffset), state.logEndOffset)
        hasTransactions = state.hasTransactions
        loadReport = state.report
        lastFlush = now
        scrubState.lastPass = now
        validation = Self.validation(for: configuration)
        producers.endsCount(before: highWatermark)
    }

    private static func validation(for configuration: LogConfiguration) -> RecordBatchValidation {
        var validation = RecordBatchValidation()
        validation.maximumBatchSize = configuration.maxMessageBytes
        validation.isCompacted = configuration.cleanupPolicy.contains(.compact)
        validation.timestampType = configuration.timestampType
        validation.timestampBeforeMaximum = configuration.messageTimestampBeforeMaxMilliseconds
        validation.timestampAfterMaximum = configuration.messageTimestampAfterMaxMilliseconds
        if case .fixed(let type, let level) = configuration.compression {
            validation.targetCompression = Compression(type, level: level.map { Int($0) })
        }
        return validation
    }

    // MARK: State

    /// The first offset of the oldest open transaction, or the high watermark (KIP-98).
    public var lastStableOffset: Offset {
        if stableLimit == .unknown { return logStartOffset }
        return min(highWatermark, max(producers.firstUnstableOffset ?? highWatermark, logStartOffset))
    }

    /// Bytes of all segments.
    public var sizeInBytes: Int { segmentList.reduce(0) { $0 + $1.size } }

    public var segments: [SegmentSummary] {
        segmentList.map {
            SegmentSummary(baseOffset: $0.baseOffset, sizeInBytes: $0.size, path: $0.path(".log"), isActive: $0 === active)
        }
    }

    /// Producers with state, by id.
    public var activeProducers: [ActiveProducer] {
        producers.snapshot.map {
            ActiveProducer(
                producerID: $0.producerID, producerEpoch: $0.producerEpoch, lastSequence: $0.lastSequence, lastTimestamp: $0.timestamp,
                coordinatorEpoch: $0.coordinatorEpoch, currentTransactionFirstOffset: $0.currentTransactionFirstOffset)
        }
    }

    /// Leader epochs and where they begin.
    public var leaderEpochs: [LeaderEpochEntry] { epochs.entries }

    /// Of the newest entry in the epoch checkpoint; nil for none.
    public var latestLeaderEpoch: LeaderEpoch? { epochs.latest?.epoch }

    /// For `LogDirectory.writeCheckpoints`.
    public var checkpoint: PartitionCheckpoint {
        PartitionCheckpoint(
            topicPartition: topicPartition, recoveryPoint: recoveryPoint, highWatermark: highWatermark, logStartOffset: logStartOffset,
            firstSegmentBaseOffset: segmentList[0].baseOffset)
    }

    var active: LogSegment { segmentList[segmentList.count - 1] }

    func checkOpen() throws(StorageError) {
        if isClosed { throw .closed(path: path) }
        if logDirectory.isOffline { throw .offline(path: logDirectory.path) }
    }

    /// Ends a cleaning under way and lets none begin, or lets them begin again.
    public func pauseCleaning(_ isPaused: Bool) {
        isCleaningPaused = isPaused
        if isPaused { abortCleaning() }
    }

    // MARK: Offsets

    /// Notes that `epoch` begins at the log's end, when this node becomes leader (KIP-101).
    public func assignLeaderEpoch(_ epoch: LeaderEpoch) {
        epochs.assign(epoch, startOffset: logEndOffset)
    }

    /// Sets the high watermark, bounded by the log's start and end; it may also go back.
    /// - Returns: whether it changed.
    @discardableResult
    public func advanceHighWatermark(to offset: Offset) -> Bool {
        let bounded = min(max(offset, logStartOffset), logEndOffset)
        guard bounded != highWatermark else { return false }
        highWatermark = bounded
        producers.endsCount(before: countedEnd)
        return true
    }

    /// Where `epoch` ends (OffsetForLeaderEpoch, KIP-101).
    public func endOffset(forEpoch epoch: LeaderEpoch) -> EpochEndOffset {
        epochs.endOffset(for: epoch, logEndOffset: logEndOffset)
    }

    /// Where the log starts, with the epoch there (ListOffsets' earliest).
    public func earliestOffset() -> LogOffset {
        LogOffset(offset: logStartOffset, leaderEpoch: epochs.epoch(at: logStartOffset) ?? -1)
    }

    /// Forgets producers that were idle for `producer.id.expiration.ms` and have no open transaction.
    public func removeExpiredProducers(now: Timestamp) {
        producers.removeExpired(now: now, after: configuration.producerIDExpirationMilliseconds)
        verifications.removeExpired(now: now, after: configuration.producerIDExpirationMilliseconds)
    }
}

/// A place in the log's files.
struct LogPlace {
    var segmentBase: Offset
    var position: Int
}

/// Where the last reads ended, so that a consumer that reads on needs no search.
struct ReadHints {
    private static let capacity = 8
    private var entries: [(offset: Offset, place: LogPlace)] = []
    private var next = 0

    mutating func note(_ offset: Offset, _ place: LogPlace) {
        if entries.count < Self.capacity { return entries.append((offset, place)) }
        entries[next] = (offset, place)
        next = (next + 1) % Self.capacity
    }

    /// The position of the batch that begins at `offset`.
    func find(_ offset: Offset, in segmentBase: Offset) -> Int? {
        for entry in entries where entry.offset == offset && entry.place.segmentBase == segmentBase { return entry.place.position }
        return nil
    }

    mutating func removeAll() {
        entries = []
        next = 0
    }
}

/// Positions of the batches appended last, so that readers at the log's end need no index and no read.
struct RecentBatches {
    private static let capacity = 32
    private var entries: [(baseOffset: Offset, lastOffset: Offset, position: Int)] = []
    private var next = 0

    mutating func append(_ baseOffset: Offset, lastOffset: Offset, position: Int) {
        if entries.count < Self.capacity {
            entries.append((baseOffset, lastOffset, position))
        } else {
            entries[next] = (baseOffset, lastOffset, position)
        }
        next = (next + 1) % Self.capacity
    }

    mutating func removeAll() {
        entries = []
        next = 0
    }

    /// The position of the batch that holds `offset`, or of the next one where a leader's log had a gap, and where it ends if a later
    /// one is known. Nil when older than all entries.
    func find(_ offset: Offset) -> (position: Int, end: Int?)? {
        var end: Int?
        var endOfNext: Int?
        var back = 1
        while back <= entries.count {
            let entry = entries[(next - back + Self.capacity) % Self.capacity]
            if entry.baseOffset <= offset {
                if offset <= entry.lastOffset { return (entry.position, end) }
                return end.map { ($0, endOfNext) }
            }
            endOfNext = end
            end = entry.position
            back += 1
        }
        return nil
    }
}

/// What loading a partition's directory makes out of its files.
struct LoadedState {
    var segments: [LogSegment] = []
    var producers = ProducerStates()
    var epochs = LeaderEpochs()
    var snapshotOffsets: [Offset] = []
    var logStartOffset: Offset = 0
    var logEndOffset: Offset = 0
    var highWatermark: Offset = 0
    var recoveryPoint: Offset = 0
    var hasTransactions = false
    var report = LogLoadReport()
}
