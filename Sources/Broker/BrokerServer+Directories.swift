// A log directory fails while the node runs (KIP-112, KIP-858): its partitions go out of service, the controller is told so that others
// lead them, and the rest of the node goes on; or the node ends, when there is nothing left that it could do.
import Logging
import Storage

extension BrokerServer {
    /// Called by whoever met the failure, perhaps under the lock of a log: what needs locks is done later.
    func directoryFailed(_ directory: LogDirectory, of directories: LogDirectories) {
        let reason = directory.failure.map { "\($0)" } ?? "unknown"
        if directory.path == configuration.metadataLog.directory {
            return failFatally("the metadata log directory \(directory.path) has failed (\(reason))")
        }
        if directories.online.isEmpty {
            return failFatally("every directory of log.dirs has failed, the last one is \(directory.path) (\(reason))")
        }
        logger.error(
            "a log directory has failed and is out of service until this node is started again; other replicas take over",
            metadata: ["directory": "\(directory.path)", "reason": "\(reason)"])
        guard let services, let lifecycle else { return }
        guard let id = directory.properties?.directoryID, services.canTellDirectories else {
            // Brokers of such a metadata.version have one directory as far as the controller knows: being fenced is the only way.
            return failFatally("the controller cannot be told that one directory of several has failed: metadata.version is below 3.7-IV2")
        }
        lifecycle.directoryFailed(id) { [weak self] in
            self?.failFatally("no controller could be told within log.dir.failure.timeout.ms that \(directory.path) has failed")
        }
        backgroundWork.run { services.takeOffline(directory) }
    }
}

extension BrokerServices {
    /// Whether the metadata say in which directory a replica lies.
    var canTellDirectories: Bool { metadataRuntime.image.features.metadataVersion?.supportsDirectoryAssignment == true }

    /// Every partition in the directory neither leads nor follows any more.
    func takeOffline(_ directory: LogDirectory) {
        moves.directoryFailed(directory)
        var count = 0
        for partition in partitions.all where partition.logDirectory === directory {
            replication.stopFetching(partition)
            partition.takeOffline()
            // The controller may take it for being where it was going to be.
            if partition.future != nil { moves.tellDirectory(of: partition) }
            count += 1
        }
        logger.warning(
            "partitions are out of service with their log directory",
            metadata: ["directory": "\(directory.path)", "partitions": "\(count)"])
    }
}
