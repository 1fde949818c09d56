// Requests of the quorum and their answers, from and to bytes.
import Consensus
import KafkaMessages
import KafkaWire
import NIOCore

extension QuorumRequest {
    /// The APIs whose requests the quorum answers.
    static let apis: [ApiKey] = [
        .vote, .beginQuorumEpoch, .endQuorumEpoch, .fetch, .fetchSnapshot, .addRaftVoter, .removeRaftVoter, .updateRaftVoter,
    ]

    /// Reads the body of a request; nil for an API that is none of the quorum's.
    init?(_ api: ApiKey, version: Int16, body: ByteBuffer) throws(WireError) {
        switch api {
        case .vote: self = .vote(try Self.decode(body, version))
        case .beginQuorumEpoch: self = .beginQuorumEpoch(try Self.decode(body, version))
        case .endQuorumEpoch: self = .endQuorumEpoch(try Self.decode(body, version))
        case .fetch: self = .fetch(try Self.decode(body, version))
        case .fetchSnapshot: self = .fetchSnapshot(try Self.decode(body, version))
        case .addRaftVoter: self = .addRaftVoter(try Self.decode(body, version))
        case .removeRaftVoter: self = .removeRaftVoter(try Self.decode(body, version))
        case .updateRaftVoter: self = .updateRaftVoter(try Self.decode(body, version))
        default: return nil
        }
    }

    private static func decode<Request: KafkaRequest>(_ body: ByteBuffer, _ version: Int16) throws(WireError) -> Request {
        try Request(decoding: body, version: version, allowingTrailingBytes: true)
    }
}

extension QuorumResponse {
    /// The body in the version of the request.
    func encoded(version: Int16) throws(WireError) -> ByteBuffer {
        switch self {
        case .vote(let message): try message.encoded(version: version)
        case .beginQuorumEpoch(let message): try message.encoded(version: version)
        case .endQuorumEpoch(let message): try message.encoded(version: version)
        case .fetch(let message): try message.encoded(version: version)
        case .fetchSnapshot(let message): try message.encoded(version: version)
        case .addRaftVoter(let message): try message.encoded(version: version)
        case .removeRaftVoter(let message): try message.encoded(version: version)
        case .updateRaftVoter(let message): try message.encoded(version: version)
        case .apiVersions(let message): try message.encoded(version: version)
        }
    }
}
