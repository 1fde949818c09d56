// From a topic's configuration, as the tables know it, to the settings of its logs.
import ConfigDefinitions
import RecordBatches
import Storage

extension LogConfiguration {
    init(_ topic: TopicConfiguration, producerIDExpirationMilliseconds expiration: Int64) {
        self.init()
        segmentBytes = topic.segmentBytes
        segmentMilliseconds = topic.segmentMilliseconds
        segmentJitterMilliseconds = topic.segmentJitterMilliseconds
        segmentIndexBytes = topic.segmentIndexBytes
        indexIntervalBytes = topic.indexIntervalBytes
        retentionMilliseconds = topic.retentionMilliseconds
        retentionBytes = topic.retentionBytes
        maxMessageBytes = topic.maxMessageBytes
        cleanupPolicy = []
        if topic.deletes { cleanupPolicy.insert(.delete) }
        if topic.compacts { cleanupPolicy.insert(.compact) }
        fileDeleteDelayMilliseconds = topic.fileDeleteDelayMilliseconds
        flushMessages = topic.flushMessages
        flushMilliseconds = topic.flushMilliseconds
        timestampType = topic.messageTimestampType == .logAppendTime ? .logAppendTime : .createTime
        messageTimestampBeforeMaxMilliseconds = topic.messageTimestampBeforeMaxMilliseconds
        messageTimestampAfterMaxMilliseconds = topic.messageTimestampAfterMaxMilliseconds
        minInSyncReplicas = topic.minInSyncReplicas
        preallocate = topic.preallocate
        deleteRetentionMilliseconds = topic.deleteRetentionMilliseconds
        minCleanableDirtyRatio = topic.minCleanableDirtyRatio
        minCompactionLagMilliseconds = topic.minCompactionLagMilliseconds
        maxCompactionLagMilliseconds = topic.maxCompactionLagMilliseconds
        uncleanLeaderElectionEnable = topic.uncleanLeaderElectionEnable
        compression = Self.compression(of: topic)
        producerIDExpirationMilliseconds = expiration
    }

    private static func compression(of topic: TopicConfiguration) -> TopicCompression {
        switch topic.compressionType {
        case "uncompressed": .fixed(.none, level: nil)
        case "gzip": .fixed(.gzip, level: Int32(clamping: topic.compressionGzipLevel))
        case "snappy": .fixed(.snappy, level: nil)
        case "lz4": .fixed(.lz4, level: Int32(clamping: topic.compressionLz4Level))
        case "zstd": .fixed(.zstd, level: Int32(clamping: topic.compressionZstdLevel))
        default: .producer
        }
    }

    /// Whether DeleteRecords may remove records: not from a topic that is only compacted.
    var isDeletionAllowed: Bool { cleanupPolicy.contains(.delete) }
}
