// Which of the source's committed offsets a mirror's groups may have.
import Primitives

/// Offsets of groups under the names of mirror topics.
public enum MirrorOffsets {
    /// Those that the mirrors have come to, for good: a group that went on from others would be told that its offset is out of range.
    ///
    /// - Parameters:
    ///   - offsets: as committed at the source.
    ///   - survey: from before the offsets were asked for, or after: mirrors only come further.
    /// - Returns: for each partition here, the source's partition whose offset it gets.
    public static func admitted(
        _ offsets: [TopicPartition: Offset], _ mirrors: [MirrorTopic], _ survey: MirrorSurvey
    ) -> [TopicPartition: TopicPartition] {
        var admitted: [TopicPartition: TopicPartition] = [:]
        for mirror in mirrors where mirror.state.fetches {
            for (partition, offset) in offsets where partition.topic == mirror.sourceName {
                let name = TopicPartition(mirror.name, partition.partition)
                // What a mirror has before it follows its source may be cut.
                guard let entry = survey.entries[name], entry.sourceEndOffset >= 0, offset <= entry.highWatermark else { continue }
                admitted[name] = partition
            }
        }
        return admitted
    }
}
