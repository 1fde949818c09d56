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
        var response = apiVersionsResponse(version: context.version)
        // APIs of Martlet's own could surprise others.
        if state.clientSoftwareName != Self.softwareName { response.apiKeys.removeAll { Self.ownApis.contains($0.apiKey) } }
        context.responder.send(response)
    }

    /// What Martlet's nodes and commands call themselves.
    private static let softwareName = "martlet"
    private static let ownApis: Set<Int16> = [ApiKey.manageLinks.rawValue, ApiKey.compressedFetch.rawValue]

    /// For versions that do not exist yet: version 0 with the error, and the range that the client may use instead.
    func apiVersionsForUnsupportedVersion(_ context: RequestContext) {
        var response = apiVersionsFailure(.unsupportedVersion)
        response.apiKeys = ApiVersionsResponse.versions(of: [.apiVersions])
        Responder(
            connection: context.connection.handle, apiKey: .apiVersions, version: 0, correlationID: context.correlationID,
            clientID: context.clientID, receivedAt: context.receivedAt, quotas: context.quotas
        ).send(response)
    }

    private func apiVersionsFailure(_ error: ErrorCode) -> ApiVersionsResponse {
        var response = ApiVersionsResponse()
        response.errorCode = error
        return response
    }

    private func apiVersionsResponse(version: Int16) -> ApiVersionsResponse {
        // What is forwarded must be a version that the controller takes, which may be of an older release (KIP-590).
        var apis = Self.advertisedVersions
        if let offered = controllerChannel.offeredVersions {
            apis = apis.compactMap { api in
                guard ApiKey(rawValue: api.apiKey)?.isForwardable == true else { return api }
                guard let known = offered[api.apiKey], known.overlaps(api.minVersion...api.maxVersion) else { return nil }
                var common = api
                common.minVersion = max(api.minVersion, known.lowerBound)
                common.maxVersion = min(api.maxVersion, known.upperBound)
                return common
            }
        }
        // Who is not told of share groups finds out at once that there are none, and not with the first heartbeat.
        if !servesShareGroups { apis.removeAll { Self.shareGroupApis.contains($0.apiKey) } }
        return ApiVersionsResponse(apis: apis, image, metadataRuntime.kraftVersion, version: version)
    }

    static let advertisedVersions = ApiVersionsResponse.versions(of: servedApis)

    /// What is advertised only while the feature share.version is on.
    private static let shareGroupApis: Set<Int16> = Set(
        [
            ApiKey.shareGroupHeartbeat, .shareGroupDescribe, .shareFetch, .shareAcknowledge, .initializeShareGroupState,
            .readShareGroupState, .writeShareGroupState, .deleteShareGroupState, .readShareGroupStateSummary, .describeShareGroupOffsets,
            .alterShareGroupOffsets, .deleteShareGroupOffsets,
        ].map(\.rawValue))

    /// KIP-511: letters and digits, with '-' and '.' in between.
    private static func isSoftwareName(_ name: String) -> Bool {
        func isPlain(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        }
        guard let first = name.utf8.first, let last = name.utf8.last, isPlain(first), isPlain(last) else { return false }
        return name.utf8.allSatisfy { isPlain($0) || $0 == 0x2d || $0 == 0x2e }
    }
}

extension ControllerServices {
    static let advertisedVersions = ApiVersionsResponse.versions(of: servedApis)

    func apiVersions(_ call: ControllerRequest) throws(WireError) {
        let request = try call.decode(ApiVersionsRequest.self)
        if let expected = request.clusterId, expected != clusterID || request.nodeId != nodeID {
            var response = ApiVersionsResponse()
            response.errorCode = .rebootstrapRequired
            return call.send(response)
        }
        call.send(
            ApiVersionsResponse(
                apis: Self.advertisedVersions, metadataRuntime.image, metadataRuntime.kraftVersion, version: call.version))
    }

    /// For versions that do not exist yet: the body in version 0.
    func apiVersionsForUnsupportedVersion(_ call: ControllerRequest) {
        var response = ApiVersionsResponse()
        response.errorCode = .unsupportedVersion
        response.apiKeys = ApiVersionsResponse.versions(of: [.apiVersions])
        do throws(WireError) {
            call.reply(.body(try response.encoded(version: 0)))
        } catch {
            call.reply(.refused("\(error)"))
        }
    }
}

extension ApiVersionsResponse {
    /// What a listener that serves `apis` answers under that metadata.
    fileprivate init(apis: [ApiVersion], _ image: MetadataImage, _ kraftVersion: Int16, version: Int16) {
        let features = image.features
        var response = ApiVersionsResponse()
        response.apiKeys = apis
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
        // kraft.version belongs to the quorum and stands in no image.
        let levels = features.all.map { ($0.name, $0.level) } + [(FeatureName.kraft, kraftVersion)]
        response.finalizedFeatures = levels.filter { $0.1 > 0 }.map { name, level in
            var key = ApiVersionsResponse.FinalizedFeatureKey()
            key.name = name
            key.minVersionLevel = level
            key.maxVersionLevel = level
            return key
        }
        self = response
    }

    /// The versions of `apis` as they are advertised.
    fileprivate static func versions(of apis: [ApiKey]) -> [ApiVersion] {
        apis.map { api in
            var entry = ApiVersion()
            entry.apiKey = api.rawValue
            entry.minVersion = api.advertisedVersions.lowerBound
            entry.maxVersion = api.advertisedVersions.upperBound
            return entry
        }
    }
}
