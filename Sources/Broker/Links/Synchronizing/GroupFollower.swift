// Groups that a link makes on this broker: recorded before they are made, and deleted when they are at the source. A group is deleted only if
// the link made it, nobody has used it here since, and all that it has read are topics that the link still mirrors.
import Controlling
import GroupCoordination
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import Primitives
import Runtime

/// The groups of one kind and link that this broker coordinates, as they were found in one round.
struct GroupFollower: Sendable {
    private static let empty = "Empty"
    /// Groups whose offsets are held in memory at a time.
    private static let page = 200

    let link: LinkDefinition
    let kind: SynchronizedKind
    let links: LinkServices
    let services: BrokerServices
    let logger: Logger
    /// Groups that are here, with their states.
    let present: [String: String]
    /// Groups that the link has made.
    private(set) var own: Set<String>

    init(
        _ link: LinkDefinition, _ kind: SynchronizedKind, _ links: LinkServices, _ services: BrokerServices, _ logger: Logger
    ) async throws {
        self.link = link
        self.kind = kind
        self.links = links
        self.services = services
        self.logger = logger
        present = Dictionary(try services.groupsHere().map { ($0.groupId, $0.groupState) }, uniquingKeysWith: { first, _ in first })
        own = try await links.claim(GroupClaims(link: link, kind: kind)).filter { services.coordinates(group: $0) }
    }

    /// Copies groups page by page: asks the source, records those that are new as the link's, and then makes or changes them here.
    ///
    /// - Parameters:
    ///   - wanted: what a group is to have here; nil for nothing.
    ///   - put: lets it have that.
    mutating func copy<Wanted: Sendable>(
        _ groups: [String], _ outcome: inout CopyOutcome, wanted: (String) async throws -> Wanted?,
        put: (String, Wanted) async throws -> CopyOutcome.Result
    ) async throws {
        for start in stride(from: 0, to: groups.count, by: Self.page) {
            var found: [(group: String, wanted: Wanted)] = []
            for group in groups[start..<min(start + Self.page, groups.count)] {
                try Task.checkCancellation()
                guard case let wanted?? = try await outcome.attempt(group, { try await wanted(group) }) else { continue }
                found.append((group, wanted))
            }
            try await willMake(found.map(\.group))
            for (group, wanted) in found {
                try Task.checkCancellation()
                guard let result = try await outcome.attempt(group, { try await put(group, wanted) }) else { continue }
                outcome.count(result, isNew: present[group] == nil)
            }
        }
    }

    /// Records those of the groups that are not here yet as the link's, before it makes them.
    private mutating func willMake(_ groups: [String]) async throws {
        let new = groups.filter { present[$0] == nil && !own.contains($0) }
        guard !new.isEmpty else { return }
        own = try await links.claim(GroupClaims(link: link, kind: kind, claim: new)).filter { services.coordinates(group: $0) }
    }

    /// Deletes the link's groups that are gone at the source.
    ///
    /// - Parameters:
    ///   - listed: the groups that the source's brokers listed, as far as the link may see them.
    ///   - admits: whether the link's filter lets a group through.
    ///   - isGone: asks the source about one: a list lacks also those that the link may not see.
    ///   - topics: what a group has read here.
    /// - Returns: how many were deleted.
    mutating func followDeletions(
        _ outcome: inout CopyOutcome, listed: Set<String>, isEnabled: Bool, mirrors: Set<String>, admits: (String) -> Bool,
        isGone: (String) async throws -> Bool, topics: (String) async throws -> Set<String>
    ) async throws -> Int {
        var forgotten: [String] = []
        var deleted: [String] = []
        for group in own.sorted() where admits(group) {
            guard let state = present[group] else {
                if !listed.contains(group) { forgotten.append(group) }
                continue
            }
            guard state == Self.empty else {
                // Somebody reads with it here: it is theirs from now on.
                forgotten.append(group)
                continue
            }
            // Once all mirrors are writable the link has no say about groups any more.
            guard isEnabled, !mirrors.isEmpty, !listed.contains(group) else { continue }
            let mayGo = try await outcome.attempt(group) {
                guard try await isGone(group) else { return false }
                return try await topics(group).isSubset(of: mirrors)
            }
            guard mayGo == true else { continue }
            switch await delete(group) {
            case .none, .groupIdNotFound: deleted.append(group)
            case .nonEmptyGroup: forgotten.append(group)
            case let code: throw SynchronizationFailure("group '\(group)' cannot be deleted here: \(code.name)")
            }
        }
        if !deleted.isEmpty {
            logger.notice(
                "groups are deleted here as at the source",
                metadata: ["link": "\(link.name)", "groups": "\(deleted.prefix(20).joined(separator: ", "))", "count": "\(deleted.count)"])
        }
        let gone = forgotten + deleted
        if !gone.isEmpty { _ = try await links.claim(GroupClaims(link: link, kind: kind, forget: gone)) }
        own.subtract(gone)
        return deleted.count
    }

    private func delete(_ group: String) async -> ErrorCode {
        var request = DeleteGroupsRequest()
        request.groupsNames = [group]
        let context = GroupRequestContext(apiVersion: 3, clientID: "link-\(link.name)", clientHost: "/127.0.0.1")
        let response = await withCheckedContinuation { continuation in
            services.deleteGroups(request, context) { continuation.resume(returning: $0) }
        }
        return response.results.first?.errorCode ?? .unknownServerError
    }
}

extension LinkServices {
    /// Tells the coordinator of links what a link makes here.
    ///
    /// - Returns: the groups of that kind that are the link's.
    func claim(_ claims: GroupClaims) async throws(LinkCallFailure) -> Set<String> {
        let body = claims.json
        let coordinator = services?.image.topics.partition(TopicPartition(TopicName.clusterLinks, 0))?.leader ?? -1
        let answer =
            coordinator == nodeID
            ? try await change { coordinator throws(LinkRefusal) in try coordinator.claimGroups(body) }
            : try await ask(coordinator, .claimGroups, body)
        return Set((answer["own"]?.arrayValue ?? []).compactMap(\.stringValue))
    }
}

extension BrokerServices {
    /// The groups that this broker coordinates. Half a list would be taken for the whole.
    func groupsHere() throws(SynchronizationFailure) -> [ListGroupsResponse.ListedGroup] {
        let listed = groups.listGroups(ListGroupsRequest())
        guard listed.errorCode == .none else { throw SynchronizationFailure("groups are still being loaded here") }
        return listed.groups
    }

    func coordinates(group: String) -> Bool { coordinator(ofGroup: group) == nodeID }

    /// Nil while there is none.
    func coordinator(ofGroup group: String) -> NodeID? {
        image.topics.partition(TopicPartition(TopicName.consumerOffsets, groups.partition(for: group)))?.leader
    }
}

extension AdminClient {
    /// Whether a group that was not listed is gone, and not just hidden from whoever asks.
    func isGone(group: String) async throws(KafkaError) -> Bool {
        do throws(KafkaError) {
            return try await describeGroup(group).state == "Dead"
        } catch {
            if error.errorCode == .groupIdNotFound { return true }
            throw error
        }
    }

    /// The same of a share group.
    func isGone(shareGroup: String) async throws(KafkaError) -> Bool {
        do throws(KafkaError) {
            return try await describeShareGroup(shareGroup).group.groupState == "Dead"
        } catch {
            if error.errorCode == .groupIdNotFound { return true }
            throw error
        }
    }
}
