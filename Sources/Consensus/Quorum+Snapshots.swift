// What a snapshot of the metadata log begins with (KIP-630).
import KafkaRecords
import Primitives

extension Quorum {
    /// The control records of a snapshot's first batch: dynamic voters stand in every snapshot, for the log before it may be gone.
    ///
    /// - Parameter endOffset: where the snapshot ends; voters set behind that do not belong into it.
    public func snapshotHeader(endOffset: Offset = .max, lastContainedTimestamp: Timestamp) -> [QuorumControlRecord] {
        let state = log.history.state(before: endOffset)
        return Self.snapshotHeader(
            lastContainedTimestamp: lastContainedTimestamp, kraftVersion: state.kraftVersion, voters: state.voters)
    }

    /// The control records of a snapshot's first batch.
    public static func snapshotHeader(
        lastContainedTimestamp: Timestamp, kraftVersion: Int16, voters: VoterSet?
    ) -> [QuorumControlRecord] {
        var header = SnapshotHeaderRecord()
        header.lastContainedLogTimestamp = lastContainedTimestamp
        var records = [QuorumControlRecord.snapshotHeader(header)]
        if kraftVersion > 0 {
            var version = KRaftVersionRecord()
            version.kRaftVersion = kraftVersion
            records.append(.kraftVersion(version))
            if let voters { records.append(.voters(voters.record())) }
        }
        return records
    }
}
