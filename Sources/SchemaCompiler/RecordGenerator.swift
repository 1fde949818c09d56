// Records as they are stored: enums over all records of a log, with the framing that tells them apart.
import KafkaSchema

/// A record and its type's number.
struct NumberedRecord {
    let id: Int16
    let message: MessageDefinition
}

enum RecordGenerator {
    private static func header(_ source: String) -> SwiftText {
        var output = SwiftText(source: source)
        output.line("import KafkaWire")
        output.line("import NIOCore")
        output.line()
        return output
    }

    private static func caseName(_ name: String, dropping suffix: String) -> String {
        SwiftName.lowered(name.hasSuffix(suffix) ? String(name.dropLast(suffix.count)) : name)
    }

    /// Records framed with their type and version: metadata records.
    static func framed(_ name: String, _ place: String, _ unsorted: [NumberedRecord]) -> String {
        let records = unsorted.sorted { $0.id < $1.id }
        var output = header(name == "MetadataRecord" ? "metadata" : "remote-log-metadata")
        output.line("/// Any record of \(place).")
        output.block("public enum \(name): FramedRecord") { output in
            for record in records {
                output.line("case \(caseName(record.message.name, dropping: "Record"))(\(record.message.name))")
            }
            output.line()
            output.line("public static var recordName: String { \"\(name)\" }")
            output.line()
            output.block("public var typeID: Int16") { output in
                output.line("switch self {")
                for record in records { output.line("case .\(caseName(record.message.name, dropping: "Record")): \(record.id)") }
                output.line("}")
            }
            output.line()
            message(records.map { (caseName($0.message.name, dropping: "Record"), $0.message.name) }, &output)
            output.line()
            output.block("public init?(type: Int16, version: Int16, from reader: inout WireReader) throws(WireError)") { output in
                output.line("switch type {")
                for record in records {
                    let name = caseName(record.message.name, dropping: "Record")
                    output.line("case \(record.id): self = .\(name)(try \(record.message.name)(from: &reader, version: version))")
                }
                output.line("default: return nil")
                output.line("}")
            }
        }
        return output.text
    }

    /// The list of all messages that are records or parts of them.
    static func catalog(_ messages: [MessageDefinition]) -> String {
        var output = SwiftText(source: "")
        output.line("import KafkaWire")
        output.line()
        output.line("/// The messages that are stored rather than sent.")
        output.block("public enum RecordCatalog") { output in
            output.line("/// Every type, by name.")
            output.block("public static var types: [any KafkaMessage.Type]") { output in
                output.line("[")
                for name in messages.map(\.name).sorted() { output.line("    \(name).self,") }
                output.line("]")
            }
        }
        return output.text
    }

    private static func message(_ cases: [(name: String, type: String)], _ output: inout SwiftText) {
        output.line("/// The record by itself.")
        output.block("public var message: any KafkaMessage") { output in
            output.line("switch self {")
            for (name, _) in cases { output.line("case .\(name)(let message): message") }
            output.line("}")
        }
    }

    /// A coordinator's records: keys begin with the record's type, values with their version.
    static func coordinator(_ name: String, topic: String, _ records: [CoordinatorRecordDefinition]) -> String {
        var output = header("coordinators/\(topic.drop { $0 == "_" })")
        output.line("/// The key of a record of `\(topic)`.")
        output.block("public enum \(name)Key: CoordinatorKey") { output in
            enumeration(records, key: true, &output)
            output.line()
            output.block("public init?(type: Int16, from reader: inout WireReader) throws(WireError)") { output in
                output.line("switch type {")
                for record in records {
                    let name = SwiftName.lowered(record.name)
                    output.line(
                        "case \(record.id): self = .\(name)(try \(record.key.name)(from: &reader, version: \(record.key.versions.highest)))"
                    )
                }
                output.line("default: return nil")
                output.line("}")
            }
        }
        output.line()
        output.line("/// The value of a record of `\(topic)`. The key tells its type.")
        output.block("public enum \(name)Value: CoordinatorValue") { output in
            enumeration(records, key: false, &output)
            output.line()
            output.block("public init?(type: Int16, version: Int16, from reader: inout WireReader) throws(WireError)") { output in
                output.line("switch type {")
                for record in records {
                    let name = SwiftName.lowered(record.name)
                    output.line("case \(record.id): self = .\(name)(try \(record.value.name)(from: &reader, version: version))")
                }
                output.line("default: return nil")
                output.line("}")
            }
        }
        return output.text
    }

    private static func enumeration(_ records: [CoordinatorRecordDefinition], key: Bool, _ output: inout SwiftText) {
        let cases = records.map { (name: SwiftName.lowered($0.name), type: key ? $0.key.name : $0.value.name) }
        for (name, type) in cases { output.line("case \(name)(\(type))") }
        output.line()
        output.block("public var typeID: Int16") { output in
            output.line("switch self {")
            for record in records { output.line("case .\(SwiftName.lowered(record.name)): \(record.id)") }
            output.line("}")
        }
        output.line()
        message(cases, &output)
    }
}
