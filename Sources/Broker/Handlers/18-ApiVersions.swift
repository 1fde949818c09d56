// ApiVersions: what this broker serves. What is not built is absent here, never half there.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension BrokerServices {
    func apiVersions(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        let request = try context.decode(ApiVersionsRequest.self)
        if context.version >= 3 {
            guard Self.isSoftwareName(request.clientSoftwareName), Self.isSoftwareName(request.clientSoftwareVersion) else {
                return context.responder.send(apiVersionsFailure(.invalidRequest))
            }
            state.clientSoftwareName = request.clientSoftwareName
            state.clientSoftwareVersion = request.clientSoftwareVersion
        }
        if let expected = request.clusterId, expected != clusterID || request.nodeId != nodeID {
            return context.responder.send(apiVersionsFailure(.rebootstrapRequired))
        }
        context.responder.send(apiVersionsResponse(version: context.version))
    }

    /// For versions that do not exist yet: version 0 with the error, and the range that the client may use instead.
    func apiVersionsForUnsupportedVersion(_ context: RequestContext) {
        var response = apiVersionsFailure(.unsupportedVersion)
        response.apiKeys = Self.advertisedVersions.filter { $0.apiKey == ApiKey.apiVersions.rawValue }
        Responder(
            connection: context.connection.handle, apiKey: .apiVersions, version: 0, correlationID: context.correlationID,
            receivedAt: context.receivedAt
        ).send(response)
    }

    private func apiVersionsFailure(_ error: ErrorCode) -> ApiVersionsResponse {
        var response = ApiVersionsResponse()
        response.errorCode = error
        return response
    }

    private func apiVersionsResponse(version: Int16) -> ApiVersionsResponse {
        let features = image.features
        var response = ApiVersionsResponse()
        response.apiKeys = Self.advertisedVersions
        response.supportedFeatures = Feature.supportedByThisSoftware.compactMap { feature in
            // Clients of versions below 4 fail on features that begin at level 0 (KAFKA-17492).
            if version < 4, feature.minimum == 0 { return nil }
            var key = ApiVersionsResponse.SupportedFeatureKey()
            key.name = feature.name
            key.minVersion = feature.minimum
            key.maxVersion = feature.maximum
            return key
        }
        response.finalizedFeaturesEpoch = image.provenance.offset
        response.finalizedFeatures = features.all.filter { $0.level > 0 }.map { feature in
            var key = ApiVersionsResponse.FinalizedFeatureKey()
            key.name = feature.name
            key.minVersionLevel = feature.level
            key.maxVersionLevel = feature.level
            return key
        }
        return response
    }

    static let advertisedVersions: [ApiVersionsResponse.ApiVersion] = servedApis.map { api in
        var entry = ApiVersionsResponse.ApiVersion()
        entry.apiKey = api.rawValue
        entry.minVersion = api.advertisedVersions.lowerBound
        entry.maxVersion = api.advertisedVersions.upperBound
        return entry
    }

    /// KIP-511: letters and digits, with '-' and '.' in between.
    private static func isSoftwareName(_ name: String) -> Bool {
        func isPlain(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        }
        guard let first = name.utf8.first, let last = name.utf8.last, isPlain(first), isPlain(last) else { return false }
        return name.utf8.allSatisfy { isPlain($0) || $0 == 0x2d || $0 == 0x2e }
    }
}
