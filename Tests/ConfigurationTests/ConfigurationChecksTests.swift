// What `doctor` finds in configurations that load.
import ConfigDefinitions
import Testing

@testable import Configuration

@Suite struct ConfigurationChecksTests {
    private let base = """
        node.id=1
        process.roles=broker,controller
        controller.listener.names=CONTROLLER
        controller.quorum.voters=1@localhost:9093
        offsets.topic.replication.factor=1

        """

    private func resolve(_ host: String) -> [String]? {
        ["host.example": ["10.0.0.5"], "known": ["10.0.0.6"], "looped": ["127.0.1.1"], "localhost": ["127.0.0.1"]][host]
    }

    private func codes(_ text: String) throws -> [String] {
        let text = text.contains("log.dirs") ? text : text + "\nlog.dirs=/data"
        return ConfigurationChecks.check(try load(base + text).configuration, resolve: resolve).map(\.code)
    }

    @Test func aLocalNodeIsFine() throws {
        #expect(try codes("listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093") == [])
        #expect(try codes("listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093") == [])
    }

    @Test(arguments: [
        ("advertised.listeners=PLAINTEXT://known:9092", []),
        ("advertised.listeners=PLAINTEXT://10.0.0.5:9092", []),
        ("advertised.listeners=PLAINTEXT://localhost:9092", ["advertised-loopback"]),
        ("advertised.listeners=PLAINTEXT://127.0.0.1:9092", ["advertised-loopback"]),
        ("advertised.listeners=PLAINTEXT://[::]:9092", ["advertised-wildcard"]),
        ("advertised.listeners=PLAINTEXT://unknown:9092", ["advertised-unresolvable"]),
        ("advertised.listeners=PLAINTEXT://looped:9092", ["advertised-resolves-to-loopback"]),
        ("", ["advertised-by-default"]),
    ])
    func advertisedListeners(_ text: String, _ expected: [String]) throws {
        #expect(try codes("listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\(text)") == expected)
    }

    @Test func oneAddressForTwoListeners() throws {
        let text = """
            listeners=A://:9092,B://:9094,CONTROLLER://:9093
            listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT
            advertised.listeners=A://known:9092,B://known:9092
            inter.broker.listener.name=A
            """
        #expect(try codes(text) == ["advertised-twice"])
    }

    private let local = "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n"

    @Test(arguments: [
        ("log.dirs=/tmp/x", ["directory-temporary"]), ("log.dirs=/tmpfiles", []), ("log.dirs=data", ["directory-relative"]),
        ("log.dirs=/data,/data/a", ["directory-nested"]), ("log.dirs=/data,/data2", []),
        ("offsets.topic.replication.factor=3", ["replication-unreachable"]),
        ("default.replication.factor=2", ["replication-unreachable"]), ("min.insync.replicas=2", ["in-sync-unreachable"]),
        ("message.max.bytes=200000000", ["message-larger-than-request"]),
        ("log.retention.bytes=1000", ["segment-larger-than-retention"]), ("log.retention.ms=-1", ["retention-unlimited"]),
        ("log.flush.interval.messages=1", ["flush-often"]), ("unclean.leader.election.enable=true", ["unclean-election"]),
        ("martlet.admin.listeners=:9644", ["admin-open"]), ("martlet.admin.listeners=127.0.0.1:9092", ["port-used-twice"]),
        ("martlet.admin.listeners=:9092", ["port-used-twice", "admin-open"]), ("martlet.admin.listeners=", []),
    ])
    func otherSettings(_ text: String, _ expected: [String]) throws {
        #expect(try codes(local + text) == expected)
    }

    @Test func theSystemResolvesItsOwnNames() {
        #expect(HostResolution.addresses(of: "127.0.0.1") == ["127.0.0.1"])
        #expect(HostResolution.addresses(of: "::1") == ["::1"])
        #expect(HostResolution.addresses(of: "localhost")?.allSatisfy { $0 == "127.0.0.1" || $0 == "::1" } == true)
        #expect(HostResolution.addresses(of: "") == nil)
    }

    @Test func findingsReadAsSentences() throws {
        let configuration = try load(
            base + "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nadvertised.listeners=PLAINTEXT://localhost:9092\nlog.dirs=/data"
        ).configuration
        #expect(
            ConfigurationChecks.check(configuration, resolve: resolve).map(\.description) == [
                "warning: advertised.listeners: PLAINTEXT://:9092 takes connections from other machines but tells their clients to connect "
                    + "to localhost, which is themselves. Advertise PLAINTEXT under this machine's name or address, or bind it to 127.0.0.1."
            ])
    }
}
