// Configuration changed by clients while the node runs: brokers' own, and the levels of loggers.
import KafkaMessages
import KafkaWire
import TestKit
import Testing

@testable import Broker

@Suite(.serialized) struct AlterConfigsTests {
    private static let broker: Int8 = 4
    private static let brokerLogger: Int8 = 8

    private typealias Answer = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse

    private func alter(
        _ connection: BlockingConnection, _ type: Int8, _ name: String, _ changes: [(String, String?)], operation: Int8? = nil
    ) throws -> Answer {
        var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
        resource.resourceType = type
        resource.resourceName = name
        resource.configs = changes.map { key, value in
            var config = IncrementalAlterConfigsRequest.AlterableConfig()
            config.name = key
            config.configOperation = operation ?? (value == nil ? 1 : 0)
            config.value = value
            return config
        }
        var request = IncrementalAlterConfigsRequest()
        request.resources = [resource]
        return try #require(try connection.ask(request, version: 1).responses.first)
    }

    private func values(_ connection: BlockingConnection, _ type: Int8, _ name: String) throws -> [String: String] {
        var resource = DescribeConfigsRequest.DescribeConfigsResource()
        resource.resourceType = type
        resource.resourceName = name
        resource.configurationKeys = nil
        var request = DescribeConfigsRequest()
        request.resources = [resource]
        let result = try #require(try connection.ask(request, version: 4).results.first)
        #expect(result.errorCode == .none)
        return Dictionary(uniqueKeysWithValues: result.configs.compactMap { config in config.value.map { (config.name, $0) } })
    }

    /// Whether a new connection is served; one beyond the bound is closed at once.
    private func isServed(_ port: Int) -> Bool {
        guard let connection = try? BlockingConnection(port: port) else { return false }
        return (try? connection.ask(ApiVersionsRequest(), version: 0)) != nil
    }

    @Test func connectionLimitsCountAtOnceAndAfterARestart() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let admin = try BlockingConnection(port: node.port)
        #expect(isServed(node.port))
        #expect(try alter(admin, Self.broker, "", [("max.connections.per.ip", "1")]).errorCode == .none)
        #expect(!isServed(node.port))
        // The broker's own value is above the cluster's, and taking it away brings that back.
        #expect(try alter(admin, Self.broker, "1", [("max.connections.per.ip", "9")]).errorCode == .none)
        #expect(isServed(node.port))
        #expect(try alter(admin, Self.broker, "1", [("max.connections.per.ip", nil)]).errorCode == .none)
        #expect(!isServed(node.port))
        try node.restart()
        let again = try BlockingConnection(port: node.port)
        #expect(try values(again, Self.broker, "1")["max.connections.per.ip"] == "1")
        #expect(!isServed(node.port))
        #expect(try alter(again, Self.broker, "", [("max.connections.per.ip", nil)]).errorCode == .none)
        #expect(isServed(node.port))
    }

    @Test func whatCannotBeChangedIsRefused() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let admin = try BlockingConnection(port: node.port)
        let before = try values(admin, Self.broker, "")
        let refused: [(String, [(String, String?)])] = [
            ("", [("max.connections", "many")]), ("", [("num.partitions", "3")]), ("1", [("node.id", "7")]),
            ("1", [("listeners", "PLAINTEXT://:1")]), ("2", [("max.connections", "7")]), ("one", [("max.connections", "7")]),
        ]
        for (name, changes) in refused {
            let answer = try alter(admin, Self.broker, name, changes)
            #expect(answer.errorCode == .invalidRequest && answer.errorMessage?.isEmpty == false, "\(name) \(changes)")
        }
        #expect(try values(admin, Self.broker, "") == before)
    }

    @Test func loggersHaveLevels() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let admin = try BlockingConnection(port: node.port)
        let before = try values(admin, Self.brokerLogger, "1")
        #expect(before["root"] == "FATAL" && before["network"] == "FATAL" && before["broker"] == "FATAL")
        let changed = try alter(admin, Self.brokerLogger, "1", [("network", "ERROR")])
        #expect(changed.errorCode == .none && changed.resourceType == Self.brokerLogger && changed.resourceName == "1")
        #expect(try values(admin, Self.brokerLogger, "1")["network"] == "ERROR")
        #expect(try alter(admin, Self.brokerLogger, "1", [("network", nil)]).errorCode == .none)
        #expect(try values(admin, Self.brokerLogger, "1") == before)
        #expect(try alter(admin, Self.brokerLogger, "1", [("root", nil)]).errorCode == .invalidRequest)
        #expect(try alter(admin, Self.brokerLogger, "1", [("network", "LOUD")]).errorCode == .invalidConfig)
        #expect(try alter(admin, Self.brokerLogger, "1", [("nobody", "INFO")]).errorCode == .invalidConfig)
        #expect(try alter(admin, Self.brokerLogger, "1", [("network", "INFO")], operation: 2).errorCode == .invalidRequest)
        #expect(try alter(admin, Self.brokerLogger, "2", [("network", "INFO")]).errorCode == .invalidRequest)
        #expect(try values(admin, Self.brokerLogger, "1") == before)
    }
}
