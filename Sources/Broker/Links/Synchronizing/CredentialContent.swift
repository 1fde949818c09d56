// SCRAM users with what is stored of their passwords. Kafka's API never gives that away, so it takes an operation of Martlet's own at the source
// (Credentials.swift). It is kept out of logs, and out of the record of what the link has put here: that has digests only.
import Authentication
import ClusterMetadata
import Collections
import KafkaMessages
import KafkaWire
import Linking
import MartletClient
import Primitives

/// The SCRAM credentials of a link's source.
struct CredentialContent: SynchronizedContent {
    private static let page = 1_000

    let source: OrderedDictionary<String, String>
    private let credentials: [String: JSONValue]
    private let filter: NameFilter
    private let links: LinkServices

    init(_ source: LinkSource, _ settings: LinkSettings, _ links: LinkServices) async throws {
        filter = settings.synchronization.userFilter
        self.links = links
        var digests: OrderedDictionary<String, String> = [:]
        var credentials: [String: JSONValue] = [:]
        var after: JSONValue = .null
        repeat {
            let answer = try await Self.ask(source, after, settings)
            for value in answer["credentials"]?.arrayValue ?? [] {
                guard let credential = StoredCredential(value) else {
                    throw SynchronizationFailure("the source's answer has a credential that this version does not understand")
                }
                guard filter.admits(credential.name.user) else { continue }
                digests[credential.name.name] = credential.keys.digest
                credentials[credential.name.name] = value
            }
            after = answer["next"] ?? .null
        } while !after.isNull && digests.count <= SynchronizedItems.maximumCount
        self.source = digests
        self.credentials = credentials
    }

    private static func ask(_ source: LinkSource, _ after: JSONValue, _ settings: LinkSettings) async throws -> JSONValue {
        do throws(KafkaError) {
            return try await source.admin.manageLinks(
                .credentials,
                [
                    "after": after, "limit": .integer(Int64(page)),
                    "allowPlaintext": .bool(settings.synchronization.allowsPlaintextCredentials),
                ])
        } catch {
            guard error.kind == .unsupportedVersion || error.errorCode == .unsupportedVersion else { throw error }
            throw SynchronizationFailure(
                "the source is no Martlet cluster: Kafka's API tells which SCRAM users there are and with how many iterations, but not what is "
                    + "stored of their passwords, so they cannot be copied; set their passwords here with `martlet user set`")
        }
    }

    func here() -> [String: String] {
        var found: [String: String] = [:]
        for (user, credential) in links.services?.image.security.scramCredentials ?? [:] {
            guard let mechanism = ScramMechanism(rawValue: user.mechanism) else { continue }
            found[CredentialName(user: user.name, mechanism: mechanism.name).name] = ScramKeys(credential).digest
        }
        return found
    }

    func admits(_ name: String) -> Bool { CredentialName(name: name).map { filter.admits($0.user) } ?? false }

    func put(_ items: [SynchronizationPlan.Item]) async throws(LinkCallFailure) -> [String: String] {
        let wanted = items.compactMap { credentials[$0.name] }
        let response = try await links.decide(ManageLinksRequest(.putCredentials, ["credentials": .array(wanted)]))
        guard response.errorCode == .none, let answer = response.json else {
            let hint = response.errorCode == .unsupportedVersion ? "; the active controller has to be Martlet's" : ""
            throw LinkCallFailure(description: "the controller: \(response.errorMessage ?? response.errorCode.name)\(hint)")
        }
        var failures: [String: String] = [:]
        for failure in answer["failures"]?.arrayValue ?? [] {
            let name = CredentialName(user: failure["user"]?.stringValue ?? "", mechanism: failure["mechanism"]?.stringValue ?? "")
            failures[name.name] = failure["reason"]?.stringValue ?? ""
        }
        return failures
    }

    func remove(_ names: [String]) async throws(LinkCallFailure) -> [String: String] {
        var failures: [String: String] = [:]
        // A request may name a user once, whatever the mechanism.
        for mechanism in ScramMechanism.allCases {
            var byUser: [String: String] = [:]
            var request = AlterUserScramCredentialsRequest()
            for name in names {
                guard let credential = CredentialName(name: name), credential.mechanism == mechanism.name else { continue }
                var deletion = AlterUserScramCredentialsRequest.ScramCredentialDeletion()
                deletion.name = credential.user
                deletion.mechanism = mechanism.rawValue
                request.deletions.append(deletion)
                byUser[credential.user] = name
            }
            guard !request.deletions.isEmpty else { continue }
            let response = try await links.decide(request)
            for result in response.results where result.errorCode != .none && result.errorCode != .resourceNotFound {
                if let name = byUser[result.user] { failures[name] = result.errorMessage ?? result.errorCode.name }
            }
        }
        return failures
    }
}
