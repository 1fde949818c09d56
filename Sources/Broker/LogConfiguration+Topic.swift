// From a topic's configuration, as the tables know it, to the settings of its logs.
import ConfigDefinitions
import Configuration
import RecordBatches
import Storage

extension LogConfiguration {
    init(_ topic: TopicConfiguration, configuration: BrokerConfiguration) {
        self.init()
        segmentBytes = topic.segmentBytes
        segmentMilliseconds = topic.segmentMs
        segmentJitterMilliseconds = topic.segmentJitterMs
        segmentIndexBytes = topic.segmentIndexBytes
        indexIntervalBytes = topic.indexIntervalBytes
        retentionMilliseconds = topic.retentionMs
        retentionBytes = topic.retentionBytes
        maxMessageBytes = topic.maxMessageBytes
        cleanupPolicy = []
        if topic.deletes { cleanupPolicy.insert(.delete) }
        if topic.compacts { cleanupPolicy.insert(.compact) }
        fileDeleteDelayMilliseconds = topic.fileDeleteDelayMs
        flushMessages = topic.flushMessages
        flushMilliseconds = topic.flushMs
        timestampType = topic.messageTimestampType == .logAppendTime ? .logAppendTime : .createTime
        messageTimestampBeforeMaxMilliseconds = topic.messageTimestampBeforeMaxMs
        messageTimestampAfterMaxMilliseconds = topic.messageTimestampAfterMaxMs
        minInSyncReplicas = topic.minInsyncReplicas
        preallocate = topic.preallocate
        deleteRetentionMilliseconds = topic.deleteRetentionMs
        minCleanableDirtyRatio = topic.minCleanableDirtyRatio
        minCompactionLagMilliseconds = topic.minCompactionLagMs
        maxCompactionLagMilliseconds = topic.maxCompactionLagMs
        uncleanLeaderElectionEnable = topic.uncleanLeaderElectionEnable
        compression = .producer
    }

    /// Whether DeleteRecords may remove records: not from a topic that is only compacted.
    var isDeletionAllowed: Bool { cleanupPolicy.contains(.delete) }
}
