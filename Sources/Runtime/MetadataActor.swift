// What the metadata runtime's queue works on: quorum and log, the state that is committed, and the term of the controller while this
// node leads.
import ClusterMetadata
import Collections
import Consensus
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import Logging
import NIOCore
import Primitives
import Storage

/// Single-threaded. The queue runs whatever waits, then `settle`, then shows what became committed and answers.
struct MetadataActor {
    private static let bytesWorthASnapshotOnClose: Int64 = 1 << 20

    let configuration: MetadataRuntimeConfiguration
    let log: MetadataLog
    let logger: Logger
    let outbox: MetadataOutbox
    var quorum: Quorum
    let bootstrap: BootstrapMetadata?

    /// The committed state; the last image in it is the last one shown. Stands still while `term` is there, which has its own.
    var replay: MetadataReplay
    /// Everything below is in `committedImage`, or in the open transaction behind it.
    var appliedOffset: Offset
    /// Everything below is committed, as far as this member knows.
    var committedOffset: Offset
    var committedImage: MetadataImage
    /// The active controller, while this node leads and has taken over what its predecessors committed.
    var term: ControllerTerm<@Sendable (RequestFailure?) -> Void>?
    /// The registration of this node's own controller, written when its term begins.
    var registration: ControllerRegistrationRequest?
    /// Why the last term ended before it began.
    var activationFailure: RequestFailure?

    /// Of the newest batch of this node's own making: the image says the same on every node.
    var lastTimestamp: Timestamp = -1
    var hasUnflushed = false
    /// Whether the step being performed has sent something, after which it cannot be taken back.
    var hasSentInStep = false
    /// A snapshot that the quorum wants installed; taken up by `settle`.
    var snapshotToInstall: SnapshotID?
    var isStopped = false
    /// Set when the log failed: the state in memory is ahead of the disk for good, so nothing more may be decided.
    private(set) var failure: RequestFailure?
    /// Why the log failed; nil when the node is only stopping.
    private(set) var logFailure: String?

    var measurements = QuorumMeasurements()
    /// What to say while nobody leads.
    var leaderless = LeaderlessReport()
    /// The last line about whom this node follows, which is not repeated by every election that nobody wins.
    var lastFollowed: MetadataLeader?

    /// Answers of the quorum that are owed, by token.
    var owed: [UInt64: @Sendable (QuorumResponse?) -> Void] = [:]
    private var lastToken: UInt64 = 0

    var subscribers: [@Sendable (MetadataPublication) -> Void] = []
    /// Images that became committed and are still to be shown, in order.
    var publications: [MetadataPublication] = []
    /// Answers that may go out once those are shown.
    var replies: [MetadataReply] = []

    private var schedule: SnapshotSchedule
    private var isWritingSnapshot = false

    init(
        _ configuration: MetadataRuntimeConfiguration, log: MetadataLog, loaded: LoadedMetadata, outbox: MetadataOutbox, now: Timestamp,
        logger: Logger
    ) throws(MetadataStorageError) {
        self.configuration = configuration
        self.log = log
        self.logger = logger
        self.outbox = outbox
        do throws(QuorumError) {
            quorum = try Quorum(
                configuration.quorum, persisted: loaded.electionState, log: loaded.quorumLog,
                seed: KafkaUUID.random().leastSignificantBits)
        } catch {
            throw .quorum(error)
        }
        bootstrap = loaded.bootstrap
        replay = loaded.replay
        committedImage = loaded.replay.image
        appliedOffset = loaded.nextOffset
        committedOffset = max(loaded.nextOffset, quorum.highWatermark)
        schedule = SnapshotSchedule(
            maximumBytes: configuration.log.maximumBytesBetweenSnapshots,
            maximumIntervalMilliseconds: configuration.log.maximumSnapshotIntervalMilliseconds, now: now)
        if log.log.logEndOffset > appliedOffset { schedule.appended(log.bytes(behind: appliedOffset)) }
        try applyFromLog()
        // Whoever subscribes gets the image as it is.
        publications = []
    }

    /// Whether this node's controller decides.
    var isActive: Bool { term != nil && failure == nil }

    /// Who leads, and since which epoch.
    var leader: MetadataLeader? {
        let id = quorum.leaderID
        guard id >= 0, failure == nil else { return nil }
        return MetadataLeader(id: id, epoch: quorum.epoch)
    }

    /// The time of the steps; record timestamps follow the wall clock.
    mutating func moment() -> Int64 {
        let now = SystemClock.monotonicMilliseconds()
        quorum.clockOffset = SystemClock.now() - now
        return now
    }

    mutating func nextToken() -> UInt64 {
        lastToken += 1
        return lastToken
    }

    // MARK: rounds

    /// Ends a round: what was appended becomes durable, what became committed is applied, and a leader that has applied all of it begins
    /// its term, which appends again.
    mutating func settle() {
        repeat {
            if hasUnflushed, failure == nil { flush() }
            if let snapshot = snapshotToInstall { install(snapshot) }
            applyCommitted()
            beginTermIfReady()
        } while (hasUnflushed || snapshotToInstall != nil) && failure == nil
    }

    private mutating func flush() {
        hasUnflushed = false
        do throws(StorageError) {
            if configuration.flushesCommits { try log.flush() }
        } catch {
            return fail("\(error)")
        }
        let now = moment()
        step(quorum.appended(upTo: quorum.endOffset, now: now))
    }

