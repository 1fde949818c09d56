// What the metadata runtime's queue works on: controller, quorum and log, and what waits for the next commit.
import ClusterMetadata
import Consensus
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import Logging
import NIOCore
import Primitives
import Storage

/// Single-threaded. A request changes the controller's image at once, but its publication and its answer wait for `commit`.
struct MetadataActor {
    private static let bytesWorthASnapshotOnClose: Int64 = 1 << 20

    private let configuration: MetadataRuntimeConfiguration
    private let log: MetadataLog
    private let logger: Logger
    private(set) var quorum: Quorum
    private var controller: Controller
    private let bootstrap: BootstrapMetadata?
    private var schedule: SnapshotSchedule
    private var isWritingSnapshot = false
    /// Set when the log failed: the state in memory is ahead of the disk for good, so nothing more may be decided.
    private var failure: RequestFailure?
    private var committedImage: MetadataImage

    var subscribers: [@Sendable (MetadataPublication) -> Void] = []
    /// Answers that wait for the next commit; they are told why when it did not come about.
    var replies: [@Sendable (RequestFailure?) -> Void] = []
    private var publications: [MetadataPublication] = []
    private var hasUncommitted = false

    var isActive: Bool { quorum.role == .leader && failure == nil }

    init(
        _ configuration: MetadataRuntimeConfiguration, log: MetadataLog, loaded: LoadedMetadata, now: Timestamp, logger: Logger
    ) throws(MetadataStorageError) {
        self.configuration = configuration
        self.log = log
        self.logger = logger
        do throws(QuorumError) {
            quorum = try Quorum(configuration.quorum, persisted: loaded.electionState, log: loaded.quorumLog)
        } catch {
            throw .quorum(error)
        }
        bootstrap = loaded.bootstrap
        committedImage = loaded.replay.image
        controller = Controller(
            configuration.controller, continuing: loaded.replay, seed: KafkaUUID.random().leastSignificantBits)
        schedule = SnapshotSchedule(
            maximumBytes: configuration.log.maximumBytesBetweenSnapshots,
            maximumIntervalMilliseconds: configuration.log.maximumSnapshotIntervalMilliseconds, now: now)
        schedule.appended(loaded.bytesSinceSnapshot)
    }

    /// Begins a new epoch and the controller's term.
    mutating func activate(registering registration: ControllerRegistrationRequest?) throws(MetadataStorageError) {
        let now = SystemClock.now()
        let effects: [QuorumEffect]
        do throws(QuorumError) { effects = try quorum.start(now: now) } catch { throw .quorum(error) }
        do throws(StorageError) { try perform(effects, now: now) } catch { throw .storage(error) }
        if let publication = controller.skip(to: quorum.endOffset - 1, epoch: quorum.epoch, timestamp: now) {
            publications.append(publication)
        }
        do throws(RequestFailure) {
            let bootstrap = bootstrap
            _ = try perform { (controller, _) throws(RequestFailure) in try controller.activationRecords(bootstrap: bootstrap) }
            if let registration, controller.image.features.metadataVersion?.supportsControllerRegistration == true {
                _ = try perform { (controller, _) throws(RequestFailure) in try controller.registerController(registration) }
            }
        } catch {
            throw .invalidOption(error.description)
        }
        commit()
        if let failure { throw .invalidOption(failure.description) }
        logger.info(
            "metadata controller is active",
            metadata: [
                "epoch": "\(quorum.epoch)", "metadata.version": "\(controller.image.features.level(of: MetadataVersion.featureName))",
            ])
    }

    /// Carries out what the quorum asks for.
    private mutating func perform(_ effects: [QuorumEffect], now: Timestamp) throws(StorageError) {
        for effect in effects {
            switch effect {
            case .persist(let state): try persist(state)
            case .append(let batch):
                try log.append(batch, now: now)
                hasUncommitted = true
                schedule.appended(batch.readableBytes)
            // Messages are sent once there are other voters.
            default: break
            }
        }
    }

    /// A full disk need not keep the only voter from starting: its epochs are in the log, too, and nobody else could get its vote.
    private mutating func persist(_ state: ElectionState) throws(StorageError) {
        do throws(StorageError) {
            try log.persist(state)
        } catch {
            guard case .outOfSpace = error, quorum.voters.isSoleVoter(configuration.quorum.localID) else { throw error }
            logger.warning("quorum-state was not written", metadata: ["reason": "\(error)"])
        }
    }

