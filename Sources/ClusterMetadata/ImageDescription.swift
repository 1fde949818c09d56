// An image as JSON for people and tools: `log dump`, `cluster` commands, and comparison with what Kafka's own replay yields.
import NIOCore
import OrderedCollections
import Primitives

extension MetadataImage {
    /// The whole image as one JSON object, keys in the order of the image. Salted keys are in it: not for logs.
    public var json: String {
        var writer = JSONWriter()
        writer.object {
            $0.field("features") { writer in
                writer.object { for (name, level) in features.all { $0.field(name, Int64(level)) } }
            }
            $0.field("topics") { writer in
                writer.object { for topic in topics.all { topic.write(to: &$0) } }
            }
            $0.field("brokers") { writer in
                writer.object { for broker in cluster.brokers.values { broker.write(to: &$0) } }
            }
            $0.field("controllers") { writer in
                writer.object { for controller in cluster.controllers.values { controller.write(to: &$0) } }
            }
            $0.field("configs") { writer in
                writer.object {
                    for (resource, values) in configurations.byResource {
                        $0.field("\(resource.kind.rawValue):\(resource.name)") { writer in
                            writer.object { for (key, value) in values { $0.field(key, value) } }
                        }
                    }
                }
            }
            $0.field("quotas") { writer in clientQuotas.write(to: &writer) }
            security.write(to: &$0)
            $0.field("next_producer_id", nextProducerID)
            $0.field("last_offset", provenance.offset)
            $0.field("last_epoch", Int64(provenance.epoch))
        }
        return writer.text
    }
}

/// Writes JSON text in the order of calls.
struct JSONWriter {
    private(set) var text = ""
    private var needsComma = false

    mutating func object(_ body: (inout JSONWriter) -> Void) { enclosed("{", "}", body) }

    mutating func array(_ body: (inout JSONWriter) -> Void) { enclosed("[", "]", body) }

    private mutating func enclosed(_ opening: String, _ closing: String, _ body: (inout JSONWriter) -> Void) {
        separate()
        text += opening
        needsComma = false
        body(&self)
        text += closing
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { text += "," }
        needsComma = true
    }

    mutating func field(_ name: String, _ body: (inout JSONWriter) -> Void) {
        string(name)
        text += ":"
        needsComma = false
        body(&self)
        needsComma = true
    }

    mutating func field(_ name: String, _ value: String?) { field(name) { $0.string(value) } }

    mutating func field(_ name: String, _ value: Int64?) { field(name) { $0.raw(value.map(String.init) ?? "null") } }

    mutating func field(_ name: String, _ value: Bool) { field(name) { $0.raw(value ? "true" : "false") } }

    mutating func field(_ name: String, _ values: [String]) {
        field(name) { writer in writer.array { for value in values { $0.string(value) } } }
    }

    mutating func field(_ name: String, _ values: [NodeID]) {
        field(name) { writer in writer.array { for value in values { $0.raw(String(value)) } } }
    }

    mutating func raw(_ value: String) {
        separate()
        text += value
    }

    mutating func string(_ value: String?) {
        guard let value else { return raw("null") }
        separate()
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..<"\u{20}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }

    /// Bytes as base64 with padding.
    mutating func field(_ name: String, bytes: ByteBuffer) {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        let input = Array(bytes.readableBytesView)
        var encoded = ""
        for start in stride(from: 0, to: input.count, by: 3) {
            let group = input[start..<min(start + 3, input.count)]
            var bits: UInt32 = 0
            for index in 0..<3 { bits = bits << 8 | (index < group.count ? UInt32(group[start + index]) : 0) }
            for index in 0..<4 {
                encoded.append(index <= group.count ? alphabet[Int(bits >> UInt32(18 - 6 * index)) & 63] : "=")
            }
        }
        field(name, encoded)
    }
}

extension TopicImage {
    func write(to writer: inout JSONWriter) {
        writer.field(name) { writer in
            writer.object {
                $0.field("topic_id", id.description)
                $0.field("partitions") { writer in
                    writer.object {
                        for partition in partitions {
                            $0.field(String(partition.index)) { partition.write(to: &$0) }
                        }
                    }
                }
            }
        }
    }
}

extension PartitionImage {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("replicas", replicas)
            $0.field("isr", isr)
            $0.field("leader", Int64(leader))
            $0.field("leader_epoch", Int64(leaderEpoch))
            $0.field("partition_epoch", Int64(partitionEpoch))
            $0.field("removing", removingReplicas)
            $0.field("adding", addingReplicas)
            $0.field("recovery_state", isRecovering ? 1 : 0 as Int64)
            $0.field("directories", directories.map(\.description))
            if !eligibleLeaderReplicas.isEmpty { $0.field("elr", eligibleLeaderReplicas) }
            if !lastKnownElr.isEmpty { $0.field("last_known_elr", lastKnownElr) }
        }
    }
}

