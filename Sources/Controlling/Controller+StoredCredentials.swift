// SCRAM credentials as another cluster has stored them: without the salted password, which AlterUserScramCredentials wants and no cluster keeps.
import Authentication
import ClusterMetadata
import KafkaRecords
import KafkaWire
import Primitives

extension Controller {
    /// A credential that cannot be taken over, and why.
    public struct CredentialRefusal: Sendable, Hashable {
        public var user: String
        public var mechanism: String
        public var reason: String
    }

    private static var maximumSaltLength: Int { 1_024 }

    /// Sets what is stored of passwords. What is stored already is not written again.
    ///
    /// - Returns: those that cannot be.
    /// - Throws: `RequestFailure` where the metadata know no SCRAM.
    public func putScramCredentials(
        _ credentials: [(user: String, mechanism: String, keys: ScramKeys)]
    ) throws(RequestFailure) -> ControllerResult<[CredentialRefusal]> {
        guard version.supportsScram else {
            throw RequestFailure(.unsupportedVersion, "The current metadata.version does not support SCRAM")
        }
        var refusals: [CredentialRefusal] = []
        var records: [VersionedRecord] = []
        for (user, name, keys) in credentials {
            guard let mechanism = ScramMechanism(name: name) else {
                refusals.append(CredentialRefusal(user: user, mechanism: name, reason: "unknown SCRAM mechanism"))
                continue
            }
            if let problem = Self.problem(user, mechanism, keys) {
                refusals.append(CredentialRefusal(user: user, mechanism: name, reason: problem))
                continue
            }
            let record = keys.record(user: user, mechanism)
            let present = image.security.scramCredentials[ScramUser(name: user, mechanism: mechanism.rawValue)]
            if present?.salt == record.salt, present?.storedKey == record.storedKey, present?.serverKey == record.serverKey,
                present?.iterations == record.iterations
            {
                continue
            }
            records.append(VersionedRecord(.userScramCredential(record)))
        }
        return ControllerResult(refusals, records: records)
    }

    /// What is wrong with a credential; nil for nothing.
    private static func problem(_ user: String, _ mechanism: ScramMechanism, _ keys: ScramKeys) -> String? {
        if user.isEmpty { return "the user's name is empty" }
        if keys.iterations < ScramMechanism.minimumIterations { return "too few iterations" }
        if keys.storedKey.count != mechanism.keyLength || keys.serverKey.count != mechanism.keyLength { return "keys of another length" }
        if keys.salt.isEmpty || keys.salt.count > maximumSaltLength { return "no salt, or too long a one" }
        return nil
    }
}
