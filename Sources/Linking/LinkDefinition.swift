// A link as it was made: its name, where it leads and what it was told.
import Collections
import Primitives

/// A link to another cluster, from which topics are mirrored.
public struct LinkDefinition: Sendable, Hashable {
    public var name: String
    public var id: KafkaUUID
    public var configuration: OrderedDictionary<String, String>
    /// The cluster at the other end, as it called itself when the link was made.
    public var sourceClusterID: String
    public var createdAt: Timestamp

    public init(
        name: String, id: KafkaUUID, configuration: OrderedDictionary<String, String>, sourceClusterID: String, createdAt: Timestamp
    ) {
        self.name = name
        self.id = id
        self.configuration = configuration
        self.sourceClusterID = sourceClusterID
        self.createdAt = createdAt
    }

    /// Why a name cannot be a link's; nil when it can.
    public static func problem(withName name: String) -> String? {
        if name.isEmpty { return "a link's name is empty" }
        if name.utf8.count > 200 { return "the link's name has \(name.utf8.count) characters; 200 are allowed" }
        for byte in name.utf8 {
            let isPlain =
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || [0x2d, 0x2e, 0x5f].contains(byte)
            if !isPlain { return "the link's name '\(name)' has a character other than letters, digits, '.', '_' and '-'" }
        }
        return nil
    }

    /// Configuration without what nobody may read.
    public var readableConfiguration: OrderedDictionary<String, String> {
        configuration.filter { !Self.isSecret($0.key) }
    }

    public static func isSecret(_ key: String) -> Bool {
        key.contains("password") || key.contains("secret") || key == "sasl.jaas.config" || key == "ssl.keystore.key"
    }
}