extension JSONWriter {
    fileprivate mutating func field(_ name: String, _ endpoints: [NodeEndpoint]) {
        field(name) { writer in
            writer.array {
                for endpoint in endpoints {
                    $0.object {
                        $0.field("name", endpoint.name)
                        $0.field("host", endpoint.host)
                        $0.field("port", Int64(endpoint.port))
                        $0.field("securityProtocol", Int64(endpoint.securityProtocol))
                    }
                }
            }
        }
    }

    fileprivate mutating func field(_ name: String, _ features: [SupportedFeature]) {
        field(name) { writer in
            writer.array {
                for feature in features {
                    $0.object {
                        $0.field("name", feature.name)
                        $0.field("minSupportedVersion", Int64(feature.minimum))
                        $0.field("maxSupportedVersion", Int64(feature.maximum))
                    }
                }
            }
        }
    }
}

extension BrokerRegistration {
    func write(to writer: inout JSONWriter) {
        writer.field(String(id)) { writer in
            writer.object {
                $0.field("incarnationId", incarnationID.description)
                $0.field("brokerEpoch", epoch)
                $0.field("endPoints", endpoints)
                $0.field("features", features)
                $0.field("rack", rack)
                $0.field("fenced", isFenced)
                $0.field("inControlledShutdown", isInControlledShutdown)
                $0.field("logDirs", logDirectories.map(\.description))
                if let cordonedLogDirectories { $0.field("cordonedLogDirs", cordonedLogDirectories.map(\.description)) }
            }
        }
    }
}

extension ControllerRegistration {
    func write(to writer: inout JSONWriter) {
        writer.field(String(id)) { writer in
            writer.object {
                $0.field("incarnationId", incarnationID.description)
                $0.field("zkMigrationReady", isReadyToMigrate)
                $0.field("endPoints", endpoints)
                $0.field("features", features)
            }
        }
    }
}

extension ClientQuotasImage {
    func write(to writer: inout JSONWriter) {
        writer.array {
            for (entity, values) in byEntity {
                for (key, value) in values {
                    $0.object {
                        $0.field("entity") { writer in
                            writer.array {
                                for part in entity.parts {
                                    $0.array {
                                        $0.string(part.type)
                                        $0.string(part.name)
                                    }
                                }
                            }
                        }
                        $0.field("key", key)
                        $0.field("value") { $0.raw(value.isFinite ? "\(value)" : "null") }
                    }
                }
            }
        }
    }
}

extension SecurityImage {
    func write(to writer: inout JSONWriter) {
        writer.field("acls") { writer in
            writer.object {
                for (id, entry) in accessControlEntries {
                    $0.field(id.description) { writer in
                        writer.object {
                            $0.field("resourceType", Int64(entry.resourceType))
                            $0.field("resourceName", entry.resourceName)
                            $0.field("patternType", Int64(entry.patternType))
                            $0.field("principal", entry.principal)
                            $0.field("host", entry.host)
                            $0.field("operation", Int64(entry.operation))
                            $0.field("permissionType", Int64(entry.permissionType))
                        }
                    }
                }
            }
        }
        writer.field("scram") { writer in
            writer.object {
                for (user, credential) in scramCredentials {
                    $0.field("\(user.name):\(user.mechanism)") { writer in
                        writer.object {
                            $0.field("salt", bytes: credential.salt)
                            $0.field("storedKey", bytes: credential.storedKey)
                            $0.field("serverKey", bytes: credential.serverKey)
                            $0.field("iterations", Int64(credential.iterations))
                        }
                    }
                }
            }
        }
    }
}
