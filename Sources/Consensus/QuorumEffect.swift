// What the core asks of its shell. The core performs nothing: the order in which it lists effects is what makes it safe.
import KafkaMessages
import NIOCore
import Primitives

/// What the shell has to do, one after the other. Effects of an earlier step come before those of a later one.
public enum QuorumEffect: Sendable {
    /// Write the file quorum-state and make it durable before anything that follows, messages above all.
    case persist(ElectionState)
    /// Append this batch; it has its offsets and epoch. Make it durable, then report `appended(upTo:)`.
    case append(ByteBuffer)
    /// Append these batches of the leader as they are. Make them durable, then report `appended(upTo:)`: only then are they fetched past.
    case appendFetched(ByteBuffer)
    /// Remove everything from that offset on; nothing of it was committed.
    case truncate(to: Offset)
    /// Everything below the offset is committed: it may be applied, and answers that waited for it may go out.
    ///
    /// It may be beyond what the shell has made durable itself, not beyond what it was told to append.
    case commit(upTo: Offset)
    /// This node leads from now on. It may decide once everything below `Quorum.epochStartOffset` is committed and applied.
    case lead(LeaderEpoch)
    /// This node leads no longer; nothing of what it appended and was not committed may be believed.
    case resign
    /// Another leader, or nil for none that is known, in this epoch.
    case follow(leader: NodeID?, LeaderEpoch)
    /// Send a request, then call `received(response:…)` or `peerFailed` with the correlation, once. Requests that take
    /// longer than `QuorumTiming.requestTimeout` may be given up without a call. Encode it in the newest version that both sides know; if
    /// that version cannot say it, report `unsupportedVersion`. A connection that is refused or closes is to be reported at once.
    case send(QuorumRequest, to: QuorumPeer, correlation: UInt64)
    /// Answer the request that came with the token.
    case reply(token: UInt64, QuorumResponse)
    /// Answer the fetch with batches from that offset on: the response's only partition takes them as its `records`. At least one
    /// batch if there is one, else up to `maxBytes`, and none that begins at `upTo` or behind.
    case replyWithRecords(token: UInt64, FetchResponse, from: Offset, upTo: Offset, maxBytes: Int)
    /// Answer with bytes of a snapshot: the response's only partition takes `size` and `unalignedRecords`. A snapshot that is gone is
    /// answered with SNAPSHOT_NOT_FOUND, a position that is not below its size with POSITION_OUT_OF_RANGE, as the partition's error.
    case replyWithSnapshot(token: UInt64, FetchSnapshotResponse, SnapshotID, position: Int64, maxBytes: Int)
    /// Bytes of the leader's snapshot, in order. At position 0 the file begins anew.
    case writeSnapshotChunk(SnapshotID, position: Int64, ByteBuffer)
    /// All of the snapshot is there: check it, make it durable, remove the whole log, which starts again at the snapshot's end, and
    /// call `snapshotInstalled` or `snapshotFailed`. Load the state from it.
    case installSnapshot(SnapshotID)
    /// `shutDown` is complete: the voters know, or need not.
    case stopped
}
