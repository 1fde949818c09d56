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
    /// How long the controller may take to find other leaders for what this broker leads.
    private static let handoverMilliseconds: Int64 = 60_000

    /// Stops cleanly; also after a start that failed halfway. Blocks until everything is on disk.
    public func stop() {
        health.reportStopping()
        let parts = takeParts()
        let brokerEpoch = parts.lifecycle?.brokerEpoch ?? -1
        // Clients are served until others lead: their next requests are told where to go.
        if let lifecycle = parts.lifecycle, parts.services != nil, configuration.cluster.controlledShutdownEnable {
            _ = lifecycle.leave(within: Self.handoverMilliseconds)
        }
        parts.network?.stopAccepting()
        parts.maintenance?.stop()
        parts.lifecycle?.close()
        parts.services?.groups.endAllTerms()
        parts.services?.transactions.close()
        parts.services?.shareGroups.close()
        parts.services?.links.close()
        parts.network?.close(drainingFor: Self.drain)
        parts.services?.replication.close()
        parts.services?.directoryAssignments.close()
        parts.services?.cleaner.stop()
        parts.services?.moves.stop()
        backgroundWork.stop()
        let isClean = closeLogs(parts.services)
        parts.metadata?.close()
        parts.controllerNetwork?.close(drainingFor: .milliseconds(500))
        parts.cluster?.close()
        closeDirectories(parts, brokerEpoch: brokerEpoch, clean: isClean)
        for admin in parts.admins { admin.close() }
        try? parts.loops?.syncShutdownGracefully()
        try? clusterLoops.syncShutdownGracefully()
        try? housekeeping.syncShutdownGracefully()
    }

    /// Closes every log; false when one of them could not be closed, so that the next start looks at all of them.
    private func closeLogs(_ services: BrokerServices?) -> Bool {
        guard let services else { return true }
        var isClean = true
        let now = SystemClock.now()
        // What failed is recovered at the next start in any case.
        for partition in services.partitions.all where !partition.isOffline {
            do throws(StorageError) {
                try partition.withLog { log throws(StorageError) in try log.close(now: now) }
            } catch {
                isClean = false
                logger.error("a log was not closed", metadata: ["partition": "\(partition.topicPartition)", "reason": "\(error)"])
            }
        }
        // Copies of logs that are out of service wait for them.
        for future in services.partitions.all.compactMap(\.future) {
            do throws(MoveFailure) {
                try future.withLog { log throws(StorageError) in try log.close(now: now) }
            } catch {
                isClean = false
            }
        }
        return isClean
    }

    private func closeDirectories(_ parts: Parts, brokerEpoch: Int64, clean: Bool) {
        parts.metadataDirectories?.unlock()
        guard let directories = parts.directories else { return }
        var checkpoints: [(directory: LogDirectory, checkpoint: PartitionCheckpoint)] = []
        for partition in parts.services?.partitions.all ?? [] where !partition.isOffline {
            let entry = try? partition.withLog { log throws(StorageError) in (log.logDirectory, log.checkpoint) }
            if let entry { checkpoints.append(entry) }
        }
        do throws(StorageError) {
            // Without having loaded the logs nothing is known about them: the marker of the last stop is gone, a recovery is due.
            try directories.close(checkpoints, brokerEpoch: brokerEpoch, clean: clean && (brokerEpoch >= 0 || parts.lifecycle == nil))
        } catch {
            logger.error("the data directories were not closed cleanly; the next start recovers", metadata: ["reason": "\(error)"])
        }
    }
}
