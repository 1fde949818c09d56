// When most controllers are gone for good: looks at what the others have on their disks, and makes one of them the only voter.
// Works on directories whose nodes do not run.
import Consensus
import Logging
import NIOCore
import Primitives
import Storage

/// A controller that is left: what it has in its metadata directory, which stays locked as long as this object lives.
public final class QuorumSurvivor {
    public let directory: String
    public let nodeID: NodeID
    public let clusterID: String
    public let directoryID: KafkaUUID
    /// The newest epoch that the node has heard of.
    public let knownEpoch: LeaderEpoch
    /// The epoch of the last record.
    public let lastEpoch: LeaderEpoch
    public let endOffset: Offset
    public let kraftVersion: Int16
    /// The voters as logged (kraft.version 1).
    public let voters: VoterSet?
    /// The voters beside the vote (kraft.version 0).
    public let staticVoters: [NodeID]

    private let directories: LogDirectories
    private let log: MetadataLog

    /// Reads a directory, with the repair that every start does after a crash.
    ///
    /// - Throws: `storage(locked)` when the node runs.
    public init(directory: String, logger: Logger) throws(MetadataStorageError) {
        self.directory = directory
        guard MetadataFiles.exists(MetadataLog.partitionPath(directory)) else {
            throw .invalidOption(
                "\(directory) holds no metadata log (\(MetadataLog.topicPartition)); name metadata.log.dir of a controller")
        }
        do throws(StorageError) {
            guard let properties = try MetaProperties(path: "\(directory)/\(MetaProperties.fileName)"), let node = properties.nodeID,
                let cluster = properties.clusterID
            else { throw StorageError.notFormatted(path: directory) }
            nodeID = node
            clusterID = cluster
            directoryID = properties.directoryID ?? .zero
            directories = try LogDirectories(LogDirectoriesConfiguration(paths: [directory]))
        } catch {
            throw .storage(error)
        }
        log = try MetadataLog(
            MetadataLogConfiguration(directory: directory), directories: directories, now: SystemClock.now(), logger: logger)
        let loaded = try log.load()
        lastEpoch = loaded.quorumLog.lastEpoch
        knownEpoch = max(loaded.electionState?.leaderEpoch ?? 0, loaded.quorumLog.lastEpoch)
        endOffset = loaded.quorumLog.endOffset
        kraftVersion = loaded.quorumLog.kraftVersion
        voters = loaded.quorumLog.voters
        staticVoters = loaded.electionState?.staticVoters ?? []
    }

    /// Everybody who may vote, as far as this directory knows.
    public var voterIDs: [NodeID] { voters.map { Array($0.voters.keys) } ?? staticVoters }

    /// As elections compare logs.
    public func hasLongerLog(than other: QuorumSurvivor) -> Bool {
        (lastEpoch, endOffset) > (other.lastEpoch, other.endOffset)
    }

    /// Makes this node the only voter, in an epoch that nobody has seen yet.
    ///
    /// The vote is written first and the voters after it, so that a crash in between leaves a node that has voted for itself and nothing
    /// else; doing it again is safe.
    public func becomeSoleVoter(epoch: LeaderEpoch) throws(MetadataStorageError) {
        let isDynamic = kraftVersion > 0
        let voters = isDynamic ? try soleVoter() : nil
        do throws(StorageError) {
            try log.persist(
                ElectionState(
                    leaderID: -1, leaderEpoch: epoch, votedID: nodeID, votedDirectoryID: isDynamic ? directoryID : .zero,
                    staticVoters: isDynamic ? nil : [nodeID]))
        } catch {
            throw .storage(error)
        }
        if let voters { try append(voters, epoch: epoch) }
    }

    private func soleVoter() throws(MetadataStorageError) -> VoterSet {
        guard var voter = voters?.voters[nodeID] else {
            throw .invalidOption("node \(nodeID) was no voter, so nobody knows where its controller listens")
        }
        voter.directoryID = directoryID
        return VoterSet([voter])
    }

    private func append(_ voters: VoterSet, epoch: LeaderEpoch) throws(MetadataStorageError) {
        let now = SystemClock.now()
        let batch: ByteBuffer
        do throws(QuorumError) {
            batch = try QuorumControlRecord.batch([.voters(voters.record())], baseOffset: endOffset, epoch: epoch, timestamp: now)
        } catch {
            throw .quorum(error)
        }
        do throws(StorageError) {
            try log.append(batch, now: now)
            try log.flush()
        } catch {
            throw .storage(error)
        }
    }
}
