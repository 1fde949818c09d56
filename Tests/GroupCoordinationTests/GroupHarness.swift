// Runs a coordinator the way the shell does, in one thread and with its own time, and writes down what clients see.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Runtime

/// A client as far as the group protocol knows it.
struct GroupClient {
    var name: String
    var memberID = ""
    var instanceID: String?
    var generation: Int32 = -1
    var protocols: [(name: String, metadata: String)] = [("range", "v1")]
    var protocolType = "test"
    var apiVersion: Int16 = 9
    var sessionTimeout: Int32 = 10_000
    var rebalanceTimeout: Int32 = 60_000

    init(_ name: String, instanceID: String? = nil) {
        self.name = name
        self.instanceID = instanceID
    }
}

/// The coordinator with a log in memory, timers, and a transcript of every answer.
final class GroupHarness {
    static let group = "group"

    var core: GroupCoordinator
    /// What the coordinator is told of the cluster's topics.
    var topics = TestTopics()
    private(set) var now = CoordinatorInstant(timestamp: 1_700_000_000_000, monotonicMilliseconds: 0)
    var timers = TimerQueue<GroupTimer>()
    /// Every committed record, with its offset as the index.
    private(set) var log: [CoordinatorRecord] = []
    /// What every client was told last.
    private(set) var joined: [String: JoinGroupResponse] = [:]
    private(set) var synced: [String: SyncGroupResponse] = [:]
    /// Every generation that somebody was told of since the coordinator started, in that order.
    private(set) var generations: [Int32] = []
    /// Who was told to make the assignment of a generation.
    private(set) var leaders: [Int32: Set<String>] = [:]
    private(set) var unexpectedReplies = 0
    /// Why the group rebalanced.
    private(set) var reasons: [RebalanceReason] = []
    /// What was counted.
    private(set) var events: [GroupEvent: Int] = [:]
    /// Requests that have not been answered: token to client.
    private(set) var waiting: [ReplyToken: (client: String, request: String)] = [:]
    /// Set to lose writes instead of committing them.
    var writeError: ErrorCode?
    /// Set to keep writes back until `commitHeldWrites()`.
    var holdsWrites = false
    private var heldWrites: [CoordinatorWrite] = []
    private var nextToken: UInt64 = 0
    private var nextUUID: UInt64 = 0
    /// Member ids by the names they go by in the transcript.
    private var names: [String: String] = [:]
    private(set) var transcript = ""

    init(_ configure: (inout GroupCoordinatorConfiguration) -> Void = { _ in }) {
        var configuration = GroupCoordinatorConfiguration()
        configure(&configuration)
        core = GroupCoordinator(configuration: configuration, topics: topics)
        take(core.loaded(now: now))
    }

    // MARK: Requests

    @discardableResult
    func join(_ client: inout GroupClient) -> ReplyToken {
        var request = JoinGroupRequest()
        request.groupId = Self.group
        request.memberId = client.memberID
        request.groupInstanceId = client.instanceID
        request.protocolType = client.protocolType
        request.sessionTimeoutMs = client.sessionTimeout
        request.rebalanceTimeoutMs = client.rebalanceTimeout
        request.protocols = client.protocols.map { choice in
            var offered = JoinGroupRequest.JoinGroupRequestProtocol()
            offered.name = choice.name
            offered.metadata = ByteBuffer(string: choice.metadata)
            return offered
        }
        let context = GroupRequestContext(apiVersion: client.apiVersion, clientID: client.name, clientHost: "/127.0.0.1")
        nextUUID += 1
        let token = newToken(client.name, "join")
        note("\(client.name) joins\(client.memberID.isEmpty ? "" : " as \(name(of: client.memberID))")")
        take(
            core.join(
                request, context: context, uuid: KafkaUUID(mostSignificantBits: 0, leastSignificantBits: nextUUID), token: token, now: now))
        adopt(&client)
        return token
    }

    /// Joins twice where the first answer is MEMBER_ID_REQUIRED, as clients do.
    func joinWithID(_ client: inout GroupClient) {
        join(&client)
        if joined[client.name]?.errorCode == .memberIdRequired { join(&client) }
    }

