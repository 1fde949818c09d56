// What the active controller heard from brokers: when last, how far they are, what is suspected of them. None of it is in the log: the
// next controller begins anew and gives every broker a full session.
import OrderedCollections
import Primitives

/// What is known of one incarnation of a broker.
struct BrokerSession: Sendable {
    var epoch: Int64
    /// Milliseconds of the controller's monotonic clock; nil while the session is not timed.
    var lastContact: Int64?
    /// How far the broker says it is in the metadata log.
    var metadataOffset: Offset = -1
    /// Once every active broker is past this, a broker that stops may go.
    var controlledShutdownOffset: Offset?
    /// Since when there is reason to think that the process is gone: its connection closed, or a new controller never heard of it.
    var suspectedSince: Int64?
    /// Not heard of since its connection closed or since this controller became active, whatever was found out otherwise.
    var isUnheard = false
    /// Numbers the suspicions of this controller: what came of a probe counts for the suspicion that it was made for and for no other.
    var suspicion: Int64 = 0
    /// Probes of this suspicion that proved nothing.
    var inconclusiveProbes = 0
    /// When its listeners first refused a connection after that.
    var refusedSince: Int64?
    /// An expiry that was decided is not decided again before this: its records may not have reached the log.
    var postponedUntil: Int64?

    init(epoch: Int64) {
        self.epoch = epoch
    }
}

/// The sessions of all brokers.
struct BrokerSessions: Sendable {
    /// By node id, in the order of their first contact.
    private(set) var byID: OrderedDictionary<NodeID, BrokerSession> = [:]
    private var lastSuspicion: Int64 = 0

    subscript(_ id: NodeID, epoch: Int64) -> BrokerSession? {
        get { byID[id].flatMap { $0.epoch == epoch ? $0 : nil } }
        set { byID[id] = newValue }
    }

    /// A registration was replayed; one under a new epoch is that of another process.
    mutating func registered(_ id: NodeID, epoch: Int64) {
        if let session = byID[id], session.epoch != epoch { byID[id] = nil }
    }

    mutating func remove(_ id: NodeID) { byID[id] = nil }

    /// The broker was heard of: whatever was suspected is wrong.
    mutating func contacted(_ id: NodeID, epoch: Int64, now: Int64) {
        var session = self[id, epoch] ?? BrokerSession(epoch: epoch)
        session.lastContact = now
        session.suspectedSince = nil
        session.refusedSince = nil
        session.isUnheard = false
        session.postponedUntil = nil
        byID[id] = session
    }

    /// There is reason to think that the broker's process is gone.
    mutating func suspect(_ id: NodeID, epoch: Int64, now: Int64) {
        guard var session = self[id, epoch] else { return }
        lastSuspicion += 1
        session.suspectedSince = now
        session.suspicion = lastSuspicion
        session.inconclusiveProbes = 0
        session.refusedSince = nil
        session.isUnheard = true
        byID[id] = session
    }

    /// When that session ends unless the broker is heard of; nil when it is not timed.
    static func deadline(_ session: BrokerSession, timeout: Int64) -> Int64? {
        guard let lastContact = session.lastContact else { return nil }
        let (end, overflow) = lastContact.addingReportingOverflow(max(timeout, 0) + 1)
        return max(overflow ? .max : end, session.postponedUntil ?? .min)
    }

    func hasValidSession(_ id: NodeID, epoch: Int64, timeout: Int64, now: Int64) -> Bool {
        guard let session = self[id, epoch], let lastContact = session.lastContact else { return false }
        return now <= lastContact || now - lastContact <= timeout
    }
}
