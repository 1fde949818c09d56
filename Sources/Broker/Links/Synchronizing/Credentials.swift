// Both ends of copying SCRAM credentials: the source gives out what is stored of passwords, to whoever may change the cluster and over an
// encrypted connection; the controller of the destination takes it in as it is, since the passwords themselves nobody knows.
import Authentication
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Linking
import NIOCore
import Primitives

/// What is stored of a user's password for one mechanism. Not for logs.
struct StoredCredential: Sendable {
    var name: CredentialName
    var keys: ScramKeys

    init(user: ScramUser, _ mechanism: ScramMechanism, _ credential: ScramCredential) {
        name = CredentialName(user: user.name, mechanism: mechanism.name)
        keys = ScramKeys(credential)
    }

    init?(_ json: JSONValue) {
        func bytes(_ member: String) -> [UInt8]? { json[member]?.stringValue.flatMap { Base64.decode($0) } }
        guard let user = json["user"]?.stringValue, let mechanism = json["mechanism"]?.stringValue, let salt = bytes("salt"),
            let storedKey = bytes("storedKey"), let serverKey = bytes("serverKey"), let iterations = json["iterations"]?.integerValue
        else { return nil }
        name = CredentialName(user: user, mechanism: mechanism)
        keys = ScramKeys(salt: salt, storedKey: storedKey, serverKey: serverKey, iterations: Int32(clamping: iterations))
    }

    var json: JSONValue {
        [
            "user": .string(name.user), "mechanism": .string(name.mechanism), "salt": .string(Base64.encode(keys.salt)),
            "storedKey": .string(Base64.encode(keys.storedKey)), "serverKey": .string(Base64.encode(keys.serverKey)),
            "iterations": .integer(Int64(keys.iterations)),
        ]
    }
}

extension ScramKeys {
    init(_ credential: ScramCredential) {
        self.init(
            salt: Array(credential.salt.readableBytesView), storedKey: Array(credential.storedKey.readableBytesView),
            serverKey: Array(credential.serverKey.readableBytesView), iterations: credential.iterations)
    }
}

// MARK: - The source

extension BrokerServices {
    private static let maximumPage: Int64 = 5_000

    /// Answers a page of credentials in the order of their names. The sender's rights have been looked at.
    func giveCredentials(_ body: JSONValue, _ context: RequestContext) -> ManageLinksResponse {
        guard security.authorizer != nil else {
            return ManageLinksResponse(
                .policyViolation,
                "what is stored of passwords is given out to those only who may ALTER the cluster, and without authorizer.class.name everybody "
                    + "may")
        }
        let isEncrypted = security.listener(context.listenerName)?.tls != nil
        guard isEncrypted || body["allowPlaintext"]?.boolValue == true else {
            return ManageLinksResponse(
                .policyViolation,
                "what is stored of passwords is given out over encrypted connections only, and listener '\(context.listenerName)' is not: let "
                    + "the link use SSL or SASL_SSL, or set its user.sync.plaintext.enable")
        }
        let limit = Int(min(max(1, body["limit"]?.integerValue ?? Self.maximumPage), Self.maximumPage))
        let after = body["after"]?.stringValue
        var page: [(name: String, credential: StoredCredential)] = []
        for (user, credential) in image.security.scramCredentials {
            guard let mechanism = ScramMechanism(rawValue: user.mechanism) else { continue }
            let stored = StoredCredential(user: user, mechanism, credential)
            let name = stored.name.name
            if let after, name <= after { continue }
            page.append((name, stored))
        }
        page.sort { $0.name < $1.name }
        let isLast = page.count <= limit
        page = Array(page.prefix(limit))
        security.audit.record(
            .administration, context.client,
            [("api", context.apiKey.name), ("operation", LinkOperation.credentials.rawValue), ("users", "\(page.count)")])
        return ManageLinksResponse([
            "credentials": .array(page.map(\.credential.json)), "next": isLast ? .null : page.last.map { .string($0.name) } ?? .null,
        ])
    }
}

// MARK: - The destination's controller

extension ControllerServices {
    private static let maximumCredentials = 5_000

    func putCredentials(_ call: ControllerRequest, _ request: ManageLinksRequest, _ body: JSONValue) {
        let values = body["credentials"]?.arrayValue ?? []
        let credentials = values.compactMap { StoredCredential($0) }
        guard credentials.count == values.count, values.count <= Self.maximumCredentials else {
            return call.send(
                ManageLinksResponse(
                    .invalidRequest, "\(request.operation) takes up to \(Self.maximumCredentials) credentials with all of their members"))
        }
        decide(call, request) { (controller) throws(RequestFailure) in
            let result = try controller.putScramCredentials(
                credentials.map { (user: $0.name.user, mechanism: $0.name.mechanism, keys: $0.keys) })
            let failures = result.response.map { failure -> JSONValue in
                ["user": .string(failure.user), "mechanism": .string(failure.mechanism), "reason": .string(failure.reason)]
            }
            return ControllerResult(ManageLinksResponse(["failures": .array(failures)]), records: result.records)
        }
    }
}