    @discardableResult
    func sync(_ client: GroupClient, assignments: [(member: String, assignment: String)] = []) -> ReplyToken {
        var request = SyncGroupRequest()
        request.groupId = Self.group
        request.memberId = client.memberID
        request.groupInstanceId = client.instanceID
        request.generationId = client.generation
        request.protocolType = client.protocolType
        request.protocolName = joined[client.name]?.protocolName ?? client.protocols[0].name
        request.assignments = assignments.map { entry in
            var assignment = SyncGroupRequest.SyncGroupRequestAssignment()
            assignment.memberId = entry.member
            assignment.assignment = ByteBuffer(string: entry.assignment)
            return assignment
        }
        let context = GroupRequestContext(apiVersion: 5, clientID: client.name, clientHost: "/127.0.0.1")
        let token = newToken(client.name, "sync")
        note("\(client.name) syncs generation \(client.generation)\(assignments.isEmpty ? "" : " with \(assignments.count) assignments")")
        take(core.sync(request, context: context, token: token, now: now))
        return token
    }

    @discardableResult
    func heartbeat(_ client: GroupClient) -> ErrorCode {
        var request = HeartbeatRequest()
        request.groupId = Self.group
        request.memberId = client.memberID
        request.groupInstanceId = client.instanceID
        request.generationId = client.generation
        let error = take(core.heartbeat(request, now: now)).errorCode
        note("\(client.name) heartbeats: \(error.name)")
        return error
    }

    @discardableResult
    func leave(_ client: GroupClient, byInstance: Bool = false) -> ErrorCode {
        var identity = LeaveGroupRequest.MemberIdentity()
        identity.memberId = byInstance ? "" : client.memberID
        identity.groupInstanceId = client.instanceID
        var request = LeaveGroupRequest()
        request.groupId = Self.group
        request.members = [identity]
        note("\(client.name) leaves")
        let response = take(core.leave(request, now: now))
        let error = response.errorCode == .none ? response.members.first?.errorCode ?? .none : response.errorCode
        if error != .none { note("  \(client.name) cannot leave: \(error.name)") }
        return error
    }

    @discardableResult
    func commit(
        _ client: GroupClient? = nil, group: String = GroupHarness.group, topic: String = "t", topicID: TopicID = .zero,
        partition: Int32 = 0,
        offset: Offset, metadata: String? = nil, retention: Int64 = -1, apiVersion: Int16 = 9
    ) -> ErrorCode {
        var request = OffsetCommitRequest()
        request.groupId = group
        request.memberId = client?.memberID ?? ""
        request.groupInstanceId = client?.instanceID
        request.generationIdOrMemberEpoch = client?.generation ?? -1
        request.retentionTimeMs = retention
        var partitionCommit = OffsetCommitRequest.OffsetCommitRequestPartition()
        partitionCommit.partitionIndex = partition
        partitionCommit.committedOffset = offset
        partitionCommit.committedMetadata = metadata
        var topicCommit = OffsetCommitRequest.OffsetCommitRequestTopic()
        topicCommit.name = topic
        topicCommit.topicId = topicID
        topicCommit.partitions = [partitionCommit]
        request.topics = [topicCommit]
        let context = GroupRequestContext(apiVersion: apiVersion, clientID: client?.name ?? "admin", clientHost: "/127.0.0.1")
        let response = take(core.commitOffsets(request, context: context, now: now))
        return response.topics[0].partitions[0].errorCode
    }

    // MARK: Time

    func advance(_ milliseconds: Int64) {
        let end = now.monotonicMilliseconds + milliseconds
        note("... \(milliseconds) ms")
        while let deadline = timers.nextDeadline, deadline <= end {
            setClock(to: max(deadline, now.monotonicMilliseconds))
            guard let timer = timers.popDue(now: now.monotonicMilliseconds) else { break }
            take(core.timerFired(timer, now: now))
        }
        setClock(to: end)
    }

    private func setClock(to monotonic: Int64) {
        now.timestamp += monotonic - now.monotonicMilliseconds
        now.monotonicMilliseconds = monotonic
    }

    // MARK: What the shell does

