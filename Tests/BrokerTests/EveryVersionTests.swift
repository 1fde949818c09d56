// Every API in every version that ApiVersions names, asked over a socket of the real server: each must be answered with a response
// that decodes to its last byte. A field that a version cannot carry, or a forgotten version, shows here.
import KafkaMessages
import KafkaWire
import NIOCore
import TestKit
import Testing

@testable import Broker

@Suite struct EveryVersionTests {
    @Test func everyServedVersionIsAnswered() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        var answered = 0
        for api in BrokerServices.servedApis {
            for version in api.stableVersions {
                try ask(api, version, connection)
                answered += 1
            }
        }
        #expect(answered > 150)
    }

    @Test func unknownVersionsOfApiVersionsGetTheRangeInVersion0() throws {
        let node = try RunningNode()
        defer { node.stop() }
        let connection = try BlockingConnection(port: node.port)
        var frame = ByteBuffer()
        frame.writeInteger(ApiKey.apiVersions.rawValue)
        frame.writeInteger(Int16(99))
        frame.writeInteger(Int32(7))
        frame.writeInteger(Int16(-1))
        let answer = try connection.exchange(frame)
        let (header, response) = try Frame.decodeResponse(answer, as: ApiVersionsResponse.self, version: 0)
        #expect(header.correlationId == 7 && response.errorCode == .unsupportedVersion)
        #expect(response.apiKeys.map(\.apiKey) == [ApiKey.apiVersions.rawValue])
    }

    @Test func whatIsServedIsWhatIsAdvertised() {
        #expect(Set(BrokerServices.servedApis.map(\.rawValue)) == Set(BrokerServices.advertisedVersions.map(\.apiKey)))
        #expect(BrokerServices.advertisedVersions.first { $0.apiKey == ApiKey.produce.rawValue }?.minVersion == 0)
    }

    private func ask(_ api: ApiKey, _ version: Int16, _ connection: BlockingConnection) throws {
        func ask<Request: KafkaRequest>(_ type: Request.Type) throws {
            var request = Request()
            if var produce = request as? ProduceRequest, case let changed = produce.setting({ $0.acks = 1 }) {
                produce = changed
                request = produce as? Request ?? request
            }
            let frame = try Frame.request(request, version: version, correlationId: 42, clientId: "every-version")
            let answer = try connection.exchange(frame)
            let (header, _) = try Frame.decodeResponse(answer, as: Request.Response.self, version: version)
            #expect(header.correlationId == 42, "\(api) version \(version)")
        }
        do {
            try ask(api.requestType)
        } catch {
            Issue.record("\(api) version \(version): \(error)")
            throw error
        }
    }
}

extension ProduceRequest {
    fileprivate func setting(_ change: (inout ProduceRequest) -> Void) -> ProduceRequest {
        var copy = self
        change(&copy)
        return copy
    }
}