    /// Takes over what became committed: from the term, where the state is ahead already, else from the log.
    mutating func applyCommitted() {
        guard failure == nil else { return }
        if log.log.highWatermark < committedOffset { log.log.advanceHighWatermark(to: min(committedOffset, log.log.logEndOffset)) }
        if term != nil {
            while let publication = term?.popCommitted(below: committedOffset) { publish(publication) }
            appliedOffset = max(appliedOffset, committedOffset)
            while let reply = term?.popReply(at: committedOffset) { replies.append(MetadataReply(failure: nil, send: reply)) }
            return
        }
        do throws(MetadataStorageError) {
            try applyFromLog()
        } catch {
            fail("\(error)")
        }
    }

    private mutating func applyFromLog() throws(MetadataStorageError) {
        let end = min(committedOffset, log.log.logEndOffset)
        guard appliedOffset < end else { return }
        var complete: [MetadataPublication] = []
        try log.replay(from: appliedOffset, to: end, into: &replay) { complete.append($0) }
        appliedOffset = end
        if let publication = replay.publish() { complete.append(publication) }
        for publication in complete { publish(publication) }
    }

    mutating func publish(_ publication: MetadataPublication) {
        committedImage = publication.image
        publications.append(publication)
    }

    /// Goes back to what is committed: what the term decided beyond that may never be.
    mutating func endTerm() {
        applyCommitted()
        guard let ended = term else { return }
        term = nil
        replay = MetadataReplay(from: committedImage)
        appliedOffset = committedImage.provenance.offset + 1
        let refusal = RequestFailure(.notController, "This node is not the active controller any longer.")
        for reply in ended.waitingReplies { replies.append(MetadataReply(failure: failure ?? refusal, send: reply)) }
        logger.info("metadata controller is no longer active", metadata: ["epoch": "\(ended.epoch)"])
    }

    mutating func noteAppended(bytes: Int) {
        hasUnflushed = true
        schedule.appended(bytes)
    }

    mutating func fail(_ reason: String) {
        guard failure == nil else { return }
        logger.critical(
            "the metadata log has failed; nothing can be changed until this node is started again", metadata: ["reason": "\(reason)"])
        let refusal = RequestFailure(.kafkaStorageError, "the metadata log has failed: \(reason)")
        failure = refusal
        logFailure = reason
        // Nobody may see what did not reach the disk.
        if let ended = term {
            term = nil
            for reply in ended.waitingReplies { replies.append(MetadataReply(failure: refusal, send: reply)) }
        }
        let now = moment()
        for case .send(let request, let peer, let correlation) in quorum.resign(now: now) {
            outbox.send(request, to: peer, correlation: correlation)
        }
        dropOwed()
    }

    /// Whoever waits for an answer of the quorum gets none.
    private mutating func dropOwed() {
        let waiting = owed
        owed = [:]
        for token in waiting.keys.sorted() { waiting[token]?(nil) }
    }

    mutating func takePublications() -> [MetadataPublication] {
        defer { publications = [] }
        return publications
    }

    mutating func takeReplies() -> [MetadataReply] {
        defer { replies = [] }
        return replies
    }

    /// Everything must have been committed and published before, as far as it ever will be.
    mutating func close() {
        if failure == nil, !isWritingSnapshot, schedule.bytes >= Self.bytesWorthASnapshotOnClose {
            // The next start then reads a state instead of the history that led to it.
            let work = makeSnapshot(now: SystemClock.now())
            if let error = work?.run() { logger.warning("no snapshot was written on closing", metadata: ["reason": "\(error)"]) }
        }
        let now = moment()
        _ = quorum.resign(now: now)
        endTerm()
        isStopped = true
        dropOwed()
        if failure == nil { failure = RequestFailure(.notController, "This node is stopping.") }
        do throws(StorageError) {
            try log.log.close(now: SystemClock.now())
        } catch {
            logger.error("the metadata log was not closed cleanly", metadata: ["reason": "\(error)"])
        }
    }
}

/// An answer that may go out.
struct MetadataReply {
    /// Why the decision did not come about; nil when it is committed.
    let failure: RequestFailure?
    let send: @Sendable (RequestFailure?) -> Void
}

/// Who leads the quorum.
public struct MetadataLeader: Hashable, Sendable {
    public var id: NodeID
    public var epoch: LeaderEpoch

    public init(id: NodeID, epoch: LeaderEpoch) {
        self.id = id
        self.epoch = epoch
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
        guard !isWritingSnapshot, failure == nil, schedule.isDue(now: now) else { return nil }
        return makeSnapshot(now: now)
    }

    private mutating func makeSnapshot(now: Timestamp) -> MetadataSnapshotWork? {
        let provenance = committedImage.provenance
        guard provenance.offset >= 0 else { return nil }
        let id = SnapshotID(endOffset: provenance.offset + 1, epoch: provenance.epoch)
        guard (log.snapshots.last ?? .bootstrap) < id else { return nil }
        isWritingSnapshot = true
        schedule.snapshotWritten(now: now)
        return MetadataSnapshotWork(
            id: id, path: "\(log.path)/\(id.fileName)", image: committedImage,
            header: quorum.snapshotHeader(endOffset: id.endOffset, lastContainedTimestamp: provenance.timestamp))
    }

    mutating func finishSnapshot(_ work: MetadataSnapshotWork, error: MetadataStorageError?, now: Timestamp) {
        isWritingSnapshot = false
        if let error {
            logger.error("a metadata snapshot was not written; the next one will be tried later", metadata: ["reason": "\(error)"])
            return
        }
        guard !isStopped, failure == nil else { return }
        do throws(StorageError) {
            try log.snapshotFinished(work.id, now: now)
        } catch {
            logger.error("old metadata was not removed", metadata: ["reason": "\(error)"])
        }
        quorum.snapshotWritten(work.id, startOffset: log.log.logStartOffset)
    }
}