    @discardableResult
    func take<Response>(_ result: CoordinatorResult<Response>) -> Response {
        for effect in result.effects {
            switch effect {
            case .reply(let token, let reply): receive(token, reply)
            case .setTimer(let timer, let deadline): timers.set(timer, deadline: deadline)
            case .cancelTimer(let timer): timers.cancel(timer)
            case .note(let reason): reasons.append(reason)
            case .count(let event, let times): events[event, default: 0] += times
            }
        }
        if let write = result.write {
            if let writeError {
                take(core.failed(write, error: writeError, now: now))
            } else if holdsWrites {
                heldWrites.append(write)
            } else {
                commit(write)
            }
        }
        return result.response
    }

    func commitHeldWrites() {
        holdsWrites = false
        let writes = heldWrites
        heldWrites = []
        for write in writes { commit(write) }
    }

    private func commit(_ write: CoordinatorWrite) {
        let baseOffset = Offset(log.count)
        log += write.records
        take(core.appended(write, baseOffset: baseOffset, now: now))
        for record in write.records {
            if case .groupMetadata(_, let value) = record {
                note("  stored \(value.map { "generation \($0.generation) of \($0.members.count)" } ?? "tombstone")")
            }
        }
        take(core.committed(write, baseOffset: baseOffset, now: now))
    }

    /// The generation as clients and the log know it.
    var currentGeneration: Int32? {
        if let latest = generations.max() { return latest }
        for case .groupMetadata(_, let value) in log.reversed() { return value?.generation }
        return nil
    }

    /// A coordinator that has only read the log.
    func reloaded() -> GroupCoordinator {
        var fresh = GroupCoordinator(configuration: core.configuration, topics: topics)
        for (offset, record) in log.enumerated() { fresh.replay(record, offset: Offset(offset), producer: -1, now: now) }
        return fresh
    }

    /// Continues with a coordinator that has only read the log, as after a crash of the broker.
    func restart() {
        note("coordinator restarts")
        core = reloaded()
        timers = TimerQueue()
        waiting = [:]
        heldWrites = []
        generations = []
        leaders = [:]
        take(core.loaded(now: now))
    }

    private func newToken(_ client: String, _ request: String) -> ReplyToken {
        nextToken += 1
        let token = ReplyToken(rawValue: nextToken)
        waiting[token] = (client, request)
        return token
    }

    private func receive(_ token: ReplyToken, _ reply: GroupReply) {
        guard let request = waiting.removeValue(forKey: token) else {
            unexpectedReplies += 1
            return
        }
        switch reply {
        case .join(let response):
            joined[request.client] = response
            if response.errorCode == .none {
                generations.append(response.generationId)
                if !response.members.isEmpty, !response.skipAssignment {
                    leaders[response.generationId, default: []].insert(response.memberId)
                }
            }
            if !response.memberId.isEmpty, names[response.memberId] == nil { names[response.memberId] = "\(request.client)#\(nextUUID)" }
            note("  \(request.client) \(describe(response))")
        case .sync(let response):
            synced[request.client] = response
            let outcome = response.errorCode == .none ? "is assigned '\(String(buffer: response.assignment))'" : response.errorCode.name
            note("  \(request.client) \(outcome)")
        }
    }

    private func describe(_ response: JoinGroupResponse) -> String {
        guard response.errorCode == .none else {
            return "\(response.errorCode.name)\(response.memberId.isEmpty ? "" : " (\(name(of: response.memberId)))")"
        }
        var text = "in generation \(response.generationId) by \(response.protocolName ?? "-") as \(name(of: response.memberId))"
        text += ", leader \(name(of: response.leader))"
        if !response.members.isEmpty { text += ", members \(response.members.map { name(of: $0.memberId) }.joined(separator: " "))" }
        if response.skipAssignment { text += ", skips assignment" }
        return text
    }

    private func name(of memberID: String) -> String { names[memberID] ?? memberID }

    /// Takes over id and generation from the last answer, as a client would.
    func adopt(_ client: inout GroupClient) {
        guard let response = joined[client.name] else { return }
        if response.errorCode == .none || response.errorCode == .memberIdRequired { client.memberID = response.memberId }
        if response.errorCode == .none { client.generation = response.generationId }
    }

    func adopt(_ clients: inout [GroupClient]) {
        for index in clients.indices { adopt(&clients[index]) }
    }

    private func note(_ line: String) { transcript += line + "\n" }
}
