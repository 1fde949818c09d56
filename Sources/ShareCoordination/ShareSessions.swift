// Which partitions each member of a share group fetches from this broker, so that its requests name only what changes (KIP-932). Bounded;
// a session lives no longer than the connection that began it.
import Collections
import KafkaWire
import Primitives

/// A member of a share group.
public struct ShareSessionKey: Hashable, Sendable {
    public var group: String
    public var member: String

    public init(group: String, member: String) {
        self.group = group
        self.member = member
    }
}

/// The share sessions of a broker.
public struct ShareSessions: Sendable {
    /// Epochs with a meaning of their own.
    public enum Epoch {
        /// Begins a session.
        public static let initial: Int32 = 0
        /// Ends the session and lets go of what the member has.
        public static let final: Int32 = -1

        static func next(_ epoch: Int32) -> Int32 { epoch == .max ? 1 : epoch + 1 }
    }

    private struct Session: Sendable {
        var epoch: Int32
        var partitions: OrderedSet<TopicIDPartition>
        /// Of the connection that began it.
        var connection: UInt64
    }

    /// What a fetch is about.
    public struct Fetch: Sendable, Equatable {
        /// All partitions of the session; none at the end of one.
        public var partitions: [TopicIDPartition]
        /// Those that the member has not been told anything of yet.
        public var added: [TopicIDPartition]
        public var isFinal: Bool
    }

    /// `group.share.max.share.sessions`.
    public let maximum: Int
    private var sessions: [ShareSessionKey: Session] = [:]

    public init(maximum: Int) { self.maximum = maximum }

    public var count: Int { sessions.count }
    /// Partitions of all sessions.
    public private(set) var partitionCount = 0

    /// Begins a fetch.
    ///
    /// - Parameters:
    ///   - hasAcknowledgements: a session cannot begin with any.
    ///   - connection: a number that no other connection of this process has.
    public mutating func fetch(
        _ key: ShareSessionKey, epoch: Int32, adding: [TopicIDPartition], forgetting: [TopicIDPartition], hasAcknowledgements: Bool,
        connection: UInt64
    ) throws(ShareStateRefusal) -> Fetch {
        if epoch == Epoch.final {
            guard sessions[key] != nil else { throw ShareStateRefusal(.shareSessionNotFound) }
            return Fetch(partitions: [], added: [], isFinal: true)
        }
        if epoch == Epoch.initial {
            guard !hasAcknowledgements else { throw ShareStateRefusal(.invalidRequest) }
            set(nil, for: key)
            guard sessions.count < maximum else { throw ShareStateRefusal(.shareSessionLimitReached) }
            let partitions = OrderedSet(adding)
            set(Session(epoch: Epoch.next(Epoch.initial), partitions: partitions, connection: connection), for: key)
            return Fetch(partitions: Array(partitions), added: Array(partitions), isFinal: false)
        }
        guard var session = sessions[key] else { throw ShareStateRefusal(.shareSessionNotFound) }
        guard session.epoch == epoch else { throw ShareStateRefusal(.invalidShareSessionEpoch) }
        let added = adding.filter { session.partitions.append($0).inserted }
        for partition in forgetting { session.partitions.remove(partition) }
        session.epoch = Epoch.next(epoch)
        set(session, for: key)
        return Fetch(partitions: Array(session.partitions), added: added.filter { session.partitions.contains($0) }, isFinal: false)
    }

    /// Checks the epoch of a request that only acknowledges.
    public mutating func acknowledge(_ key: ShareSessionKey, epoch: Int32) throws(ShareStateRefusal) {
        guard epoch != Epoch.initial else { throw ShareStateRefusal(.invalidShareSessionEpoch) }
        guard let session = sessions[key] else { throw ShareStateRefusal(.shareSessionNotFound) }
        guard epoch != Epoch.final else { return }
        guard session.epoch == epoch else { throw ShareStateRefusal(.invalidShareSessionEpoch) }
        sessions[key]?.epoch = Epoch.next(epoch)
    }

    /// Ends a session.
    ///
    /// - Parameter connection: ends it only if that connection began it; nil in any case.
    /// - Returns: whether there was one.
    @discardableResult
    public mutating func end(_ key: ShareSessionKey, of connection: UInt64? = nil) -> Bool {
        guard let session = sessions[key], connection == nil || session.connection == connection else { return false }
        set(nil, for: key)
        return true
    }

    private mutating func set(_ session: Session?, for key: ShareSessionKey) {
        partitionCount += (session?.partitions.count ?? 0) - (sessions[key]?.partitions.count ?? 0)
        sessions[key] = session
    }
}
