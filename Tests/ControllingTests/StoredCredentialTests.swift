// SCRAM credentials as another cluster has stored them: taken over as they are, if they can be used at all.
import Authentication
import ClusterMetadata
import KafkaWire
import Primitives
import Testing

@testable import Controlling

@Suite("Controlling: stored credentials")
struct StoredCredentialTests {
    private static func keys(_ seed: UInt8, _ mechanism: ScramMechanism = .sha256, iterations: Int32 = 4096) -> ScramKeys {
        ScramKeys(
            mechanism, saltedPassword: Array(repeating: seed, count: mechanism.keyLength), salt: [seed, 1, 2, 3], iterations: iterations)
    }

    private func put(
        _ cluster: inout Cluster, _ credentials: (user: String, mechanism: String, keys: ScramKeys)...
    ) throws -> [String] {
        try cluster.run { (controller, _) throws(RequestFailure) in try controller.putScramCredentials(credentials) }.map(\.reason)
    }

    @Test func theyAreTakenOverAsTheyAre() throws {
        var cluster = try Cluster()
        let more = Self.keys(2, .sha512, iterations: 20_000)
        #expect(try put(&cluster, ("alice", "SCRAM-SHA-256", Self.keys(1)), ("alice", "SCRAM-SHA-512", more)).isEmpty)
        let stored = cluster.controller.image.security.scramCredentials
        #expect(stored.count == 2)
        let other = stored[ScramUser(name: "alice", mechanism: 2)]
        #expect(other.map { Array($0.storedKey.readableBytesView) } == more.storedKey)
        #expect(other?.iterations == 20_000, "more than a client may ask for, where its node was formatted so")
        #expect(try put(&cluster, ("alice", "SCRAM-SHA-256", Self.keys(1))).isEmpty)
        #expect(cluster.records.isEmpty, "what is there is not written again")
        #expect(try put(&cluster, ("alice", "SCRAM-SHA-256", Self.keys(3))).isEmpty)
        #expect(cluster.records.count == 1)
    }

    @Test func whatCannotBeUsedIsRefusedAndTheRestIsTaken() throws {
        var cluster = try Cluster()
        var short = Self.keys(1)
        short.storedKey.removeLast()
        var unsalted = Self.keys(1)
        unsalted.salt = []
        let reasons = try put(
            &cluster, ("", "SCRAM-SHA-256", Self.keys(1)), ("a", "SCRAM-SHA-1", Self.keys(1)), ("b", "SCRAM-SHA-256", short),
            ("c", "SCRAM-SHA-256", unsalted), ("d", "SCRAM-SHA-256", Self.keys(1, iterations: 1)), ("e", "SCRAM-SHA-256", Self.keys(1)))
        #expect(
            reasons == [
                "the user's name is empty", "unknown SCRAM mechanism", "keys of another length", "no salt, or too long a one",
                "too few iterations",
            ])
        #expect(cluster.controller.image.security.scramCredentials.keys.map(\.name) == ["e"])
    }

    @Test func digestsTellCredentialsApartAndNothingElse() {
        let digests = [Self.keys(1), Self.keys(2), Self.keys(1, .sha512), Self.keys(1, iterations: 4097)].map(\.digest)
        #expect(Set(digests).count == 4 && digests.allSatisfy { $0.count == 32 })
        #expect(Self.keys(1).digest == digests[0])
    }
}
