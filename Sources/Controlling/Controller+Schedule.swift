// What the active controller does by the clock: ends sessions of silent brokers, brings leadership back to preferred replicas, looks for
// leaderless partitions that may be led by whoever is left.
import ClusterMetadata
import ConfigDefinitions
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

/// When periodic work is due; in milliseconds of the controller's monotonic clock.
struct ControllerSchedule: Sendable {
    /// Nil while the controller is not active.
    var balance: Int64?
    var uncleanElection: Int64?
    var tokenExpiry: Int64?

    /// As in Kafka, what is due at once waits this long, so that requests get between.
    static let immediately: Int64 = 10
    /// Elections per run of a periodic task; more are left to the next run.
    static let maximumElections = 1000
    /// A decision whose records did not reach the log is made again after this.
    static let retry: Int64 = 500
}

extension Controller {
    /// This node has become the active controller and replayed everything: every broker that is not fenced gets a full session from now.
    ///
    /// - Parameter now: monotonic milliseconds, as everywhere here; all calls use one clock.
    public mutating func activated(now: Int64) {
        sessions = BrokerSessions()
        for broker in image.cluster.brokers.values where !broker.isFenced {
            sessions.contacted(broker.id, epoch: broker.epoch, now: now)
            // It may have gone along with the former controller, which nobody else could have noticed.
            sessions.suspect(broker.id, epoch: broker.epoch, now: now)
        }
        schedule.balance = now + balanceInterval
        schedule.uncleanElection = now + uncleanElectionInterval
        schedule.tokenExpiry = now + tokenExpiryInterval
    }

    /// Another node is the active controller now.
    public mutating func deactivated() {
        sessions = BrokerSessions()
        schedule = ControllerSchedule()
    }

    /// When `tick` has something to do next; nil when never. It changes with every call that changes the controller.
    public var nextDeadline: Int64? {
        var next: Int64?
        func consider(_ time: Int64?) { if let time { next = min(next ?? .max, time) } }
        let timeout = sessionTimeout
        for session in sessions.byID.values { consider(BrokerSessions.deadline(session, timeout: timeout)) }
        if balancesLeaders { consider(schedule.balance) }
        consider(schedule.uncleanElection)
        if !image.security.delegationTokens.isEmpty { consider(schedule.tokenExpiry) }
        return next
    }

    /// Does what is due. As in Kafka, one broker is fenced at a time, so that its effects are seen before the next one is; call again while
    /// `nextDeadline` is not after `now`.
    ///
    /// - Parameter time: milliseconds since 1970, which tokens' ends are told in.
    public mutating func tick(now: Int64, time: Timestamp) -> ControllerResult<Void> {
        if let records = expireSession(now: now) { return ControllerResult((), records: records, isAtomic: false) }
        if balancesLeaders, let due = schedule.balance, due <= now {
            let records = balanceRecords()
            schedule.balance =
                now + (records.count >= ControllerSchedule.maximumElections ? ControllerSchedule.immediately : balanceInterval)
            if !records.isEmpty { return ControllerResult((), records: records, isAtomic: false) }
        }
        if let due = schedule.uncleanElection, due <= now {
            let records = uncleanElectionRecords()
            let isFull = records.count >= ControllerSchedule.maximumElections
            schedule.uncleanElection = now + (isFull ? ControllerSchedule.immediately : uncleanElectionInterval)
            return ControllerResult((), records: records, isAtomic: false)
        }
        if let due = schedule.tokenExpiry, due <= now, !image.security.delegationTokens.isEmpty {
            let records = expirationRecords(now: time)
            schedule.tokenExpiry = now + (records.count >= Self.maximumExpirations ? ControllerSchedule.immediately : tokenExpiryInterval)
            return ControllerResult((), records: records, isAtomic: false)
        }
        return ControllerResult(())
    }

    /// Nil when no session of a live broker has run out.
    private mutating func expireSession(now: Int64) -> [VersionedRecord]? {
        let timeout = sessionTimeout
        for (id, session) in sessions.byID {
            guard let deadline = BrokerSessions.deadline(session, timeout: timeout), deadline <= now else { continue }
            guard let broker = image.cluster.broker(id), broker.epoch == session.epoch, !broker.isFenced else {
                sessions.remove(id)
                continue
            }
            sessions[id, session.epoch]?.postponedUntil = now + ControllerSchedule.retry
            return fencingRecords(broker)
        }
        return nil
    }

    private func balanceRecords() -> [VersionedRecord] {
        leaderChanges(partitions.imbalanced, limit: ControllerSchedule.maximumElections) { builder, _ in
            builder.election = .preferred
            return true
        }
    }

    private func uncleanElectionRecords() -> [VersionedRecord] {
        guard !partitions.leaderless.isEmpty else { return [] }
        return leaderChanges(partitions.leaderless, limit: ControllerSchedule.maximumElections) { builder, settings in
            guard settings.uncleanLeaderElectionEnable else { return false }
            builder.election = .unclean
            return true
        }
    }

    /// `broker.session.timeout.ms`.
    public var sessionTimeout: Int64 { layers.value("broker.session.timeout.ms")?.integer ?? 9000 }

    private var balancesLeaders: Bool { layers.value("auto.leader.rebalance.enable")?.boolean ?? true }

    private var balanceInterval: Int64 { (layers.value("leader.imbalance.check.interval.seconds")?.integer ?? 300) * 1000 }

    private var uncleanElectionInterval: Int64 { layers.value("unclean.leader.election.interval.ms")?.integer ?? 300_000 }
}
