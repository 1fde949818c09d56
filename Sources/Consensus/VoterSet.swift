// Who votes. Static voters come from the configuration (controller.quorum.voters), dynamic ones from control records (KIP-853).
import KafkaRecords
import OrderedCollections
import Primitives

/// One voter of the quorum.
public struct Voter: Hashable, Sendable {
    /// Where a voter's controller listens.
    public struct Endpoint: Hashable, Sendable {
        /// The listener's name.
        public var name: String
        public var host: String
        public var port: UInt16

        public init(name: String, host: String, port: UInt16) {
            self.name = name
            self.host = host
            self.port = port
        }
    }

    public var id: NodeID
    /// The metadata log directory's id, zero when it is not known, as with static voters.
    public var directoryID: KafkaUUID
    public var endpoints: [Endpoint]
    /// The levels of kraft.version that the voter can work with.
    public var supportedKraftVersions: ClosedRange<Int16>

    public init(id: NodeID, directoryID: KafkaUUID = .zero, endpoints: [Endpoint], supportedKraftVersions: ClosedRange<Int16> = 0...1) {
        self.id = id
        self.directoryID = directoryID
        self.endpoints = endpoints
        self.supportedKraftVersions = supportedKraftVersions
    }
}

/// The voters, in the order of their ids.
public struct VoterSet: Hashable, Sendable {
    public let voters: OrderedDictionary<NodeID, Voter>

    public init(_ voters: [Voter]) {
        var byID: OrderedDictionary<NodeID, Voter> = [:]
        for voter in voters.sorted(by: { $0.id < $1.id }) { byID[voter.id] = voter }
        self.voters = byID
    }

    public func contains(_ id: NodeID) -> Bool { voters[id] != nil }

    /// Whether `id` is the one voter, so that it can decide everything alone.
    public func isSoleVoter(_ id: NodeID) -> Bool { voters.count == 1 && contains(id) }

    /// Whether that replica votes: a voter whose directory is not known may be in any.
    public func isVoter(_ key: ReplicaKey) -> Bool {
        guard let voter = voters[key.id] else { return false }
        return voter.directoryID == .zero || voter.directoryID == key.directoryID
    }

    /// This set with another voter; nil if there is one of that id.
    func adding(_ voter: Voter) -> VoterSet? {
        contains(voter.id) ? nil : VoterSet(voters.values + [voter])
    }

    /// This set without that voter; nil if it is not in it, or nobody would be left.
    func removing(_ key: ReplicaKey) -> VoterSet? {
        guard let voter = voters[key.id], voter.directoryID == key.directoryID, voters.count > 1 else { return nil }
        return VoterSet(voters.values.filter { $0.id != key.id })
    }

    /// This set with what is known now of one of its voters; nil if it is not in it.
    func updating(_ voter: Voter, ignoringDirectory: Bool = false) -> VoterSet? {
        guard contains(voter.id), ignoringDirectory || isVoter(ReplicaKey(id: voter.id, directoryID: voter.directoryID)) else { return nil }
        return VoterSet(voters.values.map { $0.id == voter.id ? voter : $0 })
    }

    /// Reads a `VotersRecord`.
    public init(_ record: VotersRecord) throws(QuorumError) {
        var voters: [Voter] = []
        for entry in record.voters {
            let range = entry.kRaftVersionFeature
            guard range.minSupportedVersion <= range.maxSupportedVersion else {
                throw .corrupt("voter \(entry.voterId) supports no level of kraft.version")
            }
            voters.append(
                Voter(
                    id: entry.voterId, directoryID: entry.voterDirectoryId,
                    endpoints: entry.endpoints.map { Voter.Endpoint(name: $0.name, host: $0.host, port: $0.port) },
                    supportedKraftVersions: range.minSupportedVersion...range.maxSupportedVersion))
        }
        self.init(voters)
    }

    /// The record that tells this set.
    public func record() -> VotersRecord {
        var record = VotersRecord()
        record.voters = voters.values.map { voter in
            var entry = VotersRecord.Voter()
            entry.voterId = voter.id
            entry.voterDirectoryId = voter.directoryID
            entry.endpoints = voter.endpoints.map { endpoint in
                var data = VotersRecord.Endpoint()
                data.name = endpoint.name
                data.host = endpoint.host
                data.port = endpoint.port
                return data
            }
            entry.kRaftVersionFeature.minSupportedVersion = voter.supportedKraftVersions.lowerBound
            entry.kRaftVersionFeature.maxSupportedVersion = voter.supportedKraftVersions.upperBound
            return entry
        }
        return record
    }
}
