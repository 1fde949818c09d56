// Which version of each API to speak with one broker (KIP-35, KIP-511).
import KafkaMessages
import KafkaWire

/// A broker's version ranges, and the highest version in common with this client.
package struct NegotiatedVersions: Sendable {
    private var ranges: [Int16: ClosedRange<Int16>] = [:]
    /// Finalized features, name and level.
    package var finalizedFeatures: [(name: String, level: Int16)] = []

    package init() {}

    package init(_ response: ApiVersionsResponse) {
        for api in response.apiKeys where api.minVersion <= api.maxVersion {
            ranges[api.apiKey] = api.minVersion...api.maxVersion
        }
        finalizedFeatures = response.finalizedFeatures.map { ($0.name, $0.maxVersionLevel) }
    }

    package init(_ ranges: [ApiKey: ClosedRange<Int16>]) {
        for (api, range) in ranges { self.ranges[api.rawValue] = range }
    }

    /// What the broker announced, nil for an API it does not have.
    package func range(of api: ApiKey) -> ClosedRange<Int16>? { ranges[api.rawValue] }

    /// Every API of the broker with its range, in the order of the keys; keys unknown to this client included.
    package var all: [(key: Int16, versions: ClosedRange<Int16>)] {
        ranges.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    package func supports(_ api: ApiKey) -> Bool { ranges[api.rawValue] != nil }

    /// The highest version that both sides speak.
    ///
    /// - Parameter allowed: what the caller can fill in, such as Fetch without topic ids.
    package func version(of api: ApiKey, allowed: ClosedRange<Int16>? = nil) throws(KafkaError) -> Int16 {
        guard let broker = ranges[api.rawValue] else {
            // Every broker has Metadata; a controller's listener does not.
            let hint = api == .metadata ? "; is this a controller's listener? Clients connect to those of brokers" : ""
            throw KafkaError(.unsupportedVersion, "the broker does not support \(api.name)\(hint)")
        }
        let own = api.stableVersions
        let highest = min(broker.upperBound, own.upperBound, allowed?.upperBound ?? .max)
        let lowest = max(broker.lowerBound, own.lowerBound, allowed?.lowerBound ?? 0)
        guard lowest <= highest else {
            let needed = allowed.map { " (of which \($0.lowerBound) to \($0.upperBound) are possible here)" } ?? ""
            throw KafkaError(
                .unsupportedVersion,
                "no common version of \(api.name): the broker speaks \(broker.lowerBound) to \(broker.upperBound), "
                    + "this client \(own.lowerBound) to \(own.upperBound)\(needed)")
        }
        return highest
    }
}
