// Moves between directories that a stop or a crash interrupted: what becomes of the copies that the start finds.
import ClusterMetadata
import Logging
import Primitives
import Storage

extension BrokerServices {
    /// Goes on with the move of a replica that has just been opened; before it leads or follows, so that no cut of its log is missed.
    func resumeMove(of partition: Partition) {
        guard let copy = loadedLogs.takeFuture(partition.topicPartition) else { return }
        let now = SystemClock.now()
        guard partition.topicID == copy.topicID, partition.logDirectory !== copy.logDirectory else { return copy.discard(now: now) }
        do throws(StorageError) {
            try partition.withLog { log throws(StorageError) in try copy.cut(toAgreeWith: log, now: now) }
            moves.start(partition, FutureReplica(copy))
        } catch {
            logger.error(
                "a replica is not moved on: its copy cannot be used",
                metadata: ["partition": "\(partition.topicPartition)", "directory": "\(copy.logDirectory.path)", "reason": "\(error)"])
            copy.logDirectory.noteFailure(error)
            copy.discard(now: now)
            moves.tellDirectory(of: partition)
        }
    }

    /// The log of a replica that the metadata have in a directory where only a copy of it is: its old directory is gone. The copy was whole
    /// when the metadata were told; what came after, other replicas bring back.
    ///
    /// - Returns: nil when there is no such copy.
    func abandonedCopy(_ name: TopicPartition, _ topicID: TopicID, assigned: KafkaUUID?, _ configuration: LogConfiguration)
        throws(StorageError) -> PartitionLog?
    {
        guard let copy = loadedLogs.takeFuture(name) else { return nil }
        let now = SystemClock.now()
        let isAssigned = assigned != nil && copy.logDirectory.properties?.directoryID == assigned
        if directories.hasOffline {
            // Its log may be in a directory that is out of service, and come back with it. The controller must not let this broker lead.
            if isAssigned { directoryAssignments.submit(TopicIDPartition(topicID, name.partition), directory: DirectoryID.lost) }
            try copy.close(now: now)
            return nil
        }
        guard isAssigned, copy.topicID == topicID, !directories.hold(name) else {
            copy.discard(now: now)
            return nil
        }
        logger.warning(
            "a replica's directory is gone; the copy that was to take its place is used",
            metadata: ["partition": "\(name)", "directory": "\(copy.logDirectory.path)", "end": "\(copy.logEndOffset)"])
        return try copy.becomeLog(configuration: configuration, now: now)
    }

    /// Deletes copies of partitions that this broker does not have any more.
    func discardLeftCopies() {
        for copy in loadedLogs.takeFutures() { copy.discard(now: SystemClock.now()) }
    }
}
