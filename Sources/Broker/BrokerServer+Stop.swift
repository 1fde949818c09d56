// Stopping: no new clients, leadership given up as the metadata log wants it, everything on disk and marked clean.
import Controlling
import Logging
import NIOCore
import NIOPosix
import Primitives
import Runtime
import Storage

extension BrokerServer {
    /// How long requests in progress may take to be answered.
    private static let drain = TimeAmount.seconds(5)

    /// Stops cleanly; also after a start that failed halfway. Blocks until everything is on disk.
    public func stop() {
        health.reportStopping()
        let parts = takeParts()
        parts.network?.stopAccepting()
        parts.maintenance?.stop()
        if let metadata = parts.metadata, let epoch = parts.brokerEpoch { beginShutdown(metadata, epoch) }
        parts.services?.groups.endAllTerms()
        parts.network?.close(drainingFor: Self.drain)
        backgroundWork.stop()
        let isClean = closeLogs(parts.services)
        parts.metadata?.close()
        closeDirectories(parts, clean: isClean)
        for admin in parts.admins { admin.close() }
        try? parts.loops?.syncShutdownGracefully()
        try? housekeeping.syncShutdownGracefully()
    }

    /// As a Kafka broker does it: controlled shutdown, then fenced, so that the metadata log says that nobody leads these partitions.
    private func beginShutdown(_ metadata: MetadataRuntime, _ epoch: Int64) {
        do throws(RequestFailure) {
            try metadata.stopBroker(configuration.nodeID, epoch: epoch)
        } catch {
            logger.warning("the controlled shutdown was not recorded; the next start sees to it", metadata: ["reason": "\(error)"])
        }
    }

    /// Closes every log; false when one of them could not be closed, so that the next start looks at all of them.
    private func closeLogs(_ services: BrokerServices?) -> Bool {
        guard let services else { return true }
        var isClean = true
        let now = SystemClock.now()
        for partition in services.partitions.all {
            do throws(StorageError) {
                try partition.withLog { log throws(StorageError) in try log.close(now: now) }
            } catch {
                isClean = false
                logger.error("a log was not closed", metadata: ["partition": "\(partition.topicPartition)", "reason": "\(error)"])
            }
        }
        return isClean
    }

    private func closeDirectories(_ parts: Parts, clean: Bool) {
        guard let directories = parts.directories else { return }
        var checkpoints: [(directory: LogDirectory, checkpoint: PartitionCheckpoint)] = []
        for partition in parts.services?.partitions.all ?? [] {
            let entry = try? partition.withLog { log throws(StorageError) in (log.logDirectory, log.checkpoint) }
            if let entry { checkpoints.append(entry) }
        }
        do throws(StorageError) {
            // Without having loaded the logs nothing is known about them: the marker of the last stop is gone, a recovery is due.
            try directories.close(checkpoints, brokerEpoch: parts.brokerEpoch ?? -1, clean: clean && parts.brokerEpoch != nil)
        } catch {
            logger.error("the data directories were not closed cleanly; the next start recovers", metadata: ["reason": "\(error)"])
        }
    }
}