    /// Lets the controller decide and appends what it decided. Committed it is only by `commit`.
    mutating func perform<Response>(
        _ decide: (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>
    ) throws(RequestFailure) -> Response {
        if let failure { throw failure }
        guard quorum.role == .leader else { throw RequestFailure(.notController) }
        let result = try decide(&controller, quorum.endOffset)
        guard !result.records.isEmpty else { return result.response }
        let now = SystemClock.now()
        let baseOffset = quorum.endOffset
        var values: [ByteBuffer] = []
        values.reserveCapacity(result.records.count)
        do throws(MetadataStorageError) {
            for record in result.records { values.append(try MetadataBatches.encode(record)) }
        } catch {
            throw RequestFailure(.unknownServerError, error.description)
        }
        try append(values, isAtomic: result.isAtomic, now: now)
        do throws(MetadataError) {
            let publication = try controller.replay(
                result.records.map(\.record), at: baseOffset, epoch: quorum.epoch, timestamp: now)
            if let publication { publications.append(publication) }
        } catch {
            fail("\(error)")
            throw RequestFailure(.unknownServerError, error.description)
        }
        return result.response
    }

    /// All of the records are in the log then, or none: a disk that is full now may have space again for the next request.
    private mutating func append(_ values: [ByteBuffer], isAtomic: Bool, now: Timestamp) throws(RequestFailure) {
        let before = quorum
        let effects: [QuorumEffect]
        do throws(QuorumError) {
            effects = try quorum.append(values, isAtomic: isAtomic, now: now)
        } catch {
            throw RequestFailure(.invalidRequest, error.description)
        }
        do throws(StorageError) {
            try perform(effects, now: now)
        } catch {
            quorum = before
            logger.error("metadata cannot be written", metadata: ["reason": "\(error)"])
            do throws(StorageError) {
                try log.takeBack(from: before.endOffset, now: now)
            } catch {
                fail("\(error)")
            }
            throw failure ?? RequestFailure(.kafkaStorageError, "the metadata log cannot be written: \(error)")
        }
    }

    /// Makes everything decided so far durable, and by that committed.
    mutating func commit() {
        guard hasUncommitted, failure == nil else { return }
        hasUncommitted = false
        do throws(StorageError) {
            if configuration.flushesCommits {
                try log.flush()
            } else {
                log.log.advanceHighWatermark(to: log.log.logEndOffset)
            }
            _ = quorum.appended(upTo: quorum.endOffset, now: SystemClock.now())
        } catch {
            fail("\(error)")
        }
    }

    private mutating func fail(_ reason: String) {
        logger.critical(
            "the metadata log has failed; nothing can be changed until this node is started again", metadata: ["reason": "\(reason)"])
        failure = RequestFailure(.kafkaStorageError, "the metadata log has failed: \(reason)")
        _ = quorum.resign(now: SystemClock.now())
        // Nobody may see what did not reach the disk.
        publications = []
    }

    mutating func takePublications() -> [MetadataPublication] {
        defer { publications = [] }
        if let last = publications.last { committedImage = last.image }
        return publications
    }

    mutating func takeReplies() -> (replies: [@Sendable (RequestFailure?) -> Void], failure: RequestFailure?) {
        defer { replies = [] }
        return (replies, failure)
    }

    /// Everything must have been committed and published before.
    mutating func close() {
        if isActive, !isWritingSnapshot, controller.transactionStart == nil, schedule.bytes >= Self.bytesWorthASnapshotOnClose {
            // The next start then reads a state instead of the history that led to it.
            let work = makeSnapshot(now: SystemClock.now())
            if let error = work?.run() { logger.warning("no snapshot was written on closing", metadata: ["reason": "\(error)"]) }
        }
        _ = quorum.resign(now: SystemClock.now())
        do throws(StorageError) {
            try log.log.close(now: SystemClock.now())
        } catch {
            logger.error("the metadata log was not closed cleanly", metadata: ["reason": "\(error)"])
        }
    }
}

/// A snapshot to be written outside of the queue.
struct MetadataSnapshotWork: Sendable {
    let id: SnapshotID
    let path: String
    let image: MetadataImage
    let header: [QuorumControlRecord]

    /// Nil when the snapshot is complete and durable.
    func run() -> MetadataStorageError? {
        do throws(MetadataStorageError) {
            try MetadataSnapshotFile.write(
                to: path, header: header, epoch: id.epoch, timestamp: SystemClock.now(),
                records: { (body) throws(MetadataStorageError) in try image.forEachRecord(body) })
            return nil
        } catch {
            return error
        }
    }
}

extension MetadataActor {
    /// What to write if a snapshot is due; nil otherwise, or while one is being written.
    mutating func beginSnapshot(now: Timestamp) -> MetadataSnapshotWork? {
        guard !isWritingSnapshot, failure == nil, quorum.role == .leader, controller.transactionStart == nil, schedule.isDue(now: now)
        else { return nil }
        return makeSnapshot(now: now)
    }

    private mutating func makeSnapshot(now: Timestamp) -> MetadataSnapshotWork? {
        let provenance = committedImage.provenance
        guard provenance.offset >= 0 else { return nil }
        let id = SnapshotID(endOffset: provenance.offset + 1, epoch: provenance.epoch)
        guard log.snapshots.last != id else { return nil }
        isWritingSnapshot = true
        schedule.snapshotWritten(now: now)
        return MetadataSnapshotWork(
            id: id, path: "\(log.path)/\(id.fileName)", image: committedImage,
            header: quorum.snapshotHeader(lastContainedTimestamp: provenance.timestamp))
    }

    mutating func finishSnapshot(_ work: MetadataSnapshotWork, error: MetadataStorageError?, now: Timestamp) {
        isWritingSnapshot = false
        if let error {
            logger.error("a metadata snapshot was not written; the next one will be tried later", metadata: ["reason": "\(error)"])
            return
        }
        guard quorum.role == .leader else { return }
        do throws(StorageError) {
            try log.snapshotFinished(work.id, now: now)
        } catch {
            logger.error("old metadata was not removed", metadata: ["reason": "\(error)"])
        }
    }
}
