// A process that dies closes its sockets, long before its session runs out. A closed connection alone proves nothing: the broker may live
// behind a broken network. So the controller has the broker's listeners tried, and fences it at once only when all of them refuse, twice,
// and it was not heard of since. An accepted connection proves nothing either: the kernel closes what a dead process had open one after the
// other and completes handshakes on a listener that nobody will accept from any more, until it comes to that. So the broker is tried again,
// with growing pauses, until it is heard of, gone, or out of its session. Silence without refusal is left to that, as in Kafka.
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
    /// What the probe is made for: once the broker was heard of, its outcome does not count any more.
    var suspicion: Int64
}

/// What came of trying a broker's listeners.
public enum BrokerProbeOutcome: Sendable {
    /// Some listener's host completed the connection. Whether a process answers there is not known; the connection need not be used.
    case accepted
    /// Every listener's host answered that nobody listens there (ECONNREFUSED).
    case refused
    /// Neither, as when a host does not answer in time.
    case unknown
}

/// What follows from a probe.
public enum BrokerProbeVerdict: Hashable, Sendable {
    /// Nothing more to do: the broker was heard of, or is not suspected for another reason.
    case settled
    /// Try that at that time; monotonic milliseconds.
    case probeAgain(BrokerProbe, at: Int64)
    /// The broker is gone; the records fence it.
    case gone
}

extension Controller {
    /// Between two refusals that count as two: a process that only opens its listeners anew is back by then.
    static let probeInterval: Int64 = 150
    /// Pauses after probes that proved nothing. The first is short, for the kernel may be about to close the listeners of a dead process; a
    /// live broker's next heartbeat ends it all within two seconds.
    static let probePauses: ClosedRange<Int64> = 50...1000

    /// The connection on which a broker sent its heartbeats was closed by the other side.
    ///
    /// - Returns: what to try now; nil when there is no reason to, as when the broker is being tried already.
    public mutating func brokerConnectionLost(_ id: NodeID, epoch: Int64, now: Int64) -> BrokerProbe? {
        guard let broker = image.cluster.broker(id), broker.epoch == epoch, !broker.isFenced,
            let session = sessions[id, epoch], session.suspectedSince == nil
        else { return nil }
        sessions.suspect(id, epoch: epoch, now: now)
        return suspected(broker)
    }

    /// Brokers that a new controller has not heard of: they may have died together with the one before. For a short while after
    /// `activated(now:)`, when brokers had the time to find their new controller.
    public var unheardBrokers: [BrokerProbe] { image.cluster.brokers.values.compactMap(suspected) }

    /// What to try of a broker that is suspected; nil when it is not.
    private func suspected(_ broker: BrokerRegistration) -> BrokerProbe? {
        guard !broker.isFenced, let session = sessions[broker.id, broker.epoch], session.suspectedSince != nil else { return nil }
        return BrokerProbe(id: broker.id, epoch: broker.epoch, endpoints: broker.endpoints, suspicion: session.suspicion)
    }

    /// What came of a probe.
    public mutating func brokerProbed(
        _ probe: BrokerProbe, _ outcome: BrokerProbeOutcome, now: Int64
    ) -> ControllerResult<BrokerProbeVerdict> {
        guard let broker = image.cluster.broker(probe.id), let current = suspected(broker), current.epoch == probe.epoch,
            current.suspicion == probe.suspicion, var session = sessions[probe.id, probe.epoch]
        else { return ControllerResult(.settled) }
        // A broker may change where it listens while it runs; refusals of its former listeners say nothing.
        let isRefused = outcome == .refused && current.endpoints == probe.endpoints
        if isRefused, let first = session.refusedSince, now >= first + Self.probeInterval {
            return ControllerResult(.gone, records: fencingRecords(broker), isAtomic: false)
        }
        let next: Int64
        if isRefused {
            let first = session.refusedSince ?? now
            session.refusedSince = first
            next = first + Self.probeInterval
        } else {
            session.refusedSince = nil
            let pauses = Self.probePauses
            next = now + min(pauses.upperBound, pauses.lowerBound << Int64(min(session.inconclusiveProbes, 20)))
            session.inconclusiveProbes += 1
        }
        sessions[probe.id, probe.epoch] = session
        return ControllerResult(.probeAgain(current, at: next))
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
