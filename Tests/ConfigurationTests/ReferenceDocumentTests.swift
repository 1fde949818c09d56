// docs/configuration-reference.md is written from the tables, and this test is what keeps it true.
// To write it anew: MARTLET_WRITE_DOCS=1 swift test --filter ReferenceDocumentTests
import ConfigDefinitions
import Foundation
import Testing

@Suite struct ReferenceDocumentTests {
    private let path = packageRoot.appendingPathComponent("docs/configuration-reference.md")

    @Test func theDocumentIsUpToDate() throws {
        let expected = ReferenceDocument.text()
        if ProcessInfo.processInfo.environment["MARTLET_WRITE_DOCS"] != nil {
            try expected.write(to: path, atomically: true, encoding: .utf8)
        }
        let actual = try String(contentsOf: path, encoding: .utf8)
        #expect(actual == expected, "the tables have changed; see the head of this file for how to write the document anew")
    }
}

enum ReferenceDocument {
    static func text() -> String {
        var text = """
            # Configuration reference

            Every key that Apache Kafka 4 has for brokers, topics and groups, and what Martlet does with it. This page is written from the
            tables in `Sources/ConfigDefinitions`; a test fails when it is out of date. How to set them: [configuration.md](configuration.md).

            Martlet: **yes**, the key does what it says; *no effect*, the key is read, checked and reported, but changes nothing, for
            the reason given; **refused**, any value but the default stops the start. Update: whether a running broker takes a new value
            (*cluster* for all brokers at once or one, *broker* for one only).


            """
        text += section("Martlet's own keys", .martlet, isBroker: true)
        text += section("Broker keys", .broker, isBroker: true)
        text += section("Broker keys that are only dynamic", .dynamicBroker, isBroker: true)
        text += section("Topic keys", .topic, isBroker: false)
        text += section("Group keys", .group, isBroker: false)
        text += section("Client metrics keys", .clientMetrics, isBroker: false)
        return text
    }

    private static func section(_ title: String, _ table: ConfigTable, isBroker: Bool) -> String {
        let last = isBroker ? "Update" : "Broker key"
        var text = "## \(title)\n\n| Key | Type | Default | Values | Martlet | \(last) | Meaning |\n|---|---|---|---|---|---|---|\n"
        for definition in table.definitions where !definition.isInternal { text += row(definition, isBroker) }
        let hidden = table.definitions.filter(\.isInternal).map { "`\($0.name)`" }
        if !hidden.isEmpty { text += "\nInternal: \(hidden.joined(separator: ", ")).\n" }
        return text + "\n"
    }

    private static func row(_ definition: ConfigDefinition, _ isBroker: Bool) -> String {
        let support =
            switch definition.support {
            case .supported: "**yes**"
            case .acceptedWithoutEffect(let reason): "*no effect*: \(reason)"
            case .refused(let reason): "**refused**: \(reason)"
            }
        let update =
            switch definition.updateMode {
            case .readOnly: "restart"
            case .perBroker: "broker"
            case .clusterWide: "cluster"
            }
        let standard: String
        switch (definition.isRequired, definition.defaultText) {
        case (true, _): standard = "*required*"
        case (_, nil): standard = ""
        case (_, let text?): standard = text.isEmpty ? "*empty*" : "`\(text)`"
        }
        let last = isBroker ? update : definition.synonym.map { "`\($0)`" } ?? ""
        let cells = [
            "`\(definition.name)`", definition.type.name, standard, definition.validator.summary, support, last, definition.documentation,
        ]
        return "| \(cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ")) |\n"
    }
}
