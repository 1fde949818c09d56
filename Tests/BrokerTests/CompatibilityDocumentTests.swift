// The table of docs/compatibility.md is written from what nodes serve, and this test is what keeps it true.
// To write it anew: MARTLET_WRITE_DOCS=1 swift test --filter CompatibilityDocumentTests
import Foundation
import KafkaWire
import Testing

@testable import Broker

@Suite struct CompatibilityDocumentTests {
    private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private var path: URL { root.appendingPathComponent("docs/compatibility.md") }

    @Test func theDocumentIsUpToDate() throws {
        let actual = try String(contentsOf: path, encoding: .utf8)
        // What follows the table is written by hand.
        let rest =
            actual.firstRange(of: CompatibilityDocument.end).map { String(actual[$0.lowerBound...]) } ?? CompatibilityDocument.end + "\n"
        let expected = CompatibilityDocument.text() + rest
        if ProcessInfo.processInfo.environment["MARTLET_WRITE_DOCS"] != nil {
            try expected.write(to: path, atomically: true, encoding: .utf8)
            return
        }
        let isUpToDate = actual == expected
        #expect(isUpToDate, "what is served has changed; see the head of this file for how to write the document anew")
    }

    @Test func everyServedAPIHasTestsThatExist() {
        for api in Set(BrokerServices.servedApis + ControllerServices.servedApis).sorted(by: { $0.rawValue < $1.rawValue }) {
            let tests = CompatibilityDocument.tests(of: api)
            #expect(!tests.isEmpty, "\(api) is served, and no test is named for it")
            for test in tests {
                #expect(FileManager.default.fileExists(atPath: root.appendingPathComponent("Tests/\(test)").path), "\(api): \(test)")
            }
        }
    }
}

enum CompatibilityDocument {
    /// Where the part begins that is written by hand.
    static let end = "## Suites of independent clients"

    static func tests(of api: ApiKey) -> [String] {
        let isOfBrokers = BrokerServices.servedApis.contains(api)
        return CompatibilityTable.tests(of: api)
            + (isOfBrokers ? ["BrokerTests/EveryVersionTests.swift", "BrokerTests/AuthorizationTableTests.swift"] : [])
    }

    static func text() -> String {
        var text = """
            # Compatibility

            Every API of Apache Kafka 4's protocol, what of it a node of Martlet answers, and the tests that prove it. The table is
            written from the code; a test fails when it is out of date. Versions are those that ApiVersions tells clients; a broker
            answers an API in all of them. `BrokerTests/EveryVersionTests.swift` asks every API of a broker in every version and
            decodes the answer to its last byte; `BrokerTests/AuthorizationTableTests.swift` asks every one without and with the rights
            it needs.


            """
        let brokers = Set(BrokerServices.servedApis)
        let controllers = Set(ControllerServices.servedApis)
        text += "| Key | API | Versions | Broker | Controller | Tests, or why not |\n|---|---|---|---|---|---|\n"
        for api in ApiKey.allCases {
            let isServed = brokers.contains(api) || controllers.contains(api)
            let range = api.advertisedVersions
            let versions = range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)–\(range.upperBound)"
            let last = isServed ? tests(of: api).map { "`\($0)`" }.joined(separator: ", ") : CompatibilityTable.reason(api)
            func mark(_ serves: Bool, _ listener: ApiListeners) -> String {
                serves ? "yes" : api.listeners.contains(listener) ? "no" : "–"
            }
            text += "| \(api.rawValue) | \(api.name) | \(versions) | \(mark(brokers.contains(api), .broker)) | "
            text += "\(mark(controllers.contains(api), .controller)) | \(last) |\n"
        }
        let served = ApiKey.allCases.count { brokers.contains($0) || controllers.contains($0) }
        return text + "\n\(served) of \(ApiKey.allCases.count) APIs are answered. –: not an API of that listener.\n\n"
    }
}
