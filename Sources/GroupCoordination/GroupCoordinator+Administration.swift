// DescribeGroups, ListGroups, DeleteGroups; offsets whose time is over, or whose topic is gone.
import Collections
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension GroupCoordinator {
    /// DescribeGroups for one group. Groups of other protocols have requests of their own and are not found here.
    public func describe(group groupID: String, apiVersion: Int16) -> DescribeGroupsResponse.DescribedGroup {
        var description = DescribeGroupsResponse.DescribedGroup()
        description.groupId = groupID
        guard let group = classicGroups[groupID] else {
            description.groupState = ClassicGroupState.dead.rawValue
            // KIP-1043: before version 6 a group that does not exist was a dead one, without an error.
            if apiVersion >= 6 {
                description.errorCode = .groupIdNotFound
                let isOther = consumerGroups[groupID] != nil || hasGroupOfOtherProtocol(groupID)
                description.errorMessage = isOther ? "Group \(groupID) is not a classic group." : "Group \(groupID) not found."
            }
            return description
        }
        description.groupState = group.state.rawValue
        description.protocolType = group.protocolType ?? ""
        let isStable = group.state == .stable
        if isStable { description.protocolData = group.protocolName ?? "" }
        description.members = group.members.values.map { member in
            var described = DescribeGroupsResponse.DescribedGroupMember()
            described.memberId = member.memberID
            described.groupInstanceId = member.groupInstanceID
            described.clientId = member.clientID
            described.clientHost = member.clientHost
            described.memberAssignment = member.assignment
            if isStable { described.memberMetadata = member.metadata(for: group.protocolName) ?? ByteBuffer() }
            return described
        }
        return description
    }

    /// ListGroups. An empty filter lets everything pass; one with only unknown names lets nothing pass.
    public func list(states: [String], types: [String]) -> [ListGroupsResponse.ListedGroup] {
        let states = states.map { $0.trimmed.lowercased() }
        let types: [GroupType]? = types.isEmpty ? nil : types.compactMap { GroupType(filter: $0) }
        func passes(_ state: String, _ type: GroupType) -> Bool {
            (states.isEmpty || states.contains(state.lowercased())) && (types?.contains(type) ?? true)
        }
        var groups: [ListGroupsResponse.ListedGroup] = []
        for group in classicGroups.values where passes(group.state.rawValue, .classic) {
            groups.append(
                listed(group.groupID, protocolType: group.protocolType ?? "", state: group.state.rawValue, type: .classic))
        }
        for (groupID, group) in consumerGroups where !group.isBlank {
            let state = group.state
            guard passes(state, .consumer) else { continue }
            groups.append(listed(groupID, protocolType: GroupType.consumer.rawValue, state: state, type: .consumer))
        }
        for (groupID, group) in shareGroups where !group.isBlank && passes(group.state, .share) {
            groups.append(listed(groupID, protocolType: GroupType.share.rawValue, state: group.state, type: .share))
        }
        for (groupID, group) in streamsGroups where !group.isBlank && passes(group.state, .streams) {
            groups.append(listed(groupID, protocolType: GroupType.streams.rawValue, state: group.state, type: .streams))
        }
        return groups
    }

    private func listed(_ groupID: String, protocolType: String, state: String, type: GroupType) -> ListGroupsResponse.ListedGroup {
        var listed = ListGroupsResponse.ListedGroup()
        listed.groupId = groupID
        listed.protocolType = protocolType
        listed.groupState = state
        listed.groupType = type.rawValue
        return listed
    }

    /// DeleteGroups for the groups of this shard: empty ones go, with all their offsets.
    public func delete(groups: [String], now: CoordinatorInstant) -> CoordinatorResult<[DeleteGroupsResponse.DeletableGroupResult]> {
        var step = GroupStep(now: now, configuration: configuration)
        var results: [DeleteGroupsResponse.DeletableGroupResult] = []
        for groupID in groups {
            var result = DeleteGroupsResponse.DeletableGroupResult()
            result.groupId = groupID
            if let (error, message) = refusalOfDeletion(of: groupID) {
                result.errorCode = error
                result.errorMessage = message
            } else {
                appendOffsetTombstones(of: groupID, step: &step)
                if let consumer = consumerGroups[groupID] {
                    step.records += consumer.tombstones
                } else if let share = shareGroups[groupID] {
                    step.records += share.tombstones
                } else if let streams = streamsGroups[groupID] {
                    step.records += streams.tombstones
                } else {
                    step.records.append(.groupMetadata(group: groupID, nil))
                }
            }
            results.append(result)
        }
        return step.result(results)
    }

    private func refusalOfDeletion(of groupID: String) -> (ErrorCode, String?)? {
        if let consumer = consumerGroups[groupID] { return consumer.isEmpty ? nil : (.nonEmptyGroup, nil) }
        if let streams = streamsGroups[groupID] { return streams.isEmpty ? nil : (.nonEmptyGroup, nil) }
        if let share = shareGroups[groupID] {
            if !share.isEmpty { return (.nonEmptyGroup, nil) }
            // Else what share coordinators keep of it would stay behind.
            return share.statePartitions.initialized.isEmpty && share.statePartitions.initializing.isEmpty
                ? nil : (.groupDeletionFailed, "The state of the group's partitions has to be deleted first.")
        }
        guard let group = classicGroups[groupID] else { return (.groupIdNotFound, nil) }
        return group.isEmpty ? nil : (.nonEmptyGroup, nil)
    }

    private func appendOffsetTombstones(of groupID: String, step: inout GroupStep) {
        for (topic, partitions) in offsets.table.groups[groupID] ?? [:] {
            for partition in partitions.keys {
                step.records.append(.offsetCommit(group: groupID, topic: topic, partition: partition, nil))
            }
        }
        for key in (offsets.openTransactions[groupID] ?? [:]).keys where offsets.table[groupID, key.topic, key.partition] == nil {
            step.records.append(.offsetCommit(group: groupID, topic: key.topic, partition: key.partition, nil))
        }
    }

    /// Topics were deleted: so are the offsets that groups have in them.
    ///
    /// An offset that names the topic's id only goes with that very topic: one of the same name may be there again by now.
    public func topicsDeleted(_ topics: [(name: String, id: TopicID)], now: CoordinatorInstant) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        forgetShareState(of: topics.map(\.id), step: &step)
        var seen: Set<String> = []
        func appendTombstones(_ table: OffsetTable, step: inout GroupStep) {
            for (groupID, offsetsByTopic) in table.groups {
                for topic in topics {
                    for (partition, offset) in offsetsByTopic[topic.name] ?? [:] where offset.topicID == .zero || offset.topicID == topic.id
                    {
                        guard seen.insert("\(partition) \(topic.name) \(groupID)").inserted else { continue }
                        step.records.append(.offsetCommit(group: groupID, topic: topic.name, partition: partition, nil))
                    }
                }
            }
        }
        appendTombstones(offsets.table, step: &step)
        for table in offsets.pending.values { appendTombstones(table, step: &step) }
        return step.result((), isAtomic: false)
    }

    /// Removes the offsets whose retention is over, and the groups that have nothing left (KIP-211, KIP-496).
    func expireOffsets(now: CoordinatorInstant) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        for group in classicGroups.values {
            let isBare = expireOffsets(
                of: group.groupID, since: group.retentionStart, isSubscribed: { group.isSubscribed(to: $0) }, step: &step)
            if isBare, isAbandoned(group.groupID) { step.records.append(.groupMetadata(group: group.groupID, nil)) }
        }
        for (groupID, group) in consumerGroups {
            let isBare = expireOffsets(of: groupID, since: .commit, isSubscribed: { group.isSubscribed(to: $0) }, step: &step)
            if isBare, group.isEmpty { step.records += group.tombstones }
        }
        for (groupID, group) in streamsGroups {
            let isBare = expireOffsets(of: groupID, since: .commit, isSubscribed: { group.isSubscribed(to: $0) }, step: &step)
            if isBare, group.isEmpty { step.records += group.tombstones }
        }
        setRetentionTimer(step: &step)
        return step.result((), isAtomic: false)
    }

    /// Appends tombstones for what has expired; true when the group has no offset left after that.
    private func expireOffsets(
        of groupID: String, since start: RetentionStart?, isSubscribed: (String) -> Bool, step: inout GroupStep
    ) -> Bool {
        let hasOpenTransaction = offsets.hasOpenTransaction(group: groupID)
        guard let committed = offsets.table.groups[groupID] else { return !hasOpenTransaction }
        guard let start else { return false }
        var isBare = true
        var expired = 0
        for (topic, partitions) in committed {
            guard !isSubscribed(topic) else {
                isBare = false
                continue
            }
            for (partition, offset) in partitions {
                if hasExpired(offset, since: start, now: step.now.timestamp),
                    !offsets.hasOpenTransaction(group: groupID, topic: topic, partition: partition)
                {
                    step.records.append(.offsetCommit(group: groupID, topic: topic, partition: partition, nil))
                    expired += 1
                } else {
                    isBare = false
                }
            }
        }
        step.count(.offsetExpiration, expired)
        return isBare && !hasOpenTransaction
    }

    private func hasExpired(_ offset: CommittedOffset, since start: RetentionStart, now: Timestamp) -> Bool {
        if let expireTimestamp = offset.expireTimestamp { return now >= expireTimestamp }
        let began =
            switch start {
            case .commit: offset.commitTimestamp
            case .moment(let timestamp): timestamp
            }
        // Wraps rather than traps: the timestamp comes from a record that anybody may have written.
        return now &- began >= configuration.offsetsRetentionMilliseconds
    }
}

/// From when on the retention of a group's offsets counts.
enum RetentionStart {
    case commit
    case moment(Timestamp)
}

extension ClassicGroup {
    /// Nil when the group's offsets do not expire as things are: it has members, and does not say which topics they read.
    var retentionStart: RetentionStart? {
        guard protocolType != nil else { return .commit }
        if isEmpty { return stateTimestamp.map { .moment($0) } ?? .commit }
        return usesConsumerProtocol && subscribedTopics != nil && state == .stable ? .commit : nil
    }
}

extension String {
    /// Without white space at either end.
    fileprivate var trimmed: String {
        var characters = self[...]
        while let first = characters.first, first.isWhitespace { characters.removeFirst() }
        while let last = characters.last, last.isWhitespace { characters.removeLast() }
        return String(characters)
    }
}
