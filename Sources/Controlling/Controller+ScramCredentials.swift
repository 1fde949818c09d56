// AlterUserScramCredentials: what is stored of users' passwords (KIP-554, KIP-900).
import Authentication
import ClusterMetadata
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import OrderedCollections
import Primitives

extension Controller {
    /// Decides an AlterUserScramCredentials request. A user that comes twice is not altered at all.
    public func alterUserScramCredentials(
        _ request: AlterUserScramCredentialsRequest
    ) -> ControllerResult<AlterUserScramCredentialsResponse> {
        var named = Tally<String>()
        for deletion in request.deletions { named.add(deletion.name) }
        for upsertion in request.upsertions { named.add(upsertion.name) }
        let repeated = named.repeated
        var outcomes: OrderedDictionary<String, Result<MetadataRecord, RequestFailure>> = [:]
        for deletion in request.deletions {
            outcomes[deletion.name] = outcome(isRepeated: repeated.contains(deletion.name)) { () throws(RequestFailure) in
                try removal(deletion)
            }
        }
        for upsertion in request.upsertions {
            outcomes[upsertion.name] = outcome(isRepeated: repeated.contains(upsertion.name)) { () throws(RequestFailure) in
                try credential(upsertion)
            }
        }
        var response = AlterUserScramCredentialsResponse()
        var records: [VersionedRecord] = []
        for (user, outcome) in outcomes {
            var result = AlterUserScramCredentialsResponse.AlterUserScramCredentialsResult()
            result.user = user
            result.errorMessage = nil
            switch outcome {
            case .success(let record): records.append(VersionedRecord(record))
            case .failure(let failure):
                result.errorCode = failure.code
                result.errorMessage = failure.description
            }
            response.results.append(result)
        }
        return ControllerResult(response, records: records)
    }

    private func outcome(
        isRepeated: Bool, _ record: () throws(RequestFailure) -> MetadataRecord
    ) -> Result<MetadataRecord, RequestFailure> {
        do throws(RequestFailure) {
            if isRepeated {
                throw RequestFailure(.duplicateResource, "A user credential cannot be altered twice in the same request")
            }
            guard version.supportsScram else {
                throw RequestFailure(.unsupportedVersion, "The current metadata.version does not support SCRAM")
            }
            return .success(try record())
        } catch {
            return .failure(error)
        }
    }

    private func removal(
        _ deletion: AlterUserScramCredentialsRequest.ScramCredentialDeletion
    ) throws(RequestFailure) -> MetadataRecord {
        _ = try mechanism(deletion.mechanism, user: deletion.name)
        guard image.security.scramCredentials[ScramUser(name: deletion.name, mechanism: deletion.mechanism)] != nil else {
            throw RequestFailure(.resourceNotFound, "Attempt to delete a user credential that does not exist")
        }
        var record = RemoveUserScramCredentialRecord()
        record.name = deletion.name
        record.mechanism = deletion.mechanism
        return .removeUserScramCredential(record)
    }

    private func credential(
        _ upsertion: AlterUserScramCredentialsRequest.ScramCredentialUpsertion
    ) throws(RequestFailure) -> MetadataRecord {
        let mechanism = try mechanism(upsertion.mechanism, user: upsertion.name)
        if upsertion.iterations < ScramMechanism.minimumIterations {
            throw RequestFailure(.unacceptableCredential, "Too few iterations")
        }
        if upsertion.iterations > ScramMechanism.maximumIterations {
            throw RequestFailure(.unacceptableCredential, "Too many iterations")
        }
        let keys = ScramKeys(
            mechanism, saltedPassword: Array(upsertion.saltedPassword.readableBytesView), salt: Array(upsertion.salt.readableBytesView),
            iterations: upsertion.iterations)
        return .userScramCredential(keys.record(user: upsertion.name, mechanism))
    }

    private func mechanism(_ number: Int8, user: String) throws(RequestFailure) -> ScramMechanism {
        if user.isEmpty { throw RequestFailure(.unacceptableCredential, "Username must not be empty") }
        guard let mechanism = ScramMechanism(rawValue: number) else {
            throw RequestFailure(.unsupportedSaslMechanism, "Unknown SCRAM mechanism")
        }
        return mechanism
    }
}

extension ScramKeys {
    /// The record that keeps a user's credential.
    public func record(user: String, _ mechanism: ScramMechanism) -> UserScramCredentialRecord {
        var record = UserScramCredentialRecord()
        record.name = user
        record.mechanism = mechanism.rawValue
        record.salt = ByteBuffer(bytes: salt)
        record.storedKey = ByteBuffer(bytes: storedKey)
        record.serverKey = ByteBuffer(bytes: serverKey)
        record.iterations = iterations
        return record
    }
}
