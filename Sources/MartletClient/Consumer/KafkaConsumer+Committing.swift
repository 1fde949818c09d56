// Committing offsets: on request, now and then, and at the end.
import KafkaMessages
import KafkaWire
import Primitives

extension KafkaConsumer {
    /// Commits the positions: everything that was handed out counts as read.
    public func commit() async throws(KafkaError) {
        let offsets = state.withLock { state in
            state.confirm()
            return state.consumption.uncommitted()
        }
        try await commit(offsets)
    }

    /// Commits offsets of one's own choosing: of the next records to read.
    public func commit(_ offsets: [TopicPartition: CommittedOffset]) async throws(KafkaError) {
        guard let group = configuration.group else { throw KafkaError(.invalidArgument, "committing needs a group") }
        guard !offsets.isEmpty else { return }
        let errors = try await cluster.retrying(coordinator: .coordinator(group: group)) { () throws(KafkaError) in
            let identity = self.state.withLock { $0.membership?.identity ?? GroupIdentity() }
            return try await self.cluster.commit(offsets, group: group, identity: identity)
        }
        state.withLock { state in
            for (partition, offset) in offsets where errors[partition] == nil {
                state.consumption.partitions[partition]?.committed = offset.offset
            }
        }
        for (partition, error) in errors.sorted(by: { $0.key < $1.key }) { try error.check(about: "\(partition)") }
    }

    func startAutomaticCommits() {
        guard configuration.commitsAutomatically, configuration.group != nil else { return }
        let interval = configuration.automaticCommitInterval
        start { consumer in
            while !Task.isCancelled {
                guard (try? await Task.sleep(for: interval)) != nil else { return }
                await consumer.commitQuietly()
            }
        }
    }

    /// Commits what counts as read; a failure is made good by the next attempt.
    func commitQuietly() async {
        let offsets = state.withLock { $0.consumption.uncommitted() }
        guard configuration.commitsAutomatically, let group = configuration.group, !offsets.isEmpty else { return }
        let identity = state.withLock { $0.membership?.identity ?? GroupIdentity() }
        do throws(KafkaError) {
            let errors = try await cluster.commit(offsets, group: group, identity: identity)
            state.withLock { state in
                for (partition, offset) in offsets where errors[partition] == nil {
                    state.consumption.partitions[partition]?.committed = offset.offset
                }
            }
        } catch {
            configuration.client.logger.debug("automatic commit of group '\(group)' failed: \(error)")
            if error.errorCode == .notCoordinator { cluster.forgetCoordinator(.coordinator(group: group)) }
        }
    }

    func commitAtEnd() async throws(KafkaError) {
        guard configuration.commitsAutomatically, configuration.group != nil else { return }
        let (offsets, isMember) = state.withLock { state in
            (state.consumption.uncommitted(), state.membership.map(\.isMember) ?? true)
        }
        if isMember { try await commit(offsets) }
    }
}
