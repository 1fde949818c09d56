// Single values: text to value, value to text, and the rules of single keys.
import Testing

@testable import ConfigDefinitions

@Suite struct ConfigValueTests {
    private func message(_ table: ConfigTable, _ key: String, _ text: String) -> String? {
        do {
            _ = try table.parse(text, key: key)
            return nil
        } catch {
            return error.message
        }
    }

    @Test func typesParse() throws {
        #expect(try ConfigTable.broker.parse(" TRUE ", key: "auto.create.topics.enable") == .boolean(true))
        #expect(try ConfigTable.broker.parse("7", key: "node.id") == .int(7))
        #expect(try ConfigTable.broker.parse("+3", key: "offsets.topic.replication.factor") == .short(3))
        #expect(try ConfigTable.topic.parse("-1", key: "retention.ms") == .long(-1))
        #expect(try ConfigTable.topic.parse("0.25", key: "min.cleanable.dirty.ratio") == .double(0.25))
        #expect(try ConfigTable.topic.parse(" compact , delete ,compact", key: "cleanup.policy") == .list(["compact", "delete"]))
        #expect(try ConfigTable.topic.parse("", key: "cleanup.policy") == .list([]))
        #expect(try ConfigTable.broker.parse(" secret ", key: "ssl.key.password") == .password("secret"))
    }

    @Test(arguments: [
        ("segment.bytes", "1048575", "Invalid value 1048575 for configuration segment.bytes: Value must be at least 1048576"),
        ("segment.bytes", "abc", "Invalid value abc for configuration segment.bytes: Not a number of type INT"),
        ("segment.bytes", "2147483648", "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT"),
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        ("retention.ms", "1e3", "Invalid value 1e3 for configuration retention.ms: Not a number of type LONG"),
        (
            "min.cleanable.dirty.ratio", "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"
        ),
        (
            "preallocate", "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false"
        ),
        (
            "cleanup.policy", "remove",
            "Invalid value remove for configuration cleanup.policy: String must be one of: compact, delete"
        ),
        ("cleanup.policy", "delete,,compact", "Configuration 'cleanup.policy' values must not be empty."),
        (
            "compression.type", "brotli",
            "Invalid value brotli for configuration compression.type: String must be one of: "
                + "uncompressed, zstd, lz4, snappy, gzip, producer"
        ),
        (
            "compression.gzip.level", "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"
        ),
        ("compression.zstd.level", "23", "Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22"),
        (
            "message.timestamp.type", "createtime",
            "Invalid value createtime for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime"
        ),
        ("nonsense", "1", "Unknown topic config name: nonsense"),
    ])
    func topicMistakes(_ key: String, _ text: String, _ expected: String) {
        #expect(message(.topic, key, text) == expected)
    }

    @Test(arguments: ["*", "", "0:1", "0:1,1:2", " 0:1 , 1:2 "])
    func throttledReplicasPass(_ text: String) {
        #expect(message(.topic, "leader.replication.throttled.replicas", text) == nil)
    }

    @Test(arguments: ["0", "a:b", "0:1:2", "*,0:1", ":", "-1:2"])
    func throttledReplicasFail(_ text: String) {
        #expect(message(.topic, "leader.replication.throttled.replicas", text) != nil)
    }

    @Test(arguments: ["1@localhost:9093", "1@a:9093,2@[::1]:9093", "", "0@10.0.0.1:1"])
    func votersPass(_ text: String) {
        #expect(message(.broker, "controller.quorum.voters", text) == nil)
    }

    @Test(arguments: ["localhost:9093", "1@localhost", "x@localhost:9093", "1@:9093", "1@host:99999", "1@2@host:1", "1@ho st:1"])
    func votersFail(_ text: String) {
        #expect(message(.broker, "controller.quorum.voters", text) != nil)
    }

    @Test(arguments: ["earliest", "LATEST", "by_duration:PT1H"])
    func shareResetPasses(_ text: String) {
        #expect(message(.group, "share.auto.offset.reset", text) == nil)
    }

    @Test(arguments: ["none", "by_duration:", "by_duration:1h"])
    func shareResetFails(_ text: String) {
        #expect(message(.group, "share.auto.offset.reset", text) != nil)
    }

    @Test(arguments: [
        (0.5, "0.5"), (1, "1.0"), (0, "0.0"), (1e7, "1.0E7"), (12_345_678, "1.2345678E7"), (0.0001, "1.0E-4"), (0.001, "0.001"),
        (9_999_999.5, "9999999.5"), (.greatestFiniteMagnitude, "1.7976931348623157E308"), (-0.00025, "-2.5E-4"), (1e21, "1.0E21"),
        (1.25e-10, "1.25E-10"),
    ])
    func doublesPrintLikeJava(_ value: Double, _ expected: String) {
        #expect(ConfigValue.javaText(value) == expected)
    }

    @Test func textTurnsBackIntoTheSameValue() throws {
        for table in [ConfigTable.broker, .topic, .group] {
            for definition in table.definitions {
                guard let value = definition.defaultValue else { continue }
                #expect(try ConfigValue(parsing: value.text, as: definition.type, key: definition.name) == value)
            }
        }
    }
}
