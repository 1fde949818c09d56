// A process that dies closes its sockets, long before its session runs out. A closed connection alone proves nothing: the broker may live
// behind a broken network. So the controller has the broker's listeners tried, and fences it at once only when all of them refuse, twice,
// and it was not heard of since. Silence without refusal is left to the session's timeout, as in Kafka.
import ClusterMetadata
import KafkaRecords
import KafkaWire
import Primitives

/// A broker whose listeners should be tried with a new connection.
public struct BrokerProbe: Hashable, Sendable {
    public var id: NodeID
    public var epoch: Int64
    /// Where it registered to listen.
    public var endpoints: [NodeEndpoint]
}

/// What came of trying a broker's listeners.
public enum BrokerProbeOutcome: Sendable {
    /// Some listener accepted the connection. The connection need not be used.
    case accepted
    /// Every listener's host answered that nobody listens there (ECONNREFUSED).
    case refused
    /// Neither, as when a host does not answer in time.
    case unknown
}

/// What follows from a probe.
public enum BrokerProbeVerdict: Hashable, Sendable {
    /// Nothing more to do.
    case settled
    /// Try again at that time; monotonic milliseconds.
    case probeAgain(at: Int64)
    /// The broker is gone; the records fence it.
    case gone
}

extension Controller {
    /// Between two refusals that count as two: a process that only opens its listeners anew is back by then.
    static let probeInterval: Int64 = 150

    /// The connection on which a broker sent its heartbeats was closed by the other side.
    ///
    /// - Returns: what to try now, nil when there is no reason to.
    public mutating func brokerConnectionLost(_ id: NodeID, epoch: Int64, now: Int64) -> BrokerProbe? {
        guard let broker = image.cluster.broker(id), broker.epoch == epoch, !broker.isFenced,
            let session = sessions[id, epoch], session.suspectedSince == nil
        else { return nil }
        sessions.suspect(id, epoch: epoch, now: now)
        return BrokerProbe(id: id, epoch: epoch, endpoints: broker.endpoints)
    }

    /// Brokers that a new controller has not heard of: they may have died together with the one before. For a short while after
    /// `activated(now:)`, when brokers had the time to find their new controller.
    public var unheardBrokers: [BrokerProbe] {
        image.cluster.brokers.values.compactMap { broker in
            guard !broker.isFenced, let session = sessions[broker.id, broker.epoch], session.suspectedSince != nil,
                session.refusedSince == nil
            else { return nil }
            return BrokerProbe(id: broker.id, epoch: broker.epoch, endpoints: broker.endpoints)
        }
    }

    /// What came of a probe.
    public mutating func brokerProbed(
        _ id: NodeID, epoch: Int64, _ outcome: BrokerProbeOutcome, now: Int64
    ) -> ControllerResult<BrokerProbeVerdict> {
        guard let broker = image.cluster.broker(id), broker.epoch == epoch, !broker.isFenced,
            let session = sessions[id, epoch], session.suspectedSince != nil
        else { return ControllerResult(.settled) }
        guard outcome == .refused else {
            sessions[id, epoch]?.suspectedSince = nil
            sessions[id, epoch]?.refusedSince = nil
            return ControllerResult(.settled)
        }
        guard let first = session.refusedSince else {
            sessions[id, epoch]?.refusedSince = now
            return ControllerResult(.probeAgain(at: now + Self.probeInterval))
        }
        if now < first + Self.probeInterval { return ControllerResult(.probeAgain(at: first + Self.probeInterval)) }
        return ControllerResult(.gone, records: fencingRecords(broker), isAtomic: false)
    }

    /// Refuses a registration under the id of a broker that is alive.
    func checkNoLiveSession(
        of existing: BrokerRegistration, incarnation: KafkaUUID, directories: [KafkaUUID], now: Int64
    ) throws(RequestFailure) {
        if existing.incarnationID == incarnation { return }
        // This very process registers its broker: the one before it cannot run any more.
        if existing.id == configuration.nodeID { return }
        guard sessions.hasValidSession(existing.id, epoch: existing.epoch, timeout: sessionTimeout, now: now) else { return }
        // One process at a time holds the lock of a directory. With its connection gone as well, the former one is dead; whoever answered
        // at its listeners since may have been this very process.
        let isUnheard = sessions[existing.id, existing.epoch]?.isUnheard == true
        let hasSameDirectories = directories.contains(where: existing.logDirectories.contains)
        if isUnheard && hasSameDirectories { return }
        throw RequestFailure(
            .duplicateBrokerRegistration,
            "Another broker is registered with that broker id. If the broker was recently restarted this should self-resolve once the "
                + "heartbeat manager expires the broker's session.")
    }
}
