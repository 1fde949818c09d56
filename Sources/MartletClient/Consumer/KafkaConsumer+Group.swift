// Driving the membership: join, synchronize, heartbeat, and again; with the application's consent before partitions are given up.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension KafkaConsumer {
    /// Runs until the consumer is closed or the group refuses it.
    func runGroup() async {
        while !Task.isCancelled {
            do throws(KafkaError) {
                try await prepareToJoin()
                let partitions = try await joinGroup()
                let mustRejoin = try await adopt(partitions)
                if !mustRejoin { try await heartbeatUntilRebalance() }
            } catch {
                if Task.isCancelled || error.kind == .cancelled || error.kind == .closed { return }
                if !error.isRetriable {
                    await lose()
                    return report(error)
                }
                configuration.client.logger.debug("group membership: \(error)")
                if let group = configuration.group, error.kind != .broker { cluster.forgetCoordinator(.coordinator(group: group)) }
                try? await Task.sleep(for: configuration.client.retryBackoff)
            }
        }
    }

    private func membership<Value: Sendable>(_ body: (inout GroupMembership) -> Value) throws(KafkaError) -> Value {
        let value = state.withLock { state -> Value? in
            guard var membership = state.membership else { return nil }
            let value = body(&membership)
            state.membership = membership
            return value
        }
        guard let value else { throw .closed }
        return value
    }

    /// Before joining, an eager member gives up everything and a cooperative one nothing.
    private func prepareToJoin() async throws(KafkaError) {
        let (isCooperative, isMember) = try membership { ($0.isCooperative, $0.isMember) }
        try await waitForApplication()
        let owned = assignment
        await commitQuietly()
        if isCooperative && isMember || owned.isEmpty { return }
        await revoke(owned, areLost: !isMember)
        assignNow([])
    }

    /// Waits until the application asks for records, or is idle anyway; heartbeats go on meanwhile.
    private func waitForApplication() async throws(KafkaError) {
        let limit = configuration.maximumPollInterval.wholeMilliseconds / 2
        let waiter = Completion<Void>()
        let mustWait = state.withLock { state in
            guard state.isApplicationBusy, !state.consumption.partitions.isEmpty else { return false }
            state.pollWaiters.append(waiter)
            return true
        }
        guard mustWait else { return }
        let timer = configuration.client.eventLoopGroup.next().scheduleTask(in: .milliseconds(limit)) { waiter.finish(.success(())) }
        defer { timer.cancel() }
        let result = await withHeartbeats { () async -> Result<Void, KafkaError> in
            do throws(KafkaError) { return .success(try await waiter.value()) } catch { return .failure(error) }
        }
        try result.get()
    }

    /// Keeps the member alive while something takes its time. What the coordinator answers is for later.
    private func withHeartbeats<Value: Sendable>(_ body: @escaping @Sendable () async -> Value) async -> Value {
        let beats = Task { [self] in
            while (try? await Task.sleep(for: configuration.heartbeatInterval)) != nil {
                guard let membership = state.withLock({ $0.membership }), membership.isMember else { return }
                _ = try? await send(membership.heartbeatRequest)
            }
        }
        defer { beats.cancel() }
        return await body()
    }

    private func send<Request: KafkaRequest>(
        _ request: Request, timeout: Duration? = nil
    ) async throws(KafkaError) -> Request.Response {
        try await cluster.send(request, to: .coordinator(group: configuration.group ?? ""), purpose: .group, timeout: timeout)
    }

    // MARK: Joining

    private func joinGroup() async throws(KafkaError) -> [TopicPartition] {
        var failures = 0
        while true {
            if Task.isCancelled { throw .cancelled }
            guard case .topics(let topics) = state.withLock({ $0.subscription }) else { throw .closed }
            let owned = assignment
            let membership = try membership { $0 }
            let request = try wire { () throws(WireError) in
                try membership.joinRequest(
                    topics: topics, owned: owned, sessionTimeoutMilliseconds: configuration.sessionTimeout.clampedMilliseconds,
                    rebalanceTimeoutMilliseconds: configuration.maximumPollInterval.clampedMilliseconds)
            }
            // A join is answered when all members are there, at the latest after the rebalance timeout.
            let response = try await send(request, timeout: configuration.maximumPollInterval + .seconds(5))
            switch try await proceed(try self.membership { $0.joined(response) }) {
            case .assigned(let partitions): return partitions
            case .rejoin(let losesPartitions): if losesPartitions { await lose() }
            case .retry(let findCoordinator):
                if findCoordinator { cluster.forgetCoordinator(.coordinator(group: membership.group)) }
                failures += 1
                try await ClusterClient.pause(milliseconds: cluster.backoff.milliseconds(afterFailures: failures))
            case .fail(let error): throw error
            case .stay, .synchronize: break
            }
        }
    }

    /// Synchronizes after a successful join; passes other steps on.
    private func proceed(_ step: GroupMembership.Step) async throws(KafkaError) -> GroupMembership.Step {
        guard case .synchronize(let isLeader) = step else { return step }
        let membership = try membership { $0 }
        var assignments: [String: [TopicPartition]] = [:]
        if isLeader, let assignor = membership.assignor {
            let topics = membership.members.reduce(into: Set<String>()) { $0.formUnion($1.topics) }
            try await cluster.refreshMetadata(topics: topics)
            let view = cluster.view
            let counts = topics.reduce(into: [String: Int32]()) { counts, topic in
                if let found = view.topics[topic] { counts[topic] = Int32(found.partitions.count) }
            }
            assignments = assignor.assign(members: membership.members, partitionCounts: counts)
        }
        let request = try wire { () throws(WireError) in try membership.syncRequest(assignments) }
        let response = try await send(request, timeout: configuration.maximumPollInterval + .seconds(5))
        return try self.membership { $0.synchronized(response) }
    }

    private func wire<Value>(_ body: () throws(WireError) -> Value) throws(KafkaError) -> Value {
        do throws(WireError) { return try body() } catch { throw KafkaError(error) }
    }

    // MARK: Adopting an assignment

    /// Returns whether the group must be joined again at once, to hand on what was given up (KIP-429).
    private func adopt(_ partitions: [TopicPartition]) async throws(KafkaError) -> Bool {
        let owned = Set(assignment)
        let wanted = Set(partitions)
        let revoked = owned.subtracting(wanted).sorted()
        let added = wanted.subtracting(owned).sorted()
        if !revoked.isEmpty {
            try await waitForApplication()
            await commitQuietly()
            await revoke(revoked, areLost: false)
        }
        _ = try? await cluster.refreshMetadata(topics: Set(partitions.map(\.topic)))
        assignNow(partitions)
        let listener = state.withLock { $0.listener }
        await withHeartbeats { await listener.onAssigned(added) }
        startFetching()
        return try membership { $0.isCooperative } && !revoked.isEmpty
    }

    private func assignNow(_ partitions: [TopicPartition]) {
        let kept = Set(partitions)
        state.withLock { state in
            state.dropCurrent { !kept.contains($0) }
            state.consumption.assign(partitions)
        }
    }

    private func revoke(_ partitions: [TopicPartition], areLost: Bool) async {
        let listener = state.withLock { $0.listener }
        await withHeartbeats { await areLost ? listener.onLost(partitions) : listener.onRevoked(partitions) }
    }

    /// The group has given this member's partitions to others.
    private func lose() async {
        let owned = assignment
        guard !owned.isEmpty else { return }
        assignNow([])
        await revoke(owned, areLost: true)
    }

    // MARK: Staying

    /// Returns when the group must be joined again.
    private func heartbeatUntilRebalance() async throws(KafkaError) {
        let subscribed = state.withLock { $0.subscription }
        let counts = partitionCounts()
        while true {
            try await ClusterClient.pause(milliseconds: configuration.heartbeatInterval.wholeMilliseconds)
            if state.withLock({ $0.subscription }) != subscribed { return }
            if try await leavesForSilence() { return }
            let response: HeartbeatResponse
            do throws(KafkaError) {
                response = try await send(try membership { $0.heartbeatRequest })
            } catch {
                if error.isRetriable { continue }
                throw error
            }
            switch try membership({ $0.heartbeat(response.errorCode) }) {
            case .stay, .synchronize, .assigned: break
            case .rejoin(let losesPartitions):
                if losesPartitions { await lose() }
                return
            case .retry(let findCoordinator):
                if findCoordinator { cluster.forgetCoordinator(.coordinator(group: try membership { $0.group })) }
            case .fail(let error): throw error
            }
            await cluster.refreshIfStale()
            // New partitions are for the leader to notice.
            if try membership({ !$0.members.isEmpty }), partitionCounts() != counts { return }
        }
    }

    private func partitionCounts() -> [String: Int] {
        guard case .topics(let topics) = state.withLock({ $0.subscription }) else { return [:] }
        let view = cluster.view
        return topics.reduce(into: [:]) { $0[$1] = view.topics[$1]?.partitions.count }
    }

    /// A member whose application has stopped asking for records makes way (`max.poll.interval.ms`), and joins again when it does ask.
    private func leavesForSilence() async throws(KafkaError) -> Bool {
        let limit = configuration.maximumPollInterval.wholeMilliseconds
        let waiter = Completion<Void>()
        let isSilent = state.withLock { state in
            guard state.isApplicationBusy, SystemClock.monotonicMilliseconds() - state.lastPoll > limit else { return false }
            state.pollWaiters.append(waiter)
            return true
        }
        guard isSilent else { return false }
        let membership = try membership { $0 }
        if configuration.groupInstanceID == nil { await leave(membership) }
        try self.membership { $0.reset(forgetMemberID: true) }
        await lose()
        try await waiter.value()
        return true
    }

    /// Leaves the group so that it need not wait for the session timeout. Static members stay: they mean to come back.
    func leave(_ membership: GroupMembership) async {
        guard configuration.groupInstanceID == nil else { return }
        var request = LeaveGroupRequest()
        request.groupId = membership.group
        request.memberId = membership.memberID
        var identity = LeaveGroupRequest.MemberIdentity()
        identity.memberId = membership.memberID
        identity.reason = "the consumer is being closed"
        request.members = [identity]
        do throws(KafkaError) {
            let connection = try await cluster.connection(to: .coordinator(group: membership.group), purpose: .group)
            let isBatched = try connection.versions.version(of: .leaveGroup) >= 3
            if isBatched { request.memberId = "" } else { request.members = [] }
            _ = try await connection.send(request, timeout: .seconds(5))
        } catch {
            configuration.client.logger.debug("leaving group '\(membership.group)' failed: \(error)")
        }
    }
}
