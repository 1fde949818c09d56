// Every message in every version with values from seeds: struct and view agree, and nothing is lost.
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite struct MessagePropertyTests {
    static let types = GoldenVectors.types.values.sorted { $0.messageName < $1.messageName }

    @Test func everyMessageRoundTripsInEveryVersion() throws {
        var count = 0
        for type in Self.types {
            let view = MessageView(type)
            for version in type.validVersions {
                for seed in 0..<4 as Range<UInt64> {
                    var random = try RandomMessage(type, version: version, seed: seed)
                    let bytes = try view.encode(random.json(), version: version)
                    let json = try view.json(decoding: bytes, version: version)
                    let failure = try GoldenConformanceTests.check(type, version, json, bytes)
                    #expect(failure == nil, "\(type.messageName) version \(version) seed \(seed)")
                    count += 1
                }
            }
        }
        #expect(count > 2000)
    }

    @Test func defaultsRoundTripInEveryVersion() throws {
        for type in Self.types {
            for version in type.validVersions {
                let message = type.init()
                let bytes = try message.encoded(version: version)
                #expect(try type.init(decoding: bytes, version: version).encoded(version: version) == bytes)
                #expect(try MessageView(type).encode(.object([]), version: version) == bytes, "\(type.messageName) \(version)")
            }
        }
    }

    /// An array's count is compared with bytes left over `minimumSize`: a value may take no less.
    @Test func nothingIsSmallerThanItsMinimum() throws {
        for type in Self.types {
            for version in type.validVersions {
                let bytes = try type.init().encoded(version: version)
                #expect(bytes.readableBytes >= type.minimumSize || bytes.readableBytes == 0, "\(type.messageName) \(version)")
            }
        }
    }

    @Test func versionsOutsideTheRangeAreRefused() {
        for type in Self.types {
            for version in [type.validVersions.lowerBound - 1, type.validVersions.upperBound + 1] {
                #expect(throws: WireError.self) { try type.init().encoded(version: version) }
                #expect(throws: WireError.self) { try type.init(decoding: ByteBuffer(repeating: 0, count: 200), version: version) }
            }
        }
    }
}
