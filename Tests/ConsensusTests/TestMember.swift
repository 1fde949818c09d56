// One member of a quorum on a simulated disk: performs the effects of its core, and survives a crash with what was synced.
import Consensus
import KafkaMessages
import NIOCore
import Primitives
import RecordBatches

/// A batch on disk.
struct StoredBatch: Hashable {
    var bytes: ByteBuffer
    var base: Offset
    var next: Offset
    var epoch: LeaderEpoch
}

/// What remains of a member without its process.
struct Disk {
    var election: ElectionState?
    var start: Offset = 0
    var batches: [StoredBatch] = []
    /// Batches below are synced.
    var durable: Offset = 0
    var snapshots: [SnapshotID: StoredSnapshot] = [:]
    var partial: [SnapshotID: ByteBuffer] = [:]

    var end: Offset { batches.last?.next ?? start }

    mutating func append(_ bytes: ByteBuffer) throws {
        var iterator = RecordBatchIterator(bytes)
        while let batch = try iterator.next() {
            guard batch.header.baseOffset == end else { throw Broken("batch \(batch.header.baseOffset) appended at \(end)") }
            batches.append(
                StoredBatch(
                    bytes: batch.bytes, base: batch.header.baseOffset, next: batch.header.nextOffset,
                    epoch: batch.header.partitionLeaderEpoch))
        }
    }

    /// What the member finds when it starts again.
    func quorumLog() throws -> QuorumLog {
        var log = QuorumLog(endOffset: end, lastEpoch: batches.last?.epoch ?? newestSnapshot?.epoch ?? 0)
        log.startOffset = start
        log.snapshots = snapshots.keys.sorted()
        if let newest = newestSnapshot, let snapshot = snapshots[newest] {
            for record in snapshot.header { try log.replay(record, inBootstrapSnapshot: newest == .bootstrap) }
        }
        if start > 0, let oldest = snapshots.keys.min(), oldest.endOffset == start {
            log.epochs = [EpochStart(epoch: oldest.epoch, startOffset: start)]
        }
        for stored in batches {
            if log.epochs.last.map({ $0.epoch < stored.epoch }) ?? true {
                log.epochs.append(EpochStart(epoch: stored.epoch, startOffset: stored.base))
            }
            let batch = try RecordBatch(stored.bytes)
            guard batch.header.isControl, stored.base >= newestSnapshot?.endOffset ?? 0 else { continue }
            for record in try batch.allRecords() {
                if let control = try QuorumControlRecord.decode(record) { try log.replay(control, at: record.offset) }
            }
        }
        return log
    }

    var newestSnapshot: SnapshotID? { snapshots.keys.max() }
}

/// A snapshot: only its control records and name matter to the quorum.
struct StoredSnapshot {
    var header: [QuorumControlRecord]
    var bytes: ByteBuffer
}

struct Broken: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// What a member's effects turn into outside of it.
enum Outgoing {
    case request(QuorumRequest, to: QuorumPeer, correlation: UInt64)
    case reply(token: UInt64, QuorumResponse)
    /// A sync of its log is to be done.
    case sync
    case install(SnapshotID)
    case lead(LeaderEpoch)
    case resign
    case commit(from: Offset, upTo: Offset)
    case stopped
}

/// A running member.
struct TestMember {
    let id: NodeID
    var disk: Disk
    var quorum: Quorum
    var committed: Offset
    /// Grows with every start; what is under way for an older one is lost.
    var incarnation: Int

    init(_ configuration: QuorumConfiguration, disk: Disk, seed: UInt64, incarnation: Int) throws {
        id = configuration.localID
        self.disk = disk
        self.incarnation = incarnation
        quorum = try Quorum(configuration, persisted: disk.election, log: try disk.quorumLog(), seed: seed)
        committed = quorum.highWatermark
    }

    /// Performs what the core asked for; returns what concerns others.
    mutating func perform(_ effects: [QuorumEffect]) throws -> [Outgoing] {
        var outgoing: [Outgoing] = []
        for effect in effects {
            switch effect {
            case .persist(let state):
                if let before = disk.election, state.leaderEpoch < before.leaderEpoch { throw Broken("\(id): the epoch went back") }
                if let before = disk.election, state.leaderEpoch == before.leaderEpoch, before.votedID >= 0, state.votedID >= 0,
                    before.votedID != state.votedID
                {
                    throw Broken("\(id): voted twice in epoch \(state.leaderEpoch)")
                }
                disk.election = state
            case .append(let bytes), .appendFetched(let bytes):
                try disk.append(bytes)
                outgoing.append(.sync)
            case .truncate(let offset):
                guard offset >= committed else { throw Broken("\(id): truncates to \(offset) below \(committed)") }
                disk.batches.removeAll { $0.next > offset }
                guard disk.end == offset else { throw Broken("\(id): truncates into a batch") }
                disk.durable = min(disk.durable, offset)
            case .commit(let offset):
                guard offset > committed, offset <= disk.end else { throw Broken("\(id): commits \(offset) of \(disk.end)") }
                outgoing.append(.commit(from: committed, upTo: offset))
                committed = offset
            case .lead(let epoch): outgoing.append(.lead(epoch))
            case .resign: outgoing.append(.resign)
            case .follow: break
            case .send(let request, let peer, let correlation):
                outgoing.append(.request(request, to: peer, correlation: correlation))
            case .reply(let token, let response): outgoing.append(.reply(token: token, response))
            case .replyWithRecords(let token, var response, let from, let upTo, let limit):
                var bytes = ByteBuffer()
                for batch in disk.batches where batch.next > from && batch.base < upTo {
                    if bytes.readableBytes > 0, bytes.readableBytes + batch.bytes.readableBytes > limit { break }
                    bytes.writeImmutableBuffer(batch.bytes)
                }
                response.responses[0].partitions[0].records = bytes
                outgoing.append(.reply(token: token, .fetch(response)))
            case .replyWithSnapshot(let token, var response, let id, let position, let limit):
                if let snapshot = disk.snapshots[id] {
                    let length = min(limit, 7, snapshot.bytes.readableBytes - Int(position))
                    response.topics[0].partitions[0].size = Int64(snapshot.bytes.readableBytes)
                    response.topics[0].partitions[0].unalignedRecords =
                        snapshot.bytes.getSlice(at: Int(position), length: length) ?? ByteBuffer()
                } else {
                    response.topics[0].partitions[0].errorCode = .snapshotNotFound
                }
                outgoing.append(.reply(token: token, .fetchSnapshot(response)))
            case .writeSnapshotChunk(let id, let position, let bytes):
                if position == 0 { disk.partial[id] = ByteBuffer() }
                disk.partial[id, default: ByteBuffer()].writeImmutableBuffer(bytes)
            case .installSnapshot(let id): outgoing.append(.install(id))
            case .stopped: outgoing.append(.stopped)
            }
        }
        return outgoing
    }

    /// The end of the process: what was not synced may be lost, from any batch on.
    func crashed(keeping random: inout SeededRandom) -> Disk {
        var disk = disk
        disk.partial = [:]
        while let last = disk.batches.last, last.next > disk.durable, Bool.random(using: &random) { disk.batches.removeLast() }
        disk.durable = disk.end
        return disk
    }
}
